"""From the text of a file to the text that is sent."""

from __future__ import annotations

from collections.abc import Mapping


def render(text: str, names: Mapping[str, str]) -> str:
    """Fill in the names, and leave out comments and indentation, which the server would only have to skip.

    Args:
        text: SQL with placeholders in braces.
        names: Quoted SQL for each placeholder.
    """
    lines = (line.strip() for line in text.splitlines())
    body = "\n".join(line for line in lines if line and not line.startswith("--"))
    if "%(" in body:
        # With parameters, psycopg reads a percent sign as the beginning of one, unless it is doubled.
        names = {name: value.replace("%", "%%") for name, value in names.items()}
    return body.format_map(names)
