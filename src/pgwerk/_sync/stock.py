# Generated from src/pgwerk/_async/stock.py by `python tools/unasync_build.py`.
# Do not edit: change that file and run the command again.

"""Stock: the connections of one scope, of which the one that came back last is taken first.

A pool of psycopg hands out the connection that was unused for the longest time: each call finds another session of the
server, and its memory cold. So a connection that comes back is laid aside, and taken from there, the last one first.
With a pool of four, to enqueue one job took 11 to 20% longer without this. A connection goes back to the pool when
somebody waits there, and now and then anyway, as the pool replaces those that are too old.

Nobody waits in vain. Whoever wants a connection says so first and looks aside then; whoever brings one lays it aside
first and looks for others who want one then. Whatever the order in which threads do that, one of two sees the other.

A connection may have died since it was used last: the server was restarted, a pooler or a firewall closed it. Whoever
takes it must not notice. To ask the server each time costs as much as the work itself, so the socket is asked: when the
other side has closed the connection, or said why it is about to, there is something to read, without waiting. Only
then, and after a long time of disuse, in which a firewall may have dropped it without a word, the server is asked.
"""

from __future__ import annotations

import select
import time
import weakref
from typing import Any, TypeAlias

import psycopg
import psycopg_pool

Pool: TypeAlias = psycopg_pool.ConnectionPool[Any]

TRUSTED_SECS = 30.0
"""How long a connection may be unused until the server is asked about it."""

IDLE = psycopg.pq.TransactionStatus.IDLE

KEPT_TIMES = 100
"""After how many returns one goes to the pool, which looks at how old the connection is."""


class PooledConnection(psycopg.Connection[Any]):
    """A connection of a pool of ours.

    Attributes:
        kept_cursor: A cursor that stays. What it has found out about types need not be found out again by each
            statement. Whoever has taken the connection out of the pool has its cursor to himself.
        taken_at: When it was taken last, by the clock that only goes forward.
    """

    kept_cursor: psycopg.Cursor[tuple[Any, ...]] | None = None
    taken_at: float = 0.0


Connection: TypeAlias = PooledConnection


class Stock:
    """The connections of one scope: a pool of the driver's, and before it those that came back last.

    `pool` is set by whoever makes it, as each needs the other.
    """

    pool: Pool

    def __init__(self) -> None:
        self._members: weakref.WeakSet[Connection] = weakref.WeakSet()
        self._aside: list[Connection] = []
        self._waiting: list[None] = []
        self._returns = 0

    def admit(self, connection: Connection) -> None:
        """Note a connection that the pool has opened."""
        connection.taken_at = time.monotonic()
        self._members.add(connection)

    def members(self) -> list[Connection]:
        """All connections, those in use too."""
        return list(self._members)

    def at_hand(self) -> Connection | None:
        """The connection that came back last, unless there is none, or the server has to be asked about it."""
        connection = self._pop_aside()
        if connection is None or self._seems_alive(connection):
            return connection
        self._aside.append(connection)
        return None

    def take(self) -> Connection:
        """Take out connections until one of them is alive. The pool replaces the dead ones.

        The pool could do that by itself (`check=`), but pauses for a second after the second dead one, for two after
        the third, and so on: when a server has been restarted, they are all dead.

        Raises:
            psycopg_pool.PoolTimeout: None became free in time.
        """
        deadline = time.monotonic() + self.pool.timeout
        while True:
            connection = self._pop_aside() or self._from_pool(deadline)
            if self._seems_alive(connection):
                return connection
            alive = False
            try:
                alive = _answers(connection)
                connection.taken_at = time.monotonic()
            finally:
                if not alive:
                    connection.close()
                    self.pool.putconn(connection)
            if alive:
                return connection

    def give_back(self, connection: Connection) -> None:
        """Put back what was taken. What was cut off in a transaction is rolled back."""
        if (surplus := self.lay_aside(connection)) is not None:
            self.pool.putconn(surplus)

    def lay_aside(self, connection: Connection) -> Connection | None:
        """Lay aside what was taken. Returns what is to be put into the pool: this one or another, or nothing."""
        self._returns += 1
        is_idle = connection.pgconn.transaction_status == IDLE
        if not is_idle or self._is_wanted() or self._returns % KEPT_TIMES == 0:
            return connection
        self._aside.append(connection)
        # Another thread may have begun to wait, or closed the pool, since somebody looked.
        return self._pop_aside() if self._is_wanted() else None

    def close(self) -> None:
        """Close all connections, those in use when they are given back."""
        self.pool.close()
        # Into a pool that is closed: it closes them.
        while (laid_aside := self._pop_aside()) is not None:
            self.pool.putconn(laid_aside)

    def drop(self) -> None:
        """Close the connections of a scope that is over, in which nobody can do so in an orderly way any more."""
        for connection in self.members():
            connection.pgconn.finish()

    def _pop_aside(self) -> Connection | None:
        # Not looked at first: between a look and the pop, another thread might take it.
        try:
            return self._aside.pop()
        except IndexError:
            return None

    def _from_pool(self, deadline: float) -> Connection:
        self._waiting.append(None)
        try:
            # Who lays one aside looks for whoever waits after that, and who waits looks here after saying so.
            laid_aside = self._pop_aside()
            return laid_aside or self.pool.getconn(max(deadline - time.monotonic(), 0))
        except psycopg_pool.PoolTimeout:
            raise psycopg_pool.PoolTimeout(
                f"no connection for {self.pool.timeout:g} s: all {self.pool.max_size} of the pool are in use, or the "
                f"database cannot be reached, and then the log of psycopg.pool says why"
            ) from None
        finally:
            self._waiting.pop()

    def _is_wanted(self) -> bool:
        return bool(self._waiting) or self.pool.closed

    def _seems_alive(self, connection: Connection) -> bool:
        """Whether there is no reason to ask the server."""
        now = time.monotonic()
        try:
            if now - connection.taken_at > TRUSTED_SECS or has_arrived(connection.pgconn.socket):
                return False
        except (psycopg.Error, OSError):  # it is closed
            return False
        connection.taken_at = now
        return True


def _answers(connection: Connection) -> bool:
    try:
        psycopg_pool.ConnectionPool.check_connection(connection)
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
