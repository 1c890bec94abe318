"""The envelope without a server; `test_serializers_db` shows the same through `jsonb`."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgwerk._core import envelope
from pgwerk._core.envelope import pack, pack_limited, unpack
from pgwerk._core.errors import SerializationError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.one_of(
        st.lists(inner),
        st.dictionaries(st.text() | st.sampled_from(["$pgwerk:bytes", "$pgwerk:json"]), inner),
    ),
    max_leaves=10,
)


def as_jsonb_prints(text: str) -> str:
    """Keys by length, then by bytes; escapes resolved; a space after each comma and colon."""

    def ordered(value: Any) -> Any:
        if isinstance(value, list):
            return [ordered(item) for item in value]
        if isinstance(value, dict):
            keys = sorted(value, key=lambda key: (len(key.encode()), key.encode()))
            return {key: ordered(value[key]) for key in keys}
        return value

    return json.dumps(ordered(json.loads(text)), ensure_ascii=False)


@given(st.binary())
def test_bytes_come_back(data: bytes) -> None:
    """Bytes come back byte for byte."""
    assert unpack(as_jsonb_prints(pack(data))) == data


@given(JSON, st.booleans(), st.sampled_from(["", " ", "\n\t"]))
def test_json_comes_back(value: Any, ascii_only: bool, space: str) -> None:
    """JSON text comes back as JSON text of the same value, even when it looks like an envelope."""
    text = space + json.dumps(value, ensure_ascii=ascii_only)
    back = unpack(as_jsonb_prints(pack(text)))
    assert isinstance(back, str)
    assert json.loads(back) == value


@given(st.sampled_from(["$pgwerk:bytes", "$pgwerk:json"]), st.data())
def test_escapes_hide_nothing(key: str, data: st.DataObject) -> None:
    """A key spelled with escapes, any of its letters, is not mistaken for one of ours."""
    spelled = "".join(data.draw(st.sampled_from([char, f"\\u{ord(char):04x}", f"\\u{ord(char):04X}"])) for char in key)
    text = f'{{"{spelled}": "AAE="}}'
    assert unpack(as_jsonb_prints(pack(text))) == f'{{"{key}": "AAE="}}'


@pytest.mark.parametrize("text", ["null", '{"args": [], "kwargs": {"x": 1}}', '{"name": "\\u00eb"}', '"$pgwerk:bytes"'])
def test_ordinary_json_is_left_alone(text: str) -> None:
    """JSON that cannot be mistaken for an envelope is stored as it is."""
    assert pack(text) is text
    assert unpack(text) is text


@pytest.mark.parametrize("data", [None, 1, {"x": 1}, bytearray(b"x")])
def test_only_str_and_bytes(data: Any) -> None:
    """A serializer that gives anything but `str` or `bytes` is told so."""
    with pytest.raises(SerializationError, match="must give str or bytes"):
        pack(data)


def test_damaged_bytes() -> None:
    """An envelope that somebody has edited is a `SerializationError`."""
    with pytest.raises(SerializationError, match="cannot read stored bytes"):
        unpack('{"$pgwerk:bytes": "?"}')


def test_what_is_too_large_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A text or bytes that `jsonb` could not hold are refused with what they are, their size and the limit."""
    monkeypatch.setattr(envelope, "LARGEST", 30)
    assert pack_limited("x" * 30, "it") == "x" * 30
    with pytest.raises(SerializationError, match=r"^the result of f\(\): .* 31 characters .* 30 allowed$"):
        pack_limited("x" * 31, "the result of f()")
    with pytest.raises(SerializationError, match=r"^it: .* 45 characters"):
        pack_limited(b"x" * 18, "it")
