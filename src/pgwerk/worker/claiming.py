"""Claiming: take the best jobs of the worker's queues, in batches.

Two ways lead to the same order. While the worker has one queue and no job in it that is ready has a group, one
statement claims (`claim_ungrouped.sql`). Otherwise the worker looks first, without locks, at the best jobs over all its
queues (`look.sql`), and then locks as many as each queue gave (`claim_looked.sql`). If it locked the best N of every
queue, to keep N of them all, the others would be hidden from other workers meanwhile.

Groups: of the jobs of one group, one runs at a time. The look takes the advisory locks of the groups that it found, and
the claim is the next statement of the same transaction: its snapshot is younger than the locks, so it sees every claim
of these groups that came before. The unique index over running groups is only the backstop.

What is best over several queues is up to the strategy. When queues take turns, a look ranks the jobs within each queue
first, and the next look begins with the queue after the one that had the last turn.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

from pgwerk._async.connections import Connection, WerkCursor
from pgwerk._core.claimed import Claimed
from pgwerk._core.models import DequeueStrategy
from pgwerk._sql import Statements

LEAST_HEAD = 100
"""How many jobs with a group a look goes through at least."""


class Claimer:
    """Claims for one worker.

    Args:
        statements: The statements.
        worker_id: The worker.
        queues: Its queues.
        strategy: From which of them to take the next job.
    """

    def __init__(
        self,
        statements: Statements,
        worker_id: str,
        queues: Sequence[str],
        strategy: DequeueStrategy = DequeueStrategy.Priority,
    ) -> None:
        self._statements = statements
        self._worker_id = worker_id
        self._queues = list(queues)
        self._strategy = strategy
        self._look = "look" if strategy is DequeueStrategy.Priority else "look_in_turns"
        # Where the visit of the groups beyond the head has ended, for each queue.
        self._after = dict.fromkeys(self._queues, "")

    async def claim(self, connection: Connection, limit: int) -> list[Claimed]:
        """Claim up to so many jobs, the best ones first."""
        claimed: list[Claimed] = []
        if len(self._queues) == 1:
            params = {"queue": self._queues[0], "limit": limit, "worker_id": self._worker_id}
            claimed = await self._execute(connection, "claim_ungrouped", params)
        # Nothing was claimed when nothing is there, but also when jobs with a group are.
        if not claimed and await self.is_anything_ready(connection):
            claimed = await self._look_and_claim(connection, limit)
        claimed.sort(key=lambda each: each.order)
        return claimed

    async def is_anything_ready(self, connection: Connection) -> bool:
        """Whether the queues hold anything that is ready, other workers' locks and running groups aside."""
        cursor = await WerkCursor(connection).execute(
            self._statements["count_ready"], {"queues": self._queues}, binary=True
        )
        row = await cursor.fetchone()
        return row is not None and row[0] > 0

    async def _look_and_claim(self, connection: Connection, limit: int) -> list[Claimed]:
        if self._strategy is DequeueStrategy.Random:
            random.shuffle(self._queues)
        async with connection.transaction():
            cursor = await WerkCursor(connection).execute(
                self._statements[self._look],
                {
                    "queues": self._queues,
                    "limit": limit,
                    "head": max(LEAST_HEAD, 2 * limit),
                    "after": [self._after[queue] for queue in self._queues],
                },
                binary=True,
            )
            rows = await cursor.fetchall()
            for queue, _, _, _, ended in rows:
                # The next visit goes on from there, and begins anew when there was nothing left to visit.
                self._after[queue] = ended or ""
            quota = Counter(queue for queue, found, group, _, _ in rows if found and group is None)
            groups = [(queue, group) for queue, _, group, locked, _ in rows if locked]
            if not quota and not groups:
                return []
            if self._strategy is DequeueStrategy.RoundRobin:
                self._take_turns(quota + Counter(queue for queue, _ in groups))
            return await self._execute(
                connection,
                "claim_looked",
                {
                    "queues": list(quota),
                    "counts": list(quota.values()),
                    "group_queues": [queue for queue, _ in groups],
                    "groups": [group for _, group in groups],
                    "worker_id": self._worker_id,
                },
            )

    def _take_turns(self, counts: Counter[str]) -> None:
        """Let the queue come first next time that follows the one which had the last turn."""
        turns = max(counts.values())
        last = max(place for place, queue in enumerate(self._queues) if counts[queue] == turns)
        self._queues = self._queues[last + 1 :] + self._queues[: last + 1]

    async def _execute(self, connection: Connection, statement: str, params: dict[str, Any]) -> list[Claimed]:
        cursor = await WerkCursor(connection).execute(self._statements[statement], params, binary=True)
        return [Claimed(row) for row in await cursor.fetchall()]
