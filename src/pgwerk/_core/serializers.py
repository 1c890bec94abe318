"""How payloads, results and meta become text or bytes, and values again.

`JSONSerializer` is the default; anything with `dumps` and `loads` can take its place. What a
serializer gives is put into a `jsonb` column by `pgwerk._core.envelope`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from attrs import frozen

from pgwerk._core import json_values
from pgwerk._core.errors import SerializationError
from pgwerk._core.json_refusals import Refusal, type_name


@runtime_checkable
class Serializer(Protocol):
    """Turns values into text or bytes that PostgreSQL keeps, and back."""

    def dumps(self, value: Any) -> str | bytes:
        """The value as JSON text, or as bytes of any other format.

        A `str` must be valid JSON: it goes into a `jsonb` column as it is. `jsonb` may reorder the
        keys of objects and change the whitespace and the notation of numbers.

        Raises:
            SerializationError: The value cannot be serialized; other errors are taken as this one.
        """
        ...

    def loads(self, data: str | bytes) -> Any:
        """The value that `dumps` turned into this.

        Args:
            data: The same bytes, or the same JSON as `jsonb` prints it.

        Raises:
            SerializationError: It cannot be read.
        """
        ...


# ASCII with escapes: it can be sent whatever the encoding of the caller's connection is, and what
# the `jsonb` column keeps, and psql shows, are the characters themselves.
_ENCODER = json.JSONEncoder(separators=(",", ":"), check_circular=False)
_PLAIN = json.JSONDecoder()
_TAGGED = {flag: json.JSONDecoder(object_hook=json_values.decoder(import_enums=flag)) for flag in (False, True)}


@frozen
class JSONSerializer:
    """JSON that a person can read, and that gives back exactly what was put in, type included.

    It knows `None`, `bool`, `int`, `float`, `str`, `list`, `dict` with any keys, `tuple`, `set`,
    `frozenset`, `bytes`, `datetime`, `date`, `time`, `timedelta`, `UUID`, `Decimal` and the members
    of enums, nested as you like. Other types are refused by name, subclasses of these included,
    because they would come back as something else. Not promised: the order of a dict's keys, the
    name of a fixed offset (`timezone(delta, "CET")`), and that parts which were one object are one
    again.

    Attributes:
        import_enums: Whether reading a member of an enum may import the enum's module. When off,
            only modules that the process has already imported are looked at.
    """

    import_enums: bool = True

    def dumps(self, value: Any) -> str:
        """The value as JSON text that `jsonb` does not change the meaning of.

        Raises:
            SerializationError: Something in the value cannot be serialized; the error says where it
                is, of what type, and what to pass in its stead.
        """
        if value is None:  # what most jobs return
            return "null"
        try:
            return _ENCODER.encode(json_values.encode(value))
        except Refusal as refusal:
            raise SerializationError(refusal.message("$")) from refusal.__cause__
        except RecursionError:
            raise SerializationError(
                "cannot serialize a structure as deep as this from so deep inside other calls"
            ) from None
        except ValueError as error:
            # The program has lowered Python's own limit, `sys.set_int_max_str_digits`.
            raise SerializationError(f"cannot serialize an int: {error}") from error

    def loads(self, data: str | bytes) -> Any:
        """The value that was put in.

        Args:
            data: What `dumps` gave, or what `jsonb` made of it.

        Raises:
            SerializationError: The text is no JSON, holds a tag that this release does not know, or
                names an enum or a time zone that is not to be found here.
        """
        if not isinstance(data, str):
            raise SerializationError("JSONSerializer cannot read bytes: the value was written by another serializer")
        reader = _TAGGED[self.import_enums] if '"$' in data else _PLAIN
        try:
            value, end = reader.raw_decode(data)
            # What `jsonb` prints has no white space around it, for which `decode` searches twice.
            return value if end == len(data) else reader.decode(data)
        except SerializationError:
            raise
        except RecursionError:
            raise SerializationError(
                "cannot read a structure as deep as this from so deep inside other calls"
            ) from None
        except ValueError as error:
            raise SerializationError(f"cannot read the JSON: {error}") from error


def check_serializer(value: object) -> Serializer:
    """What an application passed as its serializer.

    Raises:
        TypeError: It is none.
    """
    if isinstance(value, type) or not isinstance(value, Serializer):
        raise TypeError(f"serializer must be an object with the methods dumps() and loads(), not {value!r}")
    return value


def dumps_value(serializer: Serializer, value: object, what: str) -> str | bytes:
    """Serialize one value with any serializer.

    Args:
        serializer: The serializer.
        value: What to serialize.
        what: What the value is, for the error: `"the result of send_mail()"`.

    Raises:
        SerializationError: It cannot be serialized; the error says what it is and of which type.
    """
    try:
        return _checked(serializer, serializer.dumps(value))
    except Exception as error:
        raise SerializationError(f"{what}: {_described(error, value)}") from _cause(error)


def dumps_payload(
    serializer: Serializer,
    args: Sequence[object],
    kwargs: Mapping[str, object],
    *,
    function: str = "the function",
) -> str | bytes:
    """Serialize the arguments of a call, as `{"args": [...], "kwargs": {...}}`.

    Args:
        serializer: The serializer.
        args: The positional arguments.
        kwargs: The keyword arguments.
        function: The name of what is called, for the error.

    Raises:
        SerializationError: An argument cannot be serialized; the error names the argument, its type
            and the function.
    """
    payload = {"args": list(args), "kwargs": dict(kwargs)}
    try:
        return _checked(serializer, serializer.dumps(payload))
    except Exception as error:
        what, value, reason = _culprit(serializer, args, kwargs) or (
            "the arguments",
            payload,
            error,
        )
        raise SerializationError(f"{what} of {function}(): {_described(reason, value)}") from _cause(reason)


def loads_payload(serializer: Serializer, data: str | bytes) -> tuple[list[Any], dict[str, Any]]:
    """The positional and the keyword arguments that `dumps_payload` wrote.

    Raises:
        SerializationError: They cannot be read, or are no arguments.
    """
    try:
        payload = serializer.loads(data)
        return list(payload["args"]), dict(payload["kwargs"])
    except SerializationError:
        raise
    except Exception as error:
        raise SerializationError(f"cannot read the arguments: {type(error).__name__}: {error}") from error


def _culprit(
    serializer: Serializer, args: Sequence[object], kwargs: Mapping[str, object]
) -> tuple[str, object, Exception] | None:
    """The first argument that cannot be serialized by itself."""
    for what, value in _named(args, kwargs):
        try:
            serializer.dumps(value)
        except Exception as error:  # any serializer, any error
            return what, value, error
    return None


def _named(args: Sequence[object], kwargs: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    for number, value in enumerate(args, 1):
        yield f"positional argument {number}", value
    for name, value in kwargs.items():
        yield f"argument {name!r}", value


def _checked(serializer: Serializer, data: str | bytes) -> str | bytes:
    if isinstance(data, bytes) or type(serializer) is JSONSerializer:
        return data
    if isinstance(data, str):
        try:
            _PLAIN.decode(data)
        except RecursionError:
            pass  # JSON all the same; how deep it may be is for the server to say
        except ValueError as error:
            raise SerializationError(
                f"dumps() of the serializer gave a str that is not JSON ({error}); what is not JSON is given as bytes"
            ) from None
        return data
    raise SerializationError(f"dumps() of the serializer gave a {type_name(type(data))}, neither str nor bytes")


def _described(error: Exception, value: object) -> str:
    if isinstance(error, SerializationError):
        return str(error)
    kind = type_name(type(value))
    return f"cannot serialize a value of type {kind}: {type(error).__name__}: {error}"


def _cause(error: Exception) -> BaseException | None:
    """What a foreign serializer raised; one of our own errors would say everything twice."""
    return error.__cause__ if isinstance(error, SerializationError) else error
