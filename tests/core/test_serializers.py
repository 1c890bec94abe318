"""`JSONSerializer` without a server; `test_serializers_db` shows the same through `jsonb`."""

from __future__ import annotations

import collections
import dataclasses
import enum
import pathlib
import pickle
import sys
import threading
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

import attrs
import pytest
from hypothesis import given, settings
from tests.core.strategies import VALUES, Color, Level, Odd, Order, Permission, Status, same

from pgwerk._core.errors import SerializationError
from pgwerk._core.serializers import JSONSerializer, Serializer

SERIALIZER = JSONSerializer()


@settings(deadline=None)
@given(VALUES)
def test_values_come_back_as_they_were(value: Any) -> None:
    """Every value that is accepted comes back equal and of the same type."""
    assert same(value, SERIALIZER.loads(SERIALIZER.dumps(value)))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        ({"args": [], "kwargs": {"x": 1}}, '{"args":[],"kwargs":{"x":1}}'),
        ([True, 1, 1.5, "x", "ë"], '[true,1,1.5,"x","\\u00eb"]'),
        (datetime(2026, 1, 2, tzinfo=UTC), '{"$datetime":"2026-01-02T00:00:00+00:00"}'),
        (date(2026, 1, 2), '{"$date":"2026-01-02"}'),
        (timedelta(hours=1), '{"$timedelta":"PT1H"}'),
        (UUID(int=1), '{"$uuid":"00000000-0000-0000-0000-000000000001"}'),
        (Decimal("1.50"), '{"$decimal":"1.50"}'),
        (b"\0\1", '{"$bytes":"AAE="}'),
        ((1, (2,)), '{"$tuple":[1,{"$tuple":[2]}]}'),
        ({1}, '{"$set":[1]}'),
        (frozenset({1}), '{"$frozenset":[1]}'),
        ({1: "x"}, '{"$dict":[[1,"x"]]}'),
        ({"$uuid": 1}, '{"$dict":[["$uuid",1]]}'),
        (1e16, '{"$float":"1e+16"}'),
        (-0.0, '{"$float":"-0.0"}'),
        (float("nan"), '{"$float":"nan"}'),
        ("a\0\\\ud800", '{"$str":"a\\\\u0000\\\\\\\\\\\\ud800"}'),
        (Color.RED, '{"$enum":"tests.core.strategies:Color.RED"}'),
        (Color.CRIMSON, '{"$enum":"tests.core.strategies:Color.RED"}'),
        (Order.Kind.BUY, '{"$enum":"tests.core.strategies:Order.Kind.BUY"}'),
        (Odd["do.t"], '{"$enum":["tests.core.strategies:Odd","do.t"]}'),
        (Permission(0), '{"$enum":["tests.core.strategies:Permission",0]}'),
    ],
)
def test_what_people_see(value: Any, text: str) -> None:
    """Plain values are plain JSON; the others say what they are, in one word."""
    assert SERIALIZER.dumps(value) == text


def test_members_stay_members() -> None:
    """Members of enums that are also texts or integers do not become texts or integers."""
    assert SERIALIZER.loads(SERIALIZER.dumps(Status.OPEN)) is Status.OPEN
    assert SERIALIZER.loads(SERIALIZER.dumps({Level.LOW: 1})) == {Level.LOW: 1}


class Words(str):
    def __str__(self) -> str:
        return self


class Money(Decimal):
    pass


class Point(NamedTuple):
    x: int


@dataclasses.dataclass
class Data:
    x: int


@attrs.define
class Attrs:
    x: int


class Model:
    _meta = None
    pk = 1


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (object(), "type object; pass the plain values"),
        (1j, "type complex; pass the plain values"),
        (Words("x"), r"type Words \(.*test_serializers\.Words\): .* str; pass str\.__str__\(value\)"),
        (Money(1), r"subclass of Decimal .* plain Decimal; pass Decimal\(value\)"),
        (Point(1), r"subclass of tuple .*; pass tuple\(value\) or value\._asdict\(\)"),
        (collections.OrderedDict(), r"subclass of dict .*; pass dict\(value\)"),
        (collections.defaultdict(int), r"subclass of dict .*; pass dict\(value\)"),
        (collections.deque(), "type deque"),
        (Data(1), r"type Data \(.*Data\); pass dataclasses\.asdict\(value\)"),
        (Attrs(1), r"pass attrs\.asdict\(value\)"),
        (Model(), "pass its primary key"),
        (pathlib.PurePosixPath("x"), r"pass str\(value\)"),
        (bytearray(b"x"), r"pass bytes\(value\)"),
        (range(3), r"pass list\(value\)"),
        (iter([1]), r"pass list\(value\)"),
        (ValueError("x"), r"type ValueError; pass str\(value\)"),
        (print, "pass its dotted path as a str"),
        (Data, "pass its dotted path as a str"),
        (Color, "pass one of its members"),
        pytest.param(10**4300, "int of more than 4300 digits", id="huge"),
        pytest.param(-(10**4300), "int of more than 4300 digits", id="huge and negative"),
        pytest.param({10**4300: 1}, "int of more than 4300 digits", id="huge key"),
    ],
)
def test_refusals_name_the_type_and_the_cure(value: Any, said: str) -> None:
    """What would not come back as it is, is refused; the error names the type and what to pass."""
    with pytest.raises(SerializationError, match=f"cannot serialize .*{said}"):
        SERIALIZER.dumps(value)


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"kwargs": {"items": [0, 1, 2, {"owner": 1j}]}}, "$.kwargs.items[3].owner: "),
        ([({1j},)], "$[0][0][0]: "),
        ({"two words": 1j}, "$['two words']: "),
        ({1: {"x": 1j}}, "$[1].x: "),
        ({"$x": 1j}, "$['$x']: "),
        ({1j: 1}, "$[complex]: "),
        ({(1, 1j): 1}, "$[tuple][1]: "),
    ],
)
def test_refusals_name_the_place(value: Any, path: str) -> None:
    """The error says where in the structure the offending value is."""
    with pytest.raises(SerializationError) as caught:
        SERIALIZER.dumps(value)
    assert str(caught.value).startswith(f"{path}cannot serialize a value of type complex")


def test_circular_structures() -> None:
    """A structure that contains itself is refused, with the place where it begins anew."""
    loop: dict[str, Any] = {"items": [1]}
    loop["items"].append(loop)
    with pytest.raises(SerializationError, match=r"^\$\.x\.items\[1\]: .*circular.* \$\.x again$"):
        SERIALIZER.dumps({"x": loop})


def nested(depth: int, make: Any) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = make(value)
    return value


@pytest.mark.parametrize(
    "make",
    [lambda value: [value], lambda value: (value,), lambda value: {"x": value}, lambda v: {1: v}],
)
def test_depth(make: Any) -> None:
    """200 levels come back, 201 are refused: no structure ends in a `RecursionError`."""
    deep = nested(200, make)
    assert SERIALIZER.loads(SERIALIZER.dumps(deep)) == deep
    with pytest.raises(SerializationError, match="more than 200 levels"):
        SERIALIZER.dumps(nested(201, make))


def test_a_stack_that_is_nearly_full() -> None:
    """Where the program itself has used up the stack, the error is still a `SerializationError`."""
    text = SERIALIZER.dumps(nested(150, lambda value: {1: value}))

    def call_at_depth(call: Any, depth: int) -> Any:
        return call() if depth == 0 else call_at_depth(call, depth - 1)

    errors: list[BaseException] = []

    def run() -> None:
        room = sys.getrecursionlimit() - 100
        for call in (
            lambda: SERIALIZER.dumps(nested(150, lambda value: [value])),
            lambda: SERIALIZER.loads(text),
        ):
            try:
                call_at_depth(call, room)
            except BaseException as error:
                errors.append(error)

    # In a thread, whose stack is empty to begin with.
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert all(type(error) is SerializationError for error in errors)


def test_wide_dicts_are_not_walked_twice() -> None:
    """Nested dicts with keys that need a tag take time in proportion to their size."""
    value: Any = 1
    for _ in range(60):
        value = {"first": value, 2: None}
    assert SERIALIZER.loads(SERIALIZER.dumps(value)) == value


def test_enums_that_cannot_be_found_again() -> None:
    """An enum of a function's locals, or one hidden behind another name, is refused with why."""

    class Local(enum.Enum):
        A = 1

    class Hidden(enum.Enum):
        RED = 1

    Hidden.__module__, Hidden.__qualname__ = Color.__module__, Color.__qualname__
    with pytest.raises(SerializationError, match=r"Local is defined inside a function"):
        SERIALIZER.dumps([Local.A])
    with pytest.raises(SerializationError, match=r"Color is not what is found under its name"):
        SERIALIZER.dumps(Hidden.RED)


def test_importing_enums_can_be_forbidden(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `import_enums` off, a stored value cannot make the process import a module."""
    (tmp_path / "pgwerk_shades.py").write_text("import enum\nclass Shade(enum.Enum):\n    DARK = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    text = '{"$enum": "pgwerk_shades:Shade.DARK"}'
    with pytest.raises(SerializationError, match="pgwerk_shades:Shade"):
        JSONSerializer(import_enums=False).loads(text)
    assert "pgwerk_shades" not in sys.modules
    try:
        member = SERIALIZER.loads(text)
        assert member is sys.modules["pgwerk_shades"].Shade.DARK
        assert JSONSerializer(import_enums=False).loads(text) is member
    finally:
        sys.modules.pop("pgwerk_shades", None)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"$new": 1}', r"unknown tag '\$new'.* newer release"),
        ('[{"x": {"$uuid": "x", "b": 1}}]', r"tag '\$uuid' has other keys"),
        ('{"$uuid": "x"}', r"cannot read \{'\$uuid': 'x'\}"),
        ('{"$uuid": 7}', "expected a text, not int"),
        ('{"$tuple": "ab"}', "expected a list, not str"),
        ('{"$set": [[1]]}', "unhashable"),
        ('{"$decimal": "x"}', "cannot read"),
        ('{"$bytes": "?"}', "cannot read"),
        ('{"$datetime": "2026-01-01T00:00:00+01:00[Mars/Olympus]"}', "Mars/Olympus"),
        ('{"$datetime": "2026-01-01T00:00:00+01:00[../../etc/passwd]"}', "cannot read"),
        ('{"$enum": "os:path.join"}', "not an enum"),
        ('{"$enum": "os:system"}', "not the name of an enum|not an enum"),
        ('{"$enum": "pgwerk_nowhere:Color.RED"}', "importing 'pgwerk_nowhere'.*No module"),
        ('{"$enum": "tests.core.strategies:Color.BLUE"}', "Color has no member 'BLUE'"),
        ('{"$enum": ["tests.core.strategies:Permission", 99]}', "Permission has no member 99"),
        ('{"$enum": 3}', "3 is neither"),
        ("", "cannot read the JSON"),
        ("[1", "cannot read the JSON"),
        ("1" * 4301, "cannot read the JSON.*4300"),
        ("[" * 100_000, "cannot read a structure as deep"),
        (b"{}", "cannot read bytes"),
    ],
)
def test_what_cannot_be_read(text: Any, said: str) -> None:
    """Stored text that makes no sense is a `SerializationError` that says what does not."""
    with pytest.raises(SerializationError, match=said):
        SERIALIZER.loads(text)


def test_a_lowered_limit_of_digits() -> None:
    """A program that has lowered Python's own limit gets a `SerializationError` too."""
    limit = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(640)
    try:
        with pytest.raises(SerializationError, match=r"cannot serialize an int: .*640"):
            SERIALIZER.dumps([10**1000])
    finally:
        sys.set_int_max_str_digits(limit)


def test_the_protocol() -> None:
    """`JSONSerializer` is a `Serializer`, compares by its options and can be pickled."""
    assert isinstance(SERIALIZER, Serializer)
    assert not isinstance(object(), Serializer)
    assert pickle.loads(pickle.dumps(SERIALIZER)) == SERIALIZER  # noqa: S301 - of our own making
    assert JSONSerializer(import_enums=False) != SERIALIZER
