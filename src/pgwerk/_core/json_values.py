"""Python values as JSON that survives `jsonb`, and back.

What JSON and `jsonb` keep as it is stays as it is. Everything else becomes an object with a single
key that begins with `$`, the tag: `{"$uuid": "…"}`. There is no ambiguity, because a dict of the
user's that has such a key is itself written with a tag, `{"$dict": [[key, value], …]}`.

What `jsonb` changes or refuses, tried out on PostgreSQL 15, 16 and 18: it stores numbers as
`numeric` and prints them without an exponent, so `1e16` comes back as the integer
10000000000000000 (a negative exponent is harmless: `1e-7` becomes 0.0000001), `-0.0` as 0.0; it has
no NaN and no infinities; it refuses NULs and lone surrogates in texts and in keys.

Types are looked up exactly. A subclass would come back as another type, so it is refused.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import partial
from math import copysign
from typing import Any, NoReturn, TypeAlias
from uuid import UUID

from pgwerk._core import json_times as times
from pgwerk._core.errors import SerializationError
from pgwerk._core.json_enums import enum_member, enum_payload
from pgwerk._core.json_refusals import Refusal, key_segment, type_name, unsupported

_Encoder: TypeAlias = Callable[[Any, int], Any]
_Decoder: TypeAlias = Callable[[Any], object]

MAX_DEPTH = 200
"""How deep containers may be nested. A level takes up to three of JSON (`{"$dict": [[…]]}`) and so
of Python's stack, which has 1,000 by default, for the caller as well, here and in the worker."""

MAX_DIGITS = 4300
"""How many digits an integer may have: Python's own limit for reading one from text."""

# From 1e16 on, `repr` of a float has an exponent and `jsonb` prints an integer.
_EXPONENT_FROM = 1e16
_INT_BOUND = 10**MAX_DIGITS
_SMALL_INT = 1 << 63

_SHOWN = 80

_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_ESCAPE = re.compile(r"\\u([0-9a-f]{4})")


def encode(value: object) -> Any:
    """The value as something that the `json` module writes as text which `jsonb` keeps.

    Raises:
        Refusal: Something inside cannot be serialized.
    """
    return _ENCODERS[type(value)](value, 0)


def decoder(*, import_enums: bool) -> Callable[[dict[str, Any]], Any]:
    """An `object_hook` for the `json` module that turns the tags of `encode` into values again.

    Args:
        import_enums: Whether the module of an enum may be imported when it is not loaded yet.
    """

    def hook(parsed: dict[str, Any]) -> Any:
        for key in parsed:
            if key[:1] == "$":
                return _untagged(parsed, decoders)
        return parsed

    decoders = _DECODERS | {"$enum": partial(enum_member, import_modules=import_enums)}
    return hook


def _as_is(value: object, _: int) -> Any:
    return value


def _int(value: int, _: int) -> int:
    if not -_SMALL_INT < value < _SMALL_INT and not -_INT_BOUND < value < _INT_BOUND:
        raise Refusal(
            f"cannot serialize an int of more than {MAX_DIGITS} digits, "
            "which is what Python reads from text; pass bytes or a str of hex(value)"
        )
    return value


def _float(value: float, _: int) -> float | dict[str, str]:
    if -_EXPONENT_FROM < value < _EXPONENT_FROM and (value or copysign(1, value) > 0):
        return value
    return {"$float": repr(value)}


def _str(value: str, _: int = 0) -> str | dict[str, str]:
    if (value.isascii() and "\0" not in value) or not _UNSTORABLE.search(value):
        return value
    return {"$str": _escaped(value)}


def _escaped(text: str) -> str:
    # What there may be millions of is left to `replace`: a function called for each of them takes 20 times as long.
    text = text.replace("\\", "\\\\").replace("\0", "\\u0000")
    return _SURROGATE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _items(value: Iterable[object], depth: int) -> list[Any]:
    if depth >= MAX_DEPTH:
        raise _too_deep()
    encoded: list[Any] = []
    append = encoded.append
    encoders = _ENCODERS
    try:
        for item in value:
            append(encoders[type(item)](item, depth + 1))
    except Refusal as refusal:
        refusal.inside(value, f"[{len(encoded)}]")
        raise
    return encoded


def _dict(value: dict[Any, object], depth: int) -> dict[str, Any]:
    if depth >= MAX_DEPTH:
        raise _too_deep()
    for key in value:
        if type(key) is not str or key[:1] == "$" or _str(key) is not key:
            return {"$dict": _pairs(value, depth)}
    encoded: dict[str, Any] = {}
    encoders = _ENCODERS
    try:
        for key, item in value.items():
            encoded[key] = encoders[type(item)](item, depth + 1)
    except Refusal as refusal:
        refusal.inside(value, key_segment(key))
        raise
    return encoded


def _pairs(value: dict[Any, object], depth: int) -> list[list[Any]]:
    pairs = []
    for key, item in value.items():
        try:
            pairs.append([_ENCODERS[type(part)](part, depth + 1) for part in (key, item)])
        except Refusal as refusal:
            refusal.inside(value, key_segment(key))
            raise
    return pairs


def _too_deep() -> Refusal:
    return Refusal(f"cannot serialize a structure of more than {MAX_DEPTH} levels")


def _collection(tag: str) -> _Encoder:
    return lambda value, depth: {tag: _items(value, depth)}


def _scalar(tag: str, payload_of: Callable[[Any], Any]) -> _Encoder:
    def encoder(value: Any, _: int) -> dict[str, Any]:
        try:
            return {tag: payload_of(value)}
        except ValueError as error:
            name = type_name(type(value))
            raise Refusal(f"cannot serialize a value of type {name}: {error}") from error

    return encoder


class _Encoders(dict[type, "_Encoder"]):
    """By exact type; for any other type, what handles enums and refuses the rest."""

    def __missing__(self, cls: type) -> _Encoder:
        return _enum if issubclass(cls, Enum) else _refuse


def _refuse(value: object, _: int) -> NoReturn:
    raise unsupported(value)


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")


_enum = _scalar("$enum", enum_payload)

_ENCODERS = _Encoders(
    {
        type(None): _as_is,
        bool: _as_is,
        int: _int,
        float: _float,
        str: _str,
        list: _items,
        dict: _dict,
        tuple: _collection("$tuple"),
        set: _collection("$set"),
        frozenset: _collection("$frozenset"),
        datetime: _scalar("$datetime", times.datetime_text),
        date: _scalar("$date", times.date_text),
        time: _scalar("$time", times.time_text),
        timedelta: _scalar("$timedelta", times.timedelta_text),
        UUID: _scalar("$uuid", str),
        Decimal: _scalar("$decimal", str),
        bytes: _scalar("$bytes", _base64),
    }
)


def _untagged(parsed: dict[str, Any], decoders: Mapping[str, _Decoder]) -> Any:
    tag = next(key for key in parsed if key[:1] == "$")
    if len(parsed) > 1:
        raise SerializationError(
            f"an object with the tag {tag!r} has other keys beside it, which no release of pgwerk up to this one writes"
        )
    decode = decoders.get(tag)
    if decode is None:
        raise SerializationError(
            f"unknown tag {tag!r}: the value was written by a newer release of pgwerk, or by something else"
        )
    payload = parsed[tag]
    try:
        return decode(payload)
    except SerializationError:
        raise
    except Exception as error:
        shown = repr(payload)
        shown = shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"
        raise SerializationError(f"cannot read {{{tag!r}: {shown}}}: {error}") from error


def _listed(make: Callable[[list[Any]], object]) -> _Decoder:
    def decode(payload: Any) -> object:
        if type(payload) is not list:
            raise TypeError(f"expected a list, not {type(payload).__name__}")
        return make(payload)

    return decode


def _texted(make: Callable[[str], object]) -> _Decoder:
    def decode(payload: Any) -> object:
        if type(payload) is not str:
            raise TypeError(f"expected a text, not {type(payload).__name__}")
        return make(payload)

    return decode


def _unescaped(text: str) -> str:
    parts = (part.replace("\\u0000", "\0") for part in text.split("\\\\"))
    return "\\".join(_ESCAPE.sub(lambda match: chr(int(match[1], 16)), part) for part in parts)


_DECODERS: dict[str, _Decoder] = {
    "$float": _texted(float),
    "$str": _texted(_unescaped),
    "$dict": _listed(dict),
    "$tuple": _listed(tuple),
    "$set": _listed(set),
    "$frozenset": _listed(frozenset),
    "$datetime": _texted(times.datetime_value),
    "$date": _texted(times.date_value),
    "$time": _texted(times.time_value),
    "$timedelta": _texted(times.timedelta_value),
    "$uuid": _texted(UUID),
    "$decimal": _texted(Decimal),
    "$bytes": _texted(lambda text: base64.b64decode(text, validate=True)),
}
