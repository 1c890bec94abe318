"""Runs handlers and callbacks in child processes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable

from pgwerk._core.backoff import Backoff
from pgwerk._core.execution import Attempted, Attempts, Ending
from pgwerk.worker.execution import Ran, Running
from pgwerk.worker.processes.children import Child, End, NotForked
from pgwerk.worker.processes.errors import Carried, ChildDied, restore
from pgwerk.worker.processes.fates import Death, MemoryKills
from pgwerk.worker.processes.packing import Report, pack_work
from pgwerk.worker.processes.parent import Nursery, NurseryError
from pgwerk.worker.processes.setup import Setup

logger = logging.getLogger("pgwerk.worker")

STILLBORN = 3
"""How many children in a row may die before they take up a job, until the job fails for that."""

CLOSING_SECS = 5.0
"""What the nursery may take to end, beside the time that its children are given."""


class ClosedError(RuntimeError):
    """Nothing is run any more."""


class ProcessExecutor:
    """Runs each thing in a child process.

    Args:
        attempts: Begins and ends the attempts.
        setup: What the children need to know.
        on_stop_worker: Called when a handler wants the worker to stop; told whether at once.
    """

    def __init__(self, attempts: Attempts, setup: Setup, on_stop_worker: Callable[[bool], None]) -> None:
        self._attempts = attempts
        self._setup = setup
        self._grace_secs = setup.config.sigterm_grace
        self._on_stop_worker = on_stop_worker
        self._nursery: Nursery | None = None
        self._is_closed = False
        self._starting = asyncio.Lock()
        self._idle: list[Child] = []
        self._busy: dict[Running, Child] = {}
        self._memory_kills = MemoryKills()
        self._looked_at = time.monotonic()

    async def start(self) -> None:
        """Start the nursery.

        Raises:
            NurseryError: It cannot do its work: a module of `preload` cannot be imported, for instance.
        """
        await self._living_nursery()

    async def execute(self, running: Running) -> Ran:
        """Run a handler or a callback."""
        work = pack_work(running.work)
        try:
            child = await self._child()
        except (asyncio.CancelledError, ClosedError) as error:
            if running.interruption is None and not self._is_closed:
                raise
            return self._attempts.not_begun(running.work, error)
        running.arm()
        try:
            child, end = await self._run(child, running, work)
        finally:
            running.disarm()
        return await self._ran(running, child, end)

    async def stack(self, running: Running) -> str:
        """The stacks of the process that runs it; empty if it does not tell them within half a second."""
        child = self._busy.get(running)
        return "" if child is None else await child.stacks()

    def abandon(self) -> None:
        """Kill what still runs."""
        for child in self._busy.values():
            child.kill("because the worker was told to end at once")

    async def close(self) -> None:
        """Let the nursery and its children end."""
        self._is_closed = True
        try:
            # One that is just being started is ended as well.
            async with self._starting:
                pass
        finally:
            if self._nursery is not None:
                await self._nursery.close(self._grace_secs + CLOSING_SECS)

    async def _run(self, child: Child, running: Running, work: bytes) -> tuple[Child, End]:
        """Have a child run it; another one, if that is dead before it has taken it up."""
        backoff = Backoff()
        deaths = 0
        while True:
            end = await self._run_in(child, running, work)
            deaths += isinstance(end, Death)
            if isinstance(end, Report) or child.is_started or child.is_stopping or deaths == STILLBORN:
                return child, end
            # That somebody has killed an idle process is no reason to wait.
            is_idle_death = isinstance(end, Death) and deaths == 1
            logger.log(
                logging.DEBUG if is_idle_death else logging.WARNING,
                "job %s is given to another child process: %s",
                running.claimed.id,
                self._describe(child, end),
            )
            try:
                if not is_idle_death:
                    await asyncio.sleep(backoff.next())
                child = await self._child()
            except (asyncio.CancelledError, ClosedError):
                if running.interruption is None and not self._is_closed:
                    raise
                return child, end

    async def _run_in(self, child: Child, running: Running, work: bytes) -> End:
        """Give work to a child, and wait for what comes of it."""
        self._look_for_memory_kills()
        child.give(work)
        self._busy[running] = child
        try:
            while not child.end.done():
                try:
                    await asyncio.wait([child.end])
                except asyncio.CancelledError:
                    child.order_stop(self._grace_secs)
        finally:
            del self._busy[running]
        self._release(child)
        return child.end.result()

    def _release(self, child: Child) -> None:
        if child.is_usable and child.runs != self._setup.runs:
            self._idle.append(child)
        else:
            child.dismiss()

    async def _child(self) -> Child:
        """One that has nothing to do. While the system gives us none, try again: the job keeps its slot."""
        backoff = Backoff()
        while True:
            while self._idle and not self._is_closed:
                child = self._idle.pop()
                if child.is_usable:
                    return child
            try:
                return (await self._living_nursery()).fork()
            except (OSError, NurseryError) as error:
                pause = backoff.next()
                logger.warning("cannot fork a child process (next try in %.1f s): %s", pause, error)
                await asyncio.sleep(pause)

    async def _living_nursery(self) -> Nursery:
        async with self._starting:
            if self._is_closed:
                raise ClosedError("the worker has ended")
            if self._nursery is None or not self._nursery.is_alive:
                nursery = Nursery(self._setup, on_death=self._on_death, on_stop_worker=self._on_stop_worker)
                threads = await nursery.start()
                self._nursery = nursery
                if threads:
                    logger.warning(
                        "the process that forks the children has threads, which the children are not going to have, "
                        "while locks that these hold stay locked for ever: %s; preload only modules that start none",
                        ", ".join(threads),
                    )
            return self._nursery

    def _on_death(self, child: Child) -> None:
        if child in self._idle:
            self._idle.remove(child)

    async def _ran(self, running: Running, child: Child, end: End) -> Ran:
        if isinstance(end, Report):
            error = None if end.error is None else await _restored(end.error)
            if end.outcome is None:
                return Ending(error=error)
            return Attempted(end.outcome, error, end.max_memory)
        ran = self._attempts.not_begun(running.work, ChildDied(self._describe(child, end)))
        if isinstance(ran, Attempted) and isinstance(end, Death) and self._setup.runs == 1:
            return ran._replace(max_memory=end.max_memory)
        return ran

    def _describe(self, child: Child, end: End) -> str:
        if isinstance(end, NotForked):
            return f"the system refused to fork a child process: {end.reason}"
        if not isinstance(end, Death):
            return "the child process was killed, because the process that forks the children had died"
        memory = self._memory_kills.verdict() if end.was_killed and child.killed is None else ""
        text = end.describe(stopped=child.killed, memory=memory)
        return text if child.is_started else f"{text}, before it took up the job"

    def _look_for_memory_kills(self) -> None:
        # What happened long ago has nothing to do with what is started now. A look takes a tenth of a millisecond.
        if time.monotonic() - self._looked_at > 1:
            self._looked_at = time.monotonic()
            self._memory_kills.look()


async def _restored(carried: Carried) -> BaseException:
    """An exception from a child."""
    if not carried.needs_import:
        return restore(carried)
    # To import a module takes its time, and this is the loop that heartbeats are sent from.
    restoring = asyncio.get_running_loop().run_in_executor(None, restore, carried)
    while not restoring.done():
        # Why it was cancelled, `running` knows; what ran has ended anyway.
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([restoring])
    return restoring.result()
