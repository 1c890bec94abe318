"""The times of schedules: when a cron expression or an interval ticks.

A cron expression is about what the clock on the wall shows; `croniter` does that arithmetic, on times without a zone.
What is left is the way from the wall to the moment, which matters on the two days of a year on which clocks change:

- An expression that names its hours (`30 2 * * *`) ticks once for each time that it names. When the wall clock skips
  that time, it ticks as much later as the clock was put forward: 02:30 becomes 03:30, and is one tick if that is named
  as well. When the wall clock shows the time twice, it ticks the first time. That is the rule of RFC 5545 (iCalendar),
  section 3.3.5, for local times.
- An expression that leaves the hour open (`*/10 * * * *`) goes on through both changes: it ticks whenever the wall
  clock shows what it asks for, so in both of the two hours with the same name, and not in the one that is not there.

An interval is about the time that passes, so clocks do not matter to it.

`croniter` is imported with the first expression: it and what it needs take longer than all the rest of the core, and
most processes have no schedules.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Protocol

SECOND = timedelta(seconds=1)
LONGEST_CHANGE = timedelta(hours=25)
"""Clocks have been put forward by 24 hours, where a zone changed sides of the date line: no change is longer."""
STRIDE = timedelta(days=20)
"""How far to go at once in search of a change of clocks. Two that cancel each other out are further apart."""

NAMES = ("@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually")

_HOURS = 1  # the place of the hours in an expression
_RANGE = re.compile(r"(\w+)-(\w+)")


class Rhythm(Protocol):
    """When a schedule ticks. Moments are in UTC."""

    def after(self, moment: datetime) -> datetime:
        """The first tick later than a moment."""

    def until(self, moment: datetime) -> datetime:
        """The last tick that is not later than a moment."""


class Interval:
    """Ticks every so many seconds.

    Args:
        secs: The seconds.
        anchor: A moment at which it ticks, past or future.
    """

    def __init__(self, secs: int, anchor: datetime) -> None:
        self._step = timedelta(seconds=secs)
        self._anchor = anchor

    def after(self, moment: datetime) -> datetime:
        """The first tick later than a moment."""
        return self.until(moment) + self._step

    def until(self, moment: datetime) -> datetime:
        """The last tick that is not later than a moment."""
        return self._anchor + (moment - self._anchor) // self._step * self._step


class CronTimes:
    """Ticks when a cron expression says so. Not to be used by several threads at once.

    Args:
        expression: Five fields, or six, of which the last one is the seconds, or a name such as `@daily`.
        zone: The time zone of the wall clock that the expression is about.

    Raises:
        ValueError: The expression makes no sense, or never ticks.
    """

    def __init__(self, expression: str, zone: tzinfo) -> None:
        self._zone = zone
        self._wall = _wall_clock(expression)
        hours = self._wall.expanded[_HOURS]
        self._rhythm: Rhythm = _EveryHour(self._wall, zone) if hours == ["*"] else _NamedHours(self._wall, zone)

    def after(self, moment: datetime) -> datetime:
        """The first tick later than a moment.

        Raises:
            ValueError: There is none in the next 50 years.
        """
        return self._rhythm.after(moment)

    def until(self, moment: datetime) -> datetime:
        """The last tick that is not later than a moment.

        Raises:
            ValueError: There is none in the last 50 years.
        """
        return self._rhythm.until(moment)


class _Wall:
    """An expression on a wall clock without any zone."""

    def __init__(self, expression: str) -> None:
        from croniter import croniter

        self._croniter = croniter(expression, datetime(2000, 1, 1))  # noqa: DTZ001 - it has no zone
        self.expanded = self._croniter.expanded

    def after(self, time: datetime) -> datetime:
        """The first match later than a time."""
        found: datetime = self._croniter.get_next(datetime, start_time=time.replace(microsecond=0))
        return found

    def before(self, time: datetime) -> datetime:
        """The last match earlier than a time of whole seconds."""
        found: datetime = self._croniter.get_prev(datetime, start_time=time)
        return found

    def until(self, time: datetime) -> datetime:
        """The last match that is not later than a time."""
        return self.before(time.replace(microsecond=0) + SECOND)


class _NamedHours:
    """An expression that names its hours: each match of the wall clock ticks once, skipped or shown twice."""

    def __init__(self, wall: _Wall, zone: tzinfo) -> None:
        self._wall = wall
        self._zone = zone

    def after(self, moment: datetime) -> datetime:
        # What the clock has skipped ticks later than it would: those ticks may be still to come.
        time = self._wall.after(self._shown(moment) - max(self._change(moment), timedelta()))
        while (tick := self._tick(time)) <= moment:
            time = self._wall.after(time)
        # And what comes after the skipped time may tick before what was skipped.
        late = self._shown(tick)
        while (time := self._wall.after(time)) < late:
            if (other := self._tick(time)) > moment:
                tick = min(tick, other)
        return tick

    def until(self, moment: datetime) -> datetime:
        # In an hour that is shown for the second time, all that it shows has ticked the first time.
        time = self._wall.until(self._shown(moment) + max(-self._change(moment), timedelta()))
        while (tick := self._tick(time)) > moment:
            time = self._wall.before(time)
        skipped = max(self._change(moment), timedelta())
        while skipped and (time := self._wall.before(time)) + skipped > self._shown(tick):
            if (other := self._tick(time)) <= moment:
                tick = max(tick, other)
        return tick

    def _shown(self, moment: datetime) -> datetime:
        """What the wall clock shows at a moment."""
        return moment.astimezone(self._zone).replace(tzinfo=None)

    def _tick(self, time: datetime) -> datetime:
        """The moment at which the wall clock shows a time first, or would have, had it not been put forward."""
        return time.replace(tzinfo=self._zone, fold=0).astimezone(UTC)

    def _change(self, moment: datetime) -> timedelta:
        """How far the clock has been put forward shortly before a moment; negative if it was put back."""
        return _offset(self._zone, moment) - _offset(self._zone, moment - LONGEST_CHANGE)


class _EveryHour:
    """An expression that leaves the hour open: each moment ticks at which the wall clock shows a match."""

    def __init__(self, wall: _Wall, zone: tzinfo) -> None:
        self._wall = wall
        self._zone = zone

    def after(self, moment: datetime) -> datetime:
        start, offset = moment, _offset(self._zone, moment)
        while True:
            tick = self._wall.after(_naive(moment + offset)).replace(tzinfo=UTC) - offset
            change = self._first_change(start, tick)
            if change is None:
                return tick
            # What the clock shows from there on, the moment of the change included.
            moment, start, offset = change - SECOND, change, _offset(self._zone, change)

    def until(self, moment: datetime) -> datetime:
        while True:
            offset = _offset(self._zone, moment)
            tick = self._wall.until(_naive(moment + offset)).replace(tzinfo=UTC) - offset
            change = self._last_change(tick, moment)
            if change is None:
                return tick
            moment = change - SECOND

    def _first_change(self, start: datetime, end: datetime) -> datetime | None:
        """The first moment, later than the start and not later than the end, at which the offset is another one."""
        while start < end:
            middle = min(start + STRIDE, end)
            if _offset(self._zone, start) != _offset(self._zone, middle):
                return self._between(start, middle)
            start = middle
        return None

    def _last_change(self, start: datetime, end: datetime) -> datetime | None:
        """The last such moment."""
        while start < end:
            middle = max(end - STRIDE, start)
            if _offset(self._zone, middle) != _offset(self._zone, end):
                return self._between(middle, end)
            end = middle
        return None

    def _between(self, start: datetime, end: datetime) -> datetime:
        """The change between two moments, by bisection. Clocks change at whole seconds."""
        start, end = start.replace(microsecond=0), end.replace(microsecond=0) + SECOND
        before = _offset(self._zone, start)
        while end - start > SECOND:
            middle = start + (end - start) // 2 // SECOND * SECOND
            if _offset(self._zone, middle) == before:
                start = middle
            else:
                end = middle
        return end


def _offset(zone: tzinfo, moment: datetime) -> timedelta:
    return moment.astimezone(zone).utcoffset() or timedelta()


def _naive(moment: datetime) -> datetime:
    return moment.replace(tzinfo=None)


def _wall_clock(expression: str) -> _Wall:
    fields = expression.split()
    if not (len(fields) in {5, 6} or (len(fields) == 1 and fields[0].startswith("@"))):
        raise ValueError(
            f"{expression!r} has {len(fields)} fields: it takes five (minute, hour, day of the month, month, day of "
            f"the week), or six, of which the last one is the second, or a name such as @daily"
        )
    if any(field[0] in "rRhH" for field in fields):
        raise ValueError(f"{expression!r}: R and H, for times chosen by lot, are not supported")
    if fields[0].startswith("@") and fields[0].lower() not in NAMES:
        raise ValueError(f"{expression!r} is no name of an expression: there are {', '.join(NAMES)}")
    for first, last in _RANGE.findall(expression):
        # croniter takes a range of one for the whole circle.
        if first.lower() == last.lower() or (first.isdigit() and last.isdigit() and int(first) == int(last)):
            raise ValueError(f"{expression!r}: {first}-{last} is a range of one: write {first}")
    from croniter.croniter import CroniterBadDateError, CroniterError

    try:
        wall = _Wall(expression)
        wall.after(datetime(2000, 1, 1))  # noqa: DTZ001 - it has no zone
    except CroniterBadDateError:
        raise ValueError(f"{expression!r} never comes true: there is no such day") from None
    except (CroniterError, ValueError) as error:
        raise ValueError(f"{expression!r} is no cron expression: {error}") from None
    return wall
