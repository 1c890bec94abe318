"""Strays: jobs that are claimed for a worker which does not know of them.

The statement that claims was carried out, and the answer was lost with the connection. Nobody would rescue such a job
while the worker lives, so the worker looks for them itself. A claim may even be committed after its connection was lost
here, so it takes more than one look: once a claim has been cut off, the worker looks now and then. As long as every
claim was answered, there is nothing to look for.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence

from pgwerk._async.connections import Connection, WerkCursor
from pgwerk._core.claimed import Claimed
from pgwerk._core.inserts import Settlement, settle_params
from pgwerk._core.policy import given_back
from pgwerk._sql import Statements

logger = logging.getLogger("pgwerk.worker")


class Strays:
    """Gives back the strays of one worker.

    Args:
        statements: The statements.
        worker_id: The worker.
        known: Gives the attempts that the worker knows of: job and number.
        interval: Seconds between looks, once a claim has been cut off.

    Attributes:
        are_possible: Whether a claim has been sent whose answer has not arrived.
    """

    def __init__(
        self, statements: Statements, worker_id: str, known: Callable[[], Sequence[tuple[str, int]]], *, interval: float
    ) -> None:
        self.are_possible = False
        self._statements = statements
        self._worker_id = worker_id
        self._known = known
        self._interval = interval
        self._look_at = math.inf

    @property
    def are_to_be_looked_for(self) -> bool:
        """Whether it is time to look."""
        return self.are_possible or time.monotonic() >= self._look_at

    async def give_back(self, connection: Connection) -> None:
        """Look for strays, and give them back, as if they had never been claimed."""
        known = self._known()
        async with connection.transaction():
            cursor = await WerkCursor(connection).execute(
                self._statements["lock_strays"],
                {
                    "worker_id": self._worker_id,
                    "ids": [job_id for job_id, _ in known],
                    "attempts": [attempt for _, attempt in known],
                },
                binary=True,
            )
            strays = [Claimed(row) for row in await cursor.fetchall()]
            if strays:
                settlements = [Settlement(each.id, each.worker_id, each.attempts, given_back()) for each in strays]
                await cursor.execute(self._statements["settle"], settle_params(settlements), binary=True)
        self.are_possible = False
        self._look_at = time.monotonic() + self._interval
        if strays:
            logger.info("gave back %d jobs whose claim was cut off", len(strays))
