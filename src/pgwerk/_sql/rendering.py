"""From the text of a file to the text that is sent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set

_MARK = "--?"
"""Comes before the name of the part that a line belongs to."""


def render(text: str, names: Mapping[str, str], parts: Set[str] | None = None) -> str:
    """Fill in the names, and leave out comments and indentation, which the server would only have to skip.

    Args:
        text: SQL with placeholders in braces. A line that ends with `--? part` is needed only where that part is.
        names: Quoted SQL for each placeholder.
        parts: The parts that are needed; all by default.
    """
    body = "\n".join(_lines(text, parts))
    if "%(" in body:
        # With parameters, psycopg reads a percent sign as the beginning of one, unless it is doubled.
        names = {name: value.replace("%", "%%") for name, value in names.items()}
    return body.format_map(names)


def _lines(text: str, parts: Set[str] | None) -> Iterator[str]:
    for line in text.splitlines():
        sql, _, part = line.strip().partition(_MARK)
        if sql and not sql.startswith("--") and (not part or parts is None or part.strip() in parts):
            yield sql.rstrip()
