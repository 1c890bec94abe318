"""The pace of workers, read from the jobs: their times are those of the statements that claimed and settled them.

A beginning is left out where a scenario is about what comes after it: connections, plans and caches are made there, and
several processes do not start at one moment.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from benchmarks import tables

BEGINNING = 0.2
"""The part of the jobs that is left out."""

_SETTLES = """
    SELECT extract(epoch FROM completed_at)::float8, count(*)
    FROM {jobs}
    WHERE completed_at >= %(since)s::timestamptz AND status = 'complete'
    GROUP BY completed_at
    ORDER BY completed_at
"""
_CLOCK = "SELECT clock_timestamp()::text"


async def now(dsn: str) -> str:
    """The database's time, from which on settles are to be counted."""
    async with await tables.connect(dsn) as connection:
        return str(await tables.value(connection, _CLOCK))


async def settles(dsn: str, jobs: str = tables.OUR_JOBS, *, since: str = "-infinity") -> list[tuple[float, int]]:
    """When jobs were settled: seconds after the first statement that did, and how many jobs there were by then.

    A settling statement tells when it began, which is when the one before has ended: so each point counts the jobs of
    the statements before it.
    """
    async with await tables.connect(dsn) as connection:
        cursor = await connection.execute(_SETTLES.format(jobs=jobs).encode(), {"since": since})
        rows: list[Any] = await cursor.fetchall()
    points, ended = [], 0
    for moment, count in rows:
        points.append((moment - rows[0][0], ended))
        ended += count
    return points


def rate(points: list[tuple[float, int]], *, beginning: float = BEGINNING) -> float:
    """Jobs a second, without the beginning."""
    _, total = points[-1]
    start = next(point for point in points if point[1] >= beginning * total)
    return (total - start[1]) / (points[-1][0] - start[0])


def rates(points: list[tuple[float, int]], part: int) -> list[tuple[float, float]]:
    """Jobs a second in each part of so many jobs, by how many there were at its end."""
    cuts: list[tuple[float, int]] = []
    for point in points:
        if point[1] >= part * len(cuts):
            cuts.append(point)
    return [(end[1], (end[1] - start[1]) / (end[0] - start[0])) for start, end in pairwise(cuts)]
