# Generated from src/pgwerk/_async/jobs.py by `python tools/unasync_build.py`.
# Do not edit: change that file and run the command again.

"""Jobs: insert them and read them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from attrs import evolve

from pgwerk._core import checks
from pgwerk._core.errors import JobNotFound
from pgwerk._core.ids import normalize_id
from pgwerk._core.inserts import enqueue_params
from pgwerk._core.models import EnqueueParams, Job, JobExecution, JobStatus
from pgwerk._core.options import NewJob, Preparation
from pgwerk._core.rows import execution_from_row, job_from_row
from pgwerk._core.serializers import Serializer
from pgwerk._sql import Statements
from pgwerk._sync import _compat
from pgwerk._sync.connections import Connection, Connections, WerkCursor

BATCH = 10_000
"""Jobs in one statement of `enqueue_many`; they still share one transaction."""


class Jobs:
    """The jobs of one set of tables."""

    def __init__(
        self, connections: Connections, statements: Statements, preparation: Preparation, serializer: Serializer
    ) -> None:
        self._connections = connections
        self._statements = statements
        self._preparation = preparation
        self._serializer = serializer
        self.before_enqueue: list[Callable[[Job], Any]] = []

    def enqueue(self, spec: EnqueueParams, connection: Connection | None, *, awaited: bool = False) -> Job | None:
        """Insert one job; None if its key exists already."""
        new = self._preparation.one(spec, datetime.now(UTC))
        inserted = self._insert([new], connection, awaited=awaited)
        return inserted[0]

    def enqueue_many(
        self, specs: Sequence[EnqueueParams], connection: Connection | None, *, awaited: bool = False
    ) -> list[Job | None]:
        """Insert many jobs in one transaction; None in the place of a key that exists already."""
        prepared = self._preparation.many(specs, datetime.now(UTC))
        return self._insert(prepared, connection, awaited=awaited)

    def _insert(self, jobs: Sequence[NewJob], connection: Connection | None, *, awaited: bool) -> list[Job | None]:
        for new in jobs:
            for callback in list(self.before_enqueue):
                _compat.call(callback, new.job)
        if not jobs:
            return []
        if connection is not None:
            return self._send(jobs, connection, awaited=awaited)
        with self._connections.connection() as own:
            return self._send(jobs, own, awaited=awaited)

    def _send(self, jobs: Sequence[NewJob], connection: Connection, *, awaited: bool) -> list[Job | None]:
        if len(jobs) <= BATCH:
            return self._execute(jobs, connection, awaited=awaited)
        # All or nothing: in a transaction of the caller's this is a savepoint.
        with connection.transaction():
            return self._execute(jobs, connection, awaited=awaited)

    def _execute(self, jobs: Sequence[NewJob], connection: Connection, *, awaited: bool) -> list[Job | None]:
        inserted: dict[str, tuple[Any, ...]] = {}
        for start in range(0, len(jobs), BATCH):
            params = enqueue_params(jobs[start : start + BATCH], awaited=awaited)
            cursor = WerkCursor(connection).execute(self._statements["enqueue"], params, binary=True)
            for row in cursor.fetchall():
                if row[1] == "missing":
                    raise JobNotFound(row[0])
                inserted[row[0]] = row
        return [_as_inserted(new.job, inserted.get(new.job.id)) for new in jobs]

    def get(self, job_id: object) -> Job:
        """One job by its id."""
        identifier = normalize_id(job_id)
        if identifier is None:
            raise JobNotFound(str(job_id))
        found = self._fetch("get_jobs", {"ids": [identifier]})
        if not found:
            raise JobNotFound(identifier)
        return job_from_row(found[0], self._serializer)

    def page(
        self,
        *,
        queue: str | None,
        status: JobStatus | str | Sequence[JobStatus | str] | None,
        worker_id: str | None,
        search: str | None,
        schedule_name: str | None,
        retried: bool | None,
        limit: int,
        offset: int,
    ) -> list[Job]:
        """A page of jobs, the newest first."""
        params = {
            "queue": queue,
            "statuses": _statuses(status),
            "worker_id": normalize_id(worker_id) if worker_id is not None else None,
            "search": None if search is None else f"%{_escape_like(search)}%",
            "schedule_name": schedule_name,
            "retried": retried,
            "limit": checks.whole("limit", limit),
            "offset": checks.whole("offset", offset),
        }
        if worker_id is not None and params["worker_id"] is None:
            return []
        return [job_from_row(row, self._serializer) for row in self._fetch("list_jobs", params)]

    def executions(self, job_id: object) -> list[JobExecution]:
        """The attempts at a job, the first one first."""
        job = self.get(job_id)
        rows = self._fetch("get_executions", {"id": job.id})
        return [execution_from_row(row, self._serializer) for row in rows]

    def touch(self, job_id: object) -> None:
        """Say that a running job is alive."""
        identifier = normalize_id(job_id)
        if identifier is None:
            return
        with self._connections.connection() as connection:
            WerkCursor(connection).execute(self._statements["touch_job"], {"ids": [identifier], "worker_id": None})

    def _fetch(self, statement: str, params: dict[str, Any]) -> list[tuple[Any, ...]]:
        with self._connections.connection() as connection:
            cursor = WerkCursor(connection).execute(self._statements[statement], params, binary=True)
            return cursor.fetchall()


def _as_inserted(job: Job, row: tuple[Any, ...] | None) -> Job | None:
    """The job with what the database decided about it."""
    if row is None:
        return None
    _, status, scheduled_at, enqueued_at, expires_at, _ = row
    return evolve(
        job,
        status=JobStatus(status),
        scheduled_at=scheduled_at.astimezone(UTC),
        enqueued_at=enqueued_at.astimezone(UTC),
        expires_at=expires_at and expires_at.astimezone(UTC),
    )


def _statuses(status: JobStatus | str | Sequence[JobStatus | str] | None) -> list[str] | None:
    if status is None:
        return None
    wanted = [status] if isinstance(status, str) else list(status)
    valid = [member.value for member in JobStatus]
    return [JobStatus(checks.one_of("status", item, valid)).value for item in wanted]


def _escape_like(text: str) -> str:
    """The text as a pattern of LIKE that matches nothing but itself."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
