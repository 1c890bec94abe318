"""The `werk` command as a user runs it: a program of its own, in a folder with an application."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

from pgwerk import Job, SyncWerk

SHOP = '''"""An application and its handlers."""

import asyncio
import os
import time
from pathlib import Path

from pgwerk import SyncWerk, Werk

DSN = {dsn!r}
werk = Werk(DSN, schema={schema!r})
sync_werk = SyncWerk(DSN, schema={schema!r})
careful = Werk(DSN, schema={schema!r}, auto_migrate=False)
no_client = 42


def add(a=1, b=2):
    return a + b


def fail(message="no luck"):
    raise ValueError(message)


def pid():
    return os.getpid()


async def nap(secs=60):
    await asyncio.sleep(secs)
    return secs


def sleep(secs=60):
    time.sleep(secs)
    return secs


def sleep_the_first_time(name, secs=60):
    if not Path(name).exists():
        Path(name).touch()
        time.sleep(secs)
    return "awake"


async def block(secs=60):
    time.sleep(secs)
'''

PATIENCE_SECS = 30.0
"""What anything may take on a machine that is busy."""


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        """What it has printed, which is one JSON document."""
        return json.loads(self.stdout)


class Shop:
    """A folder with a module `shop`, which has an application of each flavour, and handlers.

    Args:
        folder: The folder; the commands run in it.
        dsn: Connection string of libpq.
        schema: The schema of the application's tables.

    Attributes:
        folder: The folder.
        dsn: The connection string.
        schema: The schema.
        client: A client of the same tables, in the test's own process.
    """

    def __init__(self, folder: Path, dsn: str, schema: str) -> None:
        self.folder = folder
        self.dsn = dsn
        self.schema = schema
        self.client = SyncWerk(dsn, schema=schema)
        self._programs: list[Program] = []
        self.write("shop.py", SHOP.format(dsn=dsn, schema=schema))

    def write(self, name: str, text: str) -> Path:
        """Write a file of the application."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def run(self, *arguments: str, typed: str = "", env: dict[str, str] | None = None) -> Ended:
        """Run a command to its end.

        Args:
            arguments: What follows `werk`.
            typed: Its standard input, which is no terminal.
            env: Environment variables, beside those of the test without pgwerk's own.
        """
        ended = subprocess.run(
            command_line(*arguments),
            cwd=self.folder,
            env=environment(env),
            input=typed,
            capture_output=True,
            encoding="utf-8",
            timeout=2 * PATIENCE_SECS,
            check=False,
        )
        return Ended(ended.returncode, ended.stdout, ended.stderr)

    def start(self, *arguments: str, env: dict[str, str] | None = None) -> Program:
        """Start a command that goes on; it ends with the test at the latest."""
        program = Program(command_line(*arguments), self.folder, environment(env))
        self._programs.append(program)
        return program

    def enqueue(self, handler: str, *args: Any, **options: Any) -> str:
        """Enqueue a job for a function of the shop, and return its id."""
        job = self.client.enqueue(f"shop.{handler}", *args, **options)
        assert job is not None
        return job.id

    def until_status(self, job_id: str, status: str, secs: float = PATIENCE_SECS) -> Job:
        """Wait until a job has a status, and return it."""
        deadline = time.monotonic() + secs
        while (job := self.client.get_job(job_id)).status.value != status:
            assert time.monotonic() < deadline, f"the job is {job.status.value} after {secs} s, not {status}"
            time.sleep(0.02)
        return job

    def close(self) -> None:
        """End all that was started."""
        for program in self._programs:
            program.end()
        self.client.disconnect()


class Program:
    """A command that runs, in a process group of its own, as a shell with job control starts it."""

    def __init__(self, arguments: list[str], folder: Path, env: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            arguments,
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
        self.pid = self._process.pid
        self._changed = threading.Condition()
        self._lines: dict[str, list[str]] = {"stdout": [], "stderr": []}
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._readers = [
            threading.Thread(target=self._read, args=(name, stream), daemon=True)
            for name, stream in (("stdout", self._process.stdout), ("stderr", self._process.stderr))
        ]
        for reader in self._readers:
            reader.start()

    @property
    def stdout(self) -> str:
        """What it has printed up to now."""
        return "".join(self._lines["stdout"])

    @property
    def stderr(self) -> str:
        """What it has said on its error stream up to now."""
        return "".join(self._lines["stderr"])

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def wait_for_line(self, text: str, secs: float = PATIENCE_SECS, *, stream: str = "stderr", count: int = 1) -> str:
        """Wait for a line that contains a text, and return it.

        Args:
            text: What the line contains.
            secs: How long to wait.
            stream: "stderr" or "stdout".
            count: For which line of this kind: 2 waits for the second one.
        """
        deadline = time.monotonic() + secs
        with self._changed:
            while True:
                found = [line for line in self._lines[stream] if text in line]
                if len(found) >= count:
                    return found[count - 1].rstrip("\n")
                left = deadline - time.monotonic()
                has_ended = not any(reader.is_alive() for reader in self._readers)
                assert left > 0, f"not said within {secs} s: {text!r}\n{self._said()}"
                assert not has_ended, f"ended without having said {text!r}\n{self._said()}"
                self._changed.wait(min(left, 0.5))

    def send(self, number: int) -> None:
        """Send a signal to the process, and to no other."""
        self._process.send_signal(number)

    def press_ctrl_c(self) -> None:
        """Interrupt it as a terminal does: with its children."""
        os.killpg(self.pid, signal.SIGINT)

    def wait(self, secs: float = PATIENCE_SECS) -> Ended:
        """Wait for its end."""
        try:
            code = self._process.wait(secs)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it has not ended within {secs} s\n{self._said()}") from None
        for reader in self._readers:
            reader.join(PATIENCE_SECS)
        return Ended(code, self.stdout, self.stderr)

    def end(self) -> None:
        """End it for good, and all that it has started in its group."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.kill()
        self._process.wait()
        for reader, stream in zip(self._readers, (self._process.stdout, self._process.stderr), strict=True):
            reader.join(PATIENCE_SECS)
            if stream is not None:
                stream.close()

    def _read(self, name: str, stream: IO[str]) -> None:
        for line in stream:
            with self._changed:
                self._lines[name].append(line)
                self._changed.notify_all()

    def _said(self) -> str:
        return f"stdout:\n{self.stdout}\nstderr:\n{self.stderr}"


def command_line(*arguments: str) -> list[str]:
    """How to run `werk` with these arguments."""
    return [sys.executable, "-m", "pgwerk.cli", *arguments]


def environment(more: dict[str, str] | None = None) -> dict[str, str]:
    """The environment of a command: the same pgwerk as in this process, be it installed or not."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("PGWERK_", "NO_COLOR", "FORCE_"))}
    path = os.pathsep.join(filter(None, sys.path))
    return {**own, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", "COLUMNS": "80", **(more or {})}


@contextlib.contextmanager
def opened(folder: Path, dsn: str, schema: str) -> Iterator[Shop]:
    """A shop whose programs end with it."""
    shop = Shop(folder, dsn, schema)
    try:
        yield shop
    finally:
        shop.close()
