"""However the process ends that has started a server, nothing is left of it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING

import pytest
from tests.embedded.helpers import ask, eventually, needs_wheel, postmaster_of, runs

from pgwerk.embedded import EmbeddedError, EmbeddedPostgres

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


PROGRAM = """
import contextlib, json, os, signal, subprocess, sys
from pathlib import Path
import psycopg
from pgwerk.embedded import EmbeddedPostgres

server = EmbeddedPostgres(data_dir=json.loads(sys.argv[1])).start()
print(json.dumps({
    "dsn": server.dsn,
    "folder": str(server.folder),
    "pids": [
        server._keeper._process.pid,
        int((server.folder / "data" / "postmaster.pid").read_text().split()[0]),
    ],
}), flush=True)
"""
WAIT = "sys.stdin.readline()"


class Owner:
    """A process that has started a server, says where it is, and then does what it was told."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        assert process.stdout
        self.stdout: IO[bytes] = process.stdout
        self.report = json.loads(self.stdout.readline())
        self.folder = Path(self.report["folder"])

    def nothing_is_left(self, folder: bool = False) -> bool:
        """Whether the server and its keeper have ended and the temporary folder is gone."""
        pids: list[int] = self.report["pids"]
        return self.folder.exists() is folder and not any(runs(pid) for pid in pids)


@pytest.fixture
def start_owner(place: Path) -> Iterator[Callable[..., Owner]]:
    """Start an owner, in a process group of its own like a command in a terminal."""
    with contextlib.ExitStack() as stack:

        def start(then: str, data_dir: Path | None = None) -> Owner:
            process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM + then, json.dumps(data_dir and str(data_dir))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=os.environ | {"TMPDIR": str(place)},
                start_new_session=sys.platform != "win32",
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            return Owner(process)

        yield start


@needs_wheel
@pytest.mark.parametrize(
    ("then", "code"),
    [
        ("", 0),
        ("sys.exit(3)", 3),
        ("raise ValueError", 1),
        ("server.stop()", 0),
        ("server.stop('immediate')", 0),
        ("with psycopg.connect(server.dsn): sys.exit()", 0),
    ],
)
def test_nothing_is_left_when_the_process_has_ended(start_owner: Callable[..., Owner], then: str, code: int) -> None:
    """However Python ends, with or without `stop`, server and folder are gone before it is."""
    owner = start_owner(then)
    assert code == owner.process.wait(20)
    assert owner.nothing_is_left()


@needs_wheel
def test_an_exception_ends_the_with_block_and_the_server(temp_dir: Path) -> None:
    """The exception goes on, the server does not."""
    server = EmbeddedPostgres()
    pids = []

    def fail() -> None:
        with server:
            pids.append(postmaster_of(server))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert [False] == [runs(pid) for pid in pids]
    assert [] == list(temp_dir.iterdir())


@pytest.mark.posix
@needs_wheel
def test_ctrl_c_leaves_nothing(start_owner: Callable[..., Owner]) -> None:
    """Ctrl-C reaches the whole process group, and is the end of owner, server and folder."""
    owner = start_owner(WAIT)
    os.killpg(owner.process.pid, signal.SIGINT)
    assert -signal.SIGINT == owner.process.wait(20)
    assert owner.nothing_is_left()


@pytest.mark.posix
@needs_wheel
def test_the_server_is_still_there_while_the_owner_winds_up(
    start_owner: Callable[..., Owner],
) -> None:
    """Ctrl-C is for the application: what it does then can use the database."""
    owner = start_owner(
        f"""
try:
    print("in the block", flush=True)
    {WAIT}
except KeyboardInterrupt:
    print(psycopg.connect(server.dsn).execute("SELECT 'wound up'").fetchone()[0])
"""
    )
    assert b"in the block\n" == owner.stdout.readline()
    os.killpg(owner.process.pid, signal.SIGINT)
    assert b"wound up\n" == owner.stdout.read()
    assert 0 == owner.process.wait(20)
    assert owner.nothing_is_left()


@pytest.mark.posix
@needs_wheel
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGKILL"])
def test_a_killed_owner_leaves_nothing(start_owner: Callable[..., Owner], name: str) -> None:
    """A signal that gives Python no time to tidy up is followed by the end of server and folder."""
    owner = start_owner(WAIT)
    os.killpg(owner.process.pid, getattr(signal, name))
    assert -getattr(signal, name) == owner.process.wait(20)
    eventually(owner.nothing_is_left)


@pytest.mark.posix
@needs_wheel
def test_an_owner_killed_while_it_starts_leaves_nothing(place: Path) -> None:
    """A kill in the middle of making the cluster is cleaned up after, too."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "null"],
        env=os.environ | {"TMPDIR": str(place)},
        stdout=subprocess.DEVNULL,
    )
    with process:
        eventually(lambda: any(place.glob("*/data.new")))
        process.kill()
    eventually(lambda: not any(place.iterdir()))


@pytest.mark.posix
@needs_wheel
def test_ctrl_c_while_it_starts_leaves_nothing(temp_dir: Path) -> None:
    """Interrupting the start is cleaned up after before the interrupt goes on."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with pytest.raises(KeyboardInterrupt):
            EmbeddedPostgres().start()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert [] == list(temp_dir.iterdir())


@pytest.mark.posix
@needs_wheel
def test_a_lasting_folder_is_free_again_after_a_kill(start_owner: Callable[..., Owner], place: Path) -> None:
    """Whoever starts right after the kill waits for the end of the old server, and has its data."""
    owner = start_owner(
        f"psycopg.connect(server.dsn, autocommit=True).execute('CREATE TABLE t ()')\n"
        f"print('created', flush=True)\n{WAIT}",
        place / "pg",
    )
    assert b"created\n" == owner.stdout.readline()
    owner.process.kill()
    owner.process.wait()
    with EmbeddedPostgres(data_dir=place / "pg") as server:
        assert 0 == ask(server.dsn, "SELECT count(*) FROM t")
    eventually(lambda: owner.nothing_is_left(folder=True))


@pytest.mark.posix
@needs_wheel
def test_the_end_of_a_forked_child_is_not_the_end_of_the_server(
    start_owner: Callable[..., Owner],
) -> None:
    """A child that ends in the ordinary way, atexit and all, or says stop, stops nothing."""
    owner = start_owner(
        """
for last_words in (sys.exit, server.stop):
    child = os.fork()
    if not child:
        last_words()
        sys.exit()
    assert os.waitpid(child, 0)[1] == 0
print(psycopg.connect(server.dsn).execute("SELECT 'still here'").fetchone()[0])
"""
    )
    assert b"still here\n" == owner.stdout.read()
    assert 0 == owner.process.wait(20)
    assert owner.nothing_is_left()


@pytest.mark.posix
@needs_wheel
def test_a_forked_child_does_not_keep_the_server_alive(start_owner: Callable[..., Owner]) -> None:
    """The owner is the process that started it: with its end the server ends, children or not."""
    owner = start_owner(
        f"""
child = os.fork()
if child:
    print(child, flush=True)
{WAIT}
"""
    )
    child = int(owner.stdout.readline())
    owner.process.kill()
    owner.process.wait()
    eventually(owner.nothing_is_left)
    assert runs(child)
    os.kill(child, signal.SIGKILL)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a parent-death signal")
@needs_wheel
def test_even_a_killed_keeper_leaves_nothing(temp_dir: Path) -> None:
    """If the process in between is killed, the server ends at once, and the folder at the stop."""
    server = EmbeddedPostgres().start()
    assert server._keeper
    pid = postmaster_of(server)
    server._keeper._process.kill()
    eventually(lambda: not runs(pid))
    with pytest.raises(EmbeddedError, match="ended unexpectedly"):
        server.restart()
    server.stop()
    assert [] == list(temp_dir.iterdir())


@pytest.mark.posix
@needs_wheel
def test_a_killed_server_can_be_restarted() -> None:
    """After the crash of the whole server, `restart` brings it back with its data."""
    with EmbeddedPostgres() as server:
        ask(server.dsn, "CREATE TABLE t AS SELECT 7 AS n; SELECT 1")
        os.kill(postmaster_of(server), signal.SIGKILL)
        server.restart()
        assert 7 == ask(server.dsn, "SELECT n FROM t")
