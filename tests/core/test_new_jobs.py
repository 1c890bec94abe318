"""From specs to jobs that are ready to be inserted, without a server."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.core import sample_handlers

from pgwerk import EnqueueParams, JobStatus
from pgwerk._core import inserts
from pgwerk._core.config import WerkConfig
from pgwerk._core.envelope import pack
from pgwerk._core.inserts import enqueue_one_parts, in_batches, in_key_order
from pgwerk._core.new_jobs import NO_OPTIONS, NewJob, Options
from pgwerk._core.options import Preparation
from pgwerk._core.serializers import JSONSerializer

NOW = datetime(2026, 1, 2, tzinfo=UTC)
DAY = timedelta(days=1)


class Counting:
    """A serializer that never gives the same text twice."""

    def __init__(self) -> None:
        self.count = 0

    def dumps(self, _value: Any) -> str:
        self.count += 1
        return str(self.count)

    def loads(self, _data: str | bytes) -> Any:
        raise AssertionError("nothing is read while jobs are prepared")


def prepare(*specs: EnqueueParams, serializer: Any = None) -> list[NewJob]:
    return Preparation(WerkConfig(), serializer or JSONSerializer()).many(specs, NOW)


def test_defaults_that_are_given_are_defaults() -> None:
    """It makes no difference whether a default is given or left out, whatever objects stand for it."""
    spelled = EnqueueParams(
        "a.b", queue="".join(["def", "ault"]), failure_mode="".join(["ho", "ld"]), args=(), kwargs={}, retry=1
    )
    said, unsaid = prepare(spelled, EnqueueParams("a.b"))
    assert NO_OPTIONS == unsaid.options
    assert unsaid.options.values == said.options.values
    assert unsaid.job == NewJob(*(unsaid[:1] + said[1:])).job
    assert unsaid.payload == said.payload


@pytest.mark.parametrize("name", ["priority", "retry"])
def test_what_equals_a_default_is_checked(name: str) -> None:
    """A value that equals the default is checked all the same: `False` is no priority, though it equals 0."""
    default = getattr(EnqueueParams("a.b"), name)
    for equal in (bool(default), float(default)):
        with pytest.raises(TypeError, match=rf"specs\[0\]\.{name} must be an int"):
            prepare(EnqueueParams("a.b", **dict[str, Any]({name: equal})))


def test_function_that_was_replaced_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A function that was enqueued before is refused once its path leads to another one."""
    func = sample_handlers.plain
    preparation = Preparation(WerkConfig(), JSONSerializer())
    specs = [EnqueueParams(func), EnqueueParams(func)]
    assert 1 == len({new.function for new in preparation.many(specs, NOW)})
    monkeypatch.setattr(sample_handlers, "plain", lambda: None)
    with pytest.raises(ValueError, match="but another object"):
        preparation.many(specs, NOW)
    with pytest.raises(ValueError, match="but another object"):
        preparation.one(specs[0], NOW)


def test_serializer_of_the_application_is_always_asked() -> None:
    """A serializer may give another text each time, for empty arguments as well."""
    assert ["1", "2"] == [new.payload for new in prepare(*[EnqueueParams("a.b")] * 2, serializer=Counting())]


def test_empty_arguments_are_what_the_serializer_makes_of_them() -> None:
    """The arguments of a call without any are stored as if they had been serialized each time."""
    (new,) = prepare(EnqueueParams("a.b"))
    assert pack(JSONSerializer().dumps({"args": [], "kwargs": {}})) == new.payload
    assert {"args": [], "kwargs": {}} == new.job.payload


def test_jobs_do_not_share_what_can_be_changed() -> None:
    """Who changes the payload of one job does not change that of another."""
    first, second = prepare(EnqueueParams("a.b"), EnqueueParams("a.b"))
    changed = first.job.payload
    assert changed is not None
    changed["args"].append(1)
    changed["kwargs"]["a"] = 1
    assert {"args": [], "kwargs": {}} == first.job.payload == second.job.payload


def test_arguments_are_read_once() -> None:
    """What can be iterated over only once is stored, and returned, in full."""
    arguments: Any = iter([1, 2])
    (new,) = prepare(EnqueueParams("a.b", args=arguments))
    assert ('{"args":[1,2],"kwargs":{}}', [1, 2]) == (new.payload, new.args)


@pytest.mark.parametrize(
    ("options", "status", "due"),
    [
        ({}, JobStatus.Queued, NOW),
        ({"delay": 60}, JobStatus.Scheduled, NOW + timedelta(minutes=1)),
        ({"at": NOW + DAY}, JobStatus.Scheduled, NOW + DAY),
        ({"at": NOW - DAY}, JobStatus.Queued, NOW - DAY),
        ({"depends_on": "01900000-0000-7000-8000-000000000000"}, JobStatus.Waiting, NOW),
    ],
)
def test_estimate(options: dict[str, Any], status: JobStatus, due: datetime) -> None:
    """Before it is inserted, a job has the state that it would have if the clocks agreed."""
    (new,) = prepare(EnqueueParams("a.b", **options))
    assert (status, due, NOW) == (new.job.status, new.job.scheduled_at, new.job.enqueued_at)


def new_job(number: int, size: int, key: str | None = None) -> NewJob:
    options = NO_OPTIONS if key is None else Options.of({"key": key}, None)
    return NewJob(str(number), "a.b", (), {}, "x" * size, options, (), NOW)


@given(st.lists(st.integers(0, 20), min_size=1), st.integers(1, 5), st.integers(1, 50))
def test_batches(sizes: list[int], most: int, most_characters: int) -> None:
    """Batches are all jobs in their order, not too many and not too much in one, and no more batches than needed."""
    jobs = [new_job(number, size) for number, size in enumerate(sizes)]
    batches = in_batches(jobs, most=most, most_characters=most_characters)
    assert jobs == [new for batch in batches for new in batch]
    for batch in batches:
        assert 1 <= len(batch) <= most
        assert 1 == len(batch) or sum(len(new.payload) for new in batch) <= most_characters
    for batch, (first, *_) in itertools.pairwise(batches):
        assert len(batch) == most or sum(len(new.payload) for new in [*batch, first]) > most_characters


@given(st.lists(st.none() | st.sampled_from(["a", "b", "ä", "\U0001f389", "\uffff"])))
def test_key_order(keys: list[str | None]) -> None:
    """Keys come in the order of their UTF-8 bytes, which is PostgreSQL's order "C"; equal ones in the order given."""
    jobs = [new_job(number, 0, key) for number, key in enumerate(keys)]
    found = [(new.options.columns.get("key"), int(new.id)) for new in in_key_order(jobs)]
    assert sorted(found, key=lambda pair: (pair[0] is None, (pair[0] or "").encode(), pair[1])) == found


def test_parts_are_those_of_the_statement() -> None:
    """The parts that jobs ask for are the ones that the statement has, and each option's parameter is in its part."""
    text = files("pgwerk._sql.statements").joinpath("enqueue_one.sql").read_text(encoding="utf-8")
    found: dict[str, set[str]] = {}
    for parameter, part in _parameters(text):
        found.setdefault(parameter, set()).add(part)
    always = {"id": {""}, "function": {""}, "queue": {"", "asks"}, "payload": {""}}
    assert {**always, **{name: {part} for name, part in inserts._PARTS.items()}} == found
    (plain, keyed) = prepare(EnqueueParams("a.b"), EnqueueParams("a.b", key="k", delay=1))
    assert frozenset() == enqueue_one_parts(plain, asks=False)
    assert frozenset(["asks"]) == enqueue_one_parts(plain)
    assert frozenset(["awaited"]) == enqueue_one_parts(plain, awaited=True, asks=False)
    assert frozenset(["key", "later", "decided", "asks"]) == enqueue_one_parts(keyed)


def _parameters(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        sql, _, part = line.partition("--?")
        for parameter in re.findall(r"%\((\w+)\)s", sql):
            yield parameter, part.strip()
