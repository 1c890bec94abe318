# Generated from src/pgwerk/_async/inserting.py by `python tools/unasync_build.py`.
# Do not edit: change that file and run the command again.

"""Inserting jobs: one statement for a single one, and one for each batch of many, in one transaction."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence

import psycopg

from pgwerk._core.inserts import (
    are_ready,
    enqueue_one_params,
    enqueue_one_parts,
    enqueue_params,
    enqueue_parts,
    enqueue_ready_params,
    enqueue_ready_parts,
    in_batches,
    in_key_order,
    inserted_job,
    inserted_jobs,
    keys_of,
    ready_jobs,
)
from pgwerk._core.models import Job
from pgwerk._core.new_jobs import NewJob
from pgwerk._sql import Statements
from pgwerk._sync.connections import Connection, WerkCursor, cursor_of, not_encodable
from pgwerk._sync.transactions import nested

BATCH = 10_000
"""The most jobs in one statement."""

BATCH_CHARACTERS = 50_000_000
"""How long the payloads in one statement may be together: the server takes no more than 1 GB, and takes time."""

MOST_ASKING = 100
"""Of more jobs than these, workers are notified whether they want it or not: when so many are committed, it may be long
ago that the statement read what workers want, and for each job it costs little."""

TRIES = 10


class Inserter:
    """Inserts the jobs of one set of tables."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    def insert(
        self, jobs: Sequence[NewJob], connection: Connection, *, awaited: bool, joined: bool
    ) -> list[Job | None]:
        """Insert jobs, all of them or none.

        Args:
            jobs: The jobs.
            connection: The connection, in a transaction or not.
            awaited: Whether somebody is going to wait for them.
            joined: Whether they become part of a transaction that goes on, the caller's as a rule.

        Returns:
            The jobs as they were inserted, in the order given; None for one that was left out for its key.

        Raises:
            JobNotFound: A job that one of them depends on does not exist.
        """
        asks = not joined and len(jobs) <= MOST_ASKING
        if len(jobs) == 1 and not jobs[0].parents:
            return [self.one(jobs[0], connection, awaited=awaited, asks=asks)]
        if not _has_keyed_parents(jobs) and len(_batches(jobs)) == 1:
            return self._batch(jobs, connection, {}, awaited=awaited, joined=joined, asks=asks)
        for _ in range(TRIES):
            # A parent's key may have been taken by somebody whom the statement that found it so did not see yet.
            with contextlib.suppress(psycopg.errors.NotNullViolation):
                return self._batches(jobs, connection, awaited=awaited, joined=joined)
        return self._batches(jobs, connection, awaited=awaited, joined=joined)

    def one(self, new: NewJob, connection: Connection, *, awaited: bool, asks: bool = True) -> Job | None:
        """Insert one job that waits for no other; None if its key exists already."""
        statement = self._statements.with_parts("enqueue_one", enqueue_one_parts(new, awaited=awaited, asks=asks))
        cursor = cursor_of(connection)
        try:
            cursor.execute(statement, enqueue_one_params(new), binary=True)
        except UnicodeEncodeError as error:
            raise not_encodable(connection, error) from None
        row = cursor.fetchone()
        return None if row is None else inserted_job(new, row)

    def hold(self, new: NewJob, connection: Connection) -> bool:
        """Insert a job for the caller to claim in the same transaction; False if its key exists already.

        Raises:
            JobNotFound: A job that it depends on does not exist.
        """
        statement = self._statements.with_parts("enqueue", enqueue_parts([new], asks=False))
        cursor = WerkCursor(connection).execute(statement, enqueue_params([new], held=True), binary=True)
        (inserted,) = inserted_jobs([new], cursor.fetchall())
        return inserted is not None

    def _batches(
        self, jobs: Sequence[NewJob], connection: Connection, *, awaited: bool, joined: bool
    ) -> list[Job | None]:
        keys = keys_of(jobs)
        inserted: dict[str, Job] = {}
        with nested(connection):
            for batch in _batches(in_key_order(jobs)):
                found = self._batch(batch, connection, keys, awaited=awaited, joined=joined, asks=False)
                inserted.update({job.id: job for job in found if job is not None})
        return [inserted.get(new.id) for new in jobs]

    def _batch(
        self,
        batch: Sequence[NewJob],
        connection: Connection,
        keys: Mapping[str, str],
        *,
        awaited: bool,
        joined: bool,
        asks: bool,
    ) -> list[Job | None]:
        if are_ready(batch):
            return self._ready(batch, connection, awaited=awaited, asks=asks)
        statement = self._statements.with_parts("enqueue", enqueue_parts(batch, asks=asks))
        params = enqueue_params(batch, keys=keys, awaited=awaited, joined=joined)
        cursor = WerkCursor(connection).execute(statement, params, binary=True)
        return inserted_jobs(batch, cursor.fetchall())

    def _ready(self, batch: Sequence[NewJob], connection: Connection, *, awaited: bool, asks: bool) -> list[Job | None]:
        parts = enqueue_ready_parts(batch, awaited=awaited, asks=asks)
        statement = self._statements.with_parts("enqueue_ready", parts)
        cursor = WerkCursor(connection).execute(statement, enqueue_ready_params(batch), binary=True)
        (row,) = cursor.fetchall()
        return ready_jobs(batch, row)


def _batches(jobs: Sequence[NewJob]) -> list[Sequence[NewJob]]:
    return in_batches(jobs, most=BATCH, most_characters=BATCH_CHARACTERS)


def _has_keyed_parents(jobs: Sequence[NewJob]) -> bool:
    """Whether a job depends on another one of the call, which may be left out because of its key."""
    keyed = keys_of(jobs) if any(new.parents for new in jobs) else {}
    return any(parent.id in keyed for new in jobs for parent in new.parents) if keyed else False
