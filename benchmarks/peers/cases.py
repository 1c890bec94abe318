"""The same work by another queue and by ours: here the floor is the other one, and ours is to be faster.

A drain of ours is timed from its first claim to its last settlement, that of a peer from the first to the last job that
begins, which is a little less.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterable
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from benchmarks import drain, enqueue_many, enqueue_one, latency, tables
from benchmarks.measuring import JOBS_PER_SEC, MILLISECONDS, Apart, Case, Side, Sizes, Unit
from benchmarks.peers.common import RUN
from benchmarks.peers.environments import PEERS, ROOT, Peer, python_of

_VARIABLES = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "password": "PGPASSWORD", "dbname": "PGDATABASE"}


def cases(sizes: Sizes) -> Iterable[Case]:
    """All work by all peers."""
    for peer in PEERS.values():
        python_of(peer)
        jobs = sizes.jobs or peer.jobs
        for concurrency in drain.CONCURRENCIES:
            params = {"jobs": jobs, "concurrency": concurrency}
            yield _case(peer, f"drain, concurrency {concurrency}", JOBS_PER_SEC, "drain", params)
        yield _case(peer, "enqueue one, p50", MILLISECONDS, "enqueue_one", {})
        yield _case(peer, f"enqueue many ({enqueue_many.BATCH:,})", JOBS_PER_SEC, "enqueue_many", {})
        for percent in latency.AIMS_MS:
            name = f"commit to start on an idle worker, p{percent}"
            yield _case(peer, name, MILLISECONDS, "latency", {"percent": percent})


def _case(peer: Peer, name: str, unit: Unit, work: str, params: dict[str, int]) -> Case:
    return Case(
        name=name,
        unit=unit,
        beside=peer.name,
        sides=Apart(
            floor=Side(prepare=empty_database, measure=by_peer),
            ours=Side(prepare=prepare_ours, measure=by_ours),
        ),
        params={"peer": peer.name, "work": work, **params},
        target=1.0,
    )


async def empty_database(dsn: str, **_: object) -> None:
    """Drop everything; a peer makes its own tables, in its default schema."""
    await tables.drop(dsn)
    async with await tables.connect(dsn) as connection:
        await connection.execute("DROP SCHEMA IF EXISTS public CASCADE; CREATE SCHEMA public")


async def prepare_ours(dsn: str, *, peer: str, work: str, **params: Any) -> None:  # noqa: ARG001 - ours
    """Drop everything, and make our tables, with jobs in them for a drain."""
    await empty_database(dsn)
    await (drain.load_ours(dsn, **params) if work == "drain" else tables.empty_ours(dsn))


async def by_peer(dsn: str, *, peer: str, work: str, **params: int) -> float:
    """Have it do the work, in its environment."""
    there = PEERS[peer]
    arguments = [text for name, value in params.items() for text in (f"--{name}", str(value))]
    process = await asyncio.create_subprocess_exec(
        python_of(there),
        *RUN,
        there.module,
        work,
        *arguments,
        cwd=ROOT,
        env=os.environ | await _environment(dsn),
        stdout=asyncio.subprocess.PIPE,
    )
    printed, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"{there.module} {work} has ended with exit code {process.returncode}")
    return float(json.loads(printed))


async def by_ours(dsn: str, *, peer: str, work: str, **params: int) -> float:  # noqa: ARG001 - ours
    """Do the same work."""
    if work == "drain":
        return await drain.drain_ours(dsn, jobs=params["jobs"], concurrency=params["concurrency"])
    if work == "enqueue_one":
        return await enqueue_one.enqueue_p50(dsn)
    if work == "enqueue_many":
        return await enqueue_many.enqueue_many(dsn)
    return await latency.work(dsn, percent=params["percent"])


async def _environment(dsn: str) -> dict[str, str]:
    """The server, in the variables that all drivers read."""
    async with await psycopg.AsyncConnection.connect(dsn) as connection:
        found = {**connection.info.get_parameters(), "password": connection.info.password}
    found |= {name: str(value) for name, value in conninfo_to_dict(dsn).items()}
    return {variable: found[name] for name, variable in _VARIABLES.items() if found.get(name)}
