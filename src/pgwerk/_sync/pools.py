# Generated from src/pgwerk/_async/pools.py by `python tools/unasync_build.py`.
# Do not edit: change that file and run the command again.

"""Pools: those that a client owns, one in each scope, and one that the caller has given."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

import psycopg
import psycopg_pool

from pgwerk._sync import _compat, forking
from pgwerk._sync.stock import Connection, Pool, PooledConnection, Stock


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
        configure: Callable[[Any], _compat.Eventually[None]],
    ) -> None:
        self._dsn = dsn
        self._options = options
        self._size = size
        self._configure = configure
        self._stocks: dict[object, Stock] = {}
        self._lock = _compat.Lock()
        forking.register(self)

    def connection(self) -> Loan:
        """A connection that is alive."""
        return Loan(self)

    def there(self) -> Stock | None:
        """The connections of this scope, if it has had any."""
        return self._stocks.get(_compat.scope())

    def stock(self) -> Stock:
        """The connections of this scope, opened if need be."""
        scope = _compat.scope()
        with self._lock:
            for over in [known for known in self._stocks if _compat.scope_is_over(known)]:
                self._stocks.pop(over).drop()
            if scope not in self._stocks:
                self._stocks[scope] = self._open()
            return self._stocks[scope]

    def close(self) -> None:
        """Close the pool of this scope, if there is one."""
        with self._lock:
            stock = self._stocks.pop(_compat.scope(), None)
        if stock is not None:
            stock.close()

    def after_fork(self) -> None:
        """Leave the parent its connections."""
        self._lock = _compat.Lock()
        forking.abandon([(stock, stock.members()) for stock in self._stocks.values()])
        self._stocks = {}

    def _open(self) -> Stock:
        stock = Stock()
        stock.pool = psycopg_pool.ConnectionPool(
            self._dsn,
            connection_class=PooledConnection,
            # All connections at once: psycopg_pool's workers swallow a cancellation while they connect, so a program
            # that ends while the pool grows in the background would hang.
            min_size=self._size,
            max_size=self._size,
            open=False,
            kwargs=self._options,
            configure=functools.partial(self._welcome, stock),
            name="pgwerk",
        )
        try:
            stock.pool.open(wait=True)
        except BaseException:
            stock.pool.close()
            raise
        return stock

    def _welcome(self, stock: Stock, connection: Connection) -> None:
        stock.admit(connection)
        self._configure(connection)


class Loan:
    """A connection of a client's own pool, until the end of a block.

    A class: a generator would cost as much again as all that it does. Nothing is committed or rolled back in the end,
    as the connection commits by itself.

    Args:
        pools: The client's pools.
    """

    __slots__ = ("_connection", "_pools", "_stock")

    def __init__(self, pools: OwnedPools) -> None:
        self._pools = pools

    def __enter__(self) -> Connection:
        self._stock = stock = self._pools.there() or self._pools.stock()
        self._connection = connection = stock.at_hand() or stock.take()
        return connection

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if (surplus := self._stock.lay_aside(self._connection)) is not None:
            self._stock.pool.putconn(surplus)


@contextlib.contextmanager
def lent(pool: Pool) -> Iterator[psycopg.Connection[Any]]:
    """A connection of the caller's pool, set up the way ours are, and given back as it was.

    Raises:
        psycopg_pool.PoolTimeout: None became free in time.
    """
    with pool.connection() as connection:
        autocommit, isolation_level = connection.autocommit, connection.isolation_level
        # Nothing of this goes to the server: it says how the driver begins transactions.
        connection.set_autocommit(True)
        connection.set_isolation_level(psycopg.IsolationLevel.READ_COMMITTED)
        try:
            yield connection
        finally:
            if connection.pgconn.transaction_status == psycopg.pq.TransactionStatus.IDLE:
                connection.set_isolation_level(isolation_level)
                connection.set_autocommit(autocommit)
            else:
                # Cut off in the middle. The pool replaces it.
                connection.close()
