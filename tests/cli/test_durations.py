"""Durations on the command line."""

from __future__ import annotations

from typing import Any

import click
import pytest

from pgwerk.cli.durations import CENTURY_SECS, Duration, parse


@pytest.mark.parametrize(
    ("text", "secs"),
    [
        ("90", 90),
        ("90s", 90),
        ("1.5 h", 5400),
        ("15m", 900),
        ("15min", 900),
        ("2H", 7200),
        ("7d", 604800),
        ("1w", 604800),
        ("500ms", 0.5),
        ("0", 0),
        (" 3s ", 3),
    ],
)
def test_duration(text: str, secs: float) -> None:
    """A number of seconds, or of what the letter behind it says."""
    assert secs == parse(text)
    assert secs == Duration().convert(text, None, None)


@pytest.mark.parametrize("text", ["", "s", "-1", "1y", "1h30m", "ten", "1e3", "inf", "1,5h", "9" * 400])
def test_no_duration(text: str) -> None:
    """What is no duration is refused, with examples of those that are."""
    assert parse(text) is None
    with pytest.raises(click.BadParameter, match="is no duration: write 90, 90s, 15m, 2h or 7d"):
        Duration().convert(text, None, None)


@pytest.mark.parametrize(
    ("options", "text", "message"),
    [
        ({"whole": True}, "1.5s", "must be a whole number of seconds"),
        ({"least": 1}, "0", "is too short: at least 1 s"),
        ({}, "999999d", "more than a hundred years"),
    ],
)
def test_bounds(options: dict[str, Any], text: str, message: str) -> None:
    """An option says what it cannot use."""
    with pytest.raises(click.BadParameter, match=message):
        Duration(**options).convert(text, None, None)


def test_whole_seconds_are_ints() -> None:
    """Options that the client wants as whole seconds get them as such."""
    value = Duration(whole=True).convert("2m", None, None)
    assert (120, int) == (value, type(value))
    assert CENTURY_SECS >= Duration().convert("36525d", None, None)
