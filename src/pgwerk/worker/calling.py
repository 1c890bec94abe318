"""Callbacks: owed from the moment in which a job ends, called by a worker, and called again when that worker is lost.

The statement that ends a job, whoever sends it, marks the callback that fits the end as owed. A worker of the job's
queue takes it up: that keeps others away for the length of a lease, which is extended with every heartbeat. When it has
been called, the mark is taken off, and only then may the row of the job be deleted. So a callback is called at least
once, and more often only when a worker was lost, or the callback failed: then it is tried again after a pause, as often
as `_core/policy.py` says.

    (job ends) ──> owed ──take──> taken up ──called──────────> (no mark)
                    ^                │ failed, lost, given back
                    └────────────────┘
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import psycopg
from attrs import define

from pgwerk._async.connections import Connection, WerkCursor
from pgwerk._core.arrays import moments, plain
from pgwerk._core.backoff import Backoff
from pgwerk._core.claimed import Claimed
from pgwerk._core.execution import DueCallback, Ending
from pgwerk._core.policy import CALLBACK_TRIES, callback_delay
from pgwerk._sql import Statements
from pgwerk.worker.execution import Interruption, RunKey
from pgwerk.worker.session import Session

logger = logging.getLogger("pgwerk.worker")

LOCKED_PAUSE_SECS = 0.05

_numbers = itertools.count(1)


@define(eq=False)
class Taken:
    """A callback that this worker has taken up.

    Attributes:
        due: The callback.
        claimed: Its job, which is over.
        key: What tells this call from all other runs.
        number: How often it has been taken up, this time included.
        until: For how long it belongs to this worker; also what the database knows it by.
        delay: Seconds until it is tried again, once it has been called in vain; None if it is not.
        tries: The number of tries that count.
    """

    due: DueCallback
    claimed: Claimed
    key: RunKey
    number: int
    until: datetime
    delay: float | None = None
    tries: int = 0


class Callbacks:
    """The callbacks that one worker calls.

    Args:
        session: The connection over which the ends of calls are written down.
        statements: The statements.
        queues: The worker's queues.
        lease_secs: For how long a callback belongs to the worker that has taken it up, between two heartbeats.
        on_removable: Called with the id of a job whose row is not to be kept.
        on_postponed: Called with the seconds after which one has to be called again.
        on_written: Called when the ends of calls have been written down.
    """

    def __init__(
        self,
        session: Session,
        statements: Statements,
        queues: Sequence[str],
        *,
        lease_secs: float,
        on_removable: Callable[[str], None],
        on_postponed: Callable[[float], None],
        on_written: Callable[[], None],
    ) -> None:
        self._session = session
        self._statements = statements
        self._queues = list(queues)
        self._lease_secs = lease_secs
        self._on_removable = on_removable
        self._on_postponed = on_postponed
        self._on_written = on_written
        self._taken: dict[RunKey, Taken] = {}
        self._ended: dict[RunKey, Taken] = {}
        self._wake = asyncio.Event()

    def __len__(self) -> int:
        """How many calls have ended, and that is not written down yet."""
        return len(self._ended)

    async def take(self, connection: Connection, limit: int) -> list[Taken]:
        """Take up so many callbacks that are owed, at most."""
        params = {"queues": self._queues, "limit": limit, "secs": self._lease_secs}
        cursor = await WerkCursor(connection).execute(self._statements["take_callbacks"], params, binary=True)
        taken = [_taken(row) for row in await cursor.fetchall()]
        self._taken.update((each.key, each) for each in taken)
        wanted = []
        for each in taken:
            if each.number > CALLBACK_TRIES:
                logger.error(
                    "%s of job %s (%s) is given up: %d workers were lost that had taken it up",
                    each.due.option,
                    each.claimed.id,
                    each.due.function,
                    each.number - 1,
                )
                self._end(each)
            else:
                wanted.append(each)
        return wanted

    def ended(self, key: RunKey, ending: Ending, interruption: Interruption | None) -> None:
        """A callback was called."""
        taken = self._taken[key]
        ending = ending._replace(timed_out=interruption is Interruption.Timeout)
        if interruption is Interruption.Shutdown and ending.error is not None:
            taken.delay, taken.tries = 0.0, taken.number - 1
        elif taken.due.has_failed(taken.claimed.id, ending):
            taken.delay, taken.tries = callback_delay(taken.number), taken.number
            if taken.delay is not None:
                logger.info("%s of job %s is called again in %g s", taken.due.option, key.job_id, taken.delay)
        self._end(taken)

    def left_running(self, key: RunKey) -> None:
        """Nobody will know what came of a call. When the lease is over, another worker calls it again."""
        del self._taken[key]

    async def extend(self, connection: Connection) -> None:
        """Say that the callbacks which were taken up are still being called."""
        if not self._taken:
            return
        held = sorted(self._taken.values(), key=lambda each: each.claimed.id)
        cursor = await WerkCursor(connection).execute(
            self._statements["extend_callbacks"],
            {
                "ids": plain(each.claimed.id for each in held),
                "dues": moments(each.until for each in held),
                "secs": self._lease_secs,
            },
            binary=True,
        )
        extended = {(job_id, before): until for job_id, before, until in await cursor.fetchall()}
        for each in held:
            each.until = extended.get((each.claimed.id, each.until), each.until)

    async def run(self) -> None:
        """Write down what has been called, until cancelled."""
        backoff = Backoff()
        while True:
            await self._wake.wait()
            try:
                async with self._session.use() as connection:
                    await self._write_down(connection)
                backoff.reset()
            except psycopg.Error as error:
                pause = backoff.next()
                logger.warning("%d callbacks wait for the database (next try in %.1f s): %s", len(self), pause, error)
                await asyncio.sleep(pause)
            if not self._ended:
                self._wake.clear()

    def _end(self, taken: Taken) -> None:
        self._ended[taken.key] = taken
        self._wake.set()

    async def _write_down(self, connection: Connection) -> None:
        # Heartbeats use the same session, so no `until` changes on the way.
        batch = sorted(self._ended.values(), key=lambda each: each.claimed.id)
        cursor = await WerkCursor(connection).execute(
            self._statements["end_callbacks"],
            {
                "ids": plain(each.claimed.id for each in batch),
                "dues": moments(each.until for each in batch),
                "delays": plain(each.delay for each in batch),
                "tries": plain(each.tries for each in batch),
            },
            binary=True,
        )
        answers = {(job_id, due): row for job_id, due, *row in await cursor.fetchall()}
        for each in batch:
            written, removable, was_own = answers[each.claimed.id, each.until]
            if was_own and not written:
                continue  # somebody holds the row, and we come back
            del self._ended[each.key], self._taken[each.key]
            if removable:
                self._on_removable(each.claimed.id)
            if written and each.delay is not None:
                self._on_postponed(each.delay)
        self._on_written()
        if self._ended:
            await asyncio.sleep(LOCKED_PAUSE_SECS)


def _taken(row: Sequence[Any]) -> Taken:
    option, timeout, tries, until, *columns = row
    claimed = Claimed(columns)
    key = RunKey(claimed.id, next(_numbers), is_callback=True)
    return Taken(DueCallback(option, claimed.callback(option), timeout), claimed, key, tries, until)
