"""The clients of both flavours, which never import each other.

A handler gets a client of its own flavour, whichever one enqueued its job, so either client may have to make the other.
"""

from __future__ import annotations

from typing import Any, TypeVar

T = TypeVar("T", bound=type[Any])

_clients: dict[str, type[Any]] = {}


def register(flavour: str, client: T) -> T:
    """Make the client of a flavour known."""
    _clients[flavour] = client
    return client


def other(flavour: str) -> type[Any]:
    """The client of the flavour that is not this one."""
    (client,) = (found for name, found in _clients.items() if name != flavour)
    return client
