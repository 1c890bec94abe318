# Generated from src/pgwerk/_async/jobs.py by `python tools/unasync_build.py`.
# Do not edit: change that file and run the command again.

"""Jobs: insert them and read them."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import psycopg

from pgwerk._core import checks
from pgwerk._core.errors import JobNotFound
from pgwerk._core.ids import normalize_id
from pgwerk._core.models import EnqueueParams, Job, JobExecution, JobStatus
from pgwerk._core.new_jobs import NewJob
from pgwerk._core.options import Preparation
from pgwerk._core.rows import execution_from_row, job_from_row
from pgwerk._core.serializers import Serializer
from pgwerk._sql import Statements
from pgwerk._sync import _compat
from pgwerk._sync.aftermath import Aftermath
from pgwerk._sync.connections import Connection, Connections, WerkCursor
from pgwerk._sync.inserting import Inserter
from pgwerk._sync.transactions import patiently


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

    def prepare(self, spec: EnqueueParams) -> NewJob:
        """Check a job, and show it to the before-enqueue callbacks."""
        new = self._preparation.one(spec, datetime.now(UTC))
        self._show([new])
        return new

    def hold(self, new: NewJob, connection: Connection) -> bool:
        """Insert a job for the caller to claim in the same transaction; False if its key exists already."""
        return self._inserter.hold(new, connection)

    def show(self, new: NewJob) -> None:
        """Show a job to the before-enqueue callbacks."""
        self._show([new])

    def insert(self, jobs: Sequence[NewJob], connection: Connection) -> list[Job | None]:
        """Insert jobs that have been shown, in a transaction of our own that is open."""
        return self._inserter.insert(jobs, connection, awaited=False, joined=False)

    def _show(self, jobs: Sequence[NewJob]) -> None:
        for new in jobs:
            for callback in list(self.before_enqueue):
                _compat.call(callback, new.job)

    def _insert(self, jobs: Sequence[NewJob], connection: Connection | None, *, awaited: bool) -> list[Job | None]:
        if self.before_enqueue:
            self._show(jobs)
        if not jobs:
            return []
        if connection is not None:
            try:
                return self._inserter.insert(jobs, connection, awaited=awaited, joined=True)
            except psycopg.errors.UndefinedTable as error:
                error.add_note(f"_conn leads to the database {connection.info.dbname!r}: are pgwerk's tables in it?")
                raise
        with self._connections.connection() as own:
            send = functools.partial(self._inserter.insert, jobs, own, awaited=awaited, joined=False)
            inserted = patiently(send)
            if any(new.parents for new in jobs):
                return self._look_again(own, inserted)
            return inserted

    def _look_again(self, connection: Connection, inserted: list[Job | None]) -> list[Job | None]:
        """See to jobs that wait for others which may have ended before these were committed."""
        waiting = [job.id for job in inserted if job is not None and job.status is JobStatus.Waiting]
        if not waiting:
            return inserted
        changes = self._aftermath.see_to_if_possible(connection, waiting=waiting)
        if not changes.any:
            return inserted
        cursor = WerkCursor(connection).execute(self._statements["get_jobs"], {"ids": waiting}, binary=True)
        now = {row[0]: job_from_row(row, self._serializer) for row in cursor.fetchall()}
        return [job and now.get(job.id, job) for job in inserted]

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
        newest_first: bool,
        after: str | None,
    ) -> list[Job]:
        """A page of jobs, in the order of their ids."""
        newest_first = checks.flag("newest_first", newest_first)
        bound = None if after is None else _bound("after", after)
        search = checks.optional_text("search", search or None)
        params = {
            "above": None if newest_first else bound,
            "below": bound if newest_first else None,
            "queue": checks.optional_text("queue", queue),
            "statuses": _statuses(status),
            "worker_id": None if worker_id is None else normalize_id(worker_id),
            "search": search and f"%{_escape_like(search)}%",
            # As text inside of JSON is written: with escapes.
            "search_in_json": search and f"%{_escape_like(json.dumps(search, ensure_ascii=False)[1:-1])}%",
            "schedule_name": checks.optional_text("schedule_name", schedule_name),
            "retried": None if retried is None else checks.flag("retried", retried),
            "limit": checks.whole("limit", limit),
            "offset": checks.whole("offset", offset),
        }
        if worker_id is not None and params["worker_id"] is None:
            return []
        statement = "list_newest_jobs" if newest_first else "list_jobs"
        return [job_from_row(row, self._serializer) for row in self._fetch(statement, params)]

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


def _statuses(status: JobStatus | str | Sequence[JobStatus | str] | None) -> list[str] | None:
    if status is None:
        return None
    if not isinstance(status, (str, Iterable)):
        raise TypeError(f"status must be a JobStatus or a list of them, not {type(status).__name__} ({status!r})")
    wanted = [status] if isinstance(status, str) else list(status)
    valid = [member.value for member in JobStatus]
    return [JobStatus(checks.one_of("status", item, valid)).value for item in wanted]


def _bound(name: str, value: object) -> str:
    identifier = normalize_id(value)
    if identifier is None:
        raise ValueError(f"{name} must be the id of a job, a UUID, not {value!r}")
    return identifier


def _escape_like(text: str) -> str:
    """The text as a pattern of LIKE that matches nothing but itself."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
