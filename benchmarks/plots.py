"""Plots: one for each growth curve, and one for each case that tells how its figure came about."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.measuring import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIZE_INCHES = (7, 4)
DOTS_PER_INCH = 120
FLOOR_COLOUR = "tab:gray"
OUR_COLOUR = "tab:blue"
TARGET_COLOUR = "tab:red"


def draw(results: Sequence[Result], folder: Path) -> list[Path]:
    """Draw what there is to draw.

    Args:
        results: What was measured.
        folder: Where to put the pictures; made if it is missing.

    Returns:
        The pictures.
    """
    folder.mkdir(parents=True, exist_ok=True)
    curves = groupby((each for each in results if each.case.point), key=_curve)
    drawn = [_save(folder, f"growth {curve}", list(points), _draw_growth) for curve, points in curves]
    traced = [result for result in results if any(ours.trace for _, ours in result.pairs)]
    return drawn + [_save(folder, result.case.name, [result], _draw_traces) for result in traced]


def _curve(result: Result) -> str:
    assert result.case.point is not None
    return result.case.point.curve


def _save(folder: Path, name: str, results: list[Result], draw_on: Any) -> Path:
    # Not at the top: whoever wants no plots need not have it.
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE_INCHES, dpi=DOTS_PER_INCH, layout="constrained")
    axes = figure.add_subplot()
    draw_on(axes, results)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower left")
    path = folder / f"{re.sub(r'[^a-z0-9]+', '-', name.lower())}.png"
    figure.savefig(path)
    return path


def _draw_growth(axes: Axes, results: list[Result]) -> None:
    """The ratio over the size: a dot for each round, and a line through the medians."""
    case = results[0].case
    sizes = [result.case.point.size for result in results if result.case.point]
    for size, result in zip(sizes, results, strict=True):
        axes.scatter([size] * len(result.ratios), result.ratios, color=OUR_COLOUR, alpha=0.3, s=15)
    axes.plot(sizes, [result.ratio or 0 for result in results], color=OUR_COLOUR, marker="o", label="pgwerk")
    axes.axhline(1, color=FLOOR_COLOUR, label=case.beside)
    if case.target is not None:
        axes.axhline(case.target, color=TARGET_COLOUR, linestyle="--", label="target")
    axes.set_xscale("log")
    axes.set_xlabel(_curve(results[0]))
    axes.set_ylabel(f"{case.unit.name}, as a ratio")
    axes.set_title(f"Drain, the more there are: {_curve(results[0])}")


def _draw_traces(axes: Axes, results: list[Result]) -> None:
    """The figure over time, a line for each round of both sides."""
    (result,) = results
    for number, (floor, ours) in enumerate(result.pairs):
        for measured, colour, name in ((floor, FLOOR_COLOUR, result.case.beside), (ours, OUR_COLOUR, "pgwerk")):
            label = None if number else name
            axes.plot(*zip(*measured.trace, strict=True), color=colour, marker=".", alpha=0.7, label=label)
    axes.set_xlabel("jobs so far")
    axes.set_ylabel(result.case.unit.name)
    axes.set_title(result.case.name)
