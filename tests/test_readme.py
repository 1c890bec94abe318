"""The examples in README.md, taken from the file and run as a reader would run them.

A block that begins with `# name.py` is written to a file of that name. All others are the body of one long coroutine,
in the order of the page.
"""

from __future__ import annotations

import ast
import contextlib
import inspect
import os
import re
import secrets
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from pgwerk import JobError, JobStatus

if TYPE_CHECKING:
    from collections.abc import Iterator

README = Path(__file__).parents[1] / "README.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```$", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
COMMANDS = re.findall(r"^werk [a-z].*$", README.read_text(encoding="utf-8"), re.MULTILINE)
NAME = re.compile(r"# (\w+\.py)\n")
FLAVOURS = ["asyncio", "blocking"]


def file_blocks(name: str) -> list[str]:
    return [block for block in BLOCKS if (found := NAME.match(block)) and found[1] == name]


def section_blocks() -> list[str]:
    return [block for block in BLOCKS if not NAME.match(block)]


class Folder:
    """A reader's folder with the files of one flavour, and a database."""

    def __init__(self, path: Path, dsn: str, flavour: str) -> None:
        self.path = path
        self._env = os.environ | {"DATABASE_URL": dsn}
        for name in ("receipts.py", "try_it.py", "worker.py", "database.py", "orders.py", "news.py"):
            blocks = file_blocks(name)
            (path / name).write_text(blocks[FLAVOURS.index(flavour) if len(blocks) > 1 else 0], encoding="utf-8")

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """A program of the reader's, or a module."""
        pipe = subprocess.PIPE
        return subprocess.Popen(
            [sys.executable, *arguments], cwd=self.path, env=self._env, stdin=pipe, stdout=pipe, stderr=pipe, text=True
        )

    @contextlib.contextmanager
    def worker(self, *, failures: int = 0) -> Iterator[None]:
        """The worker of the tutorial; it says which jobs failed, and ends in order when it is asked to."""
        with self.start("worker.py") as process:
            try:
                yield
                process.terminate()
                _, errors = process.communicate(timeout=30)
            finally:
                process.kill()
        assert ["failed, and the job with it"] * failures == re.findall("failed, and the job with it", errors)
        assert failures == len(errors.splitlines())
        assert (0 if sys.platform != "win32" else 1) == process.returncode

    def run(self, name: str) -> str:
        with self.start(name) as process:
            output, errors = process.communicate(timeout=60)
        assert (0, "") == (process.returncode, errors)
        return output


@pytest.fixture
def shop(dsn: str) -> Iterator[str]:
    """The DSN of a reader's database: the page works in the default schema, and expects it to be empty."""
    name = f"shop_{secrets.token_hex(4)}"
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        yield make_conninfo(dsn, dbname=name)
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_the_tutorial_runs_a_job(tmp_path: Path, shop: str, flavour: str) -> None:
    """The tutorial's program enqueues a job, the tutorial's worker executes it, and the result comes back."""
    folder = Folder(tmp_path, shop, flavour)

    with folder.worker():
        output = folder.run("try_it.py")

    assert "Receipt for order 7\n" == output


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_the_commands_run(tmp_path: Path, shop: str, flavour: str) -> None:
    """Each command of the section about the command line does its work, beginning with an empty database."""
    folder = Folder(tmp_path, shop, flavour)
    for command in COMMANDS:
        with folder.start("-m", "pgwerk.cli", *shlex.split(command)[1:]) as process:
            output, errors = process.communicate(timeout=60)
        # The doctor may have something to say about the server.
        assert process.returncode in ({0, 1} if "doctor" in command else {0}), (command, output, errors)
        assert "Traceback" not in errors
        assert output or errors or "--burst" in command, command


def test_both_columns_of_the_tutorial_say_the_same() -> None:
    """The two columns differ in `async`, `await` and the name of the client, and in nothing else."""
    asyncio_column, blocking_column = file_blocks("receipts.py")

    assert blocking_column == re.sub(r"async |await ", "", asyncio_column).replace("Werk", "SyncWerk")


def test_the_embedded_server_of_the_readme_can_be_used(tmp_path: Path, shop: str) -> None:
    """The example of the embedded server prints a DSN that works until Enter is pressed."""
    folder = Folder(tmp_path, shop, "asyncio")
    with folder.start("database.py") as process:
        try:
            assert process.stdout
            given = process.stdout.readline().strip()
            with psycopg.connect(given) as connection:
                assert (1,) == connection.execute("SELECT 1").fetchone()
            _, errors = process.communicate("\n", timeout=60)
        finally:
            process.kill()
    assert (0, "") == (process.returncode, errors)
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(given)


@pytest.fixture
def reader(tmp_path: Path, shop: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Folder]:
    """A reader's folder from which this process can import, too, and a database with a table of the reader's."""
    with psycopg.connect(shop) as connection:
        connection.execute("CREATE TABLE orders (id integer PRIMARY KEY)")
    monkeypatch.setenv("DATABASE_URL", shop)
    monkeypatch.syspath_prepend(tmp_path)
    yield Folder(tmp_path, shop, "asyncio")
    for name in ("receipts", "orders", "news"):
        sys.modules.pop(name, None)


async def execute(code: str, names: dict[str, Any]) -> None:
    """Execute a block in which `await` stands outside of a function."""
    compiled = compile(code, str(README), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    result = eval(compiled, names)  # noqa: S307 - our own page
    if inspect.iscoroutine(result):
        await result


async def test_the_sections_do_what_they_say(reader: Folder, shop: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The examples of the sections, run one after the other, do what the page says of them."""
    names: dict[str, Any] = {}
    with reader.worker(failures=2):
        for block in section_blocks():
            await execute(block, names)
        werk = names["werk"]
        assert 1 == await werk.apply("orders.ship", 17, timeout=10)
        newest = await werk.list_jobs(search="write_receipt", limit=2, newest_first=True)
        results = [(await werk.wait_for(job.id, timeout=10)).result for job in newest]
        later = await werk.list_jobs(status=JobStatus.Scheduled)
    await werk.disconnect()

    assert names["duplicate"] is None
    assert "Receipt for order 13" == names["text"]
    assert ["Receipt for order 14", "Receipt for order 15"] == names["texts"]
    assert ["Receipt for order 17", "Receipt for order 16"] == results
    assert [[9], [10], [26]] == [job.payload["args"] for job in later]
    missing = "TypeError: write_receipt() missing 1 required positional argument: 'order'"
    printed = capsys.readouterr().out.splitlines()
    stats = [line for line in printed if re.match(r"(default|mail) \d+ ", line)]
    assert ["default", "mail"] == [line.split()[0] for line in stats]
    assert {JobStatus.Queued, JobStatus.Failed} < names["counts"].keys()
    printed = [line for line in printed if line not in stats]
    assert ["complete Receipt for order 27", "1 complete None"] == [printed[0], printed[-1]]
    assert printed[1].endswith(f"(receipts.write_receipt) failed: {missing}")
    schedules = [line for line in printed if re.match(r"(nightly|often) ", line)]
    traceback = [line for line in printed[2:-1] if line and line not in schedules]
    assert ["Traceback (most recent call last):", missing] == [traceback[0], traceback[-1]]
    assert ["nightly", "often"] == [line.split()[0] for line in schedules]
    assert all(line.endswith(" False False") for line in schedules)
    assert ([names["triggered"].id], [31]) == ([job.id for job in names["runs"]], names["triggered"].payload["args"])
    found, other = names["outcomes"]
    assert ("Receipt for order 28", True) == (found, isinstance(other, JobError))
    with psycopg.connect(shop) as connection:
        assert [(16,)] == connection.execute("SELECT id FROM orders").fetchall()
