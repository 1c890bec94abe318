from __future__ import annotations

import io
import struct
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pytest

from pgwerk._core.json_times import (
    date_text,
    datetime_text,
    datetime_value,
    time_text,
    time_value,
    timedelta_text,
    timedelta_value,
)

BERLIN = ZoneInfo("Europe/Berlin")
NAIVE = datetime(2026, 11, 22, 10)  # noqa: DTZ001 - naive on purpose


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (datetime(2026, 11, 22, 10, tzinfo=BERLIN), "2026-11-22T10:00:00+01:00[Europe/Berlin]"),
        (datetime(2026, 11, 22, 10, tzinfo=UTC), "2026-11-22T10:00:00+00:00"),
        (datetime(2026, 11, 22, 10, tzinfo=ZoneInfo("UTC")), "2026-11-22T10:00:00+00:00[UTC]"),
        (NAIVE.replace(microsecond=5), "2026-11-22T10:00:00.000005"),
        (datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN), "2026-10-25T02:30:00+02:00[Europe/Berlin]"),
        (
            datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN, fold=1),
            "2026-10-25T02:30:00+01:00[Europe/Berlin]",
        ),
        (NAIVE.replace(fold=1), "2026-11-22T10:00:00[_fold=1]"),
        (
            datetime(2026, 11, 22, 10, tzinfo=BERLIN, fold=1),
            "2026-11-22T10:00:00+01:00[Europe/Berlin][_fold=1]",
        ),
    ],
)
def test_datetimes_read_as_rfc_9557(value: datetime, text: str) -> None:
    """Times are written as RFC 9557 has them, and come back with zone and fold."""
    assert datetime_text(value) == text
    back = datetime_value(text)
    assert (back, back.fold, back.tzinfo) == (value, value.fold, value.tzinfo)


def test_imaginary_times() -> None:
    """A clock time that the change to summer time skips comes back as it was, in either fold."""
    for fold in (0, 1):
        value = datetime(2026, 3, 29, 2, 30, tzinfo=BERLIN, fold=fold)
        back = datetime_value(datetime_text(value))
        assert (back.hour, back.fold, back.utcoffset()) == (2, fold, value.utcoffset())


def test_the_moment_outlives_a_change_of_rules() -> None:
    """When a zone has another offset now than when the text was written, the moment is kept."""
    back = datetime_value("2026-11-22T10:00:00+03:00[Europe/Berlin]")
    assert back == datetime(2026, 11, 22, 7, tzinfo=UTC)
    assert (back.hour, back.tzinfo) == (8, BERLIN)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (time(10, 30), "10:30:00"),
        (time(10, 30, tzinfo=BERLIN), "10:30:00[Europe/Berlin]"),
        (time(10, 30, tzinfo=ZoneInfo("UTC")), "10:30:00+00:00[UTC]"),
        (time(10, 30, tzinfo=timezone(timedelta(hours=-3))), "10:30:00-03:00"),
        (time(10, 30, fold=1), "10:30:00[_fold=1]"),
    ],
)
def test_times_of_day(value: time, text: str) -> None:
    """Times of day keep their zone or offset."""
    assert time_text(value) == text
    back = time_value(text)
    assert (back, back.fold, back.tzinfo) == (value, value.fold, value.tzinfo)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (timedelta(0), "PT0S"),
        (timedelta(days=1, hours=2, minutes=3, seconds=4, microseconds=5), "P1DT2H3M4.000005S"),
        (timedelta(microseconds=-1), "-PT0.000001S"),
        (timedelta(days=7), "P7D"),
        (timedelta.max, "P999999999DT23H59M59.999999S"),
        (timedelta.min, "-P999999999D"),
    ],
)
def test_durations_are_exact(value: timedelta, text: str) -> None:
    """Durations are written as ISO 8601 has them, to the microsecond, and come back."""
    assert timedelta_text(value) == text
    assert timedelta_value(text) == value


def test_dates() -> None:
    """Dates are written as ISO 8601 has them."""
    assert date_text(date(26, 1, 2)) == "0026-01-02"


class Foreign(tzinfo):
    def utcoffset(self, _: datetime | None) -> timedelta:
        return timedelta(0)

    def dst(self, _: datetime | None) -> None:
        return None

    def tzname(self, _: datetime | None) -> str:
        return "foreign"


def _zone_without_key() -> ZoneInfo:
    counts = struct.pack(">6l", 0, 0, 0, 0, 1, 4)
    utc = struct.pack(">lbb", 0, 0, 0) + b"UTC\0"
    return ZoneInfo.from_file(io.BytesIO(b"TZif" + bytes(16) + counts + utc))


@pytest.mark.parametrize("zone", [Foreign(), _zone_without_key()])
def test_other_zones_are_refused(zone: tzinfo) -> None:
    """A zone that no other process could find again is refused."""
    with pytest.raises(ValueError, match=r"its (tzinfo|ZoneInfo)"):
        datetime_text(datetime(2026, 1, 1, tzinfo=zone))
    with pytest.raises(ValueError, match=r"its (tzinfo|ZoneInfo)"):
        time_text(time(1, tzinfo=zone))


@pytest.mark.parametrize("text", ["", "now", "2026-01-01T00:00[", "[UTC]"])
def test_text_that_is_no_time(text: str) -> None:
    """Text that is no time is a `ValueError`."""
    with pytest.raises(ValueError, match=r"(?i)time|isoformat"):
        datetime_value(text)
    with pytest.raises(ValueError, match=r"(?i)time|isoformat"):
        time_value(text)


def test_text_that_is_no_duration() -> None:
    """Months and years have no fixed length: text that uses them is refused."""
    with pytest.raises(ValueError, match="not a duration"):
        timedelta_value("P1M")


def test_unknown_zones() -> None:
    """A zone that this machine does not know is not taken for another."""
    with pytest.raises(ZoneInfoNotFoundError):
        datetime_value("2026-01-01T00:00:00+01:00[Mars/Olympus]")
