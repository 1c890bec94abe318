"""A connection that a worker keeps, and opens again when it is lost."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import AsyncIterator, Iterator
from typing import NamedTuple

import psycopg

from pgwerk._async.connections import Connection, open_connection, unless_given
from pgwerk._async.poolers import behind_pooler, let_prepare
from pgwerk._core.poolers import check_pooler

logger = logging.getLogger("pgwerk.worker")

SHORTEST_HITCH_SECS = 1.0
SHORTEST_OPENING_SECS = 2.0
HANGING_SECS = 0.5

# A worker's statements find their rows by an index, always. A plan made while the tables were small, and kept because
# the statement is prepared, may say otherwise long after they have grown. As there is one plan for all parameters, the
# server need not make a new one each time to see whether it would be better (0.3 ms of a claim). In UTC, times are read
# without looking up a zone. Behind a pooler there are neither these settings nor prepared statements: each statement is
# planned anew, with what the server knows about the tables at that moment.
_SETTINGS = (
    b"SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; SET jit = off; "
    b"SET plan_cache_mode = force_generic_plan; SET timezone = 'UTC'; "
    b"SET default_transaction_isolation = 'read committed'"
)


class Wait(NamedTuple):
    """A use of a connection that has not ended.

    Attributes:
        connection: The connection.
        pid: The process of the server at the other end.
        began_at: Since when, by the monotonic clock.
    """

    connection: Connection
    pid: int
    began_at: float


class Session:
    """One connection, for one statement or transaction at a time.

    Args:
        dsn: Connection string of libpq.
        silence_secs: Seconds after which a peer that does not answer counts as lost.
        pooler: Whether it is a pooler that answers; "auto" finds out each time it connects.
        tuned: Whether statements run on it that the settings are for.

    Attributes:
        dsn: The connection string.
        options: What is passed beside it.
        is_pooled: Whether a pooler answers; known while connected.
    """

    def __init__(self, dsn: str, *, silence_secs: float, pooler: bool | str = "auto", tuned: bool = True) -> None:
        self.dsn = dsn
        self.options = unless_given(dsn, _options(silence_secs))
        self._hitch_secs = max(silence_secs / 3, SHORTEST_HITCH_SECS)
        # What the driver waits for does not include the first statements.
        self._opening_secs = max(silence_secs, SHORTEST_OPENING_SECS)
        self._pooler = check_pooler(pooler)
        self._tuned = tuned
        self.is_pooled = bool(self._pooler)
        self._connection: Connection | None = None
        self._lock = asyncio.Lock()
        self._connected_at: float | None = None
        self._began_at: float | None = None
        # The use that goes on, for as long as the server is expected to answer.
        self._wait: Wait | None = None

    @property
    def connected_secs(self) -> float:
        """For how long the server has been there without a fault or a hitch; 0 when it is not.

        A hitch is a third of `silence_secs` without an answer: a pooler that does not reach the server keeps its
        clients, and lets them wait; so does a server whose disk hangs.
        """
        return 0.0 if self._connected_at is None or self._has_hitch() else time.monotonic() - self._connected_at

    @contextlib.asynccontextmanager
    async def use(self) -> AsyncIterator[Connection]:
        """The connection, for the caller alone. When it is lost on the way, the next caller gets a new one.

        Raises:
            psycopg.OperationalError: The database cannot be reached.
        """
        async with self._lock:
            connection = self._connection
            if connection is None or connection.closed:
                self._connected_at = None
                connection = self._connection = await self._open_in_time()
                self._connected_at = time.monotonic()
            self._begin(connection)
            try:
                yield connection
            except BaseException:
                # Cut off in the middle, by an error or a cancellation, its state is not known.
                if connection.closed or connection.pgconn.transaction_status != psycopg.pq.TransactionStatus.IDLE:
                    self._connected_at = None
                    await connection.close()
                raise
            finally:
                if self._connected_at is not None and self._has_hitch():
                    self._connected_at = time.monotonic()
                self._began_at = self._wait = None

    @contextlib.contextmanager
    def resting(self) -> Iterator[None]:
        """Within a use: nothing is expected from the server, until it has something to say."""
        self._began_at = self._wait = None
        try:
            yield
        finally:
            if self._connection is not None:
                self._begin(self._connection)

    def waits_for(self, secs: float) -> Wait | None:
        """The use that has gone on for longer than this, if one has."""
        wait = self._wait
        return wait if wait is not None and time.monotonic() - wait.began_at > secs else None

    def cut(self, wait: Wait, reason: str) -> None:
        """Give a connection up that is waited for in vain: whoever waits gets an error."""
        if self._wait is not wait or wait.connection.closed:
            return
        logger.warning("a connection is dead, and cut off: %s", reason)
        _shut_down(wait.connection)

    def hang_up(self) -> None:
        """Let nobody wait any longer who has waited for a while: cancelled, they would wait for an answer to that."""
        wait = self.waits_for(HANGING_SECS)
        if wait is not None:
            _shut_down(wait.connection)

    def _begin(self, connection: Connection) -> None:
        self._began_at = time.monotonic()
        self._wait = Wait(connection, connection.info.backend_pid, self._began_at)

    async def close(self) -> None:
        """Close the connection."""
        async with self._lock:
            if self._connection is not None:
                await self._connection.close()
                self._connection = None

    def _has_hitch(self) -> bool:
        return self._began_at is not None and time.monotonic() - self._began_at > self._hitch_secs

    async def _open_in_time(self) -> Connection:
        try:
            async with asyncio.timeout(self._opening_secs):
                return await self._open()
        except TimeoutError:
            raise psycopg.OperationalError(f"the server did not answer within {self._opening_secs:g} s") from None

    async def _open(self) -> Connection:
        connection = await open_connection(self.dsn, **self.options)
        try:
            self.is_pooled = await behind_pooler(connection) if self._pooler is None else self._pooler
            if self._tuned and not self.is_pooled:
                await connection.execute(_SETTINGS)
                connection.prepare_threshold = 2
                let_prepare(connection)
        except BaseException:
            await connection.close()
            raise
        return connection


def _shut_down(connection: Connection) -> None:
    # To close it would leave the one who waits waiting. Of a duplicate, as the descriptor belongs to libpq.
    with contextlib.suppress(OSError, psycopg.Error), socket.fromfd(connection.fileno(), 0, 0) as duplicate:
        duplicate.shutdown(socket.SHUT_RDWR)


def _options(silence_secs: float) -> dict[str, str]:
    """Have the system find out that a peer is gone; what the connection string says takes precedence."""
    idle = max(1, round(silence_secs / 2))
    return {
        "connect_timeout": str(max(2, round(silence_secs / 3))),
        "keepalives": "1",
        "keepalives_idle": str(idle),
        "keepalives_interval": str(max(1, idle // 3)),
        "keepalives_count": "3",
        "tcp_user_timeout": str(round(silence_secs * 1000)),
        "fallback_application_name": "pgwerk worker",
    }
