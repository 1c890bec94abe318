"""Handlers in all shapes, for the tests of paths and calls."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any


def plain(x: int) -> int:
    return x


async def coroutine(x: int) -> int:
    return x


def decorator(func: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return func(*args, **kwargs)

    return wrapper


@decorator
def decorated(x: int) -> int:
    return x


def replaced() -> int:
    return 1


original = replaced


def replaced() -> int:  # type: ignore[no-redef]
    return 2


shortened = lambda x: x  # noqa: E731 - what must be refused


def factory() -> Callable[[], None]:
    def inner() -> None:
        return None

    return inner


inner = factory()


class Base:
    @staticmethod
    def static(x: int) -> int:
        return x

    @classmethod
    def make(cls, x: int) -> str:
        return f"{cls.__name__}{x}"

    def method(self, x: int) -> int:
        return x

    class Nested:
        @staticmethod
        def static() -> str:
            return "nested"


class Derived(Base):
    pass


class Task:
    """A callable object, as some libraries make of a decorated function."""

    def __init__(self, func: Callable[..., Any]) -> None:
        functools.update_wrapper(self, func)
        self.func = func

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.func(*args, **kwargs)


@Task
def task(x: int) -> int:
    return x


class Bare:
    def __call__(self) -> str:
        return "bare"


bare = Bare()
instance = Base()
not_callable = 3
