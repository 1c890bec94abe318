"""When schedules tick: against a slow, obvious model, and by example."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgwerk._core.cron import CronTimes, Interval

ZONES = (
    "UTC",
    "America/New_York",
    "Europe/Berlin",
    "Australia/Lord_Howe",  # by half an hour
    "Africa/Casablanca",  # twice for Ramadan
    "America/Havana",  # at midnight
    "Asia/Kathmandu",  # 5:45
    "Pacific/Apia",  # skipped a whole day, the 30th of December 2011
    "Antarctica/Troll",  # by two hours
)
DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)


def changes(zone: ZoneInfo, year: int) -> list[datetime]:
    """The moments of a year at which the clocks of a zone change, to the quarter of an hour."""
    moments = [datetime(year, 1, 1, tzinfo=UTC) + timedelta(minutes=15 * number) for number in range(366 * 96)]
    offsets = [moment.astimezone(zone).utcoffset() for moment in moments]
    return [moment for moment, before, after in zip(moments[1:], offsets, offsets[1:], strict=False) if before != after]


CHANGES = {
    name: [*changes(ZoneInfo(name), 2011), *changes(ZoneInfo(name), 2026)] or [datetime(2026, 3, 1, tzinfo=UTC)]
    for name in ZONES
}


class Field(NamedTuple):
    """A field of an expression, and what it stands for; None for everything."""

    text: str
    values: frozenset[int] | None

    def matches(self, value: int) -> bool:
        return self.values is None or value in self.values

    def matches_all(self, values: Iterable[int]) -> bool:
        return all(map(self.matches, values))


def fields(first: int, last: int) -> st.SearchStrategy[Field]:
    number = st.integers(first, last)
    some = st.lists(number, min_size=1, max_size=4).map(
        lambda found: Field(",".join(map(str, found)), frozenset(found))
    )
    span = st.lists(number, min_size=2, max_size=2, unique=True).map(
        lambda ends: Field(f"{min(ends)}-{max(ends)}", frozenset(range(min(ends), max(ends) + 1)))
    )
    steps = st.integers(2, last).map(lambda step: Field(f"*/{step}", frozenset(range(first, last + 1, step))))
    return st.one_of(st.just(Field("*", None)), some, span, steps)


class Expression(NamedTuple):
    minute: Field
    hour: Field
    day: Field
    month: Field
    weekday: Field

    @property
    def text(self) -> str:
        return " ".join(field.text for field in self)

    def matches_day(self, day: date) -> bool:
        if not self.month.matches(day.month):
            return False
        in_month, in_week = self.day.matches(day.day), self.weekday.matches(day.isoweekday() % 7)
        # As cron has it: when both say something, one is enough.
        either = self.day.values is not None and self.weekday.values is not None
        return in_month or in_week if either else in_month and in_week

    def matches(self, time: datetime) -> bool:
        return self.matches_day(time.date()) and self.hour.matches(time.hour) and self.minute.matches(time.minute)

    @property
    def is_every_hour(self) -> bool:
        return self.hour.matches_all(range(24))


def is_part_of_week(field: Field) -> bool:
    return field.values != frozenset(range(7))


expressions = st.builds(
    Expression,
    minute=fields(0, 59),
    hour=fields(0, 23),
    # Rare days would only make the model walk for years.
    day=fields(1, 31),
    month=st.just(Field("*", None)),
    # Whether all seven days say something is a question that implementations of cron answer differently.
    weekday=fields(0, 6).filter(is_part_of_week),
)


@st.composite
def moments(draw: st.DrawFn) -> tuple[str, datetime]:
    """A zone, and a moment near one of its changes."""
    name = draw(st.sampled_from(ZONES))
    change = draw(st.sampled_from(CHANGES[name]))
    near = draw(st.one_of(st.integers(-7200, 7200), st.integers(-130_000, 130_000)))
    micros = draw(st.sampled_from([0, 0, 1, 999_999]))
    return name, change + timedelta(seconds=near, microseconds=micros)


def model(expression: Expression, zone: ZoneInfo, start: datetime, end: datetime) -> list[datetime]:
    """All ticks between two moments, both included: by looking at each minute."""
    return sorted({tick for tick in _ticks(expression, zone, start, end) if start <= tick <= end})


def _ticks(expression: Expression, zone: ZoneInfo, start: datetime, end: datetime) -> Iterator[datetime]:
    if expression.is_every_hour:
        moment = start.replace(second=0, microsecond=0)
        while moment <= end:
            if expression.matches(moment.astimezone(zone)):
                yield moment
            moment += MINUTE
    else:
        time = (start.astimezone(zone) - 2 * DAY).replace(tzinfo=None, second=0, microsecond=0)
        while time <= end.astimezone(zone).replace(tzinfo=None) + 2 * DAY:
            if expression.matches(time):
                # A time that is not there is read with the offset from before the change; of two, it is the first.
                yield time.replace(tzinfo=zone, fold=0).astimezone(UTC)
            time += MINUTE


@settings(max_examples=250, deadline=None)
@given(expressions, moments())
def test_ticks_are_those_of_the_model(expression: Expression, where: tuple[str, datetime]) -> None:
    """The ticks around a change of clocks are those that a walk over all minutes finds, forwards and backwards."""
    name, moment = where
    zone = ZoneInfo(name)
    try:
        times = CronTimes(expression.text, zone)
    except ValueError as error:
        assert "never comes true" in str(error)  # noqa: PT017 - such as the 31st of no month
        return
    later = model(expression, zone, moment + timedelta(microseconds=1), moment + 2 * DAY)
    assert later[:1] == [tick for tick in [times.after(moment)] if tick <= moment + 2 * DAY]
    earlier = model(expression, zone, moment - 2 * DAY, moment)
    assert earlier[-1:] == [tick for tick in [times.until(moment)] if tick >= moment - 2 * DAY]


@settings(max_examples=100, deadline=None)
@given(expressions, moments())
def test_walks_meet(expression: Expression, where: tuple[str, datetime]) -> None:
    """Ticks ascend, and to walk back from the last one finds the same ones again."""
    name, moment = where
    try:
        times = CronTimes(expression.text, ZoneInfo(name))
    except ValueError:
        return
    forwards = [times.after(moment)]
    for _ in range(20):
        forwards.append(times.after(forwards[-1]))
    assert sorted(set(forwards)) == forwards
    assert forwards == [times.until(tick) for tick in forwards]
    assert forwards[:-1] == [times.until(tick - timedelta(microseconds=1)) for tick in forwards[1:]]


any_moment = st.floats(-1e9, 1e9).map(lambda secs: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=secs))


@given(secs=st.integers(1, 10_000_000), anchor=any_moment, moment=any_moment)
def test_interval_keeps_its_phase(secs: int, anchor: datetime, moment: datetime) -> None:
    """An interval ticks at its anchor and every so many seconds from there, in both directions."""
    interval = Interval(secs, anchor)
    tick = interval.after(moment)
    assert moment < tick <= moment + timedelta(seconds=secs)
    assert timedelta() == (tick - anchor) % timedelta(seconds=secs)
    assert tick - timedelta(seconds=secs) == interval.until(moment)
    assert tick == interval.until(tick)


def shown(expression: str, zone: str, start: str, count: int) -> list[str]:
    """The first ticks from a moment on, as the wall clock shows them."""
    times, moment, found = CronTimes(expression, ZoneInfo(zone)), datetime.fromisoformat(start), []
    for _ in range(count):
        moment = times.after(moment)
        found.append(moment.astimezone(ZoneInfo(zone)).strftime("%d %H:%M %z"))
    return found


def test_time_that_is_skipped() -> None:
    """A job at 02:30 runs once on the day that has no 02:30, an hour later by name."""
    found = shown("30 2 * * *", "America/New_York", "2026-03-07T00:00Z", 3)
    assert ["07 02:30 -0500", "08 03:30 -0400", "09 02:30 -0400"] == found


def test_time_that_is_there_twice() -> None:
    """A job at 02:30 runs once on the day that has two, at the first of them."""
    found = shown("30 2 * * *", "Europe/Berlin", "2026-10-24T00:00Z", 3)
    assert ["24 02:30 +0200", "25 02:30 +0200", "26 02:30 +0100"] == found


def test_every_few_minutes_through_the_hour_that_is_there_twice() -> None:
    """A job that leaves the hour open runs on through both hours with the same name."""
    found = shown("*/30 * * * *", "Europe/Berlin", "2026-10-24T23:30Z", 5)
    assert ["25 02:00 +0200", "25 02:30 +0200", "25 02:00 +0100", "25 02:30 +0100", "25 03:00 +0100"] == found


def test_every_few_minutes_through_the_hour_that_is_skipped() -> None:
    """A job that leaves the hour open runs on when an hour is skipped."""
    found = shown("*/30 * * * *", "Europe/Berlin", "2026-03-29T00:00Z", 4)
    assert ["29 01:30 +0100", "29 03:00 +0200", "29 03:30 +0200", "29 04:00 +0200"] == found


def test_day_that_is_skipped() -> None:
    """Where a whole day is skipped, a daily job runs once on the next one."""
    found = shown("30 2 * * *", "Pacific/Apia", "2011-12-29T00:00Z", 3)
    assert ["29 02:30 -1000", "31 02:30 +1400", "01 02:30 +1400"] == found


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("@hourly", ["2026-01-01T01:00:00+00:00", "2026-01-01T02:00:00+00:00"]),
        ("@daily", ["2026-01-02T00:00:00+00:00", "2026-01-03T00:00:00+00:00"]),
        ("@weekly", ["2026-01-04T00:00:00+00:00", "2026-01-11T00:00:00+00:00"]),
        ("@yearly", ["2027-01-01T00:00:00+00:00", "2028-01-01T00:00:00+00:00"]),
        ("* * * * * */20", ["2026-01-01T00:00:20+00:00", "2026-01-01T00:00:40+00:00"]),
        ("0 9 * * mon-fri", ["2026-01-01T09:00:00+00:00", "2026-01-02T09:00:00+00:00"]),
        ("0 0 29 2 *", ["2028-02-29T00:00:00+00:00", "2032-02-29T00:00:00+00:00"]),
        ("0 0 l * *", ["2026-01-31T00:00:00+00:00", "2026-02-28T00:00:00+00:00"]),
    ],
)
def test_kinds_of_expressions(expression: str, expected: list[str]) -> None:
    """Five fields, six with seconds, and names are understood."""
    times = CronTimes(expression, ZoneInfo("UTC"))
    first = times.after(datetime(2026, 1, 1, tzinfo=UTC))
    assert expected == [first.isoformat(), times.after(first).isoformat()]


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("", "has 0 fields"),
        ("* * * *", "has 4 fields"),
        ("0 0 1 1 * 0 2030", "has 7 fields"),
        ("61 * * * *", "is no cron expression"),
        ("@reboot", "'@reboot' is no name of an expression: there are @hourly"),
        ("0 0 30 2 *", "never comes true"),
        ("R * * * *", "chosen by lot"),
        ("*/0 * * * *", "is no cron expression"),
        ("0 5-5 * * *", "5-5 is a range of one: write 5"),
        ("0 0 * * mon-Mon", "mon-Mon is a range of one"),
    ],
)
def test_bad_expressions(expression: str, reason: str) -> None:
    """An expression that makes no sense is refused, with what is wrong about it."""
    with pytest.raises(ValueError, match=reason):
        CronTimes(expression, ZoneInfo("UTC"))
