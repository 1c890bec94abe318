"""Connections: short-lived ones by default, from a pool where the application wants one.

A short-lived connection per operation costs about 3 ms and holds nothing in between, which suits external poolers and
processes that enqueue now and then. A service that enqueues often takes a pool: its own (`pool=`) or one that the
client owns (`pool_size=`).

Whatever the connection is, the statements mean the same on it: names are qualified, values are read and written by the
driver's own adapters, and nothing depends on a setting of the session. On connections of somebody else, and behind a
pooler, nothing is prepared.
"""

from __future__ import annotations

import contextlib
import logging
import traceback
from collections.abc import AsyncIterator, Mapping
from typing import Any, Literal, Self, TypeAlias

import psycopg
import psycopg_pool
from psycopg import adapt, conninfo, postgres
from psycopg.rows import tuple_row
from psycopg.types import array

from pgwerk._async import _compat, forking
from pgwerk._async.poolers import Poolers, let_prepare, may_prepare
from pgwerk._async.pools import OwnedPools, lent
from pgwerk._async.stock import PooledConnection
from pgwerk._core import checks
from pgwerk._core.poolers import check_pooler

logger = logging.getLogger("pgwerk.connections")

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


class OwnCursor(psycopg.AsyncCursor[tuple[Any, ...]]):
    """A cursor that reads and writes values in one way, whatever the connection it works on has been taught."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection, row_factory=tuple_row)

    @property
    def adapters(self) -> adapt.AdaptersMap:
        """The driver's own adapters."""
        return _ADAPTERS.adapters


class WerkCursor(OwnCursor):
    """One that may work on any connection: it finds out what is safe on this one."""

    async def execute(  # type: ignore[override]  # ours are never templates
        self,
        query: bytes,
        params: Mapping[str, Any] | None = None,
        *,
        prepare: bool | None = None,
        binary: bool | None = None,
    ) -> Self:
        """Execute a statement, which is prepared only where that is safe.

        Raises:
            UnicodeError: The connection's encoding lacks a character of the parameters; nothing was sent.
        """
        if prepare is None and not may_prepare(self.connection):
            prepare = False
        try:
            return await super().execute(query, params, prepare=prepare, binary=binary)
        except UnicodeEncodeError as error:
            raise not_encodable(self.connection, error) from None


def not_encodable(connection: Connection, error: UnicodeEncodeError) -> UnicodeError:
    """What to raise for a character that the connection's encoding lacks."""
    encoding = connection.info.parameter_status("client_encoding")
    character = error.object[error.start]
    return UnicodeError(f"the connection's client_encoding is {encoding}, which has no {character!r}: use UTF8")


def cursor_of(connection: Connection) -> psycopg.AsyncCursor[tuple[Any, ...]]:
    """The connection's own cursor, or else a new one. The former leaves the errors about encodings to its user."""
    kept = connection.kept_cursor if isinstance(connection, PooledConnection) else None
    return kept or WerkCursor(connection)


_ADAPTERS = _OwnAdapters()

_OPTIONS: dict[str, Any] = {"autocommit": True, "client_encoding": "utf8", "fallback_application_name": "pgwerk"}
"""What the application's own encoding is does not matter: in UTF-8 everything can be sent and read."""

_KEEPALIVES = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3, "tcp_user_timeout": 30_000}
"""For connections that are kept: a peer that has gone without a word is found out within a minute, not after hours."""


class Connections:
    """Where the operations of one client get their connections from.

    Args:
        dsn: Connection string of libpq.
        pool: A pool of the caller's; it is opened and closed by the caller.
        pool_size: Size of a pool that this object owns.
        pooler: Whether `dsn` leads to a pooler; "auto" finds out.
        listen_dsn: Connection string for connections that listen.

    Raises:
        TypeError: `pool` is not a psycopg pool of this flavour, or another argument has the wrong type.
        ValueError: A connection string cannot be parsed, both `pool` and `pool_size` are given, `pool_size` is not
            positive, or `pooler` is something else.
    """

    def __init__(
        self,
        dsn: str,
        *,
        pool: object = None,
        pool_size: int | None = None,
        pooler: bool | Literal["auto"] = "auto",
        listen_dsn: str | None = None,
    ) -> None:
        self.dsn = dsn
        self.where = _describe("dsn", dsn)
        if listen_dsn is not None:
            _describe("listen_dsn", listen_dsn)
        self.listen_dsn = listen_dsn
        self.pooler = pooler
        self.poolers = Poolers(check_pooler(pooler), has_way_round=listen_dsn is not None)
        if pool is not None and not isinstance(pool, psycopg_pool.AsyncConnectionPool):
            wanted = psycopg_pool.AsyncConnectionPool.__name__
            raise TypeError(f"pool must be a psycopg_pool.{wanted}, not {type(pool).__name__}")
        if pool is not None and pool_size is not None:
            raise ValueError("pool and pool_size cannot be given together: a pool of yours has its own size")
        self._given: Pool | None = pool
        self._given_is_inherited = False
        self._owned: OwnedPools | None = None
        if pool_size is not None:
            size = checks.whole("pool_size", pool_size, minimum=1)
            options = {**_OPTIONS, **unless_given(dsn, _KEEPALIVES)}
            self._owned = OwnedPools(dsn, options, size, self._configure)
        forking.register(self)

    def connection(self) -> contextlib.AbstractAsyncContextManager[Connection]:
        """A connection for one operation. Outside of `transaction()`, each statement commits by itself.

        Raises:
            psycopg.OperationalError: The database cannot be reached.
            psycopg_pool.PoolTimeout: No connection of the pool became free in time.
            ValueError: The encoding of the caller's pool cannot carry text.
        """
        return self._lent_or_opened() if self._owned is None else self._owned.connection()

    @contextlib.asynccontextmanager
    async def _lent_or_opened(self) -> AsyncIterator[Connection]:
        if (pool := self._given_pool()) is not None:
            async with lent(pool) as connection:
                _check_encoding("pool", connection)
                yield self.accept(connection)
        else:
            connection = await self.open()
            try:
                yield connection
            finally:
                await connection.close()

    async def open(self) -> Connection:
        """A new connection, which the caller closes.

        Raises:
            psycopg.OperationalError: The database cannot be reached.
        """
        return await open_connection(self.dsn)

    async def open_to_listen(self) -> Connection:
        """A new connection to listen on, which the caller closes. It gives up soon: others wait for it.

        Raises:
            psycopg.OperationalError: The database cannot be reached.
        """
        dsn = self.listen_dsn or self.dsn
        return await open_connection(dsn, **unless_given(dsn, {**_KEEPALIVES, "connect_timeout": 5}))

    def accept(self, given: object) -> Connection:
        """The connection that a caller's `_conn` stands for. Whether it may prepare statements is known from now on.

        Raises:
            TypeError, ValueError: As `own_connection`.
        """
        connection = own_connection(given)
        if not may_prepare(connection) and self.poolers.is_excluded(connection):
            let_prepare(connection)
        return connection

    async def close(self) -> None:
        """Close the pool that this object owns, if there is one."""
        if self._owned is not None:
            await self._owned.close()

    def after_fork(self) -> None:
        """Leave the parent its connections. A pool that was open is of no use here, and one that was not is."""
        self._given_is_inherited = self._given is not None and not self._given.closed

    def _given_pool(self) -> Pool | None:
        """The caller's pool, unless it is the parent's: what it holds is, and what would fill it does not run here."""
        if self._given_is_inherited and self._given is not None:
            logger.warning(
                "the pool %r was opened before this process was forked, so its connections belong to the parent: a new "
                "one is opened for each operation. Open the pool, or make the client, after the fork",
                self._given.name,
            )
            forking.abandon(self._given)
            self._given = None
        return self._given

    async def _configure(self, connection: PooledConnection) -> None:
        """Use prepared statements only where each of them reaches the session that knows it."""
        # Whether it prepares is up to the connection's threshold, as set here.
        connection.kept_cursor = OwnCursor(connection)
        await connection.set_isolation_level(psycopg.IsolationLevel.READ_COMMITTED)
        if await self.poolers.inspect(connection):
            connection.prepare_threshold = None
        else:
            let_prepare(connection)


async def open_connection(dsn: str, **options: Any) -> Connection:
    """A new connection with the settings that the statements rely on.

    Args:
        dsn: Connection string of libpq.
        options: Further arguments of `connect`, which take precedence over the connection string.

    Raises:
        psycopg.OperationalError: The database cannot be reached.
    """
    connection = None
    try:
        connection = await psycopg.AsyncConnection.connect(dsn, **{**_OPTIONS, **options}, prepare_threshold=None)
        await connection.set_isolation_level(psycopg.IsolationLevel.READ_COMMITTED)
    except BaseException as error:
        # After a cancellation or Ctrl-C, too, no connection is left: not even one that was half made, which the driver
        # leaves to the frames of the traceback, and who knows how long that is kept.
        if connection is not None:
            await connection.close()
        traceback.clear_frames(error.__traceback__)
        raise
    return connection


def unless_given(dsn: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the arguments of `connect` about which the connection string says nothing."""
    given = conninfo.conninfo_to_dict(dsn)
    return {name: value for name, value in options.items() if name not in given}


def own_connection(given: object, name: str = "_conn") -> Connection:
    """The connection that a caller's `_conn` stands for.

    Args:
        given: What the caller passed.
        name: What the caller knows it as.

    Raises:
        TypeError: It is no psycopg connection or cursor of this flavour.
        ValueError: Its encoding cannot carry text.
    """
    if isinstance(given, psycopg.AsyncCursor):
        given = given.connection
    if isinstance(given, psycopg.AsyncConnection):
        _check_encoding(name, given)
        return given
    wanted = psycopg.AsyncConnection.__name__
    if isinstance(getattr(given, "connection", given), psycopg.BaseConnection):
        raise TypeError(
            f"{name} is of the other flavour: this client is {_compat.FLAVOUR} and needs a psycopg.{wanted}, "
            f"not a {type(given).__name__}"
        )
    raise TypeError(f"{name} must be a psycopg.{wanted} or one of its cursors, not {type(given).__name__}")


def _check_encoding(name: str, connection: Connection) -> None:
    if connection.info.encoding == "ascii":
        raise ValueError(f"{name} has the client_encoding SQL_ASCII, in which text is only bytes: use UTF8")


def _describe(name: str, dsn: object) -> str:
    """Where a connection string leads, without its secrets."""
    if not isinstance(dsn, str):
        raise TypeError(f"{name} must be a str, not {type(dsn).__name__}")
    try:
        parts = conninfo.conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:
        # libpq quotes the string in its message, and with it the password.
        raise ValueError(
            f"{name} is not a valid connection string; it looks like postgresql://user@host:5432/database"
        ) from None
    shown = {part: parts[part] for part in ("host", "port", "dbname", "user", "service") if parts.get(part)}
    return " ".join(f"{part}={value}" for part, value in shown.items())
