"""The keeper: a small process that starts one PostgreSQL server and ends it with its owner.

    owner (`pgwerk.embedded`)  --pipe-->  keeper (this file)  --parent of-->  postgres

**Why a process of its own.** The owner may end in ways that leave it no time to tidy up: SIGTERM,
SIGKILL, a closed terminal. All of them close its end of the pipe, on every operating system. The
keeper reads that pipe, so it sees the end of the owner whatever the cause, stops the server and
removes the folder if it was a temporary one. The owner needs no signal handlers, which belong to
the application. The keeper sits in a session of its own, so that Ctrl-C reaches neither it nor the
server, and ignores other signals: it goes with the pipe. Should the keeper itself be killed, Linux
stops the server (parent-death signal); elsewhere it would stay.

**The conversation**: one JSON object per line. The first line is the specification (see `Spec`),
then comes `{"restart": mode}` any number of times, each answered by `{"ok": {...}}` or
`{"error": "..."}`; `{"stop": mode}` or the end of the pipe ends it. Modes are those of pg_ctl:
fast (connections are cut, everything is written) and immediate (as in a crash).

**Root.** PostgreSQL refuses to run as root. Started by root, the keeper turns into another user,
for good, before it touches anything in a folder of that user's. From then on it may be unable to
read the standard library, so everything in this package is imported at the top.

**A folder**, temporary or lasting, holds `data` (the cluster), `server.log` (of the last run),
`password` (of the superuser, for TCP), `lock` (held by the keeper) and the Unix socket.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import secrets
import shutil
import signal
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pgwerk._embedded.accounts import find_account, readable_install
from pgwerk._embedded.errors import KeeperError
from pgwerk._embedded.folders import (
    FolderLock,
    check_folder,
    fits_a_socket,
    make_scratch,
    remove,
)
from pgwerk._embedded.servers import Server, make_server, program, run

SUPERUSER = "postgres"
SOCKET_PORT = 5432  # a Unix socket has a port number in its name, nothing more
# Outside the range that systems hand out to outgoing connections: a client that tries to reconnect
# while the server is down can neither take the port away nor connect to itself.
PORTS = range(10_000, 32_000)


@dataclass(frozen=True)
class Spec:
    """What the owner asks for.

    Attributes:
        install: The folder with PostgreSQL's `bin`, `lib` and `share`.
        version: Its major version.
        folder: The lasting folder, absolute; None for a temporary one.
        temp_dirs: Where a temporary folder may go, best first.
        settings: The server's settings, as text.
        tcp: Listen on 127.0.0.1 instead of a Unix socket.
        port: The TCP port; None for a free one.
        owner: The owner's process id, for the message to whoever finds the folder in use.
        timeout: Seconds that creating the cluster and starting the server may take, each.
        pg_ctl: Start and stop by way of pg_ctl, as Windows needs it.
    """

    install: str
    version: int
    folder: str | None
    temp_dirs: list[str]
    settings: dict[str, str]
    tcp: bool
    port: int | None
    owner: int
    timeout: float
    pg_ctl: bool


def main() -> None:
    """Serve one owner until it says stop or is gone."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if number := getattr(signal, name, None):
            signal.signal(number, lambda *_: None)  # not SIG_IGN, which the server would inherit
    commands = sys.stdin.buffer
    with contextlib.ExitStack() as stack:
        try:
            keeper = Keeper(Spec(**json.loads(commands.readline())), stack)
            _reply({"ok": keeper.start()})
        except Exception as error:
            stack.close()
            _reply({"error": _in_words(error)})
            return
        for line in commands:
            command: dict[str, str] = json.loads(line)
            if "stop" in command:
                keeper.stop_mode = command["stop"]
                return
            try:
                keeper.restart(command["restart"])
                _reply({"ok": {}})
            except Exception as error:
                _reply({"error": _in_words(error)})


class Keeper:
    """One server, from the making of its folder to its end.

    Attributes:
        stop_mode: How the server will be stopped.
    """

    def __init__(self, spec: Spec, stack: contextlib.ExitStack) -> None:
        """Become whom the server runs as; `stack` undoes everything in the right order."""
        self.stop_mode = "fast"
        self._spec = spec
        self._stack = stack
        account = find_account(spec.folder)
        with account.effective():
            self._scratch = make_scratch(spec.temp_dirs, None if spec.tcp else f".s.PGSQL.{SOCKET_PORT}")
        stack.callback(remove, self._scratch)
        self._install = readable_install(Path(spec.install), self._scratch, account)
        if spec.folder is not None:
            account.take_over(Path(spec.folder))
        account.become()
        self._folder = self._scratch if spec.folder is None else Path(spec.folder)
        self._data = self._folder / "data"
        self._lock: FolderLock | None = None
        self._server: Server = make_server(self._install, self._folder, spec.timeout, through_pg_ctl=spec.pg_ctl)

    def start(self) -> dict[str, Any]:
        """Make what is missing, start the server, and return where it can be reached."""
        if self._spec.folder is not None:
            check_folder(self._folder)
            self._lock = FolderLock(self._folder, self._spec.owner)
            self._stack.callback(self._lock.release)
            self._lock.take(self._spec.timeout)
        if not (self._data / "PG_VERSION").exists():
            self._create_cluster()
        self._check_version()
        (self._folder / "server.log").write_bytes(b"")
        self._stack.callback(self._stop)
        port = self._start_on_a_port() if self._spec.tcp else self._start_on_a_socket()
        return {
            "folder": str(self._folder),
            "socket_dir": None if self._spec.tcp else str(self._socket_dir()),
            "port": port,
            "user": SUPERUSER,
            "password": (self._folder / "password").read_text().strip(),
        }

    def restart(self, mode: str) -> None:
        """Stop and start again, in the same place."""
        self._server.stop(mode)
        self._start()

    def _stop(self) -> None:
        if self._lock:
            self._lock.say_stopping()
        self._server.stop(self.stop_mode)

    def _create_cluster(self) -> None:
        unfinished = self._folder / "data.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        password = self._folder / "password"
        password.touch(mode=0o600)
        password.write_text(secrets.token_hex(16) + "\n")
        options = [
            f"--pgdata={unfinished}",
            f"--username={SUPERUSER}",
            f"--pwfile={password}",
            "--auth-local=trust",  # the folder of the socket is closed to others
            "--auth-host=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--no-instructions",
        ]
        if self._spec.folder is None:
            # A random password needs no stretching, which makes connecting slow.
            options += ["--no-sync", "--set=scram_iterations=1"]
        run([program(self._install, "initdb"), *options], self._folder, self._spec.timeout)
        with (unfinished / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.write("\ninclude_if_exists = 'pgwerk.conf'\n")
        unfinished.rename(self._data)

    def _check_version(self) -> None:
        found = int((self._data / "PG_VERSION").read_text())
        if found != self._spec.version:
            raise KeeperError(
                f"{self._folder} belongs to PostgreSQL {found}, not {self._spec.version}: "
                f"ask for version={found}, or take another folder"
            )

    def _start_on_a_socket(self) -> int:
        self._configure(
            listen_addresses="",
            unix_socket_directories=str(self._socket_dir()),
            port=str(SOCKET_PORT),
        )
        self._start()
        return SOCKET_PORT

    def _socket_dir(self) -> Path:
        """The same at every start of a lasting folder, unless its path is too long."""
        return self._folder if fits_a_socket(self._folder / ".s.PGSQL.5432") else self._scratch

    def _start_on_a_port(self) -> int:
        """Another process may take a free port before the server does: then try the next."""
        tries = 1 if self._spec.port else 5
        while True:
            tries -= 1
            port = self._spec.port or _free_port()
            self._configure(listen_addresses="127.0.0.1", unix_socket_directories="", port=str(port))
            try:
                self._start()
            except KeeperError as error:
                if not tries or "could not bind" not in str(error):
                    raise
            else:
                return port

    def _configure(self, **ours: str) -> None:
        lines = [f"{k} = {_quoted(v)}\n" for k, v in (self._spec.settings | ours).items()]
        (self._data / "pgwerk.conf").write_text("".join(lines), encoding="utf-8")

    def _start(self) -> None:
        try:
            self._server.start()
        except KeeperError as error:
            log = (self._folder / "server.log").read_text(errors="replace")
            tail = "\n".join(log.splitlines()[-20:])
            raise KeeperError(f"{error}\n{tail}") from None


def _free_port() -> int:
    while True:
        port = random.choice(PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def _quoted(value: str) -> str:
    """A value as postgresql.conf takes it."""
    escaped = value.replace("\\", "\\\\").replace("'", "''").replace("\n", "\\n")
    return f"'{escaped}'"


def _in_words(error: Exception) -> str:
    return str(error) if isinstance(error, KeeperError) else f"{type(error).__name__}: {error}"


def _reply(message: dict[str, Any]) -> None:
    """Answer the owner; if it is gone, the end of its pipe will tell."""
    with contextlib.suppress(OSError):
        os.write(1, json.dumps(message).encode() + b"\n")
