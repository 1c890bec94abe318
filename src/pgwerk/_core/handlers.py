"""What type checkers need to know about handlers: what they take, and what waiting for them gives."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import ParamSpec, TypeAlias, TypeVar

P = ParamSpec("P")
"""The parameters of a handler."""

R = TypeVar("R")
"""What a handler gives when it has been run."""

# `Awaitable` rather than `Coroutine`: decorators are often annotated so, though what they return is a coroutine
# function. To the blocking client it makes no difference either: whoever runs the job awaits it.
CoroutineHandler: TypeAlias = Callable[P, Awaitable[R]]
"""A handler whose result has to be awaited before it is there."""
