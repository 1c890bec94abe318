"""How everything is measured: next to its floor, in turns, each time in a process of its own.

A figure by itself says little, because it changes with the machine and with whatever else runs on it. So each case has
two sides, the floor and ours, which take turns (floor, ours, floor, ours ...), and what counts is the ratio of each
pair, of which the median is taken. Each turn starts from empty tables and gets a fresh interpreter, and what prepares
it gets another one: nothing that was imported, cached or left as garbage favours one side.
"""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from statistics import median
from typing import Any, TypeAlias

from attrs import field, frozen

Step: TypeAlias = Callable[..., Coroutine[Any, Any, Any]]
"""A module-level coroutine function that takes a DSN and the parameters of the case."""


@frozen(kw_only=True)
class Unit:
    """What a figure is in.

    Attributes:
        name: As it is shown.
        more_is_better: Whether a larger figure is the better one.
    """

    name: str
    more_is_better: bool


JOBS_PER_SEC = Unit(name="jobs/s", more_is_better=True)
MILLISECONDS = Unit(name="ms", more_is_better=False)


@frozen(kw_only=True)
class Side:
    """One of two ways to do the same work.

    Attributes:
        prepare: Makes empty tables and what has to be in them; not measured.
        measure: Does the work, and returns the figure.
    """

    prepare: Step
    measure: Step


@frozen(kw_only=True)
class Case:
    """One row of the table.

    Attributes:
        name: What is measured.
        unit: The unit of the figures.
        floor: Bare SQL, sent by psycopg.
        ours: pgwerk.
        params: Keyword arguments for the steps of both sides.
        target: The ratio of ours to the floor that is to be reached.
    """

    name: str
    unit: Unit
    floor: Side
    ours: Side
    params: Mapping[str, Any] = field(factory=dict)
    target: float | None = None


@frozen(kw_only=True)
class Result:
    """What was measured of one case: a figure for each round.

    Attributes:
        case: The case.
        floor: The figures of the floor.
        ours: Our figures.
    """

    case: Case
    floor: list[float]
    ours: list[float]

    @property
    def ratios(self) -> list[float]:
        """Ours to the floor, by round."""
        return [ours / floor for floor, ours in zip(self.floor, self.ours, strict=True)]

    @property
    def ratio(self) -> float:
        """Ours to the floor, in the median."""
        return median(self.ratios)

    @property
    def is_reached(self) -> bool | None:
        """Whether the target is; None if there is none."""
        if self.case.target is None:
            return None
        return self.ratio >= self.case.target if self.case.unit.more_is_better else self.ratio <= self.case.target


def measure(cases: Iterable[Case], dsn: str, rounds: int, progress: Callable[[str, float], None]) -> Iterator[Result]:
    """Measure one case after the other.

    Args:
        cases: The cases.
        dsn: A database that may be written to.
        rounds: How many times each side of a case is measured.
        progress: Told each figure as it comes, with what it is.
    """
    for case in cases:
        result = Result(case=case, floor=[], ours=[])
        for number in range(1, rounds + 1):
            for name, side, figures in (("floor", case.floor, result.floor), ("ours", case.ours, result.ours)):
                _in_own_process(side.prepare, dsn, case.params)
                figures.append(float(_in_own_process(side.measure, dsn, case.params)))
                progress(f"{case.name}, round {number} of {rounds}, {name} ({case.unit.name})", figures[-1])
        yield result


def _in_own_process(step: Step, dsn: str, params: Mapping[str, Any]) -> Any:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(_run, step, dsn, dict(params)).result()


def _run(step: Step, dsn: str, params: Mapping[str, Any]) -> Any:
    return asyncio.run(step(dsn, **params))
