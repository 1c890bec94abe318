"""Claiming: take the best jobs of the worker's queues, in batches.

Two ways lead to the same order. While the worker has one queue and no job in it that is ready has a group, one
statement claims (`claim_ungrouped.sql`). Otherwise the worker looks first, without locks, at the best jobs over all its
queues (`look.sql`), and then locks as many as each queue gave (`claim_looked.sql`). If it locked the best N of every
queue, to keep N of them all, the others would be hidden from other workers meanwhile.

Groups: of the jobs of one group, one runs at a time. The look takes the advisory locks of the groups that it found, and
the claim is the next statement of the same transaction: its snapshot is younger than the locks, so it sees every claim
of these groups that came before. The unique index over running groups is only the backstop.

While a session anywhere in the database holds an old snapshot (a report, a backup), nothing that was updated since can
be cleaned away. The entries of all jobs that were ready then stay at the head of the ready index, and each claim would
walk over them again: with 100,000 of them, at a fifth of the pace. So, as long as claims find all they ask for, the
next one starts behind the last job that was claimed of each priority. Jobs may appear before that place (long
transactions, retries, rescues, another priority), so a claim begins at the very beginning several times a second, or as
often as a twentieth of the time allows, and whenever another one has found too little.

What is best over several queues is up to the strategy. When queues take turns, a look ranks the jobs within each queue
first, and the next look begins with the queue after the one that had the last turn.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from attrs import define, field

from pgwerk._async.connections import Connection, WerkCursor
from pgwerk._core.arrays import moments, plain
from pgwerk._core.claimed import Claimed, best_first
from pgwerk._core.inserts import Settlement, settle_complete_params
from pgwerk._core.models import DequeueStrategy
from pgwerk._sql import Statements

LEAST_HEAD = 100
"""How many jobs with a group a look goes through at least."""

LOOK_BACK_SECS = 0.1, 2.0
"""After how many seconds a claim begins at the very beginning again, at least and at most."""

LOOK_BACK_SHARE = 0.05
"""The share of the time that this may take."""

MOST_PRIORITIES = 20
"""Of how many priorities a head is remembered."""


@define
class Turn:
    """What came of a claim.

    Attributes:
        claimed: The jobs.
        settled: The attempts that were settled on the way: job and number.
    """

    claimed: list[Claimed] = field(factory=list)
    settled: list[tuple[str, int]] = field(factory=list)


class Head:
    """How far the head of a queue has moved: the last job that was claimed of each priority."""

    def __init__(self) -> None:
        self._last: dict[int, tuple[Any, str]] = {}
        self._look_back_at = 0.0

    def is_near(self, now: float) -> bool:
        """Whether a claim may start from there, at this time of the monotonic clock."""
        return bool(self._last) and now < self._look_back_at

    def params(self) -> dict[str, Any]:
        """The parameters that say where it is."""
        priorities = sorted(self._last, reverse=True)
        return {
            "priorities": plain(priorities),
            "times": moments(self._last[priority][0] for priority in priorities),
            "last_ids": plain(self._last[priority][1] for priority in priorities),
        }

    def move(self, claimed: Iterable[Claimed]) -> None:
        """These were claimed."""
        for each in claimed:
            place = each.scheduled_at, each.id
            if self._look_back_at and place > self._last.get(each.priority, _BEGINNING):
                self._last[each.priority] = place
        if len(self._last) > MOST_PRIORITIES:
            self._last.clear()

    def was_left(self, secs: float, *, is_exhausted: bool) -> None:
        """A claim has begun at the very beginning.

        Args:
            secs: How long it took.
            is_exhausted: Whether it found less than it was to claim: then there is nothing to be quick about.
        """
        self._last.clear()
        least, most = LOOK_BACK_SECS
        pause = min(max(secs / LOOK_BACK_SHARE, least), most)
        self._look_back_at = 0.0 if is_exhausted else time.monotonic() + pause


_BEGINNING = datetime.min.replace(tzinfo=UTC), ""


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
        self._head = Head()
        # Where the visit of the groups beyond the head has ended, for each queue.
        self._after = dict.fromkeys(self._queues, "")

    @property
    def settles(self) -> bool:
        """Whether a claim can settle something on the way."""
        return len(self._queues) == 1

    async def claim(self, connection: Connection, limit: int) -> list[Claimed]:
        """Claim up to so many jobs, the best ones first."""
        return (await self.turn_over(connection, limit)).claimed

    async def turn_over(self, connection: Connection, limit: int, ends: Sequence[Settlement] = ()) -> Turn:
        """Claim up to so many jobs, the best ones first, and settle plain ends on the way.

        Args:
            connection: The connection.
            limit: How many jobs to claim at most.
            ends: What is to be settled; nothing if it `settles` nothing.
        """
        turn = Turn()
        if self.settles:
            turn = await self._claim_ungrouped(connection, limit, ends)
        # Nothing was claimed when nothing is there, but also when jobs with a group are.
        if not turn.claimed and await self.is_anything_ready(connection):
            turn.claimed += await self._look_and_claim(connection, limit)
        return turn

    async def _claim_ungrouped(self, connection: Connection, limit: int, ends: Sequence[Settlement]) -> Turn:
        turn = Turn()
        if self._head.is_near(time.monotonic()):
            await self._send(connection, turn, limit, ends, self._head.params())
            ends = ()
        left = limit - len(turn.claimed)
        if left:
            began = time.monotonic()
            await self._send(connection, turn, left, ends, None)
            self._head.was_left(time.monotonic() - began, is_exhausted=len(turn.claimed) < limit)
        self._head.move(turn.claimed)
        return turn

    async def _send(
        self,
        connection: Connection,
        turn: Turn,
        limit: int,
        ends: Sequence[Settlement],
        head: dict[str, Any] | None,
    ) -> None:
        params: dict[str, Any] = {"queue": self._queues[0], "limit": limit, "worker_id": self._worker_id}
        if ends:
            statement = "turn_over" if head is None else "turn_over_from_head"
            params |= settle_complete_params(ends)
        else:
            statement = "claim_ungrouped" if head is None else "claim_from_head"
        claimed = await self._execute(connection, statement, params if head is None else params | head)
        if ends:
            turn.settled += [(each.id, each.attempts) for each in claimed if not each.function]
            claimed = [each for each in claimed if each.function]
        turn.claimed += best_first(claimed)

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
            claimed = await self._execute(
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
            return best_first(claimed)

    def _take_turns(self, counts: Counter[str]) -> None:
        """Let the queue come first next time that follows the one which had the last turn."""
        turns = max(counts.values())
        last = max(place for place, queue in enumerate(self._queues) if counts[queue] == turns)
        self._queues = self._queues[last + 1 :] + self._queues[: last + 1]

    async def _execute(self, connection: Connection, statement: str, params: dict[str, Any]) -> list[Claimed]:
        cursor = await WerkCursor(connection).execute(self._statements[statement], params, binary=True)
        return list(map(Claimed, await cursor.fetchall()))
