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
        caption="medians; the ratio is that of ours to the floor just before it, with its middle half",
        caption_justify="left",
    )
    for heading in ("case", "unit"):
        shown.add_column(heading, no_wrap=True)
    for heading in ("floor", "ours", "ratio", "half", "target"):
        shown.add_column(heading, justify="right", no_wrap=True)
    for result in results:
        shown.add_row(
            result.case.name,
            result.case.unit.name,
            figure(median(result.floor)),
            figure(median(result.ours)),
            f"{result.ratio:.2f}",
            _middle_half(result.ratios),
            _target(result),
        )
    return shown


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
                "floor": result.floor,
                "ours": result.ours,
                "ratio": result.ratio,
                "target": result.case.target,
                "reached": result.is_reached,
            }
            for result in results
        ],
    }


def _middle_half(ratios: Sequence[float]) -> str:
    if len(ratios) == 1:
        return ""
    lower, _, upper = quantiles(ratios, n=4, method="inclusive")
    return f"{lower:.2f}-{upper:.2f}"


def _target(result: Result) -> str:
    if result.case.target is None:
        return ""
    sign = ">=" if result.case.unit.more_is_better else "<="
    return f"{sign} {result.case.target:.2f} {'yes' if result.is_reached else 'NO'}"
