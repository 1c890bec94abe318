"""`PickleSerializer`: Python objects of any kind, signed, so that writing to the database is not running code.

Unpickling executes what the bytes say, so bytes that anybody could have put there must not be unpickled. Each value is
stored as

    format (1 byte)   signature (32 bytes)   pickle (the rest)

and the signature, an HMAC-SHA256 of the format and the pickle, is verified before the pickle is looked at. It tells
that somebody with the key wrote these bytes. It does not tell what for: whoever can write to the tables can still copy
a signed value from one job to another, a result into the place of arguments for instance, or have it given to another
function. Reading such a value runs nothing that the key's owner did not write; what rows may call is limited by
`allowed_functions`.
"""

from __future__ import annotations

import functools
import hmac
import io
import pickle
from collections.abc import Iterable, Sequence
from types import FunctionType
from typing import Any

from pgwerk._core.errors import SerializationError
from pgwerk._core.json_refusals import type_name
from pgwerk._core.modules import is_main, main_name
from pgwerk._core.paths import path_of, resolve

PROTOCOL = 5
"""Fixed, so that what one release of Python writes can be read by all others that pgwerk runs on."""

SHORTEST_KEY = 32
"""Bytes: as long as the signature. A shorter key would be easier to guess than the signature."""

_FORMAT = b"\x01"
_DIGEST = "sha256"
_HEAD = len(_FORMAT) + 32

# The key that is given may also sign other things of the application's; a key that is derived from it, with a name that
# nothing else has, makes signatures that are good for nothing else, and the other way round.
_PURPOSE = b"pgwerk.PickleSerializer"

_HOW_TO = "make one with: python -c 'import secrets; print(secrets.token_urlsafe(32))'"


class PickleSerializer:
    """Arguments and results as signed pickles: any object that pickle knows, and nobody can read it with SQL.

    All clients and workers need the same key. To change it while they run, replace them all three times: with the new
    key among `old_keys`, so that everybody can read what it signs; with the two keys in each other's place; and when no
    row is left that was signed with the old key, without it.

    The pickles have protocol 5, which Python 3.8 and newer read. What they refer to, a class for instance, has to be
    importable under the same name by whoever reads them. What the program that is being run defines goes by the name
    under which others can import it.

    Args:
        key: What values are signed with: at least 32 bytes, or a str that is as long in UTF-8. As secret as a password.
        old_keys: Further keys that values may have been signed with.

    Raises:
        TypeError: A key is neither bytes nor str, or `old_keys` is a single key.
        ValueError: A key is too short.
    """

    __slots__ = ("_keys",)

    def __init__(self, key: bytes | str, *, old_keys: Sequence[bytes | str] = ()) -> None:
        if isinstance(old_keys, (bytes, str)) or not isinstance(old_keys, Iterable):
            raise TypeError(f"old_keys must be a list of keys, not {type(old_keys).__name__}")
        old = [_derived(f"old_keys[{index}]", old_key) for index, old_key in enumerate(old_keys)]
        self._keys = (_derived("key", key), *old)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} with {len(self._keys)} secret key{'s' if len(self._keys) > 1 else ''}>"

    def dumps(self, value: Any) -> bytes:
        """The value as a signed pickle.

        Raises:
            SerializationError: Something in the value cannot be pickled.
        """
        data = _pickled(value)
        return b"".join((_FORMAT, _signature(self._keys[0], data), data))

    def loads(self, data: str | bytes) -> Any:
        """The value that was pickled, if it was signed with one of the keys. If not, nothing is unpickled.

        Raises:
            SerializationError: It was written by another serializer or signed with another key, it was changed since,
                or it cannot be unpickled here.
        """
        if isinstance(data, str):
            raise SerializationError(
                "PickleSerializer cannot read JSON: the value was written by another serializer, or not by pgwerk"
            )
        if data[:1] != _FORMAT:
            raise SerializationError(
                f"PickleSerializer cannot read bytes that begin with {data[:1]!r}: the value was written by another "
                "serializer, or by a newer release of pgwerk"
            )
        if len(data) < _HEAD:
            raise SerializationError(f"the stored pickle was cut off: only {len(data)} bytes are left of it")
        self._verify(data[len(_FORMAT) : _HEAD], data[_HEAD:])
        return _unpickled(data[_HEAD:])

    def _verify(self, signature: bytes, data: bytes) -> None:
        if not any(hmac.compare_digest(signature, _signature(key, data)) for key in self._keys):
            keys = "the key" if len(self._keys) == 1 else f"any of the {len(self._keys)} keys"
            raise SerializationError(
                f"the signature of the stored pickle does not fit {keys} of this client: it was signed with another "
                "key, or changed or cut off since; it was not unpickled"
            )


def _derived(name: str, key: object) -> bytes:
    """The key that signs, made from the one that was given. No error shows any part of it."""
    if not isinstance(key, (bytes, str)):
        raise TypeError(f"{name} of PickleSerializer must be bytes or str, not {type(key).__name__}; {_HOW_TO}")
    if isinstance(key, str):
        key = key.encode("utf-8", "surrogatepass")
    if len(key) < SHORTEST_KEY:
        size = f"not {len(key)}" if key else "and this one is empty"
        raise ValueError(f"{name} of PickleSerializer must have at least {SHORTEST_KEY} bytes, {size}; {_HOW_TO}")
    return hmac.digest(key, _PURPOSE, _DIGEST)


def _signature(key: bytes, data: bytes) -> bytes:
    return hmac.digest(key, _FORMAT + data, _DIGEST)


def _pickled(value: object) -> bytes:
    try:
        data = pickle.dumps(value, PROTOCOL)
        # Few values name the module that is being run, and looking at each object for that takes its time.
        return _pickled_for_others(value) if b"__main__" in data or b"__mp_main__" in data else data
    except Exception as error:  # any object may raise anything when it is pickled
        raise SerializationError(
            f"cannot pickle a value of type {type_name(type(value))}: {type(error).__name__}: {error}"
        ) from error


def _unpickled(data: bytes) -> Any:
    try:
        return _Unpickler(io.BytesIO(data)).load()
    # Modules are imported on the way, and one that is a script may call `sys.exit`, as for handlers.
    except (Exception, SystemExit) as error:
        raise SerializationError(f"cannot unpickle the stored value: {type(error).__name__}: {error}") from error


def _pickled_for_others(value: object) -> bytes:
    buffer = io.BytesIO()
    _Pickler(buffer, PROTOCOL).dump(value)
    return buffer.getvalue()


def in_main(path: str) -> Any:
    """The class or function at a path that led to the program that was being run where it was pickled.

    Stored pickles refer to this function by its name.
    """
    return resolve(path)


class _Pickler(pickle.Pickler):
    """Names what the program that is being run defines by the name under which others can import it."""

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, (type, FunctionType)) and is_main(obj.__module__):
            return in_main, (path_of(obj),)
        return NotImplemented


class _Unpickler(pickle.Unpickler):
    """Takes the program that is being run for the module of its name, and does not import it a second time."""

    def find_class(self, module_name: str, name: str) -> Any:
        return super().find_class(_here(module_name), name)


@functools.lru_cache(maxsize=1024)
def _here(module_name: str) -> str:
    """The name that a module goes by in this process."""
    return "__main__" if module_name == main_name() else module_name
