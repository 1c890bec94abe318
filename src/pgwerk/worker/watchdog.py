"""A thread that looks after the event loop: a coroutine handler that blocks it must not cost the worker its lease.

The thread calls the loop now and then, and waits for it to call back. When that does not happen for a second, the loop
is blocked: a log line names the handler that does it, with its stack. For as long as it lasts, heartbeats are sent from
here, over a connection of their own. Time-outs and aborts have to wait: nothing can be cancelled that does not come
back. While nothing runs, a call for each third of a heartbeat is enough to keep the lease.

The thread also writes the report that SIGUSR1 asks for, because the loop may be what is wrong.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import psycopg

from pgwerk._async.leases import Lease
from pgwerk.worker import stacks
from pgwerk.worker.execution import Running
from pgwerk.worker.loops import new_runner
from pgwerk.worker.runs import Runs
from pgwerk.worker.session import Session

logger = logging.getLogger("pgwerk.worker")

LONGEST_PAUSE_SECS = 1.0
IDLE_SHARE = 3
"""Which part of a heartbeat may pass between two calls of the loop, while nothing runs."""
BLOCKED_SECS = 1.0
STACK_SECS = 2.0


class Watchdog:
    """Looks after the event loop of one worker.

    Args:
        session: A connection of its own; it is used by this thread only, and open while the loop is blocked.
        lease: The worker's lease.
        runs: What the worker runs.
        heartbeat_interval: Seconds between heartbeats.
        stack: Tells where a run is; called on the loop.
        on_beat: Called when a heartbeat was sent from here.
    """

    def __init__(
        self,
        session: Session,
        lease: Lease,
        runs: Runs,
        *,
        heartbeat_interval: float,
        stack: Callable[[Running], Coroutine[Any, Any, str]],
        on_beat: Callable[[], None],
    ) -> None:
        self._session = session
        self._lease = lease
        self._runs = runs
        self._heartbeat_interval = heartbeat_interval
        self._stack = stack
        self._on_beat = on_beat
        # Half a heartbeat is the most that may pass unnoticed, when leases are short.
        self._pause = min(LONGEST_PAUSE_SECS, heartbeat_interval / 2)
        self._idle_pause = max(self._pause, heartbeat_interval / IDLE_SHARE)
        self._is_dozing = False
        self._blocked_secs = min(BLOCKED_SECS, heartbeat_interval)
        self._called_at = time.monotonic()
        self._has_answered = True
        self._loop: asyncio.AbstractEventLoop | None = None
        self._loop_thread = 0
        # What the thread is told: True to report, False to end, None to wake up. A signal handler may put something in.
        self._orders: queue.SimpleQueue[bool | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start, on the loop that is to be looked after."""
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._thread = threading.Thread(target=self._work, name="pgwerk-watchdog", daemon=True)
        self._thread.start()

    def report(self) -> None:
        """Log what runs, since when, and where it is. May be called by a signal handler."""
        self._orders.put(True)

    def attend(self) -> None:
        """Something has begun to run: call the loop more often."""
        if self._is_dozing:
            self._is_dozing = False
            self._orders.put(None)

    async def stop(self) -> None:
        """End the thread."""
        if self._thread is not None:
            self._orders.put(False)
            await asyncio.to_thread(self._thread.join)

    def _work(self) -> None:
        with new_runner() as runner:
            while self._wait():
                if self._silent_secs() >= self._blocked_secs:
                    self._bridge(runner)

    def _silent_secs(self) -> float:
        """For how long the loop has owed an answer."""
        return 0.0 if self._has_answered else time.monotonic() - self._called_at

    def _bridge(self, runner: asyncio.Runner) -> None:
        """Do what cannot wait, for as long as the loop is blocked."""
        beaten_at = began = self._called_at
        self._complain(self._silent_secs())
        is_to_go_on = True
        while is_to_go_on and not self._has_answered:
            if time.monotonic() - beaten_at >= self._heartbeat_interval:
                beaten_at = time.monotonic()
                runner.run(self._beat())
            is_to_go_on = self._wait()
        logger.warning("the event loop was blocked for %.1f s", time.monotonic() - began)
        runner.run(self._session.close())
        if not is_to_go_on:
            self._orders.put(False)

    def _wait(self) -> bool:
        """Pause, and do what is ordered meanwhile; whether to go on."""
        pause = self._next_pause()
        self._call()
        deadline = time.monotonic() + pause
        while (left := deadline - time.monotonic()) > 0:
            try:
                is_report = self._orders.get(timeout=left)
            except queue.Empty:
                return True
            if is_report is None:
                return True
            if not is_report:
                return False
            self._report()
        return True

    def _next_pause(self) -> float:
        # In this order: what begins to run after the look finds it dozing, and wakes it up.
        self._is_dozing = True
        if self._has_answered and not self._runs:
            return self._idle_pause
        self._is_dozing = False
        return self._pause

    def _call(self) -> None:
        if self._has_answered and self._loop is not None:
            self._called_at, self._has_answered = time.monotonic(), False
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._answer)

    def _answer(self) -> None:
        self._has_answered = True

    async def _beat(self) -> None:
        try:
            async with asyncio.timeout(self._heartbeat_interval), self._session.use() as connection:
                await self._lease.extend(connection, self._runs.jobs())
            self._on_beat()
        except (psycopg.Error, TimeoutError) as error:
            logger.warning("heartbeat failed while the event loop is blocked: %s", str(error) or "no answer")

    def _complain(self, secs: float) -> None:
        running = self._current()
        logger.warning(
            "the event loop has been blocked for %.1f s by %s. The worker keeps its lease, but cannot do anything "
            "else. A coroutine function must not block: make it a plain function, or call what blocks in a thread. "
            "It is here:\n%s",
            secs,
            "something else than a job" if running is None else _described(running),
            stacks.of_thread(self._loop_thread),
        )

    def _current(self) -> Running | None:
        """What the loop is busy with, if it is a handler or a callback."""
        with contextlib.suppress(RuntimeError):
            task = asyncio.current_task(self._loop)
            return next((running for running in self._runs if running.task is task), None)
        return None

    def _report(self) -> None:
        running = list(self._runs)
        logger.warning("worker %s runs %d handlers and callbacks", self._lease.worker_id, len(running))
        for each in running:
            logger.warning(
                "running for %.1f s: %s\n%s", time.monotonic() - each.started_at, _described(each), self._stack_of(each)
            )

    def _stack_of(self, running: Running) -> str:
        if running is self._current():
            return stacks.of_thread(self._loop_thread)
        if self._loop is None or self._silent_secs() >= self._blocked_secs:
            return "(the event loop is blocked)\n"
        future = asyncio.run_coroutine_threadsafe(self._stack(running), self._loop)
        try:
            return future.result(STACK_SECS) or "(its stack is not known)\n"
        except (TimeoutError, RuntimeError):
            future.cancel()
            return "(its stack is not known)\n"


def _described(running: Running) -> str:
    claimed, due, hook = running.claimed, running.work.due, running.hook
    if hook is not None:
        return f"{hook} of job {claimed.id} ({claimed.function})"
    if due is not None:
        return f"{due.option} of job {claimed.id} ({due.function})"
    return f"job {claimed.id} ({claimed.function}), attempt {claimed.attempts} of {claimed.max_attempts}"
