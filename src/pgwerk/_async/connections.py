"""Connections: short-lived ones by default, from a pool where the application wants one.

A short-lived connection per operation costs about 3 ms and holds nothing in between, which suits external poolers and
processes that enqueue now and then. A service that enqueues often takes a pool: its own (`pool=`) or one that the
client owns (`pool_size=`).
"""

from __future__ import annotations

import contextlib
import functools
import weakref
from collections.abc import AsyncIterator
from typing import Any, TypeAlias

import psycopg
import psycopg_pool
from psycopg import adapt, conninfo, postgres
from psycopg.rows import tuple_row
from psycopg.types import array

from pgwerk._async import _compat, forking
from pgwerk._core import checks

Connection: TypeAlias = psycopg.AsyncConnection[Any]
Cursor: TypeAlias = psycopg.AsyncCursor[Any]
Pool: TypeAlias = psycopg_pool.AsyncConnectionPool[Any]


class _OwnAdapters:
    """The driver's own adapters, whatever an application has registered since it was imported."""

    connection = None

    def __init__(self) -> None:
        self.adapters = adapt.AdaptersMap(types=psycopg.adapters.types)
        postgres.register_default_adapters(self)
        array.register_all_arrays(self)


class WerkCursor(psycopg.AsyncCursor[tuple[Any, ...]]):
    """A cursor that reads and writes values in one way, whatever the connection it works on has been taught."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection, row_factory=tuple_row)

    @property
    def adapters(self) -> adapt.AdaptersMap:
        """The driver's own adapters."""
        return _ADAPTERS.adapters


_ADAPTERS = _OwnAdapters()

_OPTIONS: dict[str, Any] = {"autocommit": True, "client_encoding": "utf8"}
"""What the application's own encoding is does not matter: in UTF-8 everything can be sent and read."""


class Connections:
    """Where the operations of one client get their connections from.

    Args:
        dsn: Connection string of libpq.
        pool: A pool of the caller's; it is opened and closed by the caller.
        pool_size: Size of a pool that this object owns.

    Raises:
        TypeError: `pool` is not a psycopg pool of this flavour.
        ValueError: `dsn` cannot be parsed, both `pool` and `pool_size` are given, or `pool_size` is not positive.
    """

    def __init__(self, dsn: str, *, pool: object = None, pool_size: int | None = None) -> None:
        self.dsn = dsn
        self.where = _describe(dsn)
        if pool is not None and not isinstance(pool, psycopg_pool.AsyncConnectionPool):
            wanted = psycopg_pool.AsyncConnectionPool.__name__
            raise TypeError(f"pool must be a psycopg_pool.{wanted}, not {type(pool).__name__}")
        if pool is not None and pool_size is not None:
            raise ValueError("pool and pool_size cannot be given together: a pool of yours has its own size")
        self._given: Pool | None = pool
        self._size = None if pool_size is None else checks.whole("pool_size", pool_size, minimum=1)
        self._owned: dict[object, Pool] = {}
        self._members: dict[object, weakref.WeakSet[Connection]] = {}
        self._lock = _compat.Lock()
        forking.register(self)

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection for one operation. Outside of `transaction()`, each statement commits by itself.

        Raises:
            psycopg.OperationalError: The database cannot be reached.
            psycopg_pool.PoolTimeout: No connection of the pool became free in time.
        """
        if self._given is None and self._size is None:
            connection = await self.open()
            try:
                yield connection
            finally:
                await connection.close()
        else:
            pool = self._given or await self._owned_pool()
            async with pool.connection() as connection:
                yield connection

    async def open(self) -> Connection:
        """A new connection, which the caller closes.

        Raises:
            psycopg.OperationalError: The database cannot be reached.
        """
        return await open_connection(self.dsn)

    async def close(self) -> None:
        """Close the pool that this object owns, if there is one."""
        async with self._lock:
            pool = self._owned.pop(_compat.scope(), None)
            self._members.pop(_compat.scope(), None)
        if pool is not None:
            await pool.close()

    def after_fork(self) -> None:
        """Leave the parent its connections."""
        self._lock = _compat.Lock()
        forking.abandon((self._owned, list(map(list, self._members.values()))))
        self._owned, self._members = {}, {}

    async def _owned_pool(self) -> Pool:
        scope = _compat.scope()
        pool = self._owned.get(scope)
        if pool is not None:
            return pool
        async with self._lock:
            for over in [known for known in self._owned if _compat.scope_is_over(known)]:
                self._forget(over)
            if scope not in self._owned and self._size is not None:
                members = self._members[scope] = weakref.WeakSet()
                opened = psycopg_pool.AsyncConnectionPool(
                    self.dsn,
                    # All connections at once: psycopg_pool's workers swallow a cancellation while they connect, so a
                    # program that ends while the pool grows in the background would hang.
                    min_size=self._size,
                    max_size=self._size,
                    open=False,
                    kwargs=_OPTIONS,
                    configure=functools.partial(_configure, members),
                    check=psycopg_pool.AsyncConnectionPool.check_connection,
                    name="pgwerk",
                )
                try:
                    await opened.open(wait=True)
                except BaseException:
                    await opened.close()
                    raise
                self._owned[scope] = opened
            return self._owned[scope]

    def _forget(self, scope: object) -> None:
        """Drop the pool of a scope that is over, in which nobody can close it in an orderly way any more."""
        for connection in self._members.pop(scope, ()):
            connection.pgconn.finish()
        self._owned.pop(scope)


async def open_connection(dsn: str) -> Connection:
    """A new connection with the settings that the statements rely on.

    Raises:
        psycopg.OperationalError: The database cannot be reached.
    """
    connection = await psycopg.AsyncConnection.connect(dsn, **_OPTIONS, prepare_threshold=None)
    await connection.set_isolation_level(psycopg.IsolationLevel.READ_COMMITTED)
    return connection


async def _configure(members: weakref.WeakSet[Connection], connection: Connection) -> None:
    """Use prepared statements only where each of them reaches the session that knows it."""
    members.add(connection)
    await connection.set_isolation_level(psycopg.IsolationLevel.READ_COMMITTED)
    if await behind_pooler(connection):
        connection.prepare_threshold = None


async def behind_pooler(connection: Connection) -> bool:
    """Whether something between here and the server hands out sessions.

    A pooler makes up the process id that it tells at connect. A proxy that does the same is taken for a pooler, which
    costs latency only.
    """
    cursor = await WerkCursor(connection).execute("SELECT pg_backend_pid()")
    row = await cursor.fetchone()
    return row is None or row[0] != connection.info.backend_pid


def own_connection(given: object) -> Connection:
    """The connection that a caller's `_conn` stands for.

    Raises:
        TypeError: It is no psycopg connection or cursor of this flavour.
        ValueError: Its encoding cannot carry text.
    """
    if isinstance(given, psycopg.AsyncCursor):
        given = given.connection
    if isinstance(given, psycopg.AsyncConnection):
        if given.info.encoding == "ascii":
            raise ValueError("_conn has the client_encoding SQL_ASCII, in which text is only bytes: use UTF8")
        return given
    wanted = psycopg.AsyncConnection.__name__
    if isinstance(getattr(given, "connection", given), psycopg.BaseConnection):
        raise TypeError(
            f"_conn is of the other flavour: this client is {_compat.FLAVOUR} and needs a psycopg.{wanted}, "
            f"not a {type(given).__name__}"
        )
    raise TypeError(f"_conn must be a psycopg.{wanted} or one of its cursors, not {type(given).__name__}")


def _describe(dsn: object) -> str:
    """Where a connection string leads, without its secrets."""
    if not isinstance(dsn, str):
        raise TypeError(f"dsn must be a str, not {type(dsn).__name__}")
    try:
        parts = conninfo.conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:
        # libpq quotes the string in its message, and with it the password.
        raise ValueError(
            "dsn is not a valid connection string; it looks like postgresql://user@host:5432/database"
        ) from None
    shown = {name: parts[name] for name in ("host", "port", "dbname", "user", "service") if parts.get(name)}
    return " ".join(f"{name}={value}" for name, value in shown.items())
