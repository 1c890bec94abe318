"""`werk stats`: what is in the queues, and what came out of them lately."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click
from attrs import asdict

from pgwerk.cli.commands import Command, json_option
from pgwerk.cli.durations import Duration
from pgwerk.cli.failures import Failure
from pgwerk.cli.output import console, duration, note, print_json, table
from pgwerk.cli.session import Session
from pgwerk.cli.shown import cut, in_one_line
from pgwerk.cli.sparklines import bars, sparkline

if TYPE_CHECKING:
    from rich.table import Table

    from pgwerk import Percentiles, QueueStats

NARROW, WIDE = 80, 120
FEW_SLICES, MANY_SLICES = 12, 30
NAME_WIDTH = 18
"""Columns for a queue's name, where all of it would not fit."""


@click.command(cls=Command, example="werk stats shop.jobs:werk --since 15m --queue mail")
@click.option("--since", type=Duration(least=1), default="1h", show_default=True, help="How far to look back.")
@click.option("--queue", "queues", metavar="NAME", multiple=True, help="Only this queue; may be given several times.")
@json_option
def stats(session: Session, *, since: float, queues: Sequence[str], as_json: bool) -> None:
    """Show the depth of each queue, throughput, failures, and how long jobs wait and run.

    What has ended is counted by attempts: one job that was tried three times counts three times. Jobs whose rows are
    gone, because they were deleted or their time to be kept was over, do not count. Waiting and running times are those
    that 50, 95 and 99 of a hundred stayed below. `_` in the sparkline stands for nothing.
    """
    out = None if as_json else console()
    slices = MANY_SLICES if out is None or out.width >= WIDE else FEW_SLICES
    found: list[QueueStats] = session.call(session.app.queue_stats, since, slices=slices)
    if queues:
        known = {each.queue for each in found}
        if unknown := [name for name in queues if name not in known]:
            raise Failure(f"nothing is known about {', '.join(map(repr, unknown))}: no jobs, no workers, no history")
        found = [each for each in found if each.queue in queues]
    if out is None:
        print_json([as_object(each) for each in found])
    elif not found:
        note("no queues: nothing is enqueued, nothing has ended lately, and there are no workers")
    else:
        names = NAME_WIDTH if out.width < WIDE else out.width
        out.print(depths(found, names, span=_short(since)))
        out.print()
        out.print(history(found, names))


def as_object(each: QueueStats) -> dict[str, object]:
    """A queue with what follows from the numbers, for programs."""
    return {**asdict(each), "throughput": each.throughput, "failure_rate": each.failure_rate}


def depths(found: Sequence[QueueStats], names: int, *, span: str) -> Table:
    """What is in the queues, and how many attempts ended in each part of the time."""
    shown = bars()
    last = f"last {span}"
    headings = ["queue", "ready", "oldest", "scheduled", "waiting", "active", "workers"]
    rows = [
        [
            cut(in_one_line(each.queue), names),
            f"{each.queued:,}",
            compact(each.oldest_secs),
            f"{each.scheduled:,}",
            f"{each.waiting:,}",
            f"{each.active:,}",
            f"{each.workers:,}",
            sparkline(each.series, shown),
        ]
        for each in found
    ]
    return table([*headings, last], rows, right=headings[1:], gap=1)


def history(found: Sequence[QueueStats], names: int) -> Table:
    """How attempts ended, and how long they waited and ran."""
    headings = ["queue", "ended", "per s", "failed", "waited 50/95/99%", "ran 50/95/99%"]
    rows = [
        [
            cut(in_one_line(each.queue), names),
            f"{each.ended:,}",
            rate(each.throughput) if each.ended else "",
            "" if each.failure_rate is None else f"{each.failure_rate:.1%}",
            _percentiles(each.wait),
            _percentiles(each.run),
        ]
        for each in found
    ]
    return table(headings, rows, right=headings[1:4], gap=1)


def compact(secs: float | None) -> str:
    """A duration in few columns: `340ms`, `12.5s`, `3.0m`, `5.2h`, `12d`."""
    # The clocks of two machines differ: what has just begun may be a little in the future.
    return duration(None if secs is None else max(secs, 0.0)).replace(" min", "m").replace(" ", "")


def rate(per_second: float) -> str:
    """A number of things per second, to three digits or so."""
    return (
        f"{per_second:,.0f}" if per_second >= 100 else f"{per_second:.1f}" if per_second >= 1 else f"{per_second:.3f}"
    )


def _percentiles(of: Percentiles) -> str:
    return "" if of.p50 is None else " ".join(f"{compact(each):>5}" for each in (of.p50, of.p95, of.p99))


def _short(secs: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if secs >= size and secs % size == 0:
            return f"{secs / size:.0f}{unit}"
    return f"{secs:g}s"
