"""Jobs that are made in one go."""

from __future__ import annotations

import copy
import pickle
import weakref
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest

from pgwerk import Job, JobStatus
from pgwerk._core.drafts import JOB_FIELDS, make_job

NOW = datetime(2024, 5, 1, tzinfo=UTC)
VALUES: dict[str, Any] = {
    **{attribute.name: attribute.default for attribute in attrs.fields(Job)},
    "id": "a",
    "function": "a.b",
    "queue": "default",
    "status": JobStatus.Queued,
    "priority": 0,
    "attempts": 0,
    "max_attempts": 1,
    "scheduled_at": NOW,
    "enqueued_at": NOW,
}


def test_job_is_like_any_other() -> None:
    """A job that was made in one go is what the class itself would have made."""
    job = make_job(*(VALUES[name] for name in JOB_FIELDS))
    assert Job is type(job)
    assert Job(**VALUES) == job
    assert repr(Job(**VALUES)) == repr(job)
    assert hash(Job(**VALUES)) == hash(job)
    assert job == copy.copy(job) == attrs.evolve(job)
    assert job == pickle.loads(pickle.dumps(job))  # noqa: S301 - our own
    assert job is weakref.ref(job)()


@pytest.mark.parametrize("name", ["id", "no_field"])
def test_job_is_frozen(name: str) -> None:
    """Nobody changes it afterwards."""
    job = make_job(*(VALUES[field] for field in JOB_FIELDS))
    with pytest.raises(AttributeError):
        setattr(job, name, "b")


def test_no_value_is_left_out() -> None:
    """A value for each field, no fewer and no more."""
    for count in (len(JOB_FIELDS) - 1, len(JOB_FIELDS) + 1):
        with pytest.raises(TypeError):
            make_job(*range(count))
