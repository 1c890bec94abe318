"""The figures, for people and for programs."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from statistics import median, quantiles
from typing import Any

from rich.table import Table

from benchmarks.measuring import Result


def figure(value: float) -> str:
    """A figure with as many digits as mean something."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def table(results: Sequence[Result]) -> Table:
    """A row for each case, with medians."""
    shown = Table(
        box=None,
        caption=(
            "medians; the floor is what stands under beside; the ratio is that of ours to the floor just before it, "
            "with its middle half; a target with a unit is one for our figure"
        ),
        caption_justify="left",
    )
    for heading in ("case", "unit", "beside"):
        shown.add_column(heading, no_wrap=True)
    for heading in ("floor", "ours", "ratio", "half", "target"):
        shown.add_column(heading, justify="right", no_wrap=True)
    for result in results:
        shown.add_row(
            result.case.name,
            result.case.unit.name,
            result.case.beside,
            figure(median(result.floor)),
            figure(median(result.ours)),
            "" if result.ratio is None else f"{result.ratio:.2f}",
            _middle_half(result.ratios),
            _targets(result),
        )
    return shown


def notes(results: Sequence[Result]) -> list[str]:
    """What the table does not say, a line for each."""
    return [f"{result.case.name}: {note}" for result in results for note in result.notes]


def as_json(results: Sequence[Result], command: str, settings: Mapping[str, str]) -> dict[str, Any]:
    """Everything that was measured, with what one must know to measure it again."""
    return {
        "command": command,
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "psycopg": metadata.version("psycopg"),
        "system": platform.system(),
        "cpus": os.cpu_count(),
        "server": dict(settings),
        "cases": [
            {
                "name": result.case.name,
                "unit": result.case.unit.name,
                "beside": result.case.beside,
                "params": dict(result.case.params),
                "floor": result.floor,
                "ours": result.ours,
                "ratio": result.ratio,
                "target": result.case.target,
                "reaches_target": result.reaches_target,
                "aim": result.case.aim,
                "reaches_aim": result.reaches_aim,
                "notes": result.notes,
                "traces": {
                    "floor": [floor.trace for floor, _ in result.pairs if floor.trace],
                    "ours": [ours.trace for _, ours in result.pairs if ours.trace],
                },
            }
            for result in results
        ],
    }


def _middle_half(ratios: Sequence[float]) -> str:
    if len(ratios) < 2:
        return ""
    lower, _, upper = quantiles(ratios, n=4, method="inclusive")
    return f"{lower:.2f}-{upper:.2f}"


def _targets(result: Result) -> str:
    case = result.case
    sign = ">=" if case.unit.more_is_better else "<="
    shown = []
    if case.target is not None:
        shown.append(f"{sign} {case.target:.2f} {_yes_or_no(result.reaches_target)}")
    if case.aim is not None:
        shown.append(f"{sign} {case.aim:g} {case.unit.name} {_yes_or_no(result.reaches_aim)}")
    return "\n".join(shown)


def _yes_or_no(is_reached: bool | None) -> str:
    return "yes" if is_reached else "NO"
