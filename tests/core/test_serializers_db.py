"""What `JSONSerializer` promises, through the `jsonb` of a real server."""

from __future__ import annotations

import pickle
from typing import Any

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.core.strategies import VALUES, same

from pgwerk._core.envelope import pack, unpack
from pgwerk._core.serializers import JSONSerializer


def through_jsonb(connection: psycopg.Connection[Any], text: str) -> str:
    row = connection.execute("SELECT %s::jsonb::text", [text]).fetchone()
    assert row is not None
    return str(row[0])


@pytest.fixture
def connection(dsn: str) -> Any:
    with psycopg.connect(dsn, autocommit=True) as connection:
        yield connection


def test_values_come_back_as_they_were(connection: psycopg.Connection[Any]) -> None:
    """Every value that is accepted comes back from a `jsonb` column equal and of the same type."""
    serializer = JSONSerializer()

    @settings(max_examples=300, deadline=None)
    @given(VALUES)
    def check(value: Any) -> None:
        text = through_jsonb(connection, pack(serializer.dumps(value)))
        assert same(value, serializer.loads(unpack(text)))

    check()


@pytest.mark.parametrize(
    "value",
    [1e15, -1e15, 9999999999999998.0, 1e16, -1e16, 1.5e300, 1e-7, 5e-324, 0.0, -0.0, 0.1, 1.0],
)
def test_floats_at_the_bounds(connection: psycopg.Connection[Any], value: float) -> None:
    """A float stays a float, to the last bit, where `jsonb` would print it as an integer too."""
    serializer = JSONSerializer()
    back = serializer.loads(through_jsonb(connection, serializer.dumps(value)))
    assert (type(back), repr(back)) == (float, repr(value))


def test_people_can_query_plain_values(connection: psycopg.Connection[Any]) -> None:
    """What JSON has types for is stored without any mark, so that SQL can get at it."""
    text = JSONSerializer().dumps({"user": {"id": 7, "name": "Zoë"}, "ok": [True, None, 1.5]})
    row = connection.execute("SELECT (%s::jsonb) #>> '{user,name}', (%s::jsonb) #> '{ok}'", [text, text]).fetchone()
    assert row == ("Zoë", [True, None, 1.5])


def test_bytes_come_back(connection: psycopg.Connection[Any]) -> None:
    """Bytes of a binary serializer come back from a `jsonb` column byte for byte."""

    @settings(max_examples=100, deadline=None)
    @given(st.binary())
    def check(data: bytes) -> None:
        assert unpack(through_jsonb(connection, pack(data))) == data

    check()
    assert unpack(through_jsonb(connection, pack(pickle.dumps({"x": 1})))) == pickle.dumps({"x": 1})


def test_no_json_is_mistaken_for_an_envelope(connection: psycopg.Connection[Any]) -> None:
    """JSON that looks like stored bytes, however it is spelled, comes back as that JSON."""
    for text in (
        '{"$pgwerk:bytes": "AAE="}',
        '\n {"\\u0024pgwerk:bytes":"AAE="}',
        '{"$pgw\\u0065rk:json": 1}',
        '{"$\\u0070\\u0067\\u0077\\u0065\\u0072\\u006B\\u003Abytes": "AAE="}',
        '{"$pgwerk:json": {"$pgwerk:json": {}}}',
        '{"z": 1, "$pgwerk:bytes": "AAE="}',
    ):
        plain = through_jsonb(connection, text)
        assert unpack(through_jsonb(connection, pack(text))) == plain
