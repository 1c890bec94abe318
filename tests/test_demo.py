"""The demo, run as its users run it: as a program."""

from __future__ import annotations

import os
import re
import runpy
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from pgwerk.embedded import EmbeddedPostgres

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES = Path(__file__).parents[1] / "examples"
MARK = "PGWERK_TEST_DEMO"
FILES = 240  # so many that nobody comes to the end while a worker is being killed


class Demo:
    """Starts the demo, and finds what it leaves behind: its processes carry a mark, its files go to a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mark = secrets.token_hex(8)

    def start(self, *options: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, str(EXAMPLES / "demo.py"), f"--files={FILES}", *options],
            env=os.environ | {"TMPDIR": str(self.folder), "TEMP": str(self.folder), MARK: self.mark},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            start_new_session=True,
        )

    def run(self, *options: str) -> tuple[int, str, str]:
        with self.start(*options) as process:
            output, errors = process.communicate()
            return process.returncode, output, errors

    def left_behind(self) -> list[str]:
        return [*map(str, self.folder.iterdir()), *processes_with(f"{MARK}={self.mark}")]


def processes_with(variable: str) -> Iterator[str]:
    """The running processes that have this in their environment; none where there is no /proc."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if variable.encode() in (process / "environ").read_bytes().split(b"\0"):
                yield (process / "cmdline").read_text().replace("\0", " ")
        except OSError:  # it has ended, or it is somebody else's
            continue


@pytest.fixture
def demo() -> Iterator[Demo]:
    # pytest's own folder has too long a name for a Unix socket, and root's is closed to the server.
    parent = None if sys.platform == "win32" else "/tmp"  # noqa: S108 - mkdtemp makes a folder in it
    with tempfile.TemporaryDirectory(prefix="demo", dir=parent) as folder:
        Path(folder).chmod(0o777)
        yield Demo(Path(folder))


def wait_for_line(process: subprocess.Popen[str], text: str) -> None:
    assert any(text in line for line in process.stdout or ())


def cost_of_the_kill(output: str) -> int:
    found = re.search(r"Attempts that the kill cost\D+(\d+)", output)
    assert found, output
    return int(found[1])


def schemas(connection: psycopg.Connection[Any]) -> list[str]:
    return [name for (name,) in connection.execute("SELECT nspname FROM pg_namespace WHERE nspname LIKE '%_demo_%'")]


def test_every_file_has_a_result_though_a_worker_is_killed(demo: Demo) -> None:
    """The demo gives one result for each file though it kills a worker that runs jobs, and leaves nothing behind."""
    code, output, errors = demo.run()

    assert (0, "") == (code, errors)
    assert re.search(r"Killed a worker in the middle of [1-9]\d* jobs", output)
    assert f"{FILES} / {FILES}" in output
    assert cost_of_the_kill(output) >= 1
    assert [] == demo.left_behind()


def test_keep(demo: Demo) -> None:
    """With --keep the data stays, where the demo says it is, with a row for every attempt and no worker."""
    code, output, errors = demo.run("--keep")

    assert (0, "") == (code, errors)
    kept = re.search(r"in the schema (\w+) of (.+), for", output)
    assert kept
    schema, folder = kept.groups()
    assert [folder] == demo.left_behind()
    with EmbeddedPostgres(data_dir=folder) as server, psycopg.connect(server.dsn) as connection:
        jobs = connection.execute(f"SELECT status, count(*) FROM {schema}._pgwerk_jobs GROUP BY 1").fetchall()
        attempts = connection.execute(f"SELECT status, count(*) FROM {schema}._pgwerk_executions GROUP BY 1").fetchall()
    assert [("complete", FILES)] == jobs
    assert {"complete": FILES, "failed": cost_of_the_kill(output)} == dict(attempts)


@pytest.mark.posix
@pytest.mark.parametrize("own_database", [False, True], ids=["embedded", "dsn"])
def test_ctrl_c(demo: Demo, dsn: str, own_database: bool) -> None:
    """Ctrl-C in the middle of the work ends everything at once and in order, and the data is gone."""
    with demo.start(*(["--dsn", dsn] if own_database else [])) as process:
        wait_for_line(process, "Killed a worker")
        os.killpg(process.pid, signal.SIGINT)  # to the whole group, as a terminal does
        output, errors = process.communicate()

    assert (130, "") == (process.returncode, errors)
    assert output.endswith("Interrupted.\n")
    assert [] == demo.left_behind()
    with psycopg.connect(dsn) as connection:
        assert [] == schemas(connection)


@pytest.mark.posix
def test_sigkill(demo: Demo) -> None:
    """When the demo itself is killed, its workers and its server end all the same, and the folder goes with them."""
    with demo.start() as process:
        wait_for_line(process, "Killed a worker")
        process.kill()

    deadline = time.monotonic() + 30
    while (left := demo.left_behind()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [] == left


@pytest.mark.parametrize(
    "content",
    [b"def broken(:\n", b"# -*- coding: nonsense -*-\n", b"text = '\xff'\n", b"\0"],
    ids=["syntax", "unknown encoding", "not UTF-8", "NUL"],
)
def test_a_broken_file_is_a_result(tmp_path: Path, content: bytes) -> None:
    """A file that does not parse gives a result that says so, not a job that fails."""
    (tmp_path / "broken.py").write_bytes(content)

    result = runpy.run_path(str(EXAMPLES / "stdlib_stats.py"))["analyse"](str(tmp_path / "broken.py"))

    assert {"file", "error"} == set(result)
    assert result["error"]
