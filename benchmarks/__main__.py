"""Measure, and print what came out."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from itertools import chain
from pathlib import Path

import psycopg
from rich.console import Console

from benchmarks import (
    children,
    databases,
    drain,
    enqueue_many,
    enqueue_one,
    growth,
    idle,
    latency,
    memory,
    notify,
    payloads,
    plots,
    processes,
    reporting,
    snapshot,
    ticks,
    waiting,
)
from benchmarks.measuring import Sizes, measure
from benchmarks.peers import cases as peers

SCENARIOS = {
    "drain": drain.cases,
    "enqueue_one": enqueue_one.cases,
    "enqueue_many": enqueue_many.cases,
    "waiting": waiting.cases,
    "ticks": ticks.cases,
    "snapshot": snapshot.cases,
    "growth": growth.cases,
    "children": children.cases,
    "processes": processes.cases,
    "payloads": payloads.cases,
    "notify": notify.cases,
    "latency": latency.cases,
    "idle": idle.cases,
    "memory": memory.cases,
}
FEWEST_JOBS = 10 * max(drain.CONCURRENCIES)


def main() -> None:
    """Run the scenarios that the command line names."""
    options = _options()
    # In a file, the table keeps its width.
    console = Console(width=None if sys.stdout.isatty() else 120)
    names = _names(options)
    sizes = Sizes(jobs=options.jobs, largest=options.largest)
    cases = chain.from_iterable(SCENARIOS[name](sizes) for name in names)
    if options.peers:
        cases = chain(cases, peers.cases(sizes))
    wanted = (case for case in cases if options.only in case.name)
    try:
        with databases.server(options.dsn) as server, databases.scratch_database(server) as dsn:
            settings = databases.settings(dsn)
            results = list(measure(wanted, dsn, options.rounds, lambda what, value: _tell(console, what, value)))
    except psycopg.OperationalError as error:
        sys.exit(f"cannot measure: {error}")
    console.print(reporting.table(results))
    for note in reporting.notes(results):
        console.print(note, highlight=False)
    for path in plots.draw(results, options.plots) if options.plots else ():
        console.print(f"plot: {path}", highlight=False)
    if options.json:
        report = reporting.as_json(results, _command(names, options), settings)
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def _names(options: argparse.Namespace) -> list[str]:
    """The scenarios that are asked for: all, unless some are named, or peers are all that is asked for."""
    return list(dict.fromkeys(options.scenario)) or ([] if options.peers else list(SCENARIOS))


def _tell(console: Console, what: str, value: float) -> None:
    console.print(f"{what}: {reporting.figure(value)}", style="dim", highlight=False)


def _command(names: list[str], options: argparse.Namespace) -> str:
    """The command that measures the same again."""
    command = ["python", "-m", "benchmarks", *names, "--rounds", str(options.rounds), "--largest", str(options.largest)]
    if options.jobs:
        command += ["--jobs", str(options.jobs)]
    if options.peers:
        command.append("--peers")
    if options.only:
        command += ["--only", options.only]
    return shlex.join(command)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure pgwerk, and beside it a floor.")
    parser.add_argument("scenario", nargs="*", type=_scenario, help=f"{', '.join(SCENARIOS)} (default: all)")
    parser.add_argument("--only", metavar="TEXT", default="", help="only the cases with this in their name")
    parser.add_argument("--dsn", help="a server to make a database on (default: PGWERK_TEST_DSN, or an embedded one)")
    parser.add_argument("--rounds", type=_positive, default=5, help="how often each side is measured (default: 5)")
    parser.add_argument("--jobs", type=_positive, help="how many jobs a drain is of (default: 20000, or 50000)")
    parser.add_argument(
        "--largest", type=_positive, default=1_000_000, help="how many rows growth goes up to (default: 1000000)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write all figures")
    parser.add_argument("--plots", type=Path, metavar="FOLDER", help="where to put a plot of each curve")
    parser.add_argument("--peers", action="store_true", help="measure other queues beside ours, in own environments")
    options = parser.parse_args()
    if options.jobs is not None and options.jobs < FEWEST_JOBS:
        parser.error(f"--jobs must be {FEWEST_JOBS} or more: fewer are drained in too few batches to be measured")
    return options


def _scenario(text: str) -> str:
    # Not with `choices`, which refuses an empty list.
    if text not in SCENARIOS:
        raise argparse.ArgumentTypeError(f"there is no {text!r}, only {', '.join(SCENARIOS)}")
    return text


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return value


if __name__ == "__main__":
    main()
