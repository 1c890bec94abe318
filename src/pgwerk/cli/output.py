"""Printing: tables for people, JSON for programs. Data go to the standard output, all else to the error stream."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any

import attrs
from rich.console import Console
from rich.table import Table
from rich.text import Text

STATUS_STYLES = {
    "queued": "cyan",
    "scheduled": "blue",
    "waiting": "blue",
    "active": "bold",
    "aborting": "yellow",
    "complete": "green",
    "failed": "red",
    "aborted": "yellow",
}
"""Colours help; nothing is said by colour alone."""


def console() -> Console:
    """The standard output, as wide as the terminal; in a pipe, as wide as it takes."""
    return Console(soft_wrap=not sys.stdout.isatty(), highlight=False)


def note(message: str) -> None:
    """Say something that is not data."""
    sys.stderr.write(f"{message}\n")


def print_json(value: Any) -> None:
    """Print a value as one JSON document."""
    sys.stdout.write(json.dumps(value, default=plain, indent=2, ensure_ascii=False) + "\n")


def plain(value: Any) -> Any:
    """A value in the types that JSON has: times in ISO 8601, durations in seconds, models as objects."""
    if attrs.has(type(value)):
        return {field.name: getattr(value, field.name) for field in attrs.fields(type(value))}
    for kind, convert in _PLAIN:
        if isinstance(value, kind):
            return convert(value)
    return str(value)


_PLAIN: tuple[tuple[Any, Callable[[Any], Any]], ...] = (
    (datetime, datetime.isoformat),
    (timedelta, timedelta.total_seconds),
    (Enum, lambda member: member.value),
    (Mapping, dict),
    ((set, frozenset, tuple), list),
)


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, right: Iterable[str] = ()) -> Table:
    """A table without lines.

    Args:
        columns: The headings.
        rows: The cells: texts, or what rich can print.
        right: The headings of the columns that are numbers.
    """
    numbers = set(right)
    result = Table(box=None, header_style="bold", pad_edge=False)
    for name in columns:
        result.add_column(name, justify="right" if name in numbers else "left", overflow="fold")
    for row in rows:
        result.add_row(*(cell if isinstance(cell, (Text, str)) else str(cell) for cell in row))
    return result


def status_text(status: Enum | str) -> Text:
    """A status, coloured."""
    name = str(status.value if isinstance(status, Enum) else status)
    return Text(name, style=STATUS_STYLES.get(name, ""))


def ago(moment: datetime | None, now: datetime | None = None) -> str:
    """How long ago something was, or how far away it is: `5 s ago`, `in 3 min`."""
    if moment is None:
        return ""
    secs = ((now or datetime.now(UTC)) - moment).total_seconds()
    return f"{duration(secs)} ago" if secs >= 0 else f"in {duration(-secs)}"


def duration(secs: float | None) -> str:
    """A duration as people say it: `340 ms`, `12.5 s`, `3 min`, `5.2 h`, `12 d`."""
    if secs is None:
        return ""
    if secs < 1:
        return f"{secs * 1000:.0f} ms"
    for limit, size, unit in ((120, 1, "s"), (7200, 60, "min"), (172800, 3600, "h")):
        if secs < limit:
            amount = secs / size
            return f"{amount:.1f} {unit}" if amount < 10 else f"{amount:.0f} {unit}"
    return f"{secs / 86400:.0f} d"
