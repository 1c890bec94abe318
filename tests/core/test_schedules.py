"""What schedules have to enqueue: the decisions, without a database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pgwerk import Schedule
from pgwerk._core.models import Retry, Undecodable
from pgwerk._core.schedules import due, next_run, spec_of, zone_of

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def schedule(**changed: Any) -> Schedule:
    """One that ticks every minute, and is due at noon."""
    values: dict[str, Any] = {
        "name": "any",
        "function": "some.function",
        "queue": "default",
        "priority": 0,
        "payload": {"args": [1], "kwargs": {"a": 2}},
        "cron": "* * * * *",
        "interval_secs": None,
        "timezone": "UTC",
        "catch_up": "latest",
        "catch_up_limit": 1000,
        "overlap": "allow",
        "max_attempts": 1,
        "retry_intervals": None,
        "timeout_secs": None,
        "result_ttl": None,
        "failure_ttl": None,
        "meta": None,
        "paused": False,
        "anchor_at": NOON,
        "next_run_at": NOON,
        "last_run_at": None,
        "last_job_id": None,
        "is_overdue": False,
    }
    return Schedule(**{**values, **changed})


@pytest.mark.parametrize("catch_up", ["latest", "all", "skip"])
@pytest.mark.parametrize("late", [timedelta(), timedelta(seconds=59)])
def test_on_time(catch_up: str, late: timedelta) -> None:
    """A tick that is on time, or a little late, runs, however missed ones are treated."""
    assert ([NOON], NOON + MINUTE) == due(schedule(catch_up=catch_up), NOON + late)


def test_latest() -> None:
    """After a downtime, one run stands for all that were missed: the latest."""
    decided = due(schedule(), NOON + 90 * MINUTE + timedelta(seconds=5))
    assert ([NOON + 90 * MINUTE], NOON + 91 * MINUTE) == decided


def test_all() -> None:
    """After a downtime, each run that was missed is made up for, in their order."""
    decided = due(schedule(catch_up="all"), NOON + 3.5 * MINUTE)
    assert ([NOON, NOON + MINUTE, NOON + 2 * MINUTE, NOON + 3 * MINUTE], NOON + 4 * MINUTE) == decided


def test_all_up_to_a_limit() -> None:
    """Of too many runs that were missed, the latest ones are made up for."""
    decided = due(schedule(catch_up="all", catch_up_limit=2), NOON + 3.5 * MINUTE)
    assert ([NOON + 2 * MINUTE, NOON + 3 * MINUTE], NOON + 4 * MINUTE) == decided


def test_skip() -> None:
    """What was missed is not made up for, and the next run comes in its time."""
    decided = due(schedule(catch_up="skip", cron="0 * * * *"), NOON + 2 * MINUTE)
    assert ([], NOON + timedelta(hours=1)) == decided


def test_skip_leaves_out_what_is_old_alone() -> None:
    """Of a schedule that ticks often, the last tick is hardly late, and runs."""
    decided = due(schedule(catch_up="skip"), NOON + 30.5 * MINUTE)
    assert ([NOON + 30 * MINUTE], NOON + 31 * MINUTE) == decided


def test_row_that_was_written_by_hand() -> None:
    """What the row says is due is due, be it a tick or not."""
    odd = NOON + timedelta(seconds=30)
    for catch_up in ("latest", "all", "skip"):
        assert ([odd], NOON + MINUTE) == due(schedule(next_run_at=odd, catch_up=catch_up), odd + timedelta(seconds=1))


def test_interval() -> None:
    """An interval counts from its anchor, not from when it was looked at."""
    every = schedule(cron=None, interval_secs=60, next_run_at=NOON + MINUTE)
    assert ([NOON + MINUTE], NOON + 2 * MINUTE) == due(every, NOON + MINUTE + timedelta(seconds=7))
    assert NOON + 5 * MINUTE == next_run(every, NOON + 4 * MINUTE)


def test_zone() -> None:
    """An expression is about the clocks of its zone."""
    decided = due(schedule(cron="0 9 * * *", timezone="Europe/Berlin", next_run_at=NOON - 5 * 60 * MINUTE), NOON)
    assert [NOON - 5 * 60 * MINUTE] == decided.ticks
    assert datetime(2026, 5, 2, 7, tzinfo=UTC) == decided.next_run_at


def test_spec() -> None:
    """A job has what its schedule says."""
    spec = spec_of(schedule(queue="q", priority=3, max_attempts=4, retry_intervals=[5, 6], timeout_secs=7), NOON)
    assert ("some.function", [1], {"a": 2}) == (spec.func, list(spec.args), spec.kwargs)
    assert ("q", 3, NOON, Retry(4, intervals=[5, 6]), 7) == (
        spec.queue,
        spec.priority,
        spec.at,
        spec.retry,
        spec.timeout,
    )


def test_spec_that_cannot_be_read() -> None:
    """Arguments that cannot be read make no job, and the error says of which schedule."""
    with pytest.raises(ValueError, match="payload of schedule 'any' cannot be read: no key"):
        spec_of(schedule(payload=Undecodable("", "no key")), NOON)


@pytest.mark.parametrize("name", ["Mars/Olympus", "", "../etc/passwd", "Europe", "a\0b"])
def test_zones_that_there_are_not(name: str) -> None:
    """A name that is no zone is refused as the time zone, whatever is in the place of its file."""
    with pytest.raises(ValueError, match="timezone: there is no time zone"):
        zone_of(name)
