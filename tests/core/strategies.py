"""Values for the tests of the serializers, and what it means that two of them are the same."""

from __future__ import annotations

import enum
from collections.abc import Callable
from datetime import datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import strategies as st


class Color(enum.Enum):
    RED = 1
    CRIMSON = 1  # noqa: PIE796 - an alias
    GREEN = (2, "green")


class Status(str, enum.Enum):  # noqa: UP042 - as users write it, beside `Level`
    OPEN = "open"
    DONE = "done"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Order:
    class Kind(enum.StrEnum):
        BUY = "buy"


class Permission(enum.Flag, boundary=enum.STRICT):
    READ = 1
    WRITE = 2
    BOTH = 3


class Bits(enum.IntFlag, boundary=enum.KEEP):
    ONE = 1


Odd = enum.Enum("Odd", {"with space": 1, "do.t": 2, "RED": 3}, module=__name__)

MEMBERS: list[enum.Enum] = [
    *Color,
    *Status,
    *Level,
    *Order.Kind,
    *Permission,
    *Odd,
    Permission(0),
    Permission.READ | Permission.WRITE,
    Bits.ONE,
    Bits(9),
]

_ZONES = st.one_of(
    st.none(),
    st.timezones(),
    st.timedeltas(timedelta(hours=-23, minutes=-59), timedelta(hours=23, minutes=59)).map(timezone),
)
_TEXTS = st.text(st.characters(exclude_categories=()))
_HUGE = st.builds(lambda digits, sign: sign * (10**digits - 1), st.integers(18, 4300), st.sampled_from([1, -1]))

SCALARS: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    _HUGE,
    st.floats(),
    _TEXTS,
    st.text("\0\\u$0d8\ud800\udfff"),
    st.binary(),
    st.decimals(),
    st.uuids(),
    st.dates(),
    st.timedeltas(),
    st.builds(datetime.replace, st.datetimes(timezones=_ZONES), fold=st.integers(0, 1)),
    st.builds(time.replace, st.times(timezones=_ZONES), fold=st.integers(0, 1)),
    st.sampled_from(MEMBERS),
)


def hashable(value: object) -> bool:
    return not (isinstance(value, Decimal) and value.is_snan())


HASHABLES: st.SearchStrategy[Any] = st.recursive(
    SCALARS.filter(hashable),
    lambda inner: st.one_of(st.lists(inner, max_size=3).map(tuple), st.frozensets(inner, max_size=3)),
    max_leaves=4,
)

_TAGS = st.sampled_from(["$", "$uuid", "$dict", "$str", "$new", "$pgwerk:bytes", "$pgwerk:json"])

VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS | HASHABLES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.sets(HASHABLES, max_size=4),
        st.dictionaries(_TEXTS, inner, max_size=4),
        st.dictionaries(_TAGS, inner, min_size=1, max_size=1),
        st.dictionaries(HASHABLES, inner, max_size=3),
    ),
    max_leaves=8,
)


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal in all that can be seen of them, their types included."""
    if type(one) is not type(other):
        return False
    if isinstance(one, enum.Flag):
        # Python 3.11.2 makes combinations with unknown bits anew each time.
        return bool(one.value == other.value)
    if isinstance(one, enum.Enum):
        return one is other
    compare = _COMPARE.get(type(one))
    return compare(one, other) if compare else bool(one == other)


def _same_sets(one: Any, other: Any) -> bool:
    rest = list(other)
    for item in one:
        match = next((index for index, each in enumerate(rest) if same(item, each)), None)
        if match is None:
            return False
        del rest[match]
    return not rest


def _same_clocks(one: Any, other: Any) -> bool:
    def seen(value: Any) -> tuple[object, ...]:
        zone = value.tzinfo
        key = zone.key if isinstance(zone, ZoneInfo) else None
        return value.replace(tzinfo=None), value.fold, value.utcoffset(), type(zone), key

    return seen(one) == seen(other)


_COMPARE: dict[type, Callable[[Any, Any], bool]] = {
    list: lambda one, other: len(one) == len(other) and all(map(same, one, other)),
    tuple: lambda one, other: len(one) == len(other) and all(map(same, one, other)),
    dict: lambda one, other: _same_sets(one.items(), other.items()),
    set: _same_sets,
    frozenset: _same_sets,
    float: lambda one, other: repr(one) == repr(other),
    Decimal: lambda one, other: str(one) == str(other),
    datetime: _same_clocks,
    time: _same_clocks,
}
