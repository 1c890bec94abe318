"""How everything is measured: next to its floor, in turns, each time in a process of its own.

A figure by itself says little, because it changes with the machine and with whatever else runs on it. So each case has
two sides, the floor and ours, which take turns (floor, ours, floor, ours ...), and what counts is the ratio of each
pair, of which the median is taken. Each turn starts from empty tables and gets a fresh interpreter, and what prepares
it gets another one: nothing that was imported, cached or left as garbage favours one side.

A machine that others share changes its pace within seconds, by half and more. A call that takes less than a millisecond
is measured in short turns in one process, so that both sides of a pair see the same pace.
"""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
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
    """One of two ways to do the same work, measured by itself.

    Attributes:
        prepare: Makes empty tables and what has to be in them; not measured.
        measure: Does the work, and returns the figure.
    """

    prepare: Step
    measure: Step


@frozen(kw_only=True)
class Apart:
    """Two sides that are measured in processes of their own.

    Attributes:
        floor: Bare SQL, sent by psycopg.
        ours: pgwerk.
    """

    floor: Side
    ours: Side

    def round(self, dsn: str, params: Mapping[str, Any]) -> list[tuple[float, float]]:
        """Measure each side once."""
        figures = []
        for side in (self.floor, self.ours):
            _in_own_process(side.prepare, dsn, params)
            figures.append(float(_in_own_process(side.measure, dsn, params)))
        return [(figures[0], figures[1])]


@frozen(kw_only=True)
class InTurns:
    """Two sides that are measured in one process, in turns of some milliseconds.

    Attributes:
        prepare: Make the empty tables of both sides; not measured.
        measure: Does the work of both, and returns a pair of figures for each turn, that of the floor first.
    """

    prepare: Sequence[Step]
    measure: Step

    def round(self, dsn: str, params: Mapping[str, Any]) -> list[tuple[float, float]]:
        """Measure both sides, turn by turn."""
        for step in self.prepare:
            _in_own_process(step, dsn, params)
        return [(float(floor), float(ours)) for floor, ours in _in_own_process(self.measure, dsn, params)]


@frozen(kw_only=True)
class Case:
    """One row of the table.

    Attributes:
        name: What is measured.
        unit: The unit of the figures.
        sides: Bare SQL, sent by psycopg, and pgwerk.
        params: Keyword arguments for the steps of both sides.
        target: The ratio of ours to the floor that is to be reached.
    """

    name: str
    unit: Unit
    sides: Apart | InTurns
    params: Mapping[str, Any] = field(factory=dict)
    target: float | None = None


@frozen(kw_only=True)
class Result:
    """What was measured of one case: a figure for each turn.

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
        """Ours to the floor, by turn."""
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
        progress: Told the figures of each round as they come, in the median, with what they are.
    """
    for case in cases:
        result = Result(case=case, floor=[], ours=[])
        for number in range(1, rounds + 1):
            pairs = case.sides.round(dsn, case.params)
            result.floor.extend(floor for floor, _ in pairs)
            result.ours.extend(ours for _, ours in pairs)
            for place, name in enumerate(("floor", "ours")):
                what = f"{case.name}, round {number} of {rounds}, {name} ({case.unit.name})"
                progress(what, median(pair[place] for pair in pairs))
        yield result


def _in_own_process(step: Step, dsn: str, params: Mapping[str, Any]) -> Any:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(_run, step, dsn, dict(params)).result()


def _run(step: Step, dsn: str, params: Mapping[str, Any]) -> Any:
    return asyncio.run(step(dsn, **params))
