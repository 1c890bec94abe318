from __future__ import annotations

import decimal
import functools
import inspect
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Optional
from unittest.mock import AsyncMock, MagicMock

import pytest
from tests.core.sample_handlers import Base, Task, decorator, plain, task

import pgwerk._core.context as module
from pgwerk._core.calls import accepts, is_coroutine_function, wants_context
from pgwerk._core.context import Context

if TYPE_CHECKING:
    from elsewhere import Unknown  # type: ignore[import-not-found]

    Hidden = Context


class Special(Context):
    pass


def by_name(ctx, x): ...  # type: ignore[no-untyped-def]
def by_type(context: Context, x: int) -> None: ...
def by_subclass(context: Special) -> None: ...
def by_dotted_name(context: module.Context) -> None: ...
def by_unknown_name(x: Unknown, y: int) -> None: ...
def by_hidden_name(x: Hidden) -> None: ...
def second(x: int, ctx: Context) -> None: ...
def keyword(*, ctx: Context) -> None: ...
def collected(*ctx: Context) -> None: ...
def optional(x: Optional[Context] = None) -> None: ...  # noqa: UP045 - the older spelling
def number(context: decimal.Context) -> None: ...
def nothing() -> None: ...


def annotated(annotation: object) -> Callable[..., None]:
    def handler(first: Any) -> None: ...

    handler.__annotations__ = {"first": annotation}
    return handler


def foreign_context() -> Callable[..., None]:
    """A handler in whose module `Context` means something else."""
    namespace: dict[str, Any] = {"Context": decimal.Context}
    exec("def handler(first: 'Context'): ...", namespace)  # noqa: S102 - a module of its own
    return namespace["handler"]  # type: ignore[no-any-return]


class Callable_:  # noqa: N801
    def __call__(self, ctx: Context) -> None: ...


class Methods:
    def __init__(self, ctx: Context) -> None: ...

    def method(self, ctx: Context) -> None: ...

    @classmethod
    def make(cls, context: Context) -> None: ...

    def other(self, x: int) -> None: ...


class Unhashable:
    __hash__ = None  # type: ignore[assignment]

    def __call__(self, ctx: Context) -> None: ...


def injecting(func: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator that makes the context itself."""

    @functools.wraps(func)
    def wrapper(x: int) -> Any:
        return func(None, x)

    return wrapper


@pytest.mark.parametrize(
    "func",
    [
        by_name,
        by_type,
        by_subclass,
        by_dotted_name,
        annotated(Context),
        annotated("Context"),
        annotated("'Context'"),
        annotated("pgwerk.Context"),
        annotated("Special"),
        Callable_(),
        Methods,
        Methods.make,
        Methods(None).method,  # type: ignore[arg-type]
        Unhashable(),
        decorator(by_type),
        decorator(decorator(by_name)),
        Task(by_type),
        functools.partial(by_type, x=1),
    ],
)
def test_who_takes_the_context(func: Callable[..., Any]) -> None:
    """A first parameter named `ctx`, or annotated `Context`, gets the context."""
    assert wants_context(func)
    assert wants_context(func)


@pytest.mark.parametrize(
    "func",
    [
        second,
        keyword,
        collected,
        optional,
        number,
        nothing,
        plain,
        by_unknown_name,
        by_hidden_name,
        foreign_context(),
        annotated(None),
        annotated(3),
        annotated("no such thing ["),
        annotated("sys.modules['x']"),
        annotated(list[int]),
        Methods(None).other,  # type: ignore[arg-type]
        functools.partial(by_name, None),
        injecting(by_type),
        task,
        len,
        print,
        dict,
        type,
    ],
)
def test_who_does_not(func: Callable[..., Any]) -> None:
    """Nobody else does, and no annotation, however odd, raises an error."""
    assert not wants_context(func)


def test_arguments_that_fit() -> None:
    """Arguments that the function takes are accepted, the context among them where it is passed."""
    assert accepts(plain, (1,), {}, with_context=False) is None
    assert accepts(by_name, (1,), {}, with_context=True) is None
    assert accepts(Base().method, (), {"x": 1}, with_context=False) is None
    assert accepts(Unhashable(), (), {}, with_context=True) is None


@pytest.mark.parametrize(
    ("func", "args", "kwargs", "with_context", "said"),
    [
        (plain, (), {}, False, "missing a required argument: 'x'"),
        (plain, (1, 2), {}, False, "too many positional arguments"),
        (plain, (1,), {"y": 2}, False, "got an unexpected keyword argument 'y'"),
        (plain, (1,), {"x": 2}, False, "multiple values for argument 'x'"),
        (by_name, (1,), {}, False, "missing a required argument: 'x'"),
    ],
)
def test_arguments_that_do_not_fit(
    func: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    with_context: bool,
    said: str,
) -> None:
    """Arguments that the function does not take are refused with the reason."""
    assert accepts(func, args, kwargs, with_context=with_context) == said


def test_a_wrapper_decides_what_it_takes() -> None:
    """What a decorator adds to the arguments is not missed, as only the wrapper is called."""
    assert accepts(injecting(by_type), (1,), {}, with_context=False) is None
    assert accepts(decorator(plain), (), {"anything": 1}, with_context=False) is None


def test_functions_without_a_signature() -> None:
    """A function that does not tell what it takes is given the benefit of the doubt."""
    assert accepts(type, (1, 2, 3, 4, 5), {}, with_context=False) is None


async def coroutine() -> None: ...
async def generator() -> Any:
    yield 1


class AsyncCallable:
    async def __call__(self) -> None: ...


class Marked:
    """What asyncio's marker looked like up to Python 3.11."""

    _is_coroutine = object()

    def __call__(self) -> None: ...


@pytest.mark.parametrize(
    "func",
    [
        coroutine,
        functools.partial(coroutine),
        functools.partial(functools.partial(coroutine)),
        AsyncCallable(),
        functools.partial(AsyncCallable()),
        AsyncCallable().__call__,
        AsyncMock(),
        Marked(),
    ],
)
def test_coroutine_functions(func: Callable[..., Any]) -> None:
    """What gives a coroutine when called is known, also behind partials and objects."""
    assert is_coroutine_function(func)


@pytest.mark.parametrize(
    "func", [plain, len, generator, AsyncCallable, MagicMock(), Task(plain), functools.partial(plain)]
)
def test_other_functions(func: Callable[..., Any]) -> None:
    """What gives anything else is not; a class with an async `__call__` makes objects."""
    assert not is_coroutine_function(func)


if sys.version_info >= (3, 12):

    def test_marked_functions() -> None:
        """What `inspect.markcoroutinefunction` marks is taken for a coroutine function."""
        assert is_coroutine_function(inspect.markcoroutinefunction(lambda: None))
