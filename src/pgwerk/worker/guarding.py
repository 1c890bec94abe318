"""Finding out that a connection is dead which does not say so.

When packets are swallowed on the way, by a firewall that has forgotten the connection or a proxy that still answers for
a server that is gone, a statement waits for ever, and so does everything behind it. The system's own time-outs take
long, and do not help at all when it is a proxy that acknowledges the packets.

So, when a statement has been on its way for half a heartbeat, the server is asked over another connection what the
session is doing. As long as it works on something, be it for minutes, all is well. If it does nothing, twice in a row
and since the same moment, then either the statement or its answer was lost; and if the server knows of no such session,
or does not answer either, there is nothing to wait for. Then the connection is cut here, which is an error for whoever
waits, and the next one gets a new connection. Behind a pooler nobody can tell which session works for whom: there, what
has not been answered for the length of a lease is cut.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import psycopg

from pgwerk._async.connections import WerkCursor, open_connection
from pgwerk._sql import Statements
from pgwerk.worker.session import Session, Wait

logger = logging.getLogger("pgwerk.worker")

SECOND_LOOK_SECS = 0.2


class Guard:
    """Watches the sessions of one worker.

    Args:
        sessions: The sessions.
        statements: The statements.
        heartbeat_interval: Seconds within which a dead connection is to be found out.
    """

    def __init__(self, sessions: Sequence[Session], statements: Statements, *, heartbeat_interval: float) -> None:
        self._sessions = sessions
        self._statements = statements
        self._heartbeat_interval = heartbeat_interval

    async def run(self) -> None:
        """Watch until cancelled."""
        patience = self._heartbeat_interval / 2
        while True:
            await asyncio.sleep(patience / 2)
            for session in self._sessions:
                wait = session.waits_for(patience)
                if wait is not None and (reason := await self._what_is_wrong(session, wait)) is not None:
                    session.cut(wait, reason)

    async def _what_is_wrong(self, session: Session, wait: Wait) -> str | None:
        """Why there is nothing to wait for; None if there may be."""
        if session.is_pooled:
            is_too_long = session.waits_for(3 * self._heartbeat_interval) is wait
            return f"not answered for {3 * self._heartbeat_interval:g} s" if is_too_long else None
        try:
            async with asyncio.timeout(self._heartbeat_interval):
                connection = await open_connection(session.dsn, **session.options)
                async with connection:
                    first = await self._look(connection, wait)
                    if first is None:
                        return "the server does not know of the session any more"
                    if first[0] not in ("idle", "idle in transaction"):
                        return None
                    await asyncio.sleep(SECOND_LOOK_SECS)
                    is_stuck = first == await self._look(connection, wait)
                    return "the server has nothing to do for the session" if is_stuck else None
        except (psycopg.Error, TimeoutError) as error:
            return f"the server cannot be asked either ({str(error).strip() or 'no answer'})"

    async def _look(self, connection: psycopg.AsyncConnection[object], wait: Wait) -> tuple[object, ...] | None:
        cursor = await WerkCursor(connection).execute(self._statements["probe_session"], {"pid": wait.pid})
        row: tuple[object, ...] | None = await cursor.fetchone()
        return row
