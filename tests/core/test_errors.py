"""The errors: each of them crosses the borders of processes, and comes out as it went in."""

from __future__ import annotations

import copy
import functools
import inspect
import pickle
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

import pgwerk
from pgwerk._core import errors
from pgwerk._core.errors import (
    DependencyFailed,
    FunctionNotAllowed,
    HandlerNotFound,
    JobError,
    JobNotFound,
    JobTimeout,
    ScheduleNotFound,
    SchemaVersionMismatch,
    SerializationError,
    WerkError,
)
from pgwerk._core.models import Job, JobStatus, Undecodable

JOB = Job(
    id="01900000-0000-7000-8000-000000000000",
    function="myapp.tasks.send_mail",
    queue="mail",
    status=JobStatus.Failed,
    priority=1,
    attempts=2,
    max_attempts=2,
    scheduled_at=datetime(2026, 1, 2, tzinfo=UTC),
    enqueued_at=datetime(2026, 1, 1, tzinfo=UTC),
    payload={"args": [(1, 2)], "kwargs": {"x": {3}}},
    result=Undecodable("text", "why"),
    error="Traceback (most recent call last):\n  ...\nValueError: boom\n",
    meta={"tags": ["a"]},
    retry_intervals=[10, 20],
)

EXAMPLES: dict[type[WerkError], tuple[WerkError, str, dict[str, Any]]] = {
    WerkError: (WerkError("what happened"), "what happened", {}),
    JobNotFound: (JobNotFound("an id"), "there is no job 'an id'", {"job_id": "an id"}),
    ScheduleNotFound: (ScheduleNotFound("a name"), "there is no schedule 'a name'", {"name": "a name"}),
    JobError: (JobError(JOB), f"job {JOB.id} (myapp.tasks.send_mail) failed: ValueError: boom", {"job": JOB}),
    DependencyFailed: (
        DependencyFailed(JOB),
        f"job {JOB.id} (myapp.tasks.send_mail) failed: ValueError: boom",
        {"job": JOB},
    ),
    JobTimeout: (JobTimeout("too long"), "too long", {}),
    SerializationError: (SerializationError("no"), "no", {}),
    HandlerNotFound: (HandlerNotFound("not there"), "not there", {}),
    FunctionNotAllowed: (
        FunctionNotAllowed("os.system", ("myapp.*", "lib.run")),
        "'os.system' is not allowed (allowed_functions: 'myapp.*', 'lib.run')",
        {"function": "os.system", "patterns": ("myapp.*", "lib.run"), "reason": ""},
    ),
    SchemaVersionMismatch: (
        SchemaVersionMismatch(1, 2, "migrate"),
        "the database has version 1 of pgwerk's tables and this release needs version 2: migrate",
        {"found": 1, "expected": 2, "advice": "migrate"},
    ),
}
"""For each class an example, its text, and its attributes."""

CLASSES = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if kind.__module__ == errors.__name__]


def pickled(protocol: int, error: WerkError) -> Any:
    return pickle.loads(pickle.dumps(error, protocol))  # noqa: S301 - just made


COPIES: dict[str, Callable[[Any], Any]] = {
    "copied": copy.copy,
    "copied in depth": copy.deepcopy,
    **{
        f"pickled by protocol {protocol}": functools.partial(pickled, protocol)
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
    },
}


def test_every_error_has_an_example() -> None:
    """No class of the module is left out of the tests below."""
    assert set(CLASSES) == set(EXAMPLES)


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_is_public(kind: type[Exception]) -> None:
    """Each of them is a `WerkError`, says what it means, and can be imported from `pgwerk`."""
    assert issubclass(kind, WerkError)
    assert getattr(pgwerk, kind.__name__) is kind
    assert kind.__name__ in pgwerk.__all__
    assert vars(kind)["__doc__"]


@pytest.mark.parametrize("kind", CLASSES)
def test_text_and_attributes(kind: type[WerkError]) -> None:
    """Each says what happened, and carries the parts of it as attributes."""
    error, text, attributes = EXAMPLES[kind]
    assert text == str(error)
    assert attributes == {name: getattr(error, name) for name in attributes}
    assert attributes.keys() == vars(error).keys()


@pytest.mark.parametrize("way", COPIES)
@pytest.mark.parametrize("kind", CLASSES)
def test_comes_out_as_it_went_in(kind: type[WerkError], way: str) -> None:
    """Type, text, arguments, attributes and notes survive being pickled and copied."""
    error, text, attributes = EXAMPLES[kind]
    error = copy.copy(error)
    error.add_note("seen on a Monday")
    again = COPIES[way](error)
    assert again is not error
    assert kind is type(again)
    assert (text, error.args) == (str(again), again.args)
    assert attributes == {name: getattr(again, name) for name in attributes}
    assert ["seen on a Monday"] == again.__notes__


@pytest.mark.parametrize("kind", CLASSES)
def test_can_be_raised_and_shown(kind: type[WerkError]) -> None:
    """Each can be raised, is caught as a `WerkError`, and its text is in the traceback."""
    error, text, _ = EXAMPLES[kind]
    with pytest.raises(WerkError) as caught:
        raise error
    assert text in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("kind", "base"),
    [
        (JobNotFound, LookupError),
        (ScheduleNotFound, LookupError),
        (JobTimeout, TimeoutError),
        (SerializationError, ValueError),
        (HandlerNotFound, ImportError),
        (FunctionNotAllowed, HandlerNotFound),
        (DependencyFailed, JobError),
    ],
)
def test_is_caught_as_what_people_know(kind: type[WerkError], base: type[Exception]) -> None:
    """Errors are also the built-in ones, or those of pgwerk, that whoever expects such a thing catches."""
    assert issubclass(kind, base)


def test_the_text_of_a_job_error_is_the_last_line_of_its_traceback() -> None:
    """`JobError` names the job, its function and its status, and what it ended with, if it says so."""
    for reason, text in ((None, "failed"), ("", "failed"), ("a\nb\n\n", "failed: b")):
        job = Job(
            id=JOB.id,
            function="a.b",
            queue="q",
            status=JobStatus.Failed,
            priority=0,
            attempts=1,
            max_attempts=1,
            scheduled_at=JOB.scheduled_at,
            enqueued_at=JOB.enqueued_at,
            error=reason,
        )
        assert f"job {JOB.id} (a.b) {text}" == str(JobError(job))
