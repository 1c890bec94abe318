"""Judging the server, the way to it, and its settings."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

from attrs import evolve, frozen

from pgwerk._core.diagnosis.wording import span
from pgwerk._core.insights import Finding
from pgwerk._core.rows import utc

OLDEST_VERSION = 140000
"""The oldest server whose statements we use."""

SLOW_ROUND_TRIP_SECS = 0.02
"""Within one data centre a round trip takes up to 2 ms. Ten times as much is another region, or an overloaded machine;
each claim and each settlement waits for one."""

SLOW_CONNECT_SECS = 0.25
"""Each operation opens a connection of its own unless there is a pool. With TLS and a password that is 3 to 30 ms."""

SKEW_SECS, BAD_SKEW_SECS = 1.0, 60.0
"""Clocks that are kept by NTP differ by some milliseconds. A second shows in delays and in the order of jobs; a minute
is more than most delays are long."""

FULL, FULLER = 0.8, 0.95
"""A restarting worker, a deployment that runs old and new processes side by side, or a pool that grows, takes a fifth
of the connections soon; the last twentieth is gone with the next incident."""


@frozen
class Server:
    """The row of `describe_server.sql`, in its order."""

    version: str
    version_number: int
    database: str
    user: str
    started_at: datetime
    is_standby: bool
    sees_all: bool
    fsync: bool
    full_page_writes: bool
    synchronous_commit: bool
    autovacuum: bool
    freeze_max_age: int
    connections: int
    connections_used: int
    database_limit: int
    database_used: int


def server(row: Sequence[Any]) -> Server:
    """The server in a row of `describe_server.sql`."""
    found = Server(*row)
    return evolve(found, started_at=utc(found.started_at))


def unreachable(reason: str) -> Finding:
    """The database cannot be reached."""
    return Finding(
        "connection",
        "problem",
        f"the database cannot be reached: {reason}",
        "check the connection string, that the server runs and listens there, and that nothing on the way blocks it",
    )


def judge_connection(where: str, connect_secs: float, round_trip_secs: float) -> Finding:
    """How far away the database is."""
    summary = f"connected to {where} in {span(connect_secs)}, a round trip takes {span(round_trip_secs)}"
    if round_trip_secs >= SLOW_ROUND_TRIP_SECS:
        advice = (
            "each claim and each settlement waits for a round trip: run workers near the database, and use "
            "enqueue_many for many jobs"
        )
    elif connect_secs >= SLOW_CONNECT_SECS:
        advice = "each operation opens a connection unless there is a pool: pass pool_size, or check name resolution"
    else:
        return Finding("connection", "ok", summary)
    return Finding("connection", "warning", summary, advice)


def judge_pooler(
    told: bool | Literal["auto"], *, found: bool, listen_dsn: bool, can_listen: bool, poll_interval: float
) -> Finding:
    """Whether notifications arrive, and whether the application knows what stands between.

    Args:
        told: What was passed as `pooler`.
        found: Whether a pooler answered.
        listen_dsn: Whether there is a connection string of its own for listening.
        can_listen: Whether a notification arrived that was sent as a trial.
        poll_interval: Seconds between looks for news where nothing is notified.
    """
    if told is False and found:
        return Finding(
            "notifications",
            "problem",
            "a connection pooler answers, and the application was told pooler=False: it may prepare statements in "
            "sessions that others use",
            "leave pooler out, or pass pooler=True",
        )
    way = "over listen_dsn" if listen_dsn else "directly"
    if can_listen:
        return Finding("notifications", "ok", f"notifications arrive, {way}")
    late = f"workers and waiters look for news every {span(poll_interval)} (poll_interval)"
    if listen_dsn:
        return Finding(
            "notifications",
            "warning",
            f"listen_dsn is given, but no notification arrived there; {late}",
            "listen_dsn must lead to the server itself, to the same database, and not to a pooler",
        )
    if told is True and not found:
        return Finding(
            "notifications",
            "warning",
            f"pooler=True was passed, and no pooler answers here, so nothing is notified for no reason; {late}",
            "leave pooler out, if no connection of it goes through one; or pass listen_dsn",
        )
    if found:
        return Finding(
            "notifications",
            "warning",
            f"there is a connection pooler on the way, so nothing is notified; {late}",
            "pass a connection string that leads to the server itself as listen_dsn",
        )
    return Finding(
        "notifications",
        "warning",
        f"LISTEN is accepted, but notifications do not arrive; {late}",
        "something on the way swallows them, a proxy perhaps: pass a connection string without it as listen_dsn",
    )


def judge_clock(ahead_secs: float, round_trip_secs: float) -> Finding:
    """Whether this machine and the database agree about the time, as far as that can be told over the way between."""
    off = max(abs(ahead_secs) - round_trip_secs / 2, 0.0)
    if off < SKEW_SECS:
        return Finding("clock", "ok", f"this machine's clock and the database's differ by less than {span(SKEW_SECS)}")
    return Finding(
        "clock",
        "problem" if off >= BAD_SKEW_SECS else "warning",
        f"the database's clock is {span(abs(ahead_secs))} {'ahead of' if ahead_secs > 0 else 'behind'} this machine's",
        "synchronize both by NTP: until then, jobs from here run too early or too late by that much, and sort wrongly",
    )


def judge_server(facts: Server) -> list[Finding]:
    """The server's version and its settings."""
    return [_judge_version(facts), _judge_durability(facts), _judge_head_room(facts)]


def _judge_version(facts: Server) -> Finding:
    said = f"PostgreSQL {facts.version}"
    if facts.version_number < OLDEST_VERSION:
        return Finding("server", "problem", f"{said} is too old", "upgrade to PostgreSQL 14 or newer")
    if facts.is_standby:
        return Finding(
            "server",
            "problem",
            f"{said}, a standby, on which nothing can be written",
            "use the primary: add target_session_attrs=read-write to the connection string, with all hosts in it",
        )
    return Finding("server", "ok", said)


def _judge_durability(facts: Server) -> Finding:
    if not facts.fsync:
        return Finding(
            "durability",
            "problem",
            "fsync is off: a crash of the machine may destroy the whole database",
            "turn fsync on, except where all data may be lost",
        )
    if not facts.full_page_writes:
        return Finding(
            "durability",
            "warning",
            "full_page_writes is off: a crash of the machine may tear pages apart",
            "turn it on, unless the file system guarantees that pages are written whole",
        )
    if not facts.synchronous_commit:
        return Finding(
            "durability",
            "warning",
            "synchronous_commit is off: a crash of the server may lose jobs that were enqueued in the second before",
            "turn it on for the role or the database that enqueues, unless such a loss is acceptable",
        )
    return Finding("durability", "ok", "what is committed survives a crash")


def _judge_head_room(facts: Server) -> Finding:
    used, limit, what = facts.connections_used, facts.connections, "the server"
    # -1 stands for no limit; -2 for a database that is being dropped.
    if facts.database_limit >= 0 and limit - used > facts.database_limit - facts.database_used:
        used, limit, what = facts.database_used, facts.database_limit, "this database"
    summary = f"{used} of {limit} connections to {what} are in use"
    share = used / limit if limit > 0 else 1.0
    if share < FULL:
        return Finding("connections", "ok", summary)
    return Finding(
        "connections",
        "problem" if share >= FULLER else "warning",
        summary,
        "a worker takes two or three: use fewer processes or smaller pools, put a pooler in front, or raise the limit",
    )
