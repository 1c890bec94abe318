"""Checks of arguments: each takes the argument's name, so that every refusal says which one was wrong and why."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from attrs import Attribute

INT4_MAX = 2**31 - 1
INT4_MIN = -(2**31)

QUEUE_BYTES = 255
LAST_YEAR = 9900
"""Python's calendar ends with 9999, and a deadline may be added to a time, and a time zone."""

CENTURY_SECS = 100 * 365.25 * 86400

KEY_BYTES = 1024
"""An entry of a B-tree index holds about 2,700 bytes, and the ready index holds more than the name."""


def whole(name: str, value: object, *, minimum: int = 0, maximum: int = INT4_MAX) -> int:
    """A whole number within bounds, or an error that names the argument.

    Raises:
        TypeError: It is not an `int` (`bool` does not count as one).
        ValueError: It is out of bounds.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an int, not {type(value).__name__} ({value!r})")
    if not minimum <= value <= maximum:
        bound = f"at least {minimum}" if value < minimum else f"at most {maximum}"
        raise ValueError(f"{name} must be {bound}, not {value}")
    return value


def seconds(
    name: str, value: object, *, minimum: float = 0.0, exclusive: bool = False, maximum: float = CENTURY_SECS
) -> float:
    """A duration in seconds, given as a number or a `timedelta`.

    Raises:
        TypeError: It is neither.
        ValueError: It is out of bounds, or not finite.
    """
    if isinstance(value, timedelta):
        value = value.total_seconds()
    return number(name, value, unit="seconds", minimum=minimum, exclusive=exclusive, maximum=maximum)


def number(
    name: str, value: object, *, unit: str, minimum: float = 0.0, exclusive: bool = False, maximum: float
) -> float:
    """A finite number of something within bounds.

    Raises:
        TypeError: It is no number.
        ValueError: It is out of bounds, or not finite.
    """
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise TypeError(f"{name} must be a number of {unit}, not {type(value).__name__} ({value!r})")
    if not math.isfinite(value):
        raise ValueError(f"{name} must be finite, not {value}")
    if value < minimum or (exclusive and value == minimum):
        bound = f"more than {minimum:g}" if exclusive else f"at least {minimum:g}"
        raise ValueError(f"{name} must be {bound}, not {value}")
    if value > maximum:
        raise ValueError(f"{name} must be at most {maximum:g} {unit}, not {value}")
    return float(value)


def text(name: str, value: object, *, max_bytes: int) -> str:
    """A non-empty text that PostgreSQL can store and index.

    Raises:
        TypeError: It is not a `str`.
        ValueError: It is empty, too long, or holds a character that PostgreSQL cannot store.
    """
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, not {type(value).__name__} ({value!r})")
    if not value:
        raise ValueError(f"{name} must not be empty")
    if "\0" in value:
        raise ValueError(f"{name} must not contain a NUL character, which PostgreSQL cannot store: {value!r}")
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise ValueError(f"{name} must be valid Unicode, without lone surrogates: {value!r}") from None
    if size > max_bytes:
        raise ValueError(f"{name} must be at most {max_bytes} bytes in UTF-8, not {size}")
    return value


def optional_text(name: str, value: object) -> str | None:
    """A text to compare with, or None for none.

    Raises:
        TypeError: It is neither a `str` nor None.
        ValueError: It holds a character that PostgreSQL cannot store.
    """
    return None if value is None else text(name, value, max_bytes=KEY_BYTES)


def moment(name: str, value: object) -> datetime:
    """A point in time in UTC; a naive `datetime` is taken as UTC.

    Raises:
        TypeError: It is not a `datetime`.
        ValueError: It is too far away.
    """
    if not isinstance(value, datetime):
        raise TypeError(f"{name} must be a datetime, not {type(value).__name__} ({value!r})")
    if not 2 <= value.year <= LAST_YEAR:
        raise ValueError(f"{name} must lie between the years 2 and {LAST_YEAR}, not in {value.year}")
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def intervals(name: str, value: object) -> list[int]:
    """A non-empty list of delays in whole seconds.

    Raises:
        TypeError: It is not a list or tuple of `int`.
        ValueError: It is empty, or one of them is negative.
    """
    if not isinstance(value, (list, tuple)):
        raise TypeError(f"{name} must be a list of int, not {type(value).__name__} ({value!r})")
    if not value:
        raise ValueError(f"{name} must not be empty")
    return [whole(f"{name}[{index}]", item) for index, item in enumerate(value)]


def interval_or_intervals(name: str, value: object) -> int | list[int]:
    """One delay in whole seconds, or a non-empty list of them.

    Raises:
        TypeError: It is neither.
        ValueError: It is empty, or one of them is negative.
    """
    return intervals(name, value) if isinstance(value, (list, tuple)) else whole(name, value)


def flag(name: str, value: object) -> bool:
    """A truth value.

    Raises:
        TypeError: It is not a `bool`.
    """
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, not {value!r}")
    return value


def one_of(name: str, value: object, valid: Iterable[Any]) -> Any:
    """One of the valid values.

    Raises:
        ValueError: It is none of them; the error lists them.
    """
    valid = list(valid)
    if value not in valid:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, valid))}, not {value!r}")
    return value


def strings(name: str, value: object, *, max_bytes: int) -> list[str]:
    """A non-empty list of distinct texts; their order is kept.

    Raises:
        TypeError: It is a single `str`, not a list, or one of them is not a `str`.
        ValueError: It is empty, or one of them cannot be stored.
    """
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise TypeError(f"{name} must be a list of str, not {type(value).__name__} ({value!r})")
    items = [text(f"{name}[{index}]", item, max_bytes=max_bytes) for index, item in enumerate(value)]
    if not items:
        raise ValueError(f"{name} must not be empty")
    return list(dict.fromkeys(items))


def field_of(
    owner: str, check: Callable[..., Any], *, optional: bool = False, **bounds: Any
) -> Callable[[Any, Attribute[Any], Any], None]:
    """A validator for a field of an attrs class, made of one of the checks.

    Args:
        owner: What the class is called in errors.
        check: The check.
        optional: Whether None passes.
        bounds: Further arguments of the check.
    """

    def validate(_instance: Any, attribute: Attribute[Any], value: Any) -> None:
        if value is not None or not optional:
            check(f"{owner}.{attribute.name}", value, **bounds)

    return validate
