"""What a rule says, and what the unasync package replaces without being told."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

#: unasync's own list. A copy, so that the lint needs no package; a test compares the two.
BUILT_IN = {
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "__aiter__": "__iter__",
    "__anext__": "__next__",
    "asynccontextmanager": "contextmanager",
    "AsyncIterable": "Iterable",
    "AsyncIterator": "Iterator",
    "AsyncGenerator": "Generator",
    "StopAsyncIteration": "StopIteration",
}


@dataclass(frozen=True)
class Rule:
    """Replace the name `source` by `target`, also as a string literal of its own.

    `where` says what the rule is meant for. `"names"`: variables, functions, classes, imports.
    `"anywhere"`: attributes, parameters, keyword arguments too. unasync replaces every token, so
    the lint refuses a use that the rule is not meant for.
    """

    source: str
    target: str
    where: Literal["names", "anywhere"] = "names"


@dataclass(frozen=True)
class Prose:
    """Replace `source` by `target` in docstrings and comments, whole words within one line."""

    source: str
    target: str


@dataclass(frozen=True)
class Pair:
    """Two trees, written by hand and generated, as paths relative to the root of the project."""

    source: str
    target: str

    def target_of(self, path: str) -> str:
        """Return where the module generated from `path` goes."""
        return self.target + path.removeprefix(self.source)


@dataclass(frozen=True)
class Tables:
    """All that a build is told."""

    rules: tuple[Rule, ...] = ()
    prose: tuple[Prose, ...] = ()
    pairs: tuple[Pair, ...] = ()
    by_name: dict[str, Rule] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_name", {rule.source: rule for rule in self.rules})

    def replaces(self, name: str) -> bool:
        """Tell whether unasync would replace this name."""
        return name in self.by_name or name in BUILT_IN or is_async_class(name)


def is_async_class(name: str) -> bool:
    """Tell whether unasync would turn this `AsyncX` into `SyncX` for want of a rule."""
    return re.match("Async[A-Z]", name) is not None
