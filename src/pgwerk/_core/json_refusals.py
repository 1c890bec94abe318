"""Why a value is not serialized, where it sits in the structure, and what to pass in its stead."""

from __future__ import annotations

import datetime
import decimal
import enum
import functools
import os
import uuid
from collections.abc import Callable, Iterator
from typing import Any

_PATH_LENGTH = 160

_PLAIN: tuple[type, ...] = (
    *(str, bytes, int, float, list, tuple, dict, set, frozenset),
    *(datetime.datetime, datetime.date, datetime.time, datetime.timedelta),
    *(uuid.UUID, decimal.Decimal),
)


class Refusal(Exception):
    """A value cannot be serialized; collects the way to it while the stack unwinds.

    Attributes:
        reason: What is wrong with the value, and what to do about it.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self._steps: list[tuple[str, int]] = []

    def inside(self, container: object, segment: str) -> None:
        """Note that the value sits inside this container, at this place.

        Args:
            container: The list, dict, ... that holds the value.
            segment: The place as text: `.name`, `[3]`.
        """
        self._steps.append((segment, id(container)))

    def message(self, root: str) -> str:
        """The whole error.

        Args:
            root: What the outermost value is called in paths, such as `$`.
        """
        steps = list(reversed(self._steps))
        seen: dict[int, int] = {}
        for index, (_, container) in enumerate(steps):
            if container in seen:
                path = _joined(root, steps[:index])
                origin = _joined(root, steps[: seen[container]])
                return f"{path}: cannot serialize a circular structure; this is {origin} again"
            seen[container] = index
        path = _joined(root, steps)
        return self.reason if path == root else f"{path}: {self.reason}"


def _joined(root: str, steps: list[tuple[str, int]]) -> str:
    path = root + "".join(segment for segment, _ in steps)
    return path if len(path) <= _PATH_LENGTH else f"{path[:_PATH_LENGTH]}…"


def key_segment(key: object) -> str:
    """A key of a dict as part of a path."""
    if type(key) is str and key.isidentifier():
        return f".{key}"
    try:
        text = repr(key) if type(key) in (str, int, float, bool) else type_name(type(key))
    except ValueError:  # an int with more digits than Python prints
        text = "int"
    return f"[{text[:40]}]"


def type_name(cls: type) -> str:
    """A type as errors name it: `Foo (myapp.models.Foo)`, `complex`."""
    name = cls.__qualname__
    return name if cls.__module__ == "builtins" else f"{name} ({cls.__module__}.{name})"


def unsupported(value: object) -> Refusal:
    """The refusal of a value of a type that the serializer does not know."""
    cls = type(value)
    for plain in _PLAIN:
        if issubclass(cls, plain):
            return Refusal(
                f"cannot serialize a value of type {type_name(cls)}: as a subclass of "
                f"{plain.__name__} it would come back as a plain {plain.__name__}; "
                f"pass {_conversion(value, plain)}"
            )
    return Refusal(f"cannot serialize a value of type {type_name(cls)}; pass {_advice(value)}")


_CONVERSIONS: dict[type, str] = {
    datetime.datetime: "datetime.fromisoformat(value.isoformat())",
    datetime.date: "date.fromisoformat(value.isoformat())",
    datetime.time: "time.fromisoformat(value.isoformat())",
    datetime.timedelta: "timedelta(value.days, value.seconds, value.microseconds)",
    uuid.UUID: "UUID(int=value.int)",
}


def _conversion(value: object, plain: type) -> str:
    if hasattr(value, "_asdict"):
        return "tuple(value) or value._asdict()"
    if plain is str and type(value).__str__ is not str.__str__:
        # `str()` of Django's SafeString, for one, gives the very same.
        return "str.__str__(value)"
    return _CONVERSIONS.get(plain, f"{plain.__name__}(value)")


# The first that fits is given; the tests are cheap and import nothing that the program has not.
_ADVICE: tuple[tuple[Callable[[Any], bool], str], ...] = (
    (lambda value: isinstance(value, type) and issubclass(value, enum.Enum), "one of its members"),
    (lambda value: isinstance(value, type), "its dotted path as a str"),
    (lambda value: hasattr(type(value), "__dataclass_fields__"), "dataclasses.asdict(value)"),
    (lambda value: hasattr(type(value), "__attrs_attrs__"), "attrs.asdict(value)"),
    (lambda value: hasattr(type(value), "model_dump"), "value.model_dump()"),
    (lambda value: hasattr(type(value), "_meta") and hasattr(value, "pk"), "its primary key"),
    (lambda value: hasattr(type(value), "__table__"), "its primary key"),
    (lambda value: isinstance(value, os.PathLike), "str(value)"),
    (lambda value: isinstance(value, (bytearray, memoryview)), "bytes(value)"),
    (lambda value: isinstance(value, (range, Iterator)), "list(value)"),
    (lambda value: isinstance(value, BaseException), "str(value)"),
    (lambda value: isinstance(value, functools.partial), "the path of its function, and its args"),
    (lambda value: hasattr(type(value), "tolist"), "value.tolist()"),
    (callable, "its dotted path as a str"),
)


def _advice(value: object) -> str:
    for fits, advice in _ADVICE:
        if fits(value):
            return advice
    return "the plain values it is made of, or use a serializer that knows this type"
