"""Arrays for `unnest`, as text.

The driver can make them, value by value and in Python; that was a third of what a worker spent on settling a job. Here
whole columns are joined at once. A cast in the statement (`%(id)s::uuid[]`) says what the text stands for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

EMPTY = "{}"
"""Also a column of nothing but NULL: `unnest` pads what is shorter than the rest."""


def plain(values: Iterable[str | float | bool | None]) -> str:
    """An array of numbers, truth values, UUIDs or words: of what needs no quotes."""
    items = ["NULL" if value is None else str(value) for value in values]
    return "{" + ",".join(items) + "}" if any(item != "NULL" for item in items) else EMPTY


def quoted(values: Iterable[str | None]) -> str:
    """An array of any texts. NUL characters cannot be in them: PostgreSQL has none."""
    column = list(values)
    if all(value is None for value in column):
        return EMPTY
    if None in column:
        return "{" + ",".join("NULL" if value is None else f'"{_escaped(value)}"' for value in column) + "}"
    # One pass over everything: the NUL, which is in none of them, marks where one ends.
    joined = "\0".join(value for value in column if value is not None)
    return '{"' + _escaped(joined).replace("\0", '","') + '"}'


def moments(values: Iterable[datetime | None]) -> str:
    """An array of points in time."""
    return quoted(None if value is None else value.isoformat() for value in values)


def nested(values: Sequence[int] | None) -> str | None:
    """One array of numbers as a text, for a column of arrays: `unnest` would take a nested one apart."""
    return None if values is None else "{" + ",".join(map(str, values)) + "}"


def lists(values: Iterable[Sequence[int] | None]) -> str:
    """A column of arrays of numbers, each as a text."""
    return quoted(map(nested, values))


def scalar(value: str | float | datetime | list[int] | tuple[int, ...] | None) -> str | None:
    """One value as a text: as it would be in an array, without quotes."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, (list, tuple)):
        return nested(value)
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
