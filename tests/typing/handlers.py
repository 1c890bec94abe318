"""Handlers of every shape that type checkers have to tell apart."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, ParamSpec, TypeVar

from pgwerk import Context

P = ParamSpec("P")
T = TypeVar("T")


async def add(a: int, b: int = 1) -> int:
    return a + b


def plain_add(a: int, b: int = 1) -> int:
    return a + b


async def greet(ctx: Context, name: str, *, loud: bool = False) -> str:
    return f"{ctx.job.id} {name.upper() if loud else name}"


def plain_greet(ctx: Context, name: str, *, loud: bool = False) -> str:
    return f"{ctx.job.id} {name.upper() if loud else name}"


async def only_context(ctx: Context) -> str:
    return ctx.job.id


async def nothing() -> None:
    return None


def find(name: str) -> bytes | None:
    return name.encode() or None


async def anything(*args: Any, **kwargs: Any) -> Any:
    return args, kwargs


def anything_in_a_thread(*args: Any, **kwargs: Any) -> Any:
    return args, kwargs


async def same(value: T) -> T:
    return value


async def clashing(queue: str, timeout: int, _key: str, func: bool) -> float:
    """Has parameters with the names of options, and of the parameters of `enqueue`."""
    return len(queue + _key) * timeout * func


def logged(func: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
    """A decorator as they are often annotated: with `Awaitable`."""
    return func


@logged
async def decorated(number: int) -> list[int]:
    return [number]


class Mailer:
    """Handlers may also live in a class, or be one."""

    def __init__(self, address: str) -> None:
        self.address = address

    @staticmethod
    async def send(address: str) -> bool:
        return bool(address)

    @classmethod
    def check(cls, address: str) -> bool:
        return bool(cls(address).address)
