"""Poolers: whether one stands between here and the server, and what is left out then.

A pooler in transaction mode gives each transaction whatever session is free. So nothing may rest on the session: no
prepared statements, no SET, no advisory locks of the session, no `options` at connect, which PgBouncer refuses, and no
LISTEN, which would stay behind in a session that others use. Transactions and pipelines work.

One gives itself away by the process id that it tells at connect: it has to make one up, because a cancellation is sent
to it and not to the server. A proxy that does the same without sharing sessions is taken for a pooler, and so is a
pooler in session mode, which costs latency only.
"""

from __future__ import annotations

import logging
import weakref
from typing import Any

import psycopg
from psycopg.rows import tuple_row

from pgwerk._core.poolers import Endpoint, announcement

logger = logging.getLogger("pgwerk.connections")

_preparing: weakref.WeakSet[psycopg.AsyncConnection[Any]] = weakref.WeakSet()


def may_prepare(connection: psycopg.AsyncConnection[Any]) -> bool:
    """Whether a statement that is prepared on this connection is known to the session that it reaches next time."""
    return connection in _preparing


def let_prepare(connection: psycopg.AsyncConnection[Any]) -> None:
    """Allow prepared statements, once their use is frequent enough for the connection's `prepare_threshold`."""
    _preparing.add(connection)


async def behind_pooler(connection: psycopg.AsyncConnection[Any]) -> bool:
    """Whether something between here and the server hands out sessions. Takes a round trip."""
    cursor = psycopg.AsyncCursor(connection, row_factory=tuple_row)
    await cursor.execute("SELECT pg_backend_pid()", prepare=False)
    row = await cursor.fetchone()
    return row is None or row[0] != connection.info.backend_pid


class Poolers:
    """What one client knows about the poolers on its way.

    Args:
        told: Whether there is one, as far as the application says; None if that has to be found out.
        has_way_round: Whether there is a direct connection to listen on.
    """

    def __init__(self, told: bool | None, *, has_way_round: bool) -> None:
        self._told = told
        self._has_way_round = has_way_round
        self._found: dict[Endpoint, bool] = {}

    @property
    def may_listen(self) -> bool:
        """Whether there is a way on which notifications may arrive."""
        return self._has_way_round or not (self._told or True in self._found.values())

    def is_excluded(self, connection: psycopg.AsyncConnection[Any]) -> bool:
        """Whether this connection, whoever has opened it, leads to the server itself. Takes no round trip."""
        return self._told is False or (self._told is None and self._found.get(_endpoint(connection)) is False)

    async def inspect(self, connection: psycopg.AsyncConnection[Any]) -> bool:
        """Whether there is a pooler on this connection, which is one of our own. Takes a round trip if need be."""
        if self._told is not None:
            return self._told
        endpoint = _endpoint(connection)
        found = self._found[endpoint] = await behind_pooler(connection)
        if found:
            text = announcement(endpoint, has_way_round=self._has_way_round)
            if text is not None:
                logger.log(logging.INFO if self._has_way_round else logging.WARNING, text)
        return found


def _endpoint(connection: psycopg.AsyncConnection[Any]) -> Endpoint:
    info = connection.info
    return info.host, info.port, info.dbname, info.user
