"""All scenarios by their names."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Protocol

from tests.databases import embedded_version
from tests.faults import connections, groups, kills, memory, offsets, poolers, restarts, silence, ticking
from tests.faults.arena import Arena, Scale
from tests.faults.judging import Report
from tests.faults.workers import KINDS
from tests.pgbouncer import bouncing

from pgwerk.embedded import EmbeddedPostgres

PEACEFUL = {"groups", "memory"}
"""Scenarios in which many jobs are all that happens."""


class Scenario(Protocol):
    """Injects faults while jobs run, and tells what came of it."""

    async def __call__(self, name: str, dsn: str, folder: Path, scale: Scale) -> Report:
        """Run it once, in tables of its own."""
        ...


def in_an_arena(inject: Callable[[Arena, Scale], Awaitable[int]]) -> Scenario:
    """A scenario that needs nothing but a database."""

    async def run(name: str, dsn: str, folder: Path, scale: Scale) -> Report:
        async with Arena(name, dsn, folder) as arena:
            return await arena.report(await inject(arena, scale))

    return run


async def restarted_server(name: str, dsn: str, folder: Path, scale: Scale) -> Report:
    """On a server of its own."""
    del dsn
    with EmbeddedPostgres(version=embedded_version()) as server:
        async with Arena(name, server.dsn, folder) as arena:
            return await arena.report(await restarts.restart(arena, scale, server))


async def ticking_schedulers(name: str, dsn: str, folder: Path, scale: Scale) -> Report:
    """On a server of its own, too."""
    del dsn
    with EmbeddedPostgres(version=embedded_version()) as server:
        async with Arena(name, server.dsn, folder) as arena:
            return await arena.report(await ticking.schedule(arena, scale, server))


async def restarted_pooler(name: str, dsn: str, folder: Path, scale: Scale) -> Report:
    """Clients, workers and handlers are behind a pooler."""
    with bouncing(dsn, folder) as bouncer:
        async with Arena(name, dsn, folder, through=bouncer.dsn) as arena:
            return await arena.report(await poolers.crash(arena, scale, bouncer))


def scenarios(kinds: Sequence[str] = KINDS) -> dict[str, Scenario]:
    """All of them, with these kinds of workers."""
    found: dict[str, Scenario] = {}
    for kind in kinds:
        found[f"SIGKILL {kind}"] = in_an_arena(functools.partial(kills.kill, kind=kind))
        found[f"SIGSTOP {kind}"] = in_an_arena(functools.partial(kills.freeze, kind=kind))
        for patience in (30, 0):
            found[f"SIGTERM {kind}, {patience} s"] = in_an_arena(
                functools.partial(kills.terminate, kind=kind, patience=patience)
            )
    found["restarted server"] = restarted_server
    found["schedulers"] = ticking_schedulers
    found["restarted PgBouncer"] = restarted_pooler
    found["cut connections"] = in_an_arena(connections.cut)
    found["silent connections"] = in_an_arena(silence.working)
    found["silent listener"] = in_an_arena(silence.listening)
    found["clocks an hour off"] = in_an_arena(offsets.shifted)
    found["groups"] = in_an_arena(groups.crowd)
    found["memory"] = in_an_arena(memory.grow)
    return found
