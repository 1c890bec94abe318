"""Hearing of new work.

The channel carries the name of a queue in which something became ready (`q...`) or a callback is owed (`c...`), the
time of a scheduled job that is the first one due (`d...`), the id of a job that is to be aborted (`a...`), or the ids
of jobs that wait for others and were part of somebody's transaction (`w...`). A notification is a reason to look, never
a message to rely on: the worker polls as well. Behind a pooler, and where notifications do not arrive, it only polls.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterable

import psycopg

from pgwerk._async.connections import Connection, WerkCursor
from pgwerk._async.listening import DISTRUST_SECS, listen
from pgwerk._core.backoff import Backoff
from pgwerk._core.ids import normalize_id
from pgwerk.worker.session import Session

logger = logging.getLogger("pgwerk.worker")


class WorkListener:
    """Listens for one worker.

    Args:
        session: A connection of its own.
        sending: Another connection, for the notification that tries it out.
        channel: The channel.
        queues: The worker's queues.
        interval: Seconds between looks whether the connection is still alive.
        is_alive: The statement for that.
        on_gap: Called when it has begun to listen: what was notified before, nobody has heard.
        on_ready: Called when something became ready in one of them.
        on_due: Called when a job was scheduled before all others.
        on_owing: Called when a callback is owed in one of them.
        on_abort: Called with the id of a job that is to be aborted, whoever runs it.
        on_waiting: Called with the ids of jobs that wait for others and have just been committed.

    Attributes:
        is_hearing: Whether it would hear a notification.
    """

    def __init__(
        self,
        session: Session,
        sending: Session,
        channel: str,
        queues: Collection[str],
        *,
        interval: float,
        is_alive: bytes,
        on_gap: Callable[[], None],
        on_ready: Callable[[], None],
        on_due: Callable[[], None],
        on_owing: Callable[[], None],
        on_abort: Callable[[str], None],
        on_waiting: Callable[[Iterable[str]], None],
    ) -> None:
        self.is_hearing = False
        self._session = session
        self._sending = sending
        self._channel = channel
        self._queues = frozenset(queues)
        self._interval = interval
        self._is_alive = is_alive
        self._on_gap = on_gap
        self._on_ready = on_ready
        self._on_due = on_due
        self._on_owing = on_owing
        self._on_abort = on_abort
        self._on_waiting = on_waiting

    async def run(self) -> None:
        """Listen until cancelled, or until it turns out that there is no point in it."""
        backoff = Backoff()
        while True:
            try:
                async with self._session.use() as connection:
                    if self._session.is_pooled:
                        break
                    if await listen(connection, self._channel, self._send):
                        backoff.reset()
                        self.is_hearing = True
                        self._on_gap()
                        await self._listen(connection)
                pause = DISTRUST_SECS
                logger.warning("notifications do not arrive, polling goes on (next try in %.0f s)", pause)
            except psycopg.Error as error:
                pause = backoff.next()
                logger.warning("cannot listen for work, polling goes on (next try in %.1f s): %s", pause, error)
            finally:
                self.is_hearing = False
            await self._session.close()
            await asyncio.sleep(pause)
        await self._session.close()

    async def _listen(self, connection: Connection) -> None:
        """Hear what is notified, and make sure now and then that anything could be heard at all."""
        while True:
            with self._session.resting():
                await self._hear_for(connection, self._interval)
            await WerkCursor(connection).execute(self._is_alive)

    async def _hear_for(self, connection: Connection, secs: float) -> None:
        """Hear what is notified for so many seconds."""
        deadline = time.monotonic() + secs
        while True:
            async for notification in connection.notifies(timeout=0):
                self._hear(notification.payload)
            if not await _has_arrived(connection, deadline - time.monotonic()):
                return

    async def _send(self, command: bytes) -> None:
        async with self._sending.use() as connection:
            await WerkCursor(connection).execute(command)

    def _hear(self, payload: str) -> None:
        kind, rest = payload[:1], payload[1:]
        if kind == "d":
            self._on_due()
        elif kind == "w":
            # Another release may have sent it, or anybody who can connect.
            self._on_waiting(filter(None, map(normalize_id, rest.split(","))))
        elif kind == "a":
            self._on_abort(rest)
        elif rest in self._queues and kind == "q":
            self._on_ready()
        elif rest in self._queues and kind == "c":
            self._on_owing()


async def _has_arrived(connection: Connection, secs: float) -> bool:
    """Whether the server says something within so many seconds.

    The driver would do as well, but wakes up ten times a second meanwhile.
    """
    loop = asyncio.get_running_loop()
    arrived, descriptor = asyncio.Event(), connection.fileno()
    loop.add_reader(descriptor, arrived.set)
    try:
        async with asyncio.timeout(max(secs, 0)):
            await arrived.wait()
    except TimeoutError:
        return False
    finally:
        loop.remove_reader(descriptor)
    return True
