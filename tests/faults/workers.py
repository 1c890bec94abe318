"""Worker processes, as a scenario sees them: started by a nursery (entry.py), killed, asked to stop, watched."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Self

from tests.faults import clocks
from tests.faults.entry import Order
from tests.worker.entry import ROOT

KINDS = ("async", "thread", "process", "fork")
"""The kinds of workers that there are."""

MARK = "PGWERK_FAULTS_NURSERY"
"""The variable of the environment by which the descendants of a nursery are known."""

START_SECS = 30.0


class Worker:
    """One worker process.

    Attributes:
        name: What the server knows its sessions by.
        pid: Its process id.
        exit_code: What it ended with; negative after a signal, None while it runs.
        was_killed: Whether it was killed on purpose.
    """

    def __init__(self, name: str, log: Path) -> None:
        self.name = name
        self.pid = 0
        self.exit_code: int | None = None
        self.was_killed = False
        self.is_over = asyncio.Event()
        self._log = log
        # The process itself comes a moment later.
        log.touch()

    @property
    def log(self) -> str:
        """What it has printed."""
        return self._log.read_text(errors="replace")

    @property
    def memory(self) -> int:
        """Bytes that it has in memory."""
        told = subprocess.run(["ps", "-o", "rss=", "-p", str(self.pid)], capture_output=True, text=True, check=True)
        return int(told.stdout) * 1024

    def kill(self) -> None:
        """Kill it: it gets to know nothing of that."""
        self.was_killed = True
        self._signal(signal.SIGKILL)

    def terminate(self) -> None:
        """Ask it to stop."""
        self._signal(signal.SIGTERM)

    def freeze(self) -> None:
        """Let it do nothing, as when its machine is suspended; it does not notice."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    async def ended(self, secs: float = 30) -> int:
        """Wait for its end; gives the exit code.

        Raises:
            TimeoutError: It has not ended.
        """
        async with asyncio.timeout(secs):
            await self.is_over.wait()
        assert self.exit_code is not None
        return self.exit_code

    def _signal(self, number: signal.Signals) -> None:
        # The nursery waits for it the moment it ends, and tells a moment later.
        if self.exit_code is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


class Nursery:
    """Starts worker processes; none of them outlives it.

    Args:
        mark: Tells its descendants from those of others.
        folder: Where workers write their logs.
        off_by: Seconds by which the clock of the workers is off.
    """

    def __init__(self, mark: str, folder: Path, off_by: float = 0) -> None:
        self._mark = mark
        self._folder = folder
        self._off_by = off_by
        self._process: asyncio.subprocess.Process | None = None
        self._listening: asyncio.Task[None] | None = None
        self._numbers = itertools.count(1)
        self._workers: dict[int, Worker] = {}
        self._started: dict[int, asyncio.Event] = {}

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None
        return self._process.pid

    async def __aenter__(self) -> Self:
        # The same pgwerk as in this process, be it installed or not.
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), MARK: self._mark}
        if self._off_by:
            environment[clocks.OFF_BY] = str(self._off_by)
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.faults.entry"),
            cwd=ROOT,
            env=environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        self._listening = asyncio.create_task(self._listen(self._process))
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._listening is not None
        self._process.stdin.close()
        await self._process.wait()
        await self._listening

    async def start(self, name: str, order: Order) -> Worker:
        """Start a worker; returns as soon as the process is there."""
        assert self._process is not None
        assert self._process.stdin is not None
        number = next(self._numbers)
        worker = self._workers[number] = Worker(name, Path(order["log"]))
        started = self._started[number] = asyncio.Event()
        self._process.stdin.write(json.dumps({**order, "number": number}).encode() + b"\n")
        async with asyncio.timeout(START_SECS):
            await started.wait()
        return worker

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            what, number, value = line.split()
            worker = self._workers[int(number)]
            if what == b"started":
                worker.pid = int(value)
                self._started[int(number)].set()
            else:
                worker.exit_code = int(value)
                worker.is_over.set()


def descendants(mark: str) -> dict[int, str]:
    """The processes that descend from nurseries with this mark: their command lines by their ids.

    Where there is no /proc, none is found.
    """
    found: dict[int, str] = {}
    if not Path("/proc").exists():
        return found
    sought = f"{MARK}={mark}".encode()
    for folder in Path("/proc").iterdir():
        # They come and go, and those of others cannot be read.
        with contextlib.suppress(OSError):
            if folder.name.isdecimal() and sought in (folder / "environ").read_bytes().split(b"\0"):
                found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    return found
