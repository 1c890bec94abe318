"""The model and the tables, side by side."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from tests.machine.bench import Tables
from tests.machine.model import Model
from tests.machine.values import COLUMNS, CONSTANTS, After, Attempt, Begins, Job

_ENDED = ("attempt", "status", "worker_id", "error", "started_at", "completed_at")


def differences(model: Model, tables: Tables) -> list[str]:
    """What is different in the tables. Where the model leaves a moment of this step open, it is filled in."""
    found = [f"there is a job {job_id}" for job_id in tables.jobs.keys() - model.jobs.keys()]
    for job in model.jobs.values():
        row = tables.jobs.get(job.id)
        if row is None:
            found.append(f"{job.name} is gone")
            continue
        constants = tuple(row[column] for column in CONSTANTS)
        if job.constants is None:
            job.constants = constants
        if job.constants != constants:
            found.append(f"{job.name}: {job.constants} is now {constants}")
        found += [f"{job.name}.{each}" for each in _differing(job, row, COLUMNS, model.now, tables.now)]
        if job.parents != tables.parents.get(job.id, {}):
            found.append(f"{job.name} depends on {tables.parents.get(job.id, {})}, not on {job.parents}")
        found += _differing_history(job, tables, model.now)
    for worker_id, worker in model.workers.items():
        row = {"heartbeat_at": tables.workers.get(worker_id)}
        found += [
            f"worker {worker_id}.{each}" for each in _differing(worker, row, ("heartbeat_at",), model.now, tables.now)
        ]
    found += [f"there is a worker {worker_id}" for worker_id in tables.workers.keys() - model.workers.keys()]
    return found


def adopt(model: Model, tables: Tables) -> None:
    """Take what the tables say for what is so."""
    for job_id, job in list(model.jobs.items()):
        row = tables.jobs.get(job_id)
        if row is None:
            del model.jobs[job_id]
            continue
        for column in COLUMNS:
            setattr(job, column, row[column])
        job.parents = tables.parents.get(job_id, {})
        job.history = [Attempt(**{name: row[name] for name in _ENDED}) for row in _history(tables, job_id)]


def _history(tables: Tables, job_id: str) -> list[dict[str, Any]]:
    return [row for row in tables.executions if row["job_id"] == job_id]


def _differing_history(job: Job, tables: Tables, began: datetime) -> list[str]:
    rows = _history(tables, job.id)
    if len(job.history) != len(rows):
        return [f"{job.name} has {len(rows)} attempts behind it, not {len(job.history)}"]
    return [
        f"{job.name}, attempt {attempt.attempt}: {each}"
        for attempt, row in zip(job.history, rows, strict=True)
        for each in _differing(attempt, row, _ENDED, began, tables.now)
    ]


def _differing(
    expected: Any, row: dict[str, Any], columns: tuple[str, ...], began: datetime, ended: datetime
) -> list[str]:
    """Which columns of a row are not as expected. Moments that were left open are filled in."""
    found = []
    for column in columns:
        value, actual = getattr(expected, column), row[column]
        if _fits(value, actual, began, ended):
            setattr(expected, column, actual)
        else:
            found.append(f"{column} is {actual!r}, not {value!r}")
    return found


def _fits(value: Any, actual: Any, began: datetime, ended: datetime) -> bool:
    if isinstance(value, After):
        later = timedelta(seconds=value.secs)
        return isinstance(actual, datetime) and began + later <= actual <= ended + later
    if isinstance(value, Begins):
        return isinstance(actual, str) and actual.startswith(value.text)
    return bool(value == actual)
