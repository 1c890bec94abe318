"""A connection that a worker keeps, and opens again when it is lost."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator

import psycopg
from psycopg import conninfo

from pgwerk._async.connections import Connection, behind_pooler, open_connection

FIRST_PAUSE_SECS = 0.1
LONGEST_PAUSE_SECS = 10.0

# A worker's statements find their rows by an index, always. A plan made while the tables were small, and kept because
# the statement is prepared, may say otherwise long after they have grown. As there is one plan for all parameters, the
# server need not make a new one each time to see whether it would be better (0.3 ms of a claim). In UTC, times are read
# without looking up a zone.
_SETTINGS = (
    b"SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; SET jit = off; "
    b"SET plan_cache_mode = force_generic_plan; SET timezone = 'UTC'; "
    b"SET default_transaction_isolation = 'read committed'"
)


class Session:
    """One connection, for one statement or transaction at a time.

    Args:
        dsn: Connection string of libpq.
        silence_secs: Seconds after which a peer that does not answer counts as lost.
    """

    def __init__(self, dsn: str, *, silence_secs: float) -> None:
        given = conninfo.conninfo_to_dict(dsn)
        added = {name: value for name, value in _keepalives(silence_secs).items() if name not in given}
        self._dsn = conninfo.make_conninfo(dsn, **added)
        self._connection: Connection | None = None
        self._lock = asyncio.Lock()
        self._connected_at: float | None = None

    @property
    def connected_secs(self) -> float:
        """For how long the connection has been there without a fault; 0 when it is not."""
        return 0.0 if self._connected_at is None else time.monotonic() - self._connected_at

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
                connection = self._connection = await self._open()
                self._connected_at = time.monotonic()
            try:
                yield connection
            except BaseException:
                # Cut off in the middle, by an error or a cancellation, its state is not known.
                if connection.closed or connection.pgconn.transaction_status != psycopg.pq.TransactionStatus.IDLE:
                    self._connected_at = None
                    await connection.close()
                raise

    async def close(self) -> None:
        """Close the connection."""
        async with self._lock:
            if self._connection is not None:
                await self._connection.close()
                self._connection = None

    async def _open(self) -> Connection:
        connection = await open_connection(self._dsn)
        try:
            if not await behind_pooler(connection):
                await connection.execute(_SETTINGS)
                connection.prepare_threshold = 2
        except BaseException:
            await connection.close()
            raise
        return connection


class Backoff:
    """Pauses between tries: they double, with "full jitter", so that workers do not come back all at once.

    After M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """

    def __init__(self) -> None:
        self._ceiling = FIRST_PAUSE_SECS
        self._rng = random.Random()

    def reset(self) -> None:
        """Something has worked."""
        self._ceiling = FIRST_PAUSE_SECS

    def next(self) -> float:
        """Seconds to pause."""
        pause = self._rng.uniform(self._ceiling / 2, self._ceiling)
        self._ceiling = min(2 * self._ceiling, LONGEST_PAUSE_SECS)
        return pause


def _keepalives(silence_secs: float) -> dict[str, str]:
    """Have the system find out that a peer is gone; what the connection string says takes precedence."""
    idle = max(1, round(silence_secs / 2))
    return {
        "connect_timeout": str(max(2, round(silence_secs))),
        "keepalives": "1",
        "keepalives_idle": str(idle),
        "keepalives_interval": str(max(1, idle // 3)),
        "keepalives_count": "3",
        "tcp_user_timeout": str(round(silence_secs * 1000)),
        "application_name": "pgwerk worker",
    }
