"""The supervisor of worker processes: starts them, starts those again that die, and passes on what it is told.

Each process is a `werk worker` of its own with a fresh interpreter, started by the command line that has started the
supervisor. They are in process groups of their own, so that Ctrl-C in a terminal reaches the supervisor only, which has
a line to each of them (supervised.py). When the supervisor ends, however it does, they stop in order.

The first process starts alone. When it works, the others follow: what is wrong with the command line, the application
or the tables is said once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from pgwerk.cli import stopping
from pgwerk.cli.children import Child, ending
from pgwerk.cli.failures import INTERRUPTED, SCHEMA, USAGE
from pgwerk.cli.reloading import Sources
from pgwerk.cli.stopping import Steps
from pgwerk.cli.supervised import READY, WATCH

logger = logging.getLogger("pgwerk.cli")

FIRST_PAUSE_SECS = 1.0
LONGEST_PAUSE_SECS = 30.0
LONG_LIFE_SECS = 60.0
"""A process that has lived for so long was in order, and the next pause is a short one."""

LOOK_SECS = 0.5
"""Between looks for changed source files."""


class Supervisor:
    """Keeps worker processes running.

    Args:
        command: How to start one.
        count: How many there are.
        burst: Whether they end when nothing is left to do.
        sources: The files whose changes have them started again; None for a program that does not change.
    """

    def __init__(
        self, command: Sequence[str], count: int, *, burst: bool = False, sources: Sources | None = None
    ) -> None:
        self._command = command
        self._count = count
        self._burst = burst
        self._sources = sources
        self._children: dict[int, Child] = {}
        self._code = 0
        # The first process works, or all is over.
        self._may_follow = asyncio.Event()
        self._over = asyncio.Event()
        # Set when a file has changed, for those who wait for that, and then replaced.
        self._change = asyncio.Event()
        self._steps = Steps(self._stop, self._stop_now, self._kill)

    async def run(self) -> int:
        """Keep them running until told to stop, and return the exit code."""
        loop = asyncio.get_running_loop()

        def on_signal(number: signal.Signals) -> None:
            loop.call_soon_threadsafe(self._on_signal, number)

        def on_report() -> None:
            loop.call_soon_threadsafe(self._report)

        with stopping.signals_handled(on_signal, on_report):
            logger.info("pid %d supervises %s", os.getpid(), _processes(self._count))
            looking = asyncio.create_task(self._look_for_changes())
            try:
                async with asyncio.TaskGroup() as places:
                    for number in range(1, self._count + 1):
                        places.create_task(self._keep(number))
            finally:
                looking.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await looking
        logger.info("the worker processes have ended")
        return self._code

    async def _keep(self, number: int) -> None:
        """Keep one place filled."""
        if number > 1:
            await self._may_follow.wait()
        failures = 0
        while not self._over.is_set():
            try:
                child = await Child.start(number, self._command)
            except OSError as error:
                failures += 1
                await self._pause(failures, f"process {number} cannot be started: {error}")
                continue
            code = await self._live(child)
            if child.is_replaced:
                failures = 0
            elif self._is_last_of_place(child, code):
                return
            else:
                failures = 1 if child.lived_secs >= LONG_LIFE_SECS else failures + 1
                await self._rest(child, code, failures)

    async def _live(self, child: Child) -> int:
        self._children[child.number] = child
        if self._over.is_set():
            # While it was being started. It has not heard of that.
            (child.order_stop, child.order_stop_now, child.kill)[max(self._steps.taken, 1) - 1]()
        try:
            return await child.live(self._on_word)
        finally:
            del self._children[child.number]

    def _is_last_of_place(self, child: Child, code: int) -> bool:
        """Whether no other process follows one that has ended."""
        if self._over.is_set():
            if code < 0:
                logger.warning("%s %s", child, ending(code))
            return True
        if self._burst and code >= 0:
            self._code = max(self._code, code)
            if code and not child.is_ready:
                self._give_up(code)
            self._may_follow.set()
            return True
        if code in {USAGE, SCHEMA} and self._sources is None and not self._is_any_ready():
            # It has said what is wrong, and none will fare better.
            self._give_up(code)
            return True
        return False

    async def _rest(self, child: Child, code: int, failures: int) -> None:
        """Wait until another process may take the place of one that has ended."""
        if self._sources is not None and code in {USAGE, SCHEMA}:
            logger.warning("%s %s; waiting for a source file to change", child, ending(code))
            await self._until_changed(None)
        else:
            await self._pause(failures, f"{child} {ending(code)}")

    async def _pause(self, failures: int, what: str) -> None:
        secs = pause(failures, random.random())
        logger.warning("%s; the next one is started in %.1f s", what, secs)
        await self._until_changed(secs)

    async def _until_changed(self, secs: float | None) -> None:
        """Wait for a source file to change, for so long at most; or until all is over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(secs):
                await self._change.wait()

    def _is_any_ready(self) -> bool:
        return any(child.is_ready for child in self._children.values())

    def _on_word(self, word: str, about: str) -> None:
        if word == READY:
            self._may_follow.set()
        elif word == WATCH and self._sources is not None:
            self._sources.add(Path(about))

    async def _look_for_changes(self) -> None:
        """Start the processes again when their source has changed."""
        took = 0.0
        while self._sources is not None:
            # In a large folder, not all of the time is spent on looking.
            await asyncio.sleep(max(LOOK_SECS, 5 * took))
            began = time.monotonic()
            changed = self._sources.changed()
            took = time.monotonic() - began
            if changed and not self._over.is_set():
                more = f" and {len(changed) - 1} more files" if len(changed) > 1 else ""
                logger.info("%s%s changed: starting again", changed[0], more)
                for child in self._children.values():
                    child.is_replaced = True
                    child.order_stop()
                self._wake()

    def _wake(self) -> None:
        self._change.set()
        if not self._over.is_set():
            self._change = asyncio.Event()

    # Stopping

    def _on_signal(self, number: signal.Signals) -> None:
        if self._steps.taken == 0:
            what = _processes(len(self._children))
            logger.info("%s: stopping %s; %s", number.name, what, stopping.how_to_go_on(number))
        self._steps.on_signal()

    def _report(self) -> None:
        for child in self._children.values():
            child.report()

    def _give_up(self, code: int) -> None:
        self._code = code
        self._stop()

    def _stop(self) -> None:
        self._over.set()
        self._may_follow.set()
        self._wake()
        for child in self._children.values():
            child.order_stop()

    def _stop_now(self) -> None:
        for child in self._children.values():
            child.order_stop_now()

    def _kill(self) -> None:
        self._code = INTERRUPTED
        for child in self._children.values():
            child.kill()


def pause(failures: int, chance: float) -> float:
    """Seconds until the next process is started in the place of one that has died.

    They double from one failure to the next, and half of them is left to chance, so that processes which have died
    together do not come back together.

    Args:
        failures: How many have died soon, one after the other.
        chance: A random number between 0 and 1.
    """
    ceiling = min(FIRST_PAUSE_SECS * 2.0 ** min(failures - 1, 10), LONGEST_PAUSE_SECS)
    return ceiling / 2 * (1 + chance)


def _processes(count: int) -> str:
    return "1 worker process" if count == 1 else f"{count} worker processes"
