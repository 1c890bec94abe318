# Generated from src/pgwerk/_async/sweeping.py by `python tools/unasync_build.py`.
# Do not edit: change that file and run the command again.

"""Sweeping: what has to be done about jobs that nobody else is going to do.

Each step locks a bounded number of rows, skips those that others hold, and commits before the next, so that any number
of sweeps may run at once, and none of them waits or makes others wait.
"""

from __future__ import annotations

import functools
import logging
from datetime import UTC, datetime

import psycopg
from attrs import frozen

from pgwerk._core.config import WerkConfig
from pgwerk._core.ids import FIRST_ID
from pgwerk._core.inserts import Settled, Settlement, settle_params
from pgwerk._core.models import JobStatus
from pgwerk._core.policy import after_loss, expired
from pgwerk._core.rows import job_from_row
from pgwerk._core.serializers import Serializer
from pgwerk._sync import _compat
from pgwerk._sync.aftermath import Aftermath, end_unstarted
from pgwerk._sync.connections import Connection
from pgwerk._sync.sending import Sender
from pgwerk._sync.transactions import patiently

logger = logging.getLogger("pgwerk.sweep")

BATCH = 500
FIRST_TIME = datetime(1, 1, 2, tzinfo=UTC)
TRIES = 10
PAUSE_SECS = 0.02


@frozen
class Promotion:
    """What became of the scheduled jobs that were due.

    Attributes:
        count: How many of them can be claimed now.
        next_in: Seconds until the next one is due; None when there is none.
    """

    count: int
    next_in: float | None

    @property
    def is_full(self) -> bool:
        """Whether there may be more that are due."""
        return self.count == BATCH


class Sweeper:
    """The sweeps of one set of tables."""

    def __init__(self, sender: Sender, aftermath: Aftermath, config: WerkConfig, serializer: Serializer) -> None:
        self._sender = sender
        self._aftermath = aftermath
        self._config = config
        self._serializer = serializer

    def is_needed(self, connection: Connection) -> bool:
        """Whether a sweep would find anything to do. It takes one statement to tell."""
        row = self._sender.first(
            connection,
            "needs_sweep",
            lease_secs=self._config.lease_secs,
            max_active_secs=self._config.max_active_secs,
        )
        return row is None or bool(row[0])

    def sweep(self, connection: Connection) -> list[str]:
        """Do all that there is to do. A step that fails does not keep the others from being done.

        Returns:
            The ids of the orphaned jobs that can be claimed again.

        Raises:
            psycopg.Error: What the database said first.
        """
        errors: list[psycopg.Error] = []
        rescued: list[Settled] = []
        try:
            rescued = self.rescue(connection)
            self._aftermath.see_to(
                connection,
                ended=[each.job_id for each in rescued if each.is_over],
                removable=[each.job_id for each in rescued if each.removable],
            )
        except psycopg.Error as error:
            errors.append(error)
        steps = (
            self._promote_all_due,
            self._end_late,
            self._remove_expired,
            self._aftermath.see_to_all,
            self._remove_lost_workers,
        )
        for step in steps:
            try:
                step(connection)
            except psycopg.Error as error:
                errors.append(error)
        if errors:
            raise errors[0]
        return [each.job_id for each in rescued if each.status == JobStatus.Queued.value]

    def tidy(self, connection: Connection) -> None:
        """End what is late, and remove what is not kept any longer: what there is to do when all work is done."""
        for step in (self._end_late, self._remove_expired, self._aftermath.see_to_all):
            step(connection)

    def rescue(self, connection: Connection) -> list[Settled]:
        """End the attempts of orphaned jobs. The attempt counts: a job that kills its worker comes to an end.

        Returns:
            What became of the jobs. The caller sees to what follows.
        """
        rescued: list[Settled] = []
        while True:
            found, settled = patiently(functools.partial(self._rescue_batch, connection))
            rescued += settled
            if found < BATCH:
                return rescued

    def promote_due(self, connection: Connection) -> Promotion:
        """Make scheduled jobs ready whose time has come."""
        row = self._sender.first(connection, "promote_due", limit=BATCH)
        return Promotion(0, None) if row is None else Promotion(row[0], row[1])

    def _rescue_batch(self, connection: Connection) -> tuple[int, list[Settled]]:
        with connection.transaction():
            rows = self._sender.rows(
                connection,
                "lock_orphans",
                lease_secs=self._config.lease_secs,
                max_active_secs=self._config.max_active_secs,
                limit=BATCH,
            )
            settlements = []
            for *row, reason in rows:
                job = job_from_row(row, self._serializer)
                logger.warning("attempt %d at job %s (%s) is orphaned: %s", job.attempts, job.id, job.function, reason)
                error = f"attempt {job.attempts} on worker {job.worker_id} did not end: {reason}"
                settlements.append(Settlement(job.id, str(job.worker_id), job.attempts, after_loss(job, error)))
            if not settlements:
                return 0, []
            settled = self._sender.rows(connection, "settle", **settle_params(settlements))
        return len(settlements), [Settled(*row) for row in settled]

    def _promote_all_due(self, connection: Connection) -> None:
        promotion = self.promote_due(connection)
        while promotion.is_full:
            promotion = self.promote_due(connection)

    def _end_late(self, connection: Connection) -> None:
        """End jobs that did not start within their time to live."""
        left: dict[str, str] = {}
        time, last = FIRST_TIME, FIRST_ID
        while late := self._sender.rows(connection, "find_late", time=time, id=last, limit=BATCH):
            last, time, _ = late[-1]
            left |= self._end(connection, {job_id: expired(ttl) for job_id, _, ttl in late})
        for _ in range(TRIES):
            if not left:
                return
            # Somebody holds them: claims them perhaps, or marks them as awaited.
            _compat.sleep(PAUSE_SECS)
            left = self._end(connection, left)

    def _end(self, connection: Connection, late: dict[str, str]) -> dict[str, str]:
        """End jobs whose time is over; returns those that are left."""
        ended = end_unstarted(self._sender, connection, late, JobStatus.Aborted, expired=True)
        done = {job_id for job_id, _ in ended}
        self._aftermath.see_to(connection, ended=done)
        return {job_id: error for job_id, error in late.items() if job_id not in done}

    def _remove_expired(self, connection: Connection) -> None:
        """Delete finished jobs that have been kept for long enough; those that somebody holds, next time."""
        time, last = FIRST_TIME, FIRST_ID
        while found := self._sender.rows(connection, "find_expired", time=time, id=last, limit=BATCH):
            last, time = found[-1]
            ids = [job_id for job_id, _ in found]
            # Their children first: they are to hear how the jobs ended.
            self._aftermath.see_to(connection, ended=ids)
            _, freed = self._aftermath.remove(connection, ids, expired=True)
            self._aftermath.see_to(connection, waiting=freed)

    def _remove_lost_workers(self, connection: Connection) -> None:
        self._sender.run(connection, "remove_lost_workers")
