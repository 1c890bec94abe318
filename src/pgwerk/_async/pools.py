"""Pools: one that the client owns, and one that the caller has given.

A connection of a pool may have died since it was used last: the server was restarted, a pooler or a firewall closed it.
Whoever takes it must not notice. To ask the server each time costs as much as the work itself, so the socket is asked:
when the other side has closed the connection, or said why it is about to, there is something to read, without waiting.
Only then, and after a long time of disuse, in which a firewall may have dropped it without a word, the server is asked.
"""

from __future__ import annotations

import contextlib
import functools
import select
import time
import weakref
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Any, TypeAlias

import psycopg
import psycopg_pool

from pgwerk._async import _compat, forking

Connection: TypeAlias = psycopg.AsyncConnection[Any]
Pool: TypeAlias = psycopg_pool.AsyncConnectionPool[Any]
Members: TypeAlias = weakref.WeakKeyDictionary[Connection, float]
"""The connections of a pool, and when each of them was taken last."""

TRUSTED_SECS = 30.0
"""How long a connection may be unused until the server is asked about it."""


class OwnedPools:
    """The pools of one client: one in each scope, opened when it is needed.

    Args:
        dsn: Connection string of libpq.
        options: Further arguments of `connect`.
        size: How many connections a pool has.
        configure: Called with each new connection.
    """

    def __init__(
        self,
        dsn: str,
        options: dict[str, Any],
        size: int,
        configure: Callable[[Connection], _compat.Eventually[None]],
    ) -> None:
        self._dsn = dsn
        self._options = options
        self._size = size
        self._configure = configure
        self._pools: dict[object, tuple[Pool, Members]] = {}
        self._lock = _compat.Lock()
        forking.register(self)

    def connection(self) -> Loan:
        """A connection that is alive."""
        return Loan(self)

    async def take(self) -> tuple[Pool, Connection]:
        """Take a connection that is alive out of the pool of this scope, into which the caller puts it back.

        Raises:
            psycopg_pool.PoolTimeout: None became free in time.
        """
        pool, members = await self._pool()
        return pool, await _take(pool, members)

    async def close(self) -> None:
        """Close the pool of this scope, if there is one."""
        async with self._lock:
            pool, _ = self._pools.pop(_compat.scope(), (None, None))
        if pool is not None:
            await pool.close()

    def after_fork(self) -> None:
        """Leave the parent its connections."""
        self._lock = _compat.Lock()
        forking.abandon([(pool, list(members)) for pool, members in self._pools.values()])
        self._pools = {}

    async def _pool(self) -> tuple[Pool, Members]:
        scope = _compat.scope()
        there = self._pools.get(scope)
        if there is not None:
            return there
        async with self._lock:
            for over in [known for known in self._pools if _compat.scope_is_over(known)]:
                self._forget(over)
            if scope not in self._pools:
                self._pools[scope] = await self._open()
            return self._pools[scope]

    async def _open(self) -> tuple[Pool, Members]:
        members: Members = weakref.WeakKeyDictionary()
        pool: Pool = psycopg_pool.AsyncConnectionPool(
            self._dsn,
            # All connections at once: psycopg_pool's workers swallow a cancellation while they connect, so a program
            # that ends while the pool grows in the background would hang.
            min_size=self._size,
            max_size=self._size,
            open=False,
            kwargs=self._options,
            configure=functools.partial(self._welcome, members),
            name="pgwerk",
        )
        try:
            await pool.open(wait=True)
        except BaseException:
            await pool.close()
            raise
        return pool, members

    async def _welcome(self, members: Members, connection: Connection) -> None:
        members[connection] = time.monotonic()
        await self._configure(connection)

    def _forget(self, scope: object) -> None:
        """Drop the pool of a scope that is over, in which nobody can close it in an orderly way any more."""
        _, members = self._pools.pop(scope)
        for connection in list(members):
            connection.pgconn.finish()


class Loan:
    """A connection of a client's own pool, until the end of a block.

    A class: as a generator, it would cost as much again as all that it does. Nothing is committed or rolled back in the
    end. The connection commits by itself, and what was cut off in a transaction is rolled back by the pool.

    Args:
        pools: The client's pools.
    """

    __slots__ = ("_connection", "_pool", "_pools")

    def __init__(self, pools: OwnedPools) -> None:
        self._pools = pools

    async def __aenter__(self) -> Connection:
        self._pool, self._connection = await self._pools.take()
        return self._connection

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._pool.putconn(self._connection)


@contextlib.asynccontextmanager
async def lent(pool: Pool) -> AsyncIterator[Connection]:
    """A connection of the caller's pool, set up the way ours are, and given back as it was.

    Raises:
        psycopg_pool.PoolTimeout: None became free in time.
    """
    async with pool.connection() as connection:
        autocommit, isolation_level = connection.autocommit, connection.isolation_level
        # Nothing of this goes to the server: it says how the driver begins transactions.
        await connection.set_autocommit(True)
        await connection.set_isolation_level(psycopg.IsolationLevel.READ_COMMITTED)
        try:
            yield connection
        finally:
            if connection.pgconn.transaction_status == psycopg.pq.TransactionStatus.IDLE:
                await connection.set_isolation_level(isolation_level)
                await connection.set_autocommit(autocommit)
            else:
                # Cut off in the middle. The pool replaces it.
                await connection.close()


async def _take(pool: Pool, members: Members) -> Connection:
    """Take connections out of a pool until one of them is alive. The pool replaces the dead ones.

    The pool could do that by itself (`check=`), but pauses for a second after the second dead one, for two after the
    third, and so on: when a server has been restarted, they are all dead.
    """
    deadline = time.monotonic() + pool.timeout
    while True:
        connection: Connection = await pool.getconn(max(deadline - time.monotonic(), 0))
        alive = False
        try:
            alive = await _is_alive(connection, members)
        finally:
            if not alive:
                await connection.close()
                await pool.putconn(connection)
        if alive:
            return connection


async def _is_alive(connection: Connection, members: Members) -> bool:
    now = time.monotonic()
    unused_secs = now - members.get(connection, 0.0)
    members[connection] = now
    try:
        if unused_secs > TRUSTED_SECS or has_arrived(connection.pgconn.socket):
            await psycopg_pool.AsyncConnectionPool.check_connection(connection)
    except (psycopg.Error, OSError):
        return False
    return True


def _has_arrived_by_poll(socket: int) -> bool:
    poll = select.poll()
    poll.register(socket, select.POLLIN)
    return bool(poll.poll(0))


def _has_arrived_by_select(socket: int) -> bool:
    return bool(select.select([socket], [], [], 0)[0])


# select() takes no descriptor above 1023, and Windows has no poll().
has_arrived = _has_arrived_by_poll if hasattr(select, "poll") else _has_arrived_by_select
"""Whether there is something to read on a socket, its end included. Does not wait."""
