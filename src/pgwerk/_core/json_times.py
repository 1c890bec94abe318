"""Times as text that a person can read and that gives back the very same value.

Dates and times are ISO 8601. A time zone with rules follows in brackets, as RFC 9557 has it:
`2026-11-22T10:00:00+01:00[Europe/Berlin]`. Of two equal clock times in autumn the offset says which
one is meant. Only where it does not (naive values, clock times that are not ambiguous) is a `fold`
of 1 written down, as `[_fold=1]`; the underscore marks a key that is not registered with the RFC.
"""

from __future__ import annotations

import re
from datetime import date, datetime, time, timedelta, timezone
from zoneinfo import ZoneInfo

_FOLD = "[_fold=1]"
_SUFFIXED = re.compile(r"(?P<clock>[^\[\]]+)(?:\[(?P<zone>[^\[\]=]+)\])?(?P<fold>\[_fold=1\])?")
# Python (seen in 3.11) reads an offset of less than a second as UTC.
_TINY_OFFSET = re.compile(r"([+-])00:00:00\.(\d{6})$", re.ASCII)
_DURATION = re.compile(
    r"(?P<sign>-?)P(?:(?P<days>\d+)D)?"
    r"(?:T(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+)(?:\.(?P<micros>\d{6}))?S)?)?",
    re.ASCII,
)


def date_text(value: date) -> str:
    """`2026-11-22`."""
    return value.isoformat()


def date_value(text: str) -> date:
    """The inverse of `date_text`.

    Raises:
        ValueError: The text is no date.
    """
    return date.fromisoformat(text)


def datetime_text(value: datetime) -> str:
    """ISO 8601 with offset and zone, as far as the value has them.

    Raises:
        ValueError: Its `tzinfo` is neither a `timezone` nor a `ZoneInfo` with a key.
    """
    zone = _zone_suffix(value.tzinfo)
    told = bool(zone) and value.utcoffset() != value.replace(fold=0).utcoffset()
    return value.isoformat() + zone + (_FOLD if value.fold and not told else "")


def datetime_value(text: str) -> datetime:
    """The inverse of `datetime_text`.

    Where the zone's rules have changed since the text was written, so that the offset is not one
    of this clock time any more, the moment is kept and the clock time moves.

    Raises:
        ValueError: The text is no date and time.
        zoneinfo.ZoneInfoNotFoundError: This machine does not know the zone.
    """
    clock, zone, fold = _split(text)
    moment = datetime.fromisoformat(clock)
    if tiny := _TINY_OFFSET.search(clock):
        moment = moment.replace(tzinfo=_tiny_zone(tiny))
    if zone is None:
        return moment.replace(fold=fold)
    offset = moment.utcoffset()
    for candidate in (fold, 1):
        local = moment.replace(tzinfo=zone, fold=candidate)
        if local.utcoffset() == offset:
            return local
    return moment.astimezone(zone)


def time_text(value: time) -> str:
    """ISO 8601 with offset or zone, as far as the value has them.

    Raises:
        ValueError: Its `tzinfo` is neither a `timezone` nor a `ZoneInfo` with a key.
    """
    return value.isoformat() + _zone_suffix(value.tzinfo) + (_FOLD if value.fold else "")


def time_value(text: str) -> time:
    """The inverse of `time_text`.

    Raises:
        ValueError: The text is no time.
        zoneinfo.ZoneInfoNotFoundError: This machine does not know the zone.
    """
    clock, zone, fold = _split(text)
    value = time.fromisoformat(clock).replace(fold=fold)
    if tiny := _TINY_OFFSET.search(clock):
        value = value.replace(tzinfo=_tiny_zone(tiny))
    return value if zone is None else value.replace(tzinfo=zone)


def timedelta_text(value: timedelta) -> str:
    """An ISO 8601 duration, such as `P1DT2H30M`, `PT0.000001S` or `-PT1S`."""
    size = abs(value)
    minutes, seconds = divmod(size.seconds, 60)
    hours, minutes = divmod(minutes, 60)
    micros = f".{size.microseconds:06d}" if size.microseconds else ""
    days = f"{size.days}D" if size.days else ""
    clock = f"{hours}H" if hours else ""
    clock += f"{minutes}M" if minutes else ""
    clock += f"{seconds}{micros}S" if seconds or micros or not (days or clock) else ""
    sign = "-" if value < timedelta(0) else ""
    return f"{sign}P{days}{'T' if clock else ''}{clock}"


def timedelta_value(text: str) -> timedelta:
    """The inverse of `timedelta_text`.

    Raises:
        ValueError: The text is no duration of days, hours, minutes and seconds.
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a duration")
    days, hours, minutes, seconds, micros = (
        int(match[part] or 0) for part in ("days", "hours", "minutes", "seconds", "micros")
    )
    size = timedelta(days, seconds, micros, 0, minutes, hours)
    return -size if match["sign"] else size


def _zone_suffix(zone: object) -> str:
    if zone is None or type(zone) is timezone:
        return ""
    if type(zone) is ZoneInfo:
        if zone.key is not None:
            return f"[{zone.key}]"
        raise ValueError("its ZoneInfo has no key")
    raise ValueError(
        f"its tzinfo is a {type(zone).__module__}.{type(zone).__qualname__}; use zoneinfo.ZoneInfo or datetime.timezone"
    )


def _tiny_zone(offset: re.Match[str]) -> timezone:
    return timezone(timedelta(microseconds=int(offset[1] + offset[2])))


def _split(text: str) -> tuple[str, ZoneInfo | None, int]:
    match = _SUFFIXED.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a time")
    zone = ZoneInfo(match["zone"]) if match["zone"] else None
    return match["clock"], zone, 1 if match["fold"] else 0
