"""Durations on the command line: `90`, `90s`, `15m`, `2h`, `7d`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    ParamType = click.ParamType[Any]
else:  # generic only in click 8.2 and newer
    ParamType = click.ParamType

UNITS = {"ms": 0.001, "": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
"""Seconds in each unit; without one, seconds are meant."""

CENTURY_SECS = 100 * 365.25 * 86400

_DURATION = re.compile(r"(\d{1,12}(?:\.\d{1,12})?) ?([a-z]*)")


class Duration(ParamType):
    """A duration, in seconds.

    Args:
        whole: Whether it must be a whole number of seconds, and is an `int`.
        least: The shortest one, in seconds.
    """

    name = "duration"

    def __init__(self, *, whole: bool = False, least: float = 0) -> None:
        self._whole = whole
        self._least = least

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read a duration; one that has been read is left as it is."""
        if isinstance(value, (int, float)):
            return value
        secs = parse(str(value))
        if secs is None:
            self.fail(f"{value!r} is no duration: write 90, 90s, 15m, 2h or 7d", param, ctx)
        if secs > CENTURY_SECS:
            self.fail(f"{value!r} is more than a hundred years", param, ctx)
        if secs < self._least:
            self.fail(f"{value!r} is too short: at least {self._least:g} s", param, ctx)
        if not self._whole:
            return secs
        if secs != int(secs):
            self.fail(f"{value!r} must be a whole number of seconds", param, ctx)
        return int(secs)

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:  # noqa: ARG002 - the signature is click's
        """How the help text names it."""
        return "DURATION"


def parse(text: str) -> float | None:
    """The seconds that a text says; None if it is no duration."""
    found = _DURATION.fullmatch(text.strip().lower())
    if found is None or found[2] not in UNITS:
        return None
    return round(float(found[1]) * UNITS[found[2]], 6)
