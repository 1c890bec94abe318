"""A PgBouncer in transaction mode, in front of the tests' database.

It runs as its user, or, because it refuses to be root, as `nobody`. Its sessions of the server are few, so that clients
share them, and whatever a client leaves behind in one is there for the next one.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import psycopg
import pytest
from psycopg import conninfo
from psycopg.rows import dict_row

PLACES = ("/usr/sbin", "/usr/local/sbin", "/opt/homebrew/bin")
MISSING = "pgbouncer is not installed (apt-get install pgbouncer)"

SESSIONS = 3

SETTINGS: dict[str, Any] = {
    "listen_addr": "127.0.0.1",
    "unix_socket_dir": "",
    "auth_type": "any",
    "admin_users": "admin",
    "pool_mode": "transaction",
    "default_pool_size": SESSIONS,
    "min_pool_size": SESSIONS,
    "max_client_conn": 500,
    # The default, which is empty, would have it refuse nothing but what it does not know.
    "ignore_startup_parameters": "",
}


class PgBouncer:
    """One PgBouncer, to be stopped and started as often as one likes; it keeps its port.

    Args:
        dsn: The database behind it, with another name for each name that it is asked for.
        folder: Where its settings and its log are kept.
        settings: Settings that differ from `SETTINGS`.
    """

    def __init__(self, dsn: str, folder: Path, **settings: Any) -> None:
        self._binary = _find()
        self._folder = folder
        self._settings = {**SETTINGS, **settings}
        if _version(self._binary) >= (1, 21):
            # From there on it knows prepared statements; what is tested is that it need not.
            self._settings.setdefault("max_prepared_statements", 0)
        if os.geteuid() == 0:
            self._settings["user"] = "nobody"
        with psycopg.connect(dsn) as connection:
            info = connection.info
            self._server = {"host": info.host, "port": info.port, "user": info.user, "password": info.password}
            self._names = {"dbname": info.dbname, "user": info.user}
        self._port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def dsn(self) -> str:
        """The way through it."""
        return conninfo.make_conninfo(host="127.0.0.1", port=self._port, **self._names)

    @property
    def log(self) -> str:
        """What it has written so far."""
        return (self._folder / "log").read_text()

    def start(self) -> None:
        """Start it; returns when it answers."""
        server = " ".join(f"{name}={_quoted(value)}" for name, value in self._server.items() if value)
        lines = ["[databases]", f"* = {server}", "[pgbouncer]", f"listen_port = {self._port}"]
        lines += [f"{name} = {value}" for name, value in self._settings.items()]
        settings = self._folder / "pgbouncer.ini"
        settings.write_text("\n".join(lines) + "\n")
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen([self._binary, str(settings)], stdout=log, stderr=log)
        deadline = time.monotonic() + 20
        while not self._answers():
            assert self._process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.01)

    def stop(self) -> None:
        """End it at once, as a crash would."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def admin(self, command: str) -> list[dict[str, Any]]:
        """What a command of its console returns."""
        console = conninfo.make_conninfo(self.dsn, dbname="pgbouncer", user="admin")
        with psycopg.connect(console, autocommit=True, row_factory=dict_row) as connection:
            cursor = connection.execute(command.encode())
            return cursor.fetchall() if cursor.description else []

    def sessions(self) -> int:
        """How many sessions of the server it has for the tests' database."""
        return sum(each["database"] == self._names["dbname"] for each in self.admin("SHOW SERVERS"))

    def clients(self) -> int:
        """How many clients the tests' database has."""
        return sum(each["database"] == self._names["dbname"] for each in self.admin("SHOW CLIENTS"))

    def in_all_sessions(self, statement: str) -> list[tuple[Any, ...]]:
        """What a statement returns in all sessions of the server, each as the last client has left it."""
        rows: list[tuple[Any, ...]] = []
        sessions = set()
        with contextlib.ExitStack() as stack:
            for _ in range(SESSIONS):
                # Its transaction stays open, so that the next client gets another session.
                client = stack.enter_context(psycopg.connect(self.dsn, client_encoding="LATIN1"))
                sessions.update(client.execute("SELECT pg_backend_pid()").fetchall())
                cursor = client.execute(statement.encode())
                rows += cursor.fetchall() if cursor.description else []
        assert SESSIONS == len(sessions)
        return rows

    def _answers(self) -> bool:
        with contextlib.suppress(psycopg.OperationalError):
            self.admin("SHOW VERSION")
            return True
        return False


@contextlib.contextmanager
def bouncing(dsn: str, folder: Path, **settings: Any) -> Iterator[PgBouncer]:
    """A PgBouncer that runs; the test is skipped if there is none, and fails if this is CI, which installs one."""
    bouncer = PgBouncer(dsn, folder, **settings)
    bouncer.start()
    try:
        yield bouncer
    finally:
        bouncer.stop()


def _find() -> str:
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *PLACES])
    return shutil.which("pgbouncer", path=path) or _do_without()


def _do_without() -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(MISSING)
    pytest.skip(MISSING)


def _version(binary: str) -> tuple[int, int]:
    done = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True)
    found = re.search(r"(\d+)\.(\d+)", done.stdout)
    assert found is not None, done.stdout
    return int(found[1]), int(found[2])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _quoted(value: object) -> str:
    return "'{}'".format(str(value).replace("'", "''"))
