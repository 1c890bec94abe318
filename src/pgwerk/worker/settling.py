"""Settling: write down how attempts ended, in batches.

Outcomes are collected while the previous batch is on its way, and whatever has come together is the next one: a single
outcome is sent at once, and under load the batches grow by themselves. Nothing waits for a batch to fill.

When a claim is about to be sent anyway, it takes plain ends along, if there are few: with ten jobs at a time, one
statement in place of two takes a third less time. If the claim fails, they are settled here.

While the database is away, outcomes wait here. When it is back, the fence decides whether they still count.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence

import psycopg

from pgwerk._async.connections import Connection, WerkCursor
from pgwerk._async.settling import is_fault_of_a_row
from pgwerk._core.backoff import Backoff
from pgwerk._core.failures import storable
from pgwerk._core.inserts import (
    Settled,
    Settlement,
    fence_params,
    settle_complete_params,
    settle_complete_parts,
    settle_params,
)
from pgwerk._core.models import ExecutionStatus, JobStatus
from pgwerk._core.policy import Outcome
from pgwerk._sql import Statements
from pgwerk.worker.session import Session

logger = logging.getLogger("pgwerk.worker")

LARGEST_BATCH = 1000
LARGEST_BATCH_CHARACTERS = 16_000_000
LOCKED_PAUSE_SECS = 0.05
LARGEST_LOAN = 100
"""How many ends may be settled together with a claim. More of them are settled beside it, by another session."""
LARGEST_LOAN_CHARACTERS = 100_000


class Settler:
    """Settles the attempts of one worker.

    Args:
        session: The connection to send batches over.
        statements: The statements.
        on_settled: Called after each batch, with what became of the jobs.
        leaves_it: Tells whether plain ends are settled by the next claim, which is about to be sent.

    Attributes:
        leaves_callbacks: Whether other workers are to call the callbacks of the jobs.
    """

    def __init__(
        self,
        session: Session,
        statements: Statements,
        on_settled: Callable[[Iterable[Settled]], None],
        *,
        leaves_it: Callable[[], bool] = lambda: False,
    ) -> None:
        self._session = session
        self._statements = statements
        self._on_settled = on_settled
        self._leaves_it = leaves_it
        # By the next claim, and by this settler, just now.
        self._lent: set[tuple[str, int]] = set()
        self._sent: frozenset[tuple[str, int]] = frozenset()
        self.leaves_callbacks = False
        # By attempt, not by job: the next attempt may end before the answer about the last one has arrived.
        self._pending: dict[tuple[str, int], Settlement] = {}
        self._wake = asyncio.Event()
        # What was sent, and the answer was lost with the connection: it may well have been settled.
        self._in_doubt: set[tuple[str, int]] = set()

    def __len__(self) -> int:
        return len(self._pending)

    def keys(self) -> list[tuple[str, int]]:
        """The attempts that are being settled, or wait for it: job and number."""
        return list(self._pending)

    def add(self, settlement: Settlement) -> None:
        """Have this settled."""
        self._pending[settlement.key] = settlement
        self._wake.set()

    def poke(self) -> None:
        """Settle what nobody else does."""
        if self._pending:
            self._wake.set()

    def lend(self) -> list[Settlement]:
        """Plain ends to be settled together with a claim, if there are few: many are settled beside it."""
        lent = self._loan()
        self._lent = {each.key for each in lent}
        return lent

    def give_back(self, settled: Iterable[tuple[str, int]] | None) -> None:
        """What was lent has been sent.

        Args:
            settled: What was settled of it; None if that is not known. What is left is sent again.
        """
        keys = set(settled or ())
        plain = self._plain(keys)
        for key in self._lent:
            each = self._pending.pop(key, None)
            if each is not None and key not in keys:
                # It may have to be aborted.
                self._pending[key] = each._replace(is_plain=False)
        self._in_doubt = self._in_doubt | self._lent if settled is None else self._in_doubt - keys
        self._lent = set()
        if plain:
            self._on_settled(plain)
        self.poke()

    def _plain(self, keys: Iterable[tuple[str, int]]) -> list[Settled]:
        """What became of plain ends that were settled."""
        pending = self._pending
        return [Settled(*key, grouped=key in pending and pending[key].is_grouped) for key in keys]

    async def run(self) -> None:
        """Settle until cancelled."""
        backoff = Backoff()
        while True:
            await self._wake.wait()
            self._wake.clear()
            batch = self._next_batch()
            if not batch:
                continue
            try:
                async with self._session.use() as connection:
                    await self._settle(connection, batch)
                backoff.reset()
            except psycopg.Error as error:
                pause = backoff.next()
                self._in_doubt |= self._sent & self._pending.keys()
                logger.warning("%d results wait for the database (next try in %.1f s): %s", len(self), pause, error)
                await asyncio.sleep(pause)
            finally:
                self._sent = frozenset()
            self.poke()

    def _loan(self) -> list[Settlement]:
        """What a claim that is sent now is to take along."""
        if not 0 < len(self._pending) <= LARGEST_LOAN:
            return []
        loan = [each for each in self._pending.values() if each.is_plain and each.key not in self._sent]
        characters = sum(len(each.outcome.result or "") for each in loan)
        return loan if characters <= LARGEST_LOAN_CHARACTERS else []

    def _next_batch(self) -> list[Settlement]:
        """As many as fit into one statement, which has a limit in rows and in size."""
        batch: list[Settlement] = []
        room = LARGEST_BATCH_CHARACTERS
        # Nothing is left to a claim that it would not take.
        left = self._lent.union(each.key for each in self._loan()) if self._leaves_it() else self._lent
        for each in self._pending.values():
            if each.key in left:
                continue
            room -= len(each.outcome.result or "") + len(each.outcome.error or "")
            if batch and (room < 0 or len(batch) == LARGEST_BATCH):
                break
            batch.append(each)
        self._sent = frozenset(each.key for each in batch)
        return batch

    async def _settle(self, connection: Connection, batch: Sequence[Settlement]) -> None:
        plain = [each for each in batch if each.is_plain]
        if plain:
            await self._settle_alike(connection, plain)
        if len(plain) < len(batch):
            await self._settle_alike(connection, [each for each in batch if not each.is_plain])

    async def _settle_alike(self, connection: Connection, batch: Sequence[Settlement]) -> None:
        """Settle what is plain, or what is not."""
        try:
            settled = await self._send(connection, batch)
        except (psycopg.Error, UnicodeError) as error:
            if not is_fault_of_a_row(error):
                raise
            await self._settle_apart(connection, batch, error)
            return
        if len(settled) < len(batch):
            keys = {each.key for each in settled}
            await self._sort_out(connection, [each for each in batch if each.key not in keys])
        for each in settled:
            self._forget(each.key)
        self._on_settled(settled)

    async def _send(self, connection: Connection, batch: Sequence[Settlement]) -> list[Settled]:
        """Settle in one statement, and tell what became of the jobs."""
        cursor = WerkCursor(connection)
        if batch[0].is_plain:
            statement = self._statements.with_parts("settle_complete", settle_complete_parts(batch))
            await cursor.execute(statement, settle_complete_params(batch), binary=True)
            return self._plain((job_id, attempt) for job_id, attempt, _ in await cursor.fetchall())
        # What this worker calls, it takes up by a statement of its own: no time is set aside.
        params = settle_params(batch, callback_secs=None if self.leaves_callbacks else 0.0)
        await cursor.execute(self._statements["settle"], params, binary=True)
        return [Settled(*row) for row in await cursor.fetchall()]

    async def _settle_apart(self, connection: Connection, batch: Sequence[Settlement], error: Exception) -> None:
        """The server refuses a batch because of what is in one of its rows: find that one, and fail it."""
        if len(batch) > 1:
            half = len(batch) // 2
            await self._settle(connection, batch[:half])
            await self._settle(connection, batch[half:])
            return
        (offender,) = batch
        text = storable(f"the outcome of the job cannot be stored: {type(error).__name__}: {error}")
        logger.error("job %s: %s", offender.job_id, text)
        refused = Outcome(status=JobStatus.Failed, execution=ExecutionStatus.Failed, error=text)
        if offender.outcome == refused:
            self._drop([offender], "the server refuses to store even its failure")
            return
        await self._settle(connection, [offender._replace(outcome=refused, is_plain=False)])

    async def _sort_out(self, connection: Connection, left: Sequence[Settlement]) -> None:
        """What was not settled is either locked by somebody else, and stays, or not ours any more, and is dropped.

        What was sent as plain, and stays, may have to be aborted.
        """
        cursor = await WerkCursor(connection).execute(self._statements["fenced"], fence_params(left), binary=True)
        locked = set(await cursor.fetchall())
        lost = [each for each in left if each.key not in locked]
        self._drop(
            [each for each in lost if each.key not in self._in_doubt],
            "the job was taken away from this worker, or deleted",
        )
        for each in lost:
            self._forget(each.key)
        for each in left:
            if each.key in locked:
                self._pending[each.key] = each._replace(is_plain=False)
        if locked:
            await asyncio.sleep(LOCKED_PAUSE_SECS)

    def _drop(self, settlements: Iterable[Settlement], reason: str) -> None:
        for each in settlements:
            self._forget(each.key)
            logger.warning("the outcome of attempt %d at job %s was dropped: %s", each.attempt, each.job_id, reason)

    def _forget(self, key: tuple[str, int]) -> None:
        """It is settled, or never will be."""
        self._pending.pop(key, None)
        self._in_doubt.discard(key)
