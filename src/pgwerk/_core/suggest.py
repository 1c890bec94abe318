"""The nearest valid name, for errors about a name that is none."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def suggest(name: str, valid: Iterable[str]) -> str:
    """The end of an error message that proposes the valid name most like `name`.

    Args:
        name: What was given.
        valid: What could have been given.

    Returns:
        A sentence with a leading space, such as `" Did you mean '_queue'?"`, or `""` when nothing
        is near enough.
    """
    candidates = sorted(valid)
    # Compared without case and leading underscores, which is what gets lost.
    plain: dict[str, str] = {}
    for candidate in candidates:
        plain.setdefault(_plain(candidate), candidate)
    near = difflib.get_close_matches(_plain(name), plain, n=1)
    return f" Did you mean {plain[near[0]]!r}?" if near else ""


def _plain(name: str) -> str:
    return name.lstrip("_").lower()
