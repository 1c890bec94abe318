"""Jobs that have passed every check, and are not in the database yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from attrs import fields

from pgwerk._core.drafts import JOB_FIELDS, make_job
from pgwerk._core.models import Job, JobStatus

_DEFAULTS: Mapping[str, Any] = {
    **{attribute.name: attribute.default for attribute in fields(Job)},
    "queue": "default",
    "priority": 0,
    "attempts": 0,
    "max_attempts": 1,
}

_ID, _FUNCTION, _STATUS, _SCHEDULED_AT, _ENQUEUED_AT, _EXPIRES_AT, _PAYLOAD = map(
    JOB_FIELDS.index, ("id", "function", "status", "scheduled_at", "enqueued_at", "expires_at", "payload")
)


class Parent(NamedTuple):
    """A dependency whose job is known by its id."""

    id: str
    allow_failure: bool


class Options(NamedTuple):
    """What the options of a job come to. Most jobs have few, so what is left at its default is not in `columns`.

    Attributes:
        columns: Values by column of the table; `delay` (seconds) and `at` besides.
        values: Those of the fields of `Job`, in their order; what is no option is filled in for each job.
    """

    columns: Mapping[str, Any]
    values: Sequence[Any]

    @classmethod
    def of(cls, columns: Mapping[str, Any], meta: object) -> Options:
        """The options with these columns, in which `meta` is packed, and the metadata as it was given."""
        given = {**_DEFAULTS, **columns, "meta": meta}
        return cls({"queue": _DEFAULTS["queue"], **columns}, [given[name] for name in JOB_FIELDS])

    def with_cron_name(self, name: str) -> Options:
        """The same for a job of this schedule."""
        given = {**dict(zip(JOB_FIELDS, self.values, strict=True)), "cron_name": name}
        return Options({**self.columns, "cron_name": name}, [given[field] for field in JOB_FIELDS])


NO_OPTIONS = Options.of({}, None)
"""Those of a job for which nothing was said."""


class NewJob(NamedTuple):
    """A job that has passed every check.

    Attributes:
        id: The job's id.
        function: The dotted path of the handler.
        args: The handler's positional arguments.
        kwargs: The handler's keyword arguments.
        payload: Both, packed: JSON text.
        options: What its options come to.
        parents: The jobs it waits for.
        now: When it was prepared, by the client's clock.
    """

    id: str
    function: str
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    payload: str
    options: Options
    parents: Sequence[Parent]
    now: datetime

    @property
    def job(self) -> Job:
        """The job as it will be; its times are an estimate by the client's clock until the database has spoken."""
        columns = self.options.columns
        due = columns.get("at") or self.now + timedelta(seconds=columns.get("delay", 0))
        status = JobStatus.Scheduled if due > self.now else JobStatus.Queued
        return self.inserted(JobStatus.Waiting if self.parents else status, due, self.now, None)

    def inserted(
        self, status: JobStatus, scheduled_at: datetime, enqueued_at: datetime, expires_at: datetime | None
    ) -> Job:
        """The job with what the database decided about it."""
        values = list(self.options.values)
        values[_ID] = self.id
        values[_FUNCTION] = self.function
        values[_STATUS] = status
        values[_SCHEDULED_AT] = scheduled_at
        values[_ENQUEUED_AT] = enqueued_at
        values[_EXPIRES_AT] = expires_at
        values[_PAYLOAD] = {"args": list(self.args), "kwargs": dict(self.kwargs)}
        return make_job(*values)
