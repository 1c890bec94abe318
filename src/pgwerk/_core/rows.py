"""From rows of the database to the values that users see.

The statements return JSON and UUIDs as text, so what a row looks like here does not depend on the adapters that a
connection of the caller's carries.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from attrs import fields

from pgwerk._core.cronjobs import Schedule
from pgwerk._core.drafts import JOB_FIELDS, make_job
from pgwerk._core.envelope import unpack
from pgwerk._core.models import ExecutionStatus, Job, JobExecution, JobStatus, Undecodable
from pgwerk._core.serializers import JSONSerializer, Serializer

JOB_COLUMNS = JOB_FIELDS
"""The columns that the statements return for a job, in their order: one for each field."""

SCHEDULE_COLUMNS = tuple(attribute.name for attribute in fields(Schedule) if attribute.name != "is_overdue")
"""The same for a schedule; whether it is overdue is computed by the database."""

UUID_COLUMNS = frozenset({"id", "worker_id", "last_job_id"})
JSON_COLUMNS = frozenset({"payload", "result", "meta"})

_STATUS = JOB_COLUMNS.index("status")
_PAYLOAD = JOB_COLUMNS.index("payload")
_RESULT = JOB_COLUMNS.index("result")
_META = JOB_COLUMNS.index("meta")
_TIMES = tuple(JOB_COLUMNS.index(name) for name in JOB_COLUMNS if name.endswith("_at"))

META_SERIALIZER = JSONSerializer(import_enums=False)
"""Metadata is JSON whatever serializer the client uses, so that people can query it.

It is read with every job, also by whoever only lists jobs, and must not make him import what a row names."""


def job_from_row(row: Sequence[Any], serializer: Serializer) -> Job:
    """The job in a row of the job columns."""
    values = list(row)
    values[_STATUS] = JobStatus(values[_STATUS])
    for index in _TIMES:
        if values[index] is not None:
            values[index] = utc(values[index])
    values[_PAYLOAD] = _decode(values[_PAYLOAD], serializer)
    values[_RESULT] = _decode(values[_RESULT], serializer)
    values[_META] = _decode(values[_META], META_SERIALIZER)
    return make_job(*values)


def execution_from_row(row: Sequence[Any], serializer: Serializer) -> JobExecution:
    """The attempt in a row of `get_executions.sql`."""
    identifier, job_id, attempt, status, worker_id, error, result, started_at, completed_at, max_memory = row
    return JobExecution(
        id=identifier,
        job_id=job_id,
        attempt=attempt,
        status=ExecutionStatus(status),
        worker_id=worker_id,
        error=error,
        result=_decode(result, serializer),
        started_at=started_at and utc(started_at),
        completed_at=completed_at and utc(completed_at),
        max_memory=max_memory,
    )


def schedule_from_row(row: Sequence[Any], serializer: Serializer) -> Schedule:
    """The schedule in a row of the schedule columns, with whether it is overdue."""
    values = dict(zip((*SCHEDULE_COLUMNS, "is_overdue"), row, strict=True))
    for name in ("anchor_at", "next_run_at", "last_run_at"):
        values[name] = values[name] and utc(values[name])
    values["payload"] = _decode(values["payload"], serializer)
    values["meta"] = _decode(values["meta"], META_SERIALIZER)
    return Schedule(**values)


def _decode(stored: str | None, serializer: Serializer) -> Any:
    if stored is None:
        return None
    try:
        return serializer.loads(unpack(stored))
    except Exception as error:  # a foreign serializer may raise anything, and other rows must stay readable
        return Undecodable(stored, f"{type(error).__name__}: {error}")


def utc(value: datetime) -> datetime:
    """The same moment in UTC: the driver gives times in the zone of the connection."""
    return value if value.tzinfo is UTC else value.astimezone(UTC)
