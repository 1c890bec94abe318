"""JSON on the command line."""

from __future__ import annotations

import json
from typing import Any

import click

from pgwerk.cli.durations import ParamType
from pgwerk.cli.output import jsonable


class Json(ParamType):
    """A value in JSON.

    Args:
        kind: `list` or `dict`: what it must be.
        example: One, for errors.
    """

    name = "json"

    def __init__(self, kind: type, example: str) -> None:
        self._kind = kind
        self._example = example

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read it; what has been read is left as it is."""
        if not isinstance(value, str):
            return value
        try:
            found = json.loads(value, parse_constant=_refuse)
        except json.JSONDecodeError as error:
            near = value[max(0, error.pos - 10) : error.pos + 10]
            where = f"at character {error.pos + 1}, near {near!r}" if near else f"at character {error.pos + 1}"
            self.fail(f"this is not JSON: {error.msg} {where}; write {self._example}", param, ctx)
        except (ValueError, RecursionError) as error:
            self.fail(f"this is not JSON: {error}; write {self._example}", param, ctx)
        if not isinstance(found, self._kind):
            wanted = "an array" if self._kind is list else "an object"
            self.fail(f"must be {wanted}, such as {self._example}, not {json.dumps(jsonable(found))[:40]}", param, ctx)
        return found


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no number of JSON")
