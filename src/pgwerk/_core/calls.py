"""What a callable takes: the context or not, these arguments or not, and whether to await it.

Nothing here runs the user's code or evaluates an annotation: a name in an annotation is looked up,
and when that fails it is compared as text.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ForwardRef, NamedTuple, TypeVar

from pgwerk._core.context import Context

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_CONTEXT_NAMES = ("Context", "pgwerk.Context")

_T = TypeVar("_T")


class Traits(NamedTuple):
    """What has to be known of a function to call it.

    Attributes:
        is_coroutine: As `is_coroutine_function`.
        wants_context: As `wants_context`.
    """

    is_coroutine: bool
    wants_context: bool


def traits(func: Callable[..., Any]) -> Traits:
    """What has to be known of a function to call it."""
    return _remembered(func, _traits)


def wants_context(func: Callable[..., Any]) -> bool:
    """Whether a handler or callback takes a `Context` as its first argument.

    It does when its first positional parameter is named `ctx`, or annotated with `Context` or a
    subclass of it. A decorator's wrapper that takes `*args` passes on what it gets, so the function
    that it wraps decides.
    """
    return _remembered(func, _wants_context)


def accepts(
    func: Callable[..., Any],
    args: Sequence[object],
    kwargs: Mapping[str, object],
    with_context: bool,
) -> str | None:
    """Why a call with these arguments would fail before the function's first line.

    Args:
        func: What would be called.
        args: The positional arguments, without the context.
        kwargs: The keyword arguments.
        with_context: Whether a context comes before them.

    Returns:
        The reason as a `TypeError` would tell it, or `None` when they fit, or when that cannot be
        known without calling (some functions written in C).
    """
    signature = _remembered(func, _own_signature)
    if signature is None:
        return None
    try:
        signature.bind(*((None, *args) if with_context else args), **kwargs)
    except TypeError as error:
        return str(error)
    return None


def is_coroutine_function(func: Callable[..., Any]) -> bool:
    """Whether calling it gives a coroutine to await.

    True for `async def`, for a `functools.partial` of one, for an object with an async `__call__`,
    and for what is marked as one by `inspect.markcoroutinefunction` or, on older Pythons, the way
    asyncio marks it.
    """
    return _remembered(func, _is_coroutine_function)


@functools.lru_cache(maxsize=4096)
def _is_coroutine_function(func: Callable[..., Any]) -> bool:
    while isinstance(func, functools.partial):
        func = func.func
    if inspect.iscoroutinefunction(func) or _marked(func):
        return True
    call = getattr(type(func), "__call__", None)  # noqa: B004 - not whether, but which
    return inspect.iscoroutinefunction(call) or _marked(call)


@functools.lru_cache(maxsize=4096)
def _traits(func: Callable[..., Any]) -> Traits:
    return Traits(is_coroutine_function(func), wants_context(func))


def _marked(func: object) -> bool:
    # Up to Python 3.11 asyncio has a mark of its own, a bare object(); mocks have any attribute, so
    # the mark must be just that.
    return type(getattr(func, "_is_coroutine", None)) is object


def _remembered(func: Callable[..., Any], compute: Callable[[Callable[..., Any]], _T]) -> _T:
    """What a cached function says of a callable; one that has no hash is looked at each time."""
    try:
        return compute(func)
    except TypeError:
        uncached: Callable[[Callable[..., Any]], _T] = inspect.unwrap(compute)
        return uncached(func)


@functools.lru_cache(maxsize=4096)
def _own_signature(func: Callable[..., Any]) -> inspect.Signature | None:
    """What the callable itself takes: a wrapper may take less than what it wraps, and add to it."""
    options: dict[str, Any] = {"follow_wrapped": False}
    if sys.version_info >= (3, 14):
        # Without this, a name that is only imported for type checkers raises a NameError.
        from annotationlib import Format

        options["annotation_format"] = Format.FORWARDREF
    try:
        return inspect.signature(func, **options)
    except Exception:  # a ValueError for functions in C; anything, by a user's descriptor
        return None


@functools.lru_cache(maxsize=4096)
def _wants_context(func: Callable[..., Any]) -> bool:
    signature = _remembered(func, _own_signature)
    first = next(iter(signature.parameters.values()), None) if signature else None
    if first is None:
        return False
    if first.kind is inspect.Parameter.VAR_POSITIONAL:
        wrapped = getattr(func, "__wrapped__", None)
        return callable(wrapped) and wants_context(wrapped)
    if first.kind not in _POSITIONAL:
        return False
    return first.name == "ctx" or _names_context(first.annotation, func)


def _names_context(annotation: object, func: Callable[..., Any]) -> bool:
    if isinstance(annotation, ForwardRef):
        annotation = annotation.__forward_arg__
    if isinstance(annotation, str):
        name = annotation.strip("\"' ")
        found = _looked_up(name, func)
        if found is None:
            return name in _CONTEXT_NAMES
        annotation = found
    return isinstance(annotation, type) and issubclass(annotation, Context)


def _looked_up(name: str, func: Callable[..., Any]) -> object | None:
    """What a dotted name stands for in the module of a function, if that is known at run time."""
    first, *rest = name.split(".")
    try:
        found = _globals(func)[first]
        for part in rest:
            found = getattr(found, part)
    except Exception:  # a module's own __getattr__ may raise what it likes
        return None
    return found


def _globals(func: Any) -> Mapping[str, object]:
    while isinstance(func, functools.partial):
        func = func.func
    func = getattr(func, "__func__", func)
    own = getattr(func, "__globals__", None)
    if own is None and isinstance(func, type):
        return vars(sys.modules[func.__module__])
    return own if own is not None else getattr(type(func).__call__, "__globals__", {})
