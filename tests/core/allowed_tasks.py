"""A module of an application, with all that it has imported, made and inherited."""

from __future__ import annotations

import functools
import os
import os as operating_system
import sys
from collections.abc import Callable
from os import system
from typing import Any, NamedTuple

from tests.core import sample_handlers
from tests.core.sample_handlers import Base, plain

__all__ = ["Base", "operating_system", "os", "plain", "sample_handlers", "sys", "system"]


def send(x: int) -> int:
    return x


async def send_later(x: int) -> int:
    return x


def _private() -> None: ...


alias = send


@functools.wraps(send)
def other_name() -> None: ...


@sample_handlers.decorator
def decorated(x: int) -> int:
    return x


@sample_handlers.Task
def task(x: int) -> int:
    return x


@functools.lru_cache
def cached(x: int) -> int:
    return x


def nameless(func: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator that does not hand on the name."""
    return lambda *args: [func(*args)]


hidden = nameless(send)
foreign = sample_handlers.factory()
partial = functools.partial(send, 1)
shell = functools.partial(os.system)


class Mailer:
    """Has methods of all kinds."""

    def __call__(self) -> None: ...

    def method(self) -> None: ...

    @staticmethod
    def static() -> None: ...

    @classmethod
    def make(cls) -> Mailer:
        return cls()

    class Nested:
        @staticmethod
        def static() -> None: ...


class Inherits(Base):
    """Its methods are those of a class of another module."""


class Pair(NamedTuple):
    a: int


class Forward:
    """Answers for another object, and not always."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)


mailer = Mailer()
library = Base()
forward = Forward()
