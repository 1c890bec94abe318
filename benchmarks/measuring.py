"""How everything is measured: next to its floor, in turns, each time in a process of its own.

A figure by itself says little, because it changes with the machine and with whatever else runs on it. So each case has
two sides, the floor and ours, which take turns (floor, ours, floor, ours ...), and what counts is the ratio of each
pair, of which the median is taken. The floor is bare SQL where a case asks what pgwerk costs, and pgwerk itself, over
small tables, where it asks what growth costs: the report says which. Each turn starts from empty tables and gets a
fresh interpreter, and what prepares it gets another one: nothing that was imported, cached or left as garbage favours
one side. Where a million rows have to be there, they are made once for all turns, in tables of their own.

A machine that others share changes its pace within seconds, by half and more. A call that takes less than a millisecond
is measured in short turns in one process, so that both sides of a pair see the same pace.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from statistics import median
from typing import Any, TypeAlias

from attrs import field, frozen

from benchmarks import spawning

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
class Sizes:
    """How large the command line wants the scenarios to be.

    Attributes:
        jobs: How many jobs are run where a scenario runs them one after the other; None leaves it to the scenario.
        largest: How many rows a growth curve goes up to at most.
    """

    jobs: int | None = None
    largest: int = 1_000_000

    def up_to_largest(self, sizes: Sequence[int]) -> list[int]:
        """Those of the sizes that are wanted; the largest one itself where a curve would go further."""
        return sorted({min(size, self.largest) for size in sizes})


@frozen(kw_only=True)
class Measured:
    """What a step may return in place of a bare figure.

    Attributes:
        figure: The figure.
        trace: How it came about, as points of a line, for a plot.
        note: What the figure does not say.
    """

    figure: float
    trace: list[tuple[float, float]] = field(factory=list)
    note: str = ""


Pair: TypeAlias = tuple[Measured, Measured]
"""What was measured of the floor, and of ours."""


@frozen(kw_only=True)
class Point:
    """The place of a case on a growth curve.

    Attributes:
        curve: The name of the curve, which is what grows.
        size: How many there are of what grows.
    """

    curve: str
    size: int


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
        floor: What ours is compared to, mostly bare SQL, sent by psycopg.
        ours: pgwerk.
    """

    floor: Side
    ours: Side

    def round(self, dsn: str, params: Mapping[str, Any]) -> list[Pair]:
        """Measure each side once."""
        figures = []
        for side in (self.floor, self.ours):
            in_own_process(side.prepare, dsn, params)
            figures.append(_measured(in_own_process(side.measure, dsn, params)))
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

    def round(self, dsn: str, params: Mapping[str, Any]) -> list[Pair]:
        """Measure both sides, turn by turn."""
        for step in self.prepare:
            in_own_process(step, dsn, params)
        pairs = in_own_process(self.measure, dsn, params)
        return [(_measured(floor), _measured(ours)) for floor, ours in pairs]


@frozen(kw_only=True)
class Case:
    """One row of the table.

    Attributes:
        name: What is measured.
        unit: The unit of the figures.
        sides: What is compared: the floor and pgwerk.
        beside: What the floor is.
        setup: Make what all rounds share, in the order given; not measured.
        params: Keyword arguments for all steps.
        target: The ratio of ours to the floor that is to be reached.
        aim: The figure that is to be reached, whatever the floor's is.
        point: The place on a growth curve.
    """

    name: str
    unit: Unit
    sides: Apart | InTurns
    beside: str = "bare SQL"
    setup: Sequence[Step] = ()
    params: Mapping[str, Any] = field(factory=dict)
    target: float | None = None
    aim: float | None = None
    point: Point | None = None


@frozen(kw_only=True)
class Result:
    """What was measured of one case.

    Attributes:
        case: The case.
        pairs: What was measured, for each turn.
    """

    case: Case
    pairs: list[Pair] = field(factory=list)

    @property
    def floor(self) -> list[float]:
        """The figures of the floor."""
        return [floor.figure for floor, _ in self.pairs]

    @property
    def ours(self) -> list[float]:
        """Our figures."""
        return [ours.figure for _, ours in self.pairs]

    @property
    def ratios(self) -> list[float]:
        """Ours to the floor, by turn; empty if the floor is nothing at all."""
        return [ours / floor for floor, ours in zip(self.floor, self.ours, strict=True)] if all(self.floor) else []

    @property
    def ratio(self) -> float | None:
        """Ours to the floor, in the median; None if the floor is nothing at all."""
        return median(self.ratios) if self.ratios else None

    @property
    def reaches_target(self) -> bool | None:
        """Whether the ratio does; None if there is no target."""
        return self._reaches(self.ratio, self.case.target)

    @property
    def reaches_aim(self) -> bool | None:
        """Whether our figure does, in the median; None if there is no aim."""
        return self._reaches(median(self.ours), self.case.aim)

    @property
    def notes(self) -> list[str]:
        """What was noted, once each."""
        return list(dict.fromkeys(each.note for pair in self.pairs for each in pair if each.note))

    def _reaches(self, value: float | None, wanted: float | None) -> bool | None:
        if wanted is None or value is None:
            return None
        return value >= wanted if self.case.unit.more_is_better else value <= wanted


def measure(cases: Iterable[Case], dsn: str, rounds: int, progress: Callable[[str, float], None]) -> Iterator[Result]:
    """Measure one case after the other.

    Args:
        cases: The cases.
        dsn: A database that may be written to.
        rounds: How many times each side of a case is measured.
        progress: Told the figures of each round as they come, in the median, with what they are.
    """
    for case in cases:
        result = Result(case=case)
        for step in case.setup:
            in_own_process(step, dsn, case.params)
        for number in range(1, rounds + 1):
            pairs = case.sides.round(dsn, case.params)
            result.pairs.extend(pairs)
            for place, name in enumerate(("floor", "ours")):
                what = f"{case.name}, round {number} of {rounds}, {name} ({case.unit.name})"
                progress(what, median(pair[place].figure for pair in pairs))
        yield result


def in_own_process(step: Step, dsn: str, params: Mapping[str, Any]) -> Any:
    """Run a step in a fresh interpreter, and return what it returns."""
    with spawning.pool() as process:
        return process.submit(_run, step, dsn, dict(params)).result()


def _run(step: Step, dsn: str, params: Mapping[str, Any]) -> Any:
    return asyncio.run(step(dsn, **params))


def _measured(value: float | Measured) -> Measured:
    return value if isinstance(value, Measured) else Measured(figure=float(value))
