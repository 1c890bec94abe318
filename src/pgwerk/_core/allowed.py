"""What rows may call: the patterns of `allowed_functions`.

Rows are input: whoever can write to the table of jobs chooses the path that a worker imports and calls. The patterns
limit that, and a path is checked twice.

The text of the path is checked before anything is imported. That is not enough: if `myapp.tasks` imports `os`, then
`myapp.tasks.os.system` matches `myapp.tasks.*`, and so do the methods that a class inherits from a library. So what a
path leads to is checked as well, before it is called: the function or class has to say of itself that it is defined
at a place that the patterns allow. A wildcard matches no name that begins with two underscores either, because these
lead from anything to everything (`__globals__`, `__builtins__`, `__loader__`).

A pattern without wildcards means this very path, and whatever it leads to: a re-exported function, a method of an
object, something that a decorator made and that does not know its own name.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

from attrs import frozen

from pgwerk._core import checks
from pgwerk._core.errors import FunctionNotAllowed
from pgwerk._core.modules import is_main, main_name
from pgwerk._core.paths import resolve

# One character that a wildcard stands for: any but the first one of a name that begins with two underscores.
_ANY = r"(?:(?:(?<![^.])(?!__)|(?<=[^.])).)"


@frozen
class AllowedFunctions:
    """Dotted paths that may be called.

    Attributes:
        patterns: Dotted paths in which `*` stands for any number of characters, dots included, and `?` for one. Case
            matters.
    """

    patterns: tuple[str, ...]

    def check_path(self, path: str) -> None:
        """Refuse a path that no pattern matches.

        Raises:
            FunctionNotAllowed: It is not allowed.
        """
        if not self._matches(path):
            raise FunctionNotAllowed(path, self.patterns)

    def check_definition(self, path: str, function: object) -> None:
        """Refuse a path that a wildcard lets pass, and that leads to what is defined at a place which none allows.

        Args:
            path: The path, which `check_path` has let pass.
            function: What it leads to.

        Raises:
            FunctionNotAllowed: It is not allowed.
        """
        if path in self.patterns:
            return
        defined = _defined_at(function)
        if defined is None:
            reason = f"it leads to an object of type {type(function).__name__}, which no wildcard allows"
            raise FunctionNotAllowed(path, self.patterns, reason)
        if not self._matches(defined):
            raise FunctionNotAllowed(path, self.patterns, f"it leads to {defined!r}")

    def _matches(self, path: str) -> bool:
        # A path that is longer was not made by pgwerk, and is not worth remembering.
        return len(path) <= checks.KEY_BYTES and _matches(self.patterns, path)


def make_allowed(patterns: object) -> AllowedFunctions | None:
    """The paths that an application allows; None allows everything.

    Raises:
        TypeError: It is no list of str.
        ValueError: It is empty, or one of them matches nothing that could be a path.
    """
    if patterns is None:
        return None
    checked = checks.strings("allowed_functions", patterns, max_bytes=checks.KEY_BYTES)
    for pattern in checked:
        if not _well_formed(pattern):
            raise ValueError(
                f"allowed_functions: {pattern!r} is no pattern of dotted paths, such as 'myapp.tasks.*' or "
                "'myapp.tasks.send_mail'"
            )
    return AllowedFunctions(tuple(checked))


def resolve_allowed(path: str, allowed: AllowedFunctions | None) -> Callable[..., Any]:
    """The function at the dotted path of a row: of its handler, or of one of its callbacks.

    Raises:
        FunctionNotAllowed: It may not be called. Nothing was imported that no pattern matches.
        HandlerNotFound: The path leads nowhere.
    """
    if allowed is None:
        return resolve(path)
    allowed.check_path(path)
    function = resolve(path)
    allowed.check_definition(path, function)
    return function


@functools.lru_cache(maxsize=4096)
def _matches(patterns: tuple[str, ...], path: str) -> bool:
    return _compiled(patterns).fullmatch(path) is not None


@functools.lru_cache(maxsize=64)
def _compiled(patterns: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(map(_translated, patterns)), re.DOTALL)


def _translated(pattern: str) -> str:
    """A regular expression. Each `*` settles for the nearest fit, so that no path takes long, however it is made."""
    first, *rest = [re.escape(chunk).replace(re.escape("?"), _ANY) for chunk in pattern.split("*")]
    if not rest:
        return first
    *middle, last = rest
    return first + "".join(f"(?>{_ANY}*?{chunk})" for chunk in middle) + f"{_ANY}*{last}"


def _well_formed(pattern: str) -> bool:
    parts = pattern.replace("*", "x").replace("?", "x").split(".")
    return all(part.isidentifier() for part in parts) and (len(parts) > 1 or "*" in pattern)


def _defined_at(function: object) -> str | None:
    """Where a function, method or class says that it is defined; None if it does not say so."""
    try:
        module_name, qualname = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    except Exception:  # an object may answer as it likes
        return None
    if not isinstance(module_name, str) or not isinstance(qualname, str):
        return None
    importable = main_name() if is_main(module_name) else None
    return f"{importable or module_name}.{qualname}"
