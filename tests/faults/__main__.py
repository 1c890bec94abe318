"""The long form: all scenarios in full, again and again until the time is over, and a table of what came of them.

python -m tests.faults [--secs 600] [--only NAME] [--kinds async,thread] [--short]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import pytest
from attrs import evolve
from rich.console import Console
from rich.table import Table
from tests.databases import scratch_database, tested_server
from tests.faults.arena import Scale
from tests.faults.judging import Report
from tests.faults.scenarios import Scenario, scenarios
from tests.faults.workers import KINDS

FIGURES = {
    "faults injected": "faults",
    "jobs": "jobs",
    "attempts": "attempts",
    "lost": "lost",
    "effects missing": "missing",
    "settled twice": "twice",
}


def main() -> None:
    """Run the scenarios that the command line asks for."""
    options = _options()
    # In a file, the table keeps its width.
    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    # What clients complain about while they are cut off is meant to happen.
    for name in ("pgwerk", "psycopg"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    chosen = scenarios(options.kinds)
    if options.only:
        chosen = {name: each for name, each in chosen.items() if any(part in name for part in options.only)}
    with tested_server() as server, scratch_database(server) as dsn:
        reports = asyncio.run(
            _run(chosen, dsn, options.secs, Scale(full=not options.short, kinds=options.kinds), console)
        )
    console.print(_table(reports.values()))
    for report in reports.values():
        for sentence in dict.fromkeys(report.broken):
            console.print(f"BROKEN  {report.scenario}: {sentence}", style="red", soft_wrap=True)
    sys.exit(0 if reports and all(report.is_good for report in reports.values()) else 1)


async def _run(chosen: dict[str, Scenario], dsn: str, secs: float, scale: Scale, console: Console) -> dict[str, Report]:
    """Run each scenario once, and then again while there is time for it."""
    ends = time.monotonic() + secs
    reports: dict[str, Report] = {}
    waiting = [(name, scale) for name in chosen]
    while waiting:
        name, each = waiting.pop(0)
        if each.round and time.monotonic() + reports[name].secs / each.round > ends:
            continue
        report = await _once(name, chosen[name], dsn, each, console)
        if report is not None:
            reports[name] = reports[name].and_then(report) if name in reports else report
            _tell(console, each, report)
            waiting.append((name, evolve(each, round=each.round + 1)))
    return reports


def _tell(console: Console, scale: Scale, report: Report) -> None:
    verdict = f"{report.scenario}, round {scale.round + 1}: {_verdict(report)}, {report.secs:.0f} s"
    console.print(verdict, style="dim")
    for note in report.notes:
        console.print(f"    {note}", style="dim", soft_wrap=True)


async def _once(name: str, scenario: Scenario, dsn: str, scale: Scale, console: Console) -> Report | None:
    """Run a scenario once; None when it cannot be run here."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        try:
            return await scenario(name, dsn, Path(folder), scale)
        except pytest.skip.Exception as reason:
            console.print(f"{name}: left out, {reason}", style="yellow")
            return None
        except Exception as error:  # the others are run all the same
            console.print_exception()
            return Report(scenario=name, broken=(f"{type(error).__name__}: {error}",), secs=time.monotonic() - began)


def _table(reports: Iterable[Report]) -> Table:
    table = Table(box=None)
    table.add_column("scenario")
    for heading in (*FIGURES, "seconds"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for report in reports:
        figures = [f"{getattr(report, name):,}" for name in FIGURES.values()]
        table.add_row(report.scenario, *figures, f"{report.secs:.0f}", _verdict(report))
    return table


def _verdict(report: Report) -> str:
    return "good" if report.is_good else "BROKEN"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description="Inject faults while jobs run.")
    parser.add_argument("--secs", type=float, default=600, help="how long to go on (default: 600); each runs once")
    parser.add_argument("--only", action="append", metavar="NAME", help="only scenarios with this in their names")
    parser.add_argument("--kinds", type=_kinds, default=KINDS, help=f"kinds of workers (default: {','.join(KINDS)})")
    parser.add_argument("--short", action="store_true", help="the short form, which the tests run, too")
    return parser.parse_args()


def _kinds(given: str) -> list[str]:
    kinds = given.split(",")
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        raise argparse.ArgumentTypeError(f"no such kind: {', '.join(unknown)}; there are {', '.join(KINDS)}")
    return kinds


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
