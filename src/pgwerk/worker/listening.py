"""Hearing of new work.

The channel carries the name of a queue in which something became ready (`q...`), or the time of a scheduled job that is
the first one due (`d...`). A notification is a reason to look, never a message to rely on: the worker polls as well.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection

import psycopg

from pgwerk.worker.session import Backoff, Session

logger = logging.getLogger("pgwerk.worker")


class WorkListener:
    """Listens for one worker.

    Args:
        session: A connection of its own.
        channel: The channel.
        queues: The worker's queues.
        on_ready: Called when something became ready in one of them.
        on_due: Called when a job was scheduled before all others.
    """

    def __init__(
        self,
        session: Session,
        channel: str,
        queues: Collection[str],
        on_ready: Callable[[], None],
        on_due: Callable[[], None],
    ) -> None:
        self._session = session
        self._channel = channel
        self._queues = frozenset(queues)
        self._on_ready = on_ready
        self._on_due = on_due

    async def run(self) -> None:
        """Listen until cancelled."""
        backoff = Backoff()
        while True:
            try:
                async with self._session.use() as connection:
                    await connection.execute(f"LISTEN {self._channel}".encode())
                    backoff.reset()
                    # Nobody has heard what was notified before.
                    self._on_ready()
                    self._on_due()
                    async for notification in connection.notifies():
                        self._hear(notification.payload)
            except psycopg.Error as error:
                pause = backoff.next()
                logger.warning("cannot listen for work, polling goes on (next try in %.1f s): %s", pause, error)
                await asyncio.sleep(pause)

    def _hear(self, payload: str) -> None:
        if payload.startswith("d"):
            self._on_due()
        elif payload[1:] in self._queues:
            self._on_ready()
