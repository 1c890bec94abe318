"""Jobs: insert them and read them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import psycopg

from pgwerk._async import _compat
from pgwerk._async.aftermath import Aftermath
from pgwerk._async.connections import Connection, Connections, WerkCursor
from pgwerk._async.inserting import Inserter
from pgwerk._async.transactions import CONFLICTS, patiently
from pgwerk._core import checks
from pgwerk._core.errors import JobNotFound
from pgwerk._core.filters import checked_id, job_filter
from pgwerk._core.ids import normalize_id
from pgwerk._core.models import EnqueueParams, Job, JobExecution, JobStatus
from pgwerk._core.new_jobs import NewJob
from pgwerk._core.options import Preparation
from pgwerk._core.rows import execution_from_row, job_from_row
from pgwerk._core.serializers import Serializer
from pgwerk._sql import Statements


class Jobs:
    """The jobs of one set of tables."""

    def __init__(
        self,
        connections: Connections,
        statements: Statements,
        aftermath: Aftermath,
        preparation: Preparation,
        serializer: Serializer,
    ) -> None:
        self._connections = connections
        self._statements = statements
        self._inserter = Inserter(statements)
        self._aftermath = aftermath
        self._preparation = preparation
        self._serializer = serializer
        self.before_enqueue: list[Callable[[Job], Any]] = []

    async def enqueue(self, spec: EnqueueParams, connection: Connection | None, *, awaited: bool = False) -> Job | None:
        """Insert one job; None if its key exists already."""
        new = self._preparation.one(spec, datetime.now(UTC))
        if connection is not None or new.parents or self.before_enqueue:
            inserted = await self._insert([new], connection, awaited=awaited)
            return inserted[0]
        # The usual case, without all that has nothing to do in it.
        async with self._connections.connection() as own:
            try:
                return await self._inserter.one(new, own, awaited=awaited)
            except CONFLICTS:
                return await patiently(functools.partial(self._inserter.one, new, own, awaited=awaited))

    async def enqueue_many(
        self, specs: Sequence[EnqueueParams], connection: Connection | None, *, awaited: bool = False
    ) -> list[Job | None]:
        """Insert many jobs in one transaction; None in the place of a key that exists already."""
        prepared = self._preparation.many(specs, datetime.now(UTC))
        return await self._insert(prepared, connection, awaited=awaited)

    async def prepare(self, spec: EnqueueParams) -> NewJob:
        """Check a job, and show it to the before-enqueue callbacks."""
        new = self._preparation.one(spec, datetime.now(UTC))
        await self.show([new])
        return new

    async def hold(self, new: NewJob, connection: Connection) -> bool:
        """Insert a job for the caller to claim in the same transaction; False if its key exists already."""
        return await self._inserter.hold(new, connection)

    async def insert(self, jobs: Sequence[NewJob], connection: Connection) -> list[Job | None]:
        """Insert jobs that have been shown, in a transaction of our own that is open."""
        return await self._inserter.insert(jobs, connection, awaited=False, joined=True)

    async def show(self, jobs: Sequence[NewJob]) -> None:
        """Show jobs to the before-enqueue callbacks."""
        for new in jobs:
            for callback in list(self.before_enqueue):
                await _compat.call(callback, new.job)

    async def _insert(
        self, jobs: Sequence[NewJob], connection: Connection | None, *, awaited: bool
    ) -> list[Job | None]:
        if self.before_enqueue:
            await self.show(jobs)
        if not jobs:
            return []
        if connection is not None:
            try:
                return await self._inserter.insert(jobs, connection, awaited=awaited, joined=True)
            except psycopg.errors.UndefinedTable as error:
                error.add_note(f"_conn leads to the database {connection.info.dbname!r}: are pgwerk's tables in it?")
                raise
        async with self._connections.connection() as own:
            send = functools.partial(self._inserter.insert, jobs, own, awaited=awaited, joined=False)
            inserted = await patiently(send)
            if any(new.parents for new in jobs):
                return await self._look_again(own, inserted)
            return inserted

    async def _look_again(self, connection: Connection, inserted: list[Job | None]) -> list[Job | None]:
        """See to jobs that wait for others which may have ended before these were committed."""
        waiting = [job.id for job in inserted if job is not None and job.status is JobStatus.Waiting]
        if not waiting:
            return inserted
        changes = await self._aftermath.see_to_if_possible(connection, waiting=waiting)
        if not changes.any:
            return inserted
        cursor = await WerkCursor(connection).execute(self._statements["get_jobs"], {"ids": waiting}, binary=True)
        now = {row[0]: job_from_row(row, self._serializer) for row in await cursor.fetchall()}
        return [job and now.get(job.id, job) for job in inserted]

    async def get(self, job_id: object) -> Job:
        """One job by its id."""
        identifier = normalize_id(job_id)
        if identifier is None:
            raise JobNotFound(str(job_id))
        found = await self._fetch("get_jobs", {"ids": [identifier]})
        if not found:
            raise JobNotFound(identifier)
        return job_from_row(found[0], self._serializer)

    async def page(
        self, *, limit: int, offset: int, newest_first: bool, after: str | None, **filters: Any
    ) -> list[Job]:
        """A page of jobs, in the order of their ids."""
        wanted = job_filter(**filters)
        newest_first = checks.flag("newest_first", newest_first)
        bound = None if after is None else checked_id("after", after)
        place = {
            "above": None if newest_first else bound,
            "below": bound if newest_first else None,
            "limit": checks.whole("limit", limit),
            "offset": checks.whole("offset", offset),
        }
        if wanted is None:
            return []
        statement = "list_newest_jobs" if newest_first else "list_jobs"
        return [job_from_row(row, self._serializer) for row in await self._fetch(statement, {**wanted, **place})]

    async def count(self, **filters: Any) -> dict[JobStatus, int]:
        """How many jobs there are, by status."""
        wanted = job_filter(**filters)
        counts = dict.fromkeys(JobStatus, 0)
        if wanted is not None:
            counts.update({JobStatus(status): count for status, count in await self._fetch("count_jobs", wanted)})
        return counts

    async def statuses(self, **filters: Any) -> dict[str, JobStatus]:
        """The status of each job, in the order of their ids."""
        wanted = job_filter(**filters)
        if wanted is None:
            return {}
        return {found: JobStatus(status) for found, status in await self._fetch("get_statuses", wanted)}

    async def executions(self, job_id: object) -> list[JobExecution]:
        """The attempts at a job, the first one first."""
        job = await self.get(job_id)
        rows = await self._fetch("get_executions", {"id": job.id})
        return [execution_from_row(row, self._serializer) for row in rows]

    async def touch(self, job_id: object) -> None:
        """Say that a running job is alive."""
        identifier = normalize_id(job_id)
        if identifier is None:
            return
        async with self._connections.connection() as connection:
            await WerkCursor(connection).execute(
                self._statements["touch_job"], {"ids": [identifier], "worker_id": None}
            )

    async def _fetch(self, statement: str, params: dict[str, Any]) -> list[tuple[Any, ...]]:
        async with self._connections.connection() as connection:
            cursor = await WerkCursor(connection).execute(self._statements[statement], params, binary=True)
            return await cursor.fetchall()
