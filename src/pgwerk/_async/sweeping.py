"""Sweeping: what has to be done about jobs that nobody else is going to do.

Each step locks a bounded number of rows, skips those that others hold, and commits before the next, so that any number
of sweeps may run at once, and none of them waits or makes others wait.
"""

from __future__ import annotations

import logging

from attrs import frozen

from pgwerk._async.connections import Connection, WerkCursor
from pgwerk._core.config import WerkConfig
from pgwerk._core.inserts import Settled, Settlement, settle_params
from pgwerk._core.models import JobStatus
from pgwerk._core.policy import after_loss
from pgwerk._core.rows import job_from_row
from pgwerk._core.serializers import Serializer
from pgwerk._sql import Statements

logger = logging.getLogger("pgwerk.sweep")

BATCH = 500


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

    def __init__(self, statements: Statements, config: WerkConfig, serializer: Serializer) -> None:
        self._statements = statements
        self._config = config
        self._serializer = serializer

    async def sweep(self, connection: Connection) -> list[str]:
        """Do all that there is to do.

        Returns:
            The ids of the orphaned jobs that can be claimed again.
        """
        rescued = await self.rescue(connection)
        promotion = await self.promote_due(connection)
        while promotion.is_full:
            promotion = await self.promote_due(connection)
        for statement in ("expire_unstarted", "remove_expired"):
            while await self._count(connection, statement) == BATCH:
                pass
        await WerkCursor(connection).execute(self._statements["remove_lost_workers"])
        return rescued

    async def rescue(self, connection: Connection) -> list[str]:
        """End the attempts of orphaned jobs. The attempt counts: a job that kills its worker comes to an end.

        Returns:
            The ids of those that can be claimed again.
        """
        requeued: list[str] = []
        while True:
            found, ready = await self._rescue_batch(connection)
            requeued += ready
            if found < BATCH:
                return requeued

    async def promote_due(self, connection: Connection) -> Promotion:
        """Make scheduled jobs ready whose time has come."""
        cursor = await WerkCursor(connection).execute(self._statements["promote_due"], {"limit": BATCH}, binary=True)
        row = await cursor.fetchone()
        return Promotion(0, None) if row is None else Promotion(row[0], row[1])

    async def _rescue_batch(self, connection: Connection) -> tuple[int, list[str]]:
        cursor = WerkCursor(connection)
        async with connection.transaction():
            await cursor.execute(
                self._statements["lock_orphans"],
                {
                    "lease_secs": self._config.lease_secs,
                    "max_active_secs": self._config.max_active_secs,
                    "limit": BATCH,
                },
                binary=True,
            )
            orphans = [(job_from_row(row[:-1], self._serializer), row[-1]) for row in await cursor.fetchall()]
            if not orphans:
                return 0, []
            settlements = []
            for job, reason in orphans:
                logger.warning("attempt %d at job %s (%s) is orphaned: %s", job.attempts, job.id, job.function, reason)
                error = f"attempt {job.attempts} on worker {job.worker_id} did not end: {reason}"
                settlements.append(Settlement(job.id, str(job.worker_id), job.attempts, after_loss(job, error)))
            await cursor.execute(self._statements["settle"], settle_params(settlements), binary=True)
            settled = [Settled(*row) for row in await cursor.fetchall()]
        return len(orphans), [each.job_id for each in settled if each.status == JobStatus.Queued.value]

    async def _count(self, connection: Connection, statement: str) -> int:
        cursor = await WerkCursor(connection).execute(self._statements[statement], {"limit": BATCH}, binary=True)
        row = await cursor.fetchone()
        return 0 if row is None else int(row[0])
