from __future__ import annotations

import json
import pickle
from typing import Any

import pytest

from pgwerk._core.errors import SerializationError
from pgwerk._core.serializers import (
    JSONSerializer,
    Serializer,
    dumps_payload,
    dumps_value,
    loads_payload,
)


class Pickle:
    def dumps(self, value: Any) -> bytes:
        return pickle.dumps(value)

    def loads(self, data: str | bytes) -> Any:
        assert isinstance(data, bytes)
        return pickle.loads(data)  # noqa: S301 - of our own making


class PlainJSON:
    def dumps(self, value: Any) -> str:
        return json.dumps(value)

    def loads(self, data: str | bytes) -> Any:
        return json.loads(data)


SERIALIZERS = [JSONSerializer(), Pickle(), PlainJSON()]


@pytest.mark.parametrize("serializer", SERIALIZERS)
def test_arguments_come_back(serializer: Serializer) -> None:
    """Positional and keyword arguments come back with any serializer."""
    data = dumps_payload(serializer, (1, "x"), {"user": None})
    assert loads_payload(serializer, data) == ([1, "x"], {"user": None})


@pytest.mark.parametrize("serializer", SERIALIZERS)
def test_the_offending_argument_is_named(serializer: Serializer) -> None:
    """The error names the argument, the function and the type, whatever the serializer says."""
    local = lambda: None  # noqa: E731 - nothing that any of the three can serialize
    with pytest.raises(SerializationError, match=r"^argument 'user' of send_mail\(\): .*function"):
        dumps_payload(serializer, (1,), {"size": 2, "user": local}, function="send_mail")
    with pytest.raises(SerializationError, match=r"^positional argument 2 of send_mail\(\): "):
        dumps_payload(serializer, (1, local), {"user": local}, function="send_mail")


def test_the_place_inside_the_argument_is_named() -> None:
    """The error says where inside the argument the offending value is."""
    with pytest.raises(SerializationError, match=r"^argument 'items' of f\(\): \$\[1\]\.owner: "):
        dumps_payload(JSONSerializer(), (), {"items": [0, {"owner": 1j}]}, function="f")


def test_a_foreign_error_is_the_cause() -> None:
    """What another serializer raised can be seen as the cause."""
    with pytest.raises(SerializationError, match=r"TypeError: .*complex") as caught:
        dumps_payload(PlainJSON(), (1j,), {})
    assert isinstance(caught.value.__cause__, TypeError)


def test_no_single_argument_is_at_fault() -> None:
    """Where each argument by itself would do, the arguments as a whole are named."""
    deep: Any = 1
    for _ in range(199):
        deep = [deep]
    with pytest.raises(SerializationError, match=r"^the arguments of f\(\): .*200 levels"):
        dumps_payload(JSONSerializer(), (deep,), {}, function="f")


class Wrong(Pickle):
    def dumps(self, value: Any) -> Any:
        return {"value": value}


def test_a_serializer_that_gives_neither_text_nor_bytes() -> None:
    """A serializer whose `dumps` gives something else is told so."""
    with pytest.raises(SerializationError, match="gave a dict, neither str nor bytes"):
        dumps_payload(Wrong(), (), {})


class Textual(Pickle):
    def dumps(self, value: Any) -> Any:
        return f"value: {value}"


def test_a_serializer_whose_text_is_not_json() -> None:
    """A serializer whose `dumps` gives text that is no JSON is told so before the text is sent."""
    with pytest.raises(SerializationError, match=r"gave a str that is not JSON .*; what is not JSON is given as bytes"):
        dumps_payload(Textual(), (), {})


def test_results_are_named() -> None:
    """A single value is named as the caller calls it, with its type."""
    assert dumps_value(JSONSerializer(), [1], "the result of f()") == "[1]"
    with pytest.raises(SerializationError, match=r"^the result of f\(\): .* type complex"):
        dumps_value(JSONSerializer(), 1j, "the result of f()")
    with pytest.raises(SerializationError, match=r"^the result of f\(\): .* complex: TypeError"):
        dumps_value(PlainJSON(), 1j, "the result of f()")


@pytest.mark.parametrize("text", ["[]", "null", '{"args": 1, "kwargs": {}}', '{"args": []}'])
def test_text_that_holds_no_arguments(text: str) -> None:
    """Stored text that is no arguments is a `SerializationError`."""
    with pytest.raises(SerializationError, match="cannot read the arguments"):
        loads_payload(JSONSerializer(), text)
