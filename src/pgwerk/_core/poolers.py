"""What is said about connection poolers: by the application, and to it."""

from __future__ import annotations

from typing import TypeAlias

Endpoint: TypeAlias = tuple[str, int, str, str]
"""Where a connection leads: host, port, database, user. Poolers may treat each database and user differently."""

_announced: set[tuple[Endpoint, bool]] = set()


def check_pooler(value: object) -> bool | None:
    """What the argument `pooler` says: there is one, there is none, or, as None, that it is to be found out.

    Raises:
        TypeError: It is neither a bool nor a str.
        ValueError: It is a str other than "auto".
    """
    if isinstance(value, bool):
        return value
    if not isinstance(value, str):
        raise TypeError(f'pooler must be "auto", True or False, not {type(value).__name__} ({value!r})')
    if value != "auto":
        raise ValueError(f'pooler must be "auto", True or False, not {value!r}')
    return None


def announcement(endpoint: Endpoint, *, has_way_round: bool) -> str | None:
    """What the log says about a pooler that was found; nothing the second time, whichever client it was.

    Args:
        endpoint: Where it answers.
        has_way_round: Whether there is a direct connection to listen on.
    """
    if (endpoint, has_way_round) in _announced:
        return None
    _announced.add((endpoint, has_way_round))
    host, port, *_ = endpoint
    found = f"a connection pooler answers at {host}:{port}, so nothing is prepared"
    if has_way_round:
        return f"{found}; notifications come in by listen_dsn"
    return (
        f"{found}, and no notifications come in: workers and waiters look for news every poll_interval. To be "
        f"notified, pass a direct connection string as listen_dsn; to confirm that this is meant, pass pooler=True"
    )
