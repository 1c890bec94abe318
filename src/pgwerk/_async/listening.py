"""Listening for the end of jobs: one connection for however many waiters an application has in one scope.

Whoever waits subscribes to the ids it waits for. The first subscription starts a listener in the background, and the
listener ends soon after the last one is gone, so that waiting leaves no connection behind. Nothing rests on the
listener: where it cannot connect, or notifications do not arrive, every waiter still polls.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import AsyncIterator, Iterable

import psycopg

from pgwerk._async import _compat, forking
from pgwerk._async.connections import Connections

logger = logging.getLogger("pgwerk.waiting")

GLANCE_SECS = 0.2
"""How often the listener sees whether anybody still waits."""
START_SECS = 5.0
"""How long a waiter waits for the listener before it goes on without."""
FIRST_PAUSE_SECS = 0.5
LONGEST_PAUSE_SECS = 30.0


class Subscription:
    """The jobs that one waiter waits for, and those of them whose end was notified."""

    def __init__(self, ids: Iterable[str]) -> None:
        self.ids = frozenset(ids)
        self._ended: set[str] = set()
        self._signal = _compat.Signal()

    def tell(self, ids: Iterable[str]) -> None:
        """Some of the jobs may be over."""
        self._ended.update(ids)
        self._signal.set()

    async def wait(self, timeout: float) -> list[str]:
        """The jobs that may be over; empty when nothing was heard for so many seconds."""
        await self._signal.wait(timeout)
        self._signal.clear()
        heard = list(self._ended)
        self._ended.difference_update(heard)
        return heard


class _ScopeListener:
    """One connection that listens, in one scope."""

    def __init__(self, connections: Connections, channel: str) -> None:
        self._connections = connections
        self._channel = channel
        self._subscriptions: set[Subscription] = set()
        self._waiters: dict[str, list[Subscription]] = {}
        self._lock = _compat.Lock()
        self._background: _compat.Background | None = None
        self._listening = _compat.Signal()

    async def add(self, subscription: Subscription, patience_secs: float) -> None:
        async with self._lock:
            self._subscriptions.add(subscription)
            for job_id in subscription.ids:
                self._waiters.setdefault(job_id, []).append(subscription)
            if self._background is None:
                self._listening.clear()
                self._background = _compat.Background(self._run, "pgwerk-listener")
        await self._listening.wait(patience_secs)

    async def remove(self, subscription: Subscription) -> None:
        async with self._lock:
            self._subscriptions.discard(subscription)
            for job_id in subscription.ids:
                waiting = self._waiters.get(job_id, [])
                if subscription in waiting:
                    waiting.remove(subscription)
                if not waiting:
                    self._waiters.pop(job_id, None)

    async def join(self) -> None:
        background = self._background
        if background is not None and not self._subscriptions:
            await background.join()

    async def _run(self) -> None:
        pause = FIRST_PAUSE_SECS
        try:
            while not await self._is_over():
                try:
                    await self._listen()
                    pause = FIRST_PAUSE_SECS
                except psycopg.Error as error:
                    # Waiters go on by polling; this only makes them slower.
                    logger.warning("cannot listen for the end of jobs, polling goes on: %s", error)
                    self._listening.set()
                    await self._pause(pause)
                    pause = min(2 * pause, LONGEST_PAUSE_SECS)
        except BaseException:
            # The event loop ends, or something is broken: the next waiter starts a new listener.
            self._background = None
            self._listening.set()
            raise

    async def _listen(self) -> None:
        connection = await self._connections.open()
        try:
            await connection.execute(f"LISTEN {self._channel}".encode())
            self._listening.set()
            # What was notified before this moment, or since the last connection was lost, nobody has heard.
            await self._tell_all()
            while not await self._is_over():
                async for notification in connection.notifies(timeout=GLANCE_SECS):
                    await self._tell(notification.payload.split(","))
        finally:
            await connection.close()

    async def _pause(self, secs: float) -> None:
        until = time.monotonic() + secs
        while time.monotonic() < until and self._subscriptions:
            await _compat.sleep(GLANCE_SECS)

    async def _is_over(self) -> bool:
        """Whether nobody waits any more; from then on, the next waiter starts a new listener."""
        async with self._lock:
            if self._subscriptions:
                return False
            self._background = None
            return True

    async def _tell(self, ids: Iterable[str]) -> None:
        async with self._lock:
            for job_id in ids:
                for subscription in self._waiters.get(job_id, ()):
                    subscription.tell([job_id])

    async def _tell_all(self) -> None:
        async with self._lock:
            for subscription in self._subscriptions:
                subscription.tell(subscription.ids)


class Listener:
    """The listening connections of one client: one per scope."""

    def __init__(self, connections: Connections, channel: str) -> None:
        self._connections = connections
        self._channel = channel
        self._by_scope: dict[object, _ScopeListener] = {}
        forking.register(self)

    @contextlib.asynccontextmanager
    async def subscribe(self, ids: Iterable[str], patience_secs: float = START_SECS) -> AsyncIterator[Subscription]:
        """Listen for the end of these jobs. What ends after this has been entered is heard of.

        Args:
            ids: The jobs.
            patience_secs: Seconds to wait for the listener at most, before going on without.
        """
        scope = _compat.scope()
        for over in [known for known in self._by_scope if _compat.scope_is_over(known)]:
            self._by_scope.pop(over, None)
        listener = self._by_scope.setdefault(scope, _ScopeListener(self._connections, self._channel))
        subscription = Subscription(ids)
        try:
            await listener.add(subscription, min(patience_secs, START_SECS))
            yield subscription
        finally:
            await listener.remove(subscription)

    async def close(self) -> None:
        """Wait until nothing listens any more, unless somebody still waits."""
        listener = self._by_scope.get(_compat.scope())
        if listener is not None:
            await listener.join()

    def after_fork(self) -> None:
        """Leave the parent its connections."""
        forking.abandon(self._by_scope)
        self._by_scope = {}
