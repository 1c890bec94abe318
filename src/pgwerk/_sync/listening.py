# Generated from src/pgwerk/_async/listening.py by `python tools/unasync_build.py`.
# Do not edit: change that file and run the command again.

"""Listening for the end of jobs: one connection for however many waiters an application has in one scope.

Whoever waits subscribes to the ids it waits for. The first subscription starts a listener in the background, and the
listener ends soon after the last one is gone, so that waiting leaves no connection behind. Nothing rests on the
listener: where it cannot connect, or notifications do not arrive, every waiter still polls.

That the server accepts LISTEN does not mean that notifications arrive: a pooler or a proxy may have sent it to a
session which serves others from then on. So each connection that is to listen is tried first, on a channel of its own
that nobody else hears, with a notification that is sent over a second connection. Only when that has arrived, it
listens to what matters. When it has not, the connection is closed, and the next trial is some time away.
"""

from __future__ import annotations

import contextlib
import logging
import time
import uuid
from collections.abc import Callable, Iterable, Iterator

import psycopg

from pgwerk._sync import _compat, forking
from pgwerk._sync.connections import Connection, Connections, WerkCursor

logger = logging.getLogger("pgwerk.waiting")

GLANCE_SECS = 0.2
"""How often the listener sees whether anybody still waits."""
START_SECS = 1.0
"""How long a waiter waits for the listener before it goes on without. Once that listens, the waiter looks again."""
TRIAL_SECS = 5.0
"""How long a notification may take that tries a connection out."""
DISTRUST_SECS = 60.0
"""How long notifications that did not arrive are not tried again."""
FIRST_PAUSE_SECS = 0.5
LONGEST_PAUSE_SECS = 30.0


def listen(
    connection: Connection,
    channel: str,
    send: Callable[[bytes], _compat.Eventually[None]],
    is_over: Callable[[], bool] = lambda: False,
) -> bool:
    """Listen to a channel, if notifications arrive at all; else the connection is of no use.

    Args:
        connection: The connection, which nothing else uses.
        channel: The channel.
        send: Executes a command over another connection.
        is_over: Asked now and then whether this may be given up.

    Returns:
        Whether it listens.
    """
    trial = f"pgwerk_trial_{uuid.uuid4().hex}"
    connection.execute(f"LISTEN {trial}".encode())
    send(f"NOTIFY {trial}".encode())
    deadline = time.monotonic() + TRIAL_SECS
    while time.monotonic() < deadline and not is_over():
        if [each for each in connection.notifies(timeout=GLANCE_SECS, stop_after=1) if each.channel == trial]:
            connection.execute(f"UNLISTEN {trial}; LISTEN {channel}".encode())
            return True
    return False


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

    def wait(self, timeout: float) -> list[str]:
        """The jobs that may be over; empty when nothing was heard for so many seconds."""
        self._signal.wait(timeout)
        self._signal.clear()
        heard = list(self._ended)
        self._ended.difference_update(heard)
        return heard


class _Doubt:
    """When a client may try to listen again: some time after an error, and a long time after silence."""

    def __init__(self) -> None:
        self._until = 0.0
        self._error_pause = FIRST_PAUSE_SECS

    @property
    def secs(self) -> float:
        """Seconds until the next try; none left when it is not positive."""
        return self._until - time.monotonic()

    def after_error(self) -> None:
        """Wait a little, and longer the next time."""
        self._until = time.monotonic() + self._error_pause
        self._error_pause = min(2 * self._error_pause, LONGEST_PAUSE_SECS)

    def after_silence(self) -> None:
        """Nothing arrived, and that will hardly change by itself."""
        self._until = time.monotonic() + DISTRUST_SECS

    def clear(self) -> None:
        """It listens."""
        self._error_pause = FIRST_PAUSE_SECS


class _ScopeListener:
    """One connection that listens, in one scope."""

    def __init__(self, connections: Connections, channel: str, doubt: _Doubt) -> None:
        self._connections = connections
        self._channel = channel
        self._doubt = doubt
        self._subscriptions: set[Subscription] = set()
        self._waiters: dict[str, list[Subscription]] = {}
        self._lock = _compat.Lock()
        self._background: _compat.Background | None = None
        self._listening = _compat.Signal()

    def add(self, subscription: Subscription, patience_secs: float) -> None:
        with self._lock:
            self._subscriptions.add(subscription)
            for job_id in subscription.ids:
                self._waiters.setdefault(job_id, []).append(subscription)
            if self._background is None:
                self._listening.clear()
                self._background = _compat.Background(self._run, "pgwerk-listener")
        self._listening.wait(patience_secs)

    def remove(self, subscription: Subscription) -> None:
        with self._lock:
            self._subscriptions.discard(subscription)
            for job_id in subscription.ids:
                waiting = self._waiters.get(job_id, [])
                if subscription in waiting:
                    waiting.remove(subscription)
                if not waiting:
                    self._waiters.pop(job_id, None)

    def join(self) -> None:
        background = self._background
        if background is not None and not self._subscriptions:
            background.join()

    def _run(self) -> None:
        try:
            while not self._is_over():
                if self._doubt.secs > 0:
                    # Nobody has to wait for it meanwhile.
                    self._listening.set()
                    self._pause(self._doubt.secs)
                    continue
                try:
                    if self._listen():
                        return
                except psycopg.Error as error:
                    # Waiters go on by polling; this only makes them slower.
                    logger.warning("cannot listen for the end of jobs, polling goes on: %s", error)
                    self._doubt.after_error()
        except BaseException:
            # The event loop ends, or something is broken: the next waiter starts a new listener.
            self._background = None
            self._listening.set()
            raise

    def _listen(self) -> bool:
        """Listen until nobody waits any more, and tell whether that went well."""
        connection = self._connections.open_to_listen()
        try:
            if not listen(connection, self._channel, self._send, lambda: not self._subscriptions):
                if self._subscriptions:
                    logger.warning("notifications do not arrive, so the end of jobs is looked for every poll_interval")
                    self._doubt.after_silence()
                return False
            self._doubt.clear()
            self._listening.set()
            # What was notified before this moment, or since the last connection was lost, nobody has heard.
            self._tell_all()
            while not self._is_over():
                for notification in connection.notifies(timeout=GLANCE_SECS):
                    self._tell(notification.payload.split(","))
        finally:
            connection.close()
        return True

    def _send(self, command: bytes) -> None:
        with self._connections.connection() as connection:
            WerkCursor(connection).execute(command)

    def _pause(self, secs: float) -> None:
        until = time.monotonic() + secs
        while time.monotonic() < until and self._subscriptions:
            _compat.sleep(GLANCE_SECS)

    def _is_over(self) -> bool:
        """Whether nobody waits any more; from then on, the next waiter starts a new listener."""
        with self._lock:
            if self._subscriptions:
                return False
            self._background = None
            return True

    def _tell(self, ids: Iterable[str]) -> None:
        with self._lock:
            for job_id in ids:
                for subscription in self._waiters.get(job_id, ()):
                    subscription.tell([job_id])

    def _tell_all(self) -> None:
        with self._lock:
            for subscription in self._subscriptions:
                subscription.tell(subscription.ids)


class Listener:
    """The listening connections of one client: one per scope."""

    def __init__(self, connections: Connections, channel: str) -> None:
        self._connections = connections
        self._channel = channel
        self._by_scope: dict[object, _ScopeListener] = {}
        self._doubt = _Doubt()
        forking.register(self)

    @contextlib.contextmanager
    def subscribe(self, ids: Iterable[str], patience_secs: float = START_SECS) -> Iterator[Subscription]:
        """Listen for the end of these jobs. What ends after this has been entered is heard of, where that is possible.

        Args:
            ids: The jobs.
            patience_secs: Seconds to wait for the listener at most, before going on without.
        """
        subscription = Subscription(ids)
        if not self._connections.poolers.may_listen:
            yield subscription
            return
        scope = _compat.scope()
        for over in [known for known in self._by_scope if _compat.scope_is_over(known)]:
            self._by_scope.pop(over, None)
        listener = self._by_scope.setdefault(scope, _ScopeListener(self._connections, self._channel, self._doubt))
        try:
            listener.add(subscription, min(patience_secs, START_SECS))
            yield subscription
        finally:
            listener.remove(subscription)

    def close(self) -> None:
        """Wait until nothing listens any more, unless somebody still waits."""
        listener = self._by_scope.get(_compat.scope())
        if listener is not None:
            listener.join()

    def after_fork(self) -> None:
        """Leave the parent its connections."""
        forking.abandon(self._by_scope)
        self._by_scope = {}
