"""Claiming: take the best jobs of the worker's queues, in batches.

Two ways lead to the same order. While the worker has one queue and no job in it that is ready has a group, one
statement claims from its head (`claim_ungrouped.sql`, heads.py). Otherwise one looks first, without locks, at the best
jobs over all queues, and then locks as many as each queue gave (`claim_best.sql`). If it locked the best N of every
queue, to keep N of them all, the others would be hidden from other workers meanwhile.

Groups: of the jobs of one group, one runs at a time; `claim_best.sql` says how. When two claims look at the same groups
at the same moment, one of them goes away empty-handed, and comes back a little later.

What is best over several queues is up to the strategy. When queues take turns, a look ranks the jobs within each queue
first, and the next look begins with the queue after the one that had the last turn.

Both ways also come with an errand: ends to be settled in the same statement (settling.py).
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import psycopg
from attrs import define, field

from pgwerk._async.connections import Connection, WerkCursor
from pgwerk._core.claimed import Claimed, best_first
from pgwerk._core.inserts import Settlement, settle_complete_params, settle_complete_parts
from pgwerk._core.models import DequeueStrategy
from pgwerk._sql import Statements
from pgwerk.worker.heads import Head

LEAST_HEAD = 100
"""How many jobs with a group a look goes through at least."""

TRIES = 3


@define
class Turn:
    """What came of a claim.

    Attributes:
        claimed: The jobs.
        settled: The attempts that were settled on the way: job and number.
        has_missed: Whether others have taken, or hold, some of the jobs that were to be claimed.
    """

    claimed: list[Claimed] = field(factory=list)
    settled: list[tuple[str, int]] = field(factory=list)
    has_missed: bool = False

    def add_settled(self, rows: Iterable[Claimed]) -> list[Claimed]:
        """Take out of what a statement returned what was settled; the rest is left."""
        claimed = []
        for row in rows:
            if row.id and not row.function:
                self.settled.append((row.id, row.attempts))
            else:
                claimed.append(row)
        return claimed


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
        self._way = "best" if strategy is DequeueStrategy.Priority else "in_turns"
        self._head = Head()
        self._has_groups = False
        # Where the visit of the groups beyond the head has ended, for each queue.
        self._after = dict.fromkeys(self._queues, "")

    async def claim(self, connection: Connection, limit: int) -> list[Claimed]:
        """Claim up to so many jobs, the best ones first."""
        return (await self.turn_over(connection, limit)).claimed

    async def turn_over(self, connection: Connection, limit: int, ends: Sequence[Settlement] = ()) -> Turn:
        """Claim up to so many jobs, the best ones first, and settle plain ends on the way.

        Args:
            connection: The connection.
            limit: How many jobs to claim at most.
            ends: What is to be settled.
        """
        turn = Turn()
        if len(self._queues) == 1 and not self._has_groups:
            await self._claim_ungrouped(connection, turn, limit, ends)
            # Nothing was claimed when nothing is there, but also when jobs with a group are.
            if turn.claimed or not await self.is_anything_ready(connection):
                return turn
            ends = ()
        await self._claim_best(connection, turn, limit, ends)
        return turn

    async def is_anything_ready(self, connection: Connection) -> bool:
        """Whether the queues hold anything that is ready, other workers' locks and running groups aside."""
        cursor = await WerkCursor(connection).execute(
            self._statements["count_ready"], {"queues": self._queues}, binary=True
        )
        row = await cursor.fetchone()
        return row is not None and row[0] > 0

    async def _claim_ungrouped(
        self, connection: Connection, turn: Turn, limit: int, ends: Sequence[Settlement]
    ) -> None:
        params = {"queue": self._queues[0], "worker_id": self._worker_id}
        if self._head.is_near(time.monotonic()):
            head = params | self._head.params() | {"limit": limit}
            turn.claimed += best_first(await self._send(connection, turn, "from_head", head, ends))
            ends = ()
        left = limit - len(turn.claimed)
        if left:
            began = time.monotonic()
            turn.claimed += best_first(await self._send(connection, turn, "ungrouped", params | {"limit": left}, ends))
            self._head.was_left(time.monotonic() - began, is_exhausted=len(turn.claimed) < limit)
        self._head.move(turn.claimed)

    async def _claim_best(self, connection: Connection, turn: Turn, limit: int, ends: Sequence[Settlement]) -> None:
        if self._strategy is DequeueStrategy.Random:
            random.shuffle(self._queues)
        params = {
            "queues": self._queues,
            "limit": limit,
            "head": max(LEAST_HEAD, 2 * limit),
            "after": [self._after[queue] for queue in self._queues],
            "worker_id": self._worker_id,
        }
        rows = await self._send_until_accepted(connection, turn, params, ends)
        lanes = [row for row in rows if not row.id]
        for lane in lanes:
            # The next visit goes on from there, and begins anew when there was nothing left to visit.
            self._after[lane.queue] = lane.key or ""
        self._has_groups = any(lane.max_attempts for lane in lanes)
        turn.claimed += best_first(row for row in rows if row.id)
        turn.has_missed = sum(lane.attempts for lane in lanes) > len(turn.claimed)
        if self._strategy is DequeueStrategy.RoundRobin and turn.claimed:
            self._take_turns(Counter(each.queue for each in turn.claimed))

    async def _send_until_accepted(
        self, connection: Connection, turn: Turn, params: dict[str, Any], ends: Sequence[Settlement]
    ) -> list[Claimed]:
        for _ in range(TRIES - 1):
            try:
                return await self._send(connection, turn, self._way, params, ends)
            except psycopg.errors.UniqueViolation:
                continue  # a job became the best of its group, and started, while the statement ran
        return await self._send(connection, turn, self._way, params, ends)

    async def _send(
        self, connection: Connection, turn: Turn, way: str, params: dict[str, Any], ends: Sequence[Settlement]
    ) -> list[Claimed]:
        """Claim in one statement, and have it settle what there is to settle."""
        if ends:
            statement = self._statements.with_parts(f"turn_over_{way}", settle_complete_parts(ends))
            params = params | settle_complete_params(ends)
        else:
            statement = self._statements[f"claim_{way}"]
        cursor = await WerkCursor(connection).execute(statement, params, binary=True)
        rows = map(Claimed, await cursor.fetchall())
        return turn.add_settled(rows) if ends else list(rows)

    def _take_turns(self, counts: Counter[str]) -> None:
        """Let the queue come first next time that follows the one which had the last turn."""
        turns = max(counts.values())
        last = max(place for place, queue in enumerate(self._queues) if counts[queue] == turns)
        self._queues = self._queues[last + 1 :] + self._queues[: last + 1]
