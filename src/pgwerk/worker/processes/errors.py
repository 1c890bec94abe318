"""Errors that cross from a child to the worker, and those that say what became of a child.

An error crosses as a pickle, together with its traceback as text, because tracebacks cannot be pickled. Whether the
pickle can be read again is tried out in the child, where reading it can do no harm. What does not survive that is
replaced by an error that names its type.
"""

from __future__ import annotations

import pickle
import sys
from typing import NamedTuple

from pgwerk._core.errors import WerkError
from pgwerk._core.failures import describe


class Stopped(BaseException):
    """Raised in a handler that the worker stops, wherever it is. No `except Exception` stands in its way."""


class ChildDied(WerkError):
    """The process that ran the job died before the job had ended."""


class RemoteError(WerkError):
    """Stands for an exception of a child process that cannot be brought into another process."""


class RemoteTraceback(Exception):
    """The traceback of an exception in the child process where it was raised."""

    def __str__(self) -> str:
        return f'\n"""\n{self.args[0]}"""'


class Carried(NamedTuple):
    """An exception on its way.

    Attributes:
        module: The module of its class.
        name: The name of its class, module included.
        message: What it says.
        traceback: Its traceback as text.
        pickled: The exception; None if it cannot be pickled.
    """

    module: str
    name: str
    message: str
    traceback: str
    pickled: bytes | None

    @property
    def needs_import(self) -> bool:
        """Whether its module has to be imported here first, which may take its time."""
        return self.pickled is not None and self.module not in sys.modules


def carry(error: BaseException) -> Carried:
    """An exception, made ready to leave the child."""
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return Carried(kind.__module__, name, _message(error), describe(error), _pickled(error))


def restore(carried: Carried) -> BaseException:
    """The exception as it arrives in the worker, with what was its traceback as its cause."""
    try:
        if carried.pickled is None:
            raise TypeError(f"a {carried.name} cannot be pickled")
        error = pickle.loads(carried.pickled)  # noqa: S301 - it was pickled by a child of our own
        error.__cause__ = RemoteTraceback(carried.traceback)
    except BaseException:  # anything that the exception's own code does
        error = RemoteError(f"{carried.name}: {carried.message}")
        error.__cause__ = RemoteTraceback(carried.traceback)
    return error  # type: ignore[no-any-return]


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException:  # the user's own method
        return "<its str() failed>"


def _pickled(error: BaseException) -> bytes | None:
    try:
        data = pickle.dumps(error)
        return data if type(pickle.loads(data)) is type(error) else None  # noqa: S301 - written a line above
    except BaseException:  # as above
        return None
