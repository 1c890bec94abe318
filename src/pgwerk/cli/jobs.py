"""`werk jobs`: a table of jobs."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeAlias

import click

from pgwerk import JobStatus
from pgwerk.cli.commands import json_option
from pgwerk.cli.failures import USAGE, Failure
from pgwerk.cli.filters import counts_line, filter_options
from pgwerk.cli.output import IN_A_PIPE, ago, console, duration, print_json, status_text, table, text
from pgwerk.cli.session import Session
from pgwerk.cli.shown import cut, in_one_line, last_line
from pgwerk.cli.watching import WatchingCommand, watch, watch_option

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text

    from pgwerk import Job

    Page: TypeAlias = tuple[Sequence[Job], dict[JobStatus, int] | None]

LEAST_WIDTH = 80
WIDE = 100
"""From here on there is room for more air, and for more columns."""

SHRINKING = (("queue", 8), ("function", 12), ("queue", 5), ("function", 6))
"""Which columns give way, in this order, and to what width."""

EXTRA_WIDTH = 40


@click.command(cls=WatchingCommand, example="werk jobs shop.jobs:werk --status failed,aborted --older-than 1h")
@filter_options
@click.option("--limit", "-n", type=click.IntRange(min=0), default=20, show_default=True, help="How many at most.")
@click.option("--offset", type=click.IntRange(min=0), default=0, help="How many to leave out first.")
@click.option("--oldest-first", is_flag=True, help="The oldest first, in the place of the newest.")
@click.option("--no-counts", is_flag=True, help="Do not count: that reads the whole table, which may be large.")
@watch_option
@json_option
def jobs(
    session: Session,
    *,
    filters: dict[str, Any],
    limit: int,
    offset: int,
    oldest_first: bool,
    no_counts: bool,
    watch: float | None,
    as_json: bool,
) -> None:
    """List jobs, the newest first, and count them by status.

    A terminal of 80 columns shows the end of long function names; a wider one shows more columns, and a pipe all of
    them. `when` is when a job ended, started or was due.
    """
    page = {"limit": limit, "offset": offset, "newest_first": not oldest_first}
    if as_json:
        if watch is not None:
            raise Failure("--json and --watch cannot be given together", USAGE)
        print_json(session.call(session.app.list_jobs, **filters, **page))
        return
    read = _reader(session, filters, page, counting=not no_counts)
    if watch is None:
        screen = console()
        screen.width = max(screen.width, LEAST_WIDTH)
        screen.print(drawn(*read(limit), width=screen.width, offset=offset))
    else:
        _watch(read, limit, offset, watch)


def _reader(
    session: Session, filters: dict[str, Any], page: dict[str, Any], *, counting: bool
) -> Callable[[int], Page]:
    def read(limit: int) -> Page:
        counts = session.call(session.app.count_jobs, **filters) if counting else None
        return session.call(session.app.list_jobs, **filters, **{**page, "limit": limit}), counts

    return read


def _watch(read: Callable[[int], Page], limit: int, offset: int, interval: float) -> None:
    def draw(screen: Console) -> RenderableType:
        # The heading, the empty line, the counts, and the line that says what is wrong.
        room = max(0, screen.height - 4)
        return drawn(*read(min(limit, room)), width=screen.width, offset=offset)

    watch(draw, interval)


def drawn(
    found: Sequence[Job],
    counts: dict[JobStatus, int] | None,
    *,
    width: int,
    offset: int = 0,
    now: datetime | None = None,
) -> RenderableType:
    """The table, and below it the counts.

    Args:
        found: The jobs.
        counts: How many there are by status; None if they were not counted.
        width: Columns of the terminal.
        offset: How many jobs come before these.
        now: The time.
    """
    from rich.console import Group

    parts: list[RenderableType] = []
    if found:
        headings, rows = layout(found, width, now or datetime.now(UTC))
        parts.append(table(headings, rows, right=("try",), gap=1 if width < WIDE else 2))
    if counts is not None:
        total = sum(counts.values())
        line = counts_line(counts)
        if found and len(found) < total:
            line += f" ({offset + 1:,} to {offset + len(found):,} are shown)"
        parts += [text(line)] if not found else [text(""), text(line)]
    elif not found:
        parts.append(text("no jobs"))
    return Group(*parts)


def layout(found: Sequence[Job], width: int, now: datetime) -> tuple[list[str], list[list[Text]]]:
    """The columns that fit: an id is shown in full, or it could not be copied, and what can give way does.

    Args:
        found: The jobs.
        width: Columns of the terminal.
        now: The time.

    Returns:
        The headings, and the cells of each row.
    """
    width = max(width, LEAST_WIDTH)
    gap = 1 if width < WIDE else 2
    columns = {
        "id": [text(job.id) for job in found],
        "status": [status_text(job.status) for job in found],
        "try": [text(f"{job.attempts}/{job.max_attempts}") for job in found],
        "when": [text(when(job, now, short=width < WIDE)) for job in found],
        "queue": [text(in_one_line(job.queue)) for job in found],
        "function": [text(in_one_line(job.function)) for job in found],
    }
    room = width - sum(_width(name, cells) + gap for name, cells in columns.items()) + gap
    for name, least in SHRINKING:
        if room < 0:
            # The end of a function's path says most.
            room = _shrink(columns, name, least, room, keep_end=name == "function")
    for name, value in _EXTRAS.items():
        cells = [text(cut(in_one_line(value(job)), EXTRA_WIDTH if width < IN_A_PIPE else width)) for job in found]
        needed = _width(name, cells) + gap
        if needed <= room and any(cell.plain for cell in cells):
            columns[name] = cells
            room -= needed
    return list(columns), [list(row) for row in zip(*columns.values(), strict=True)]


def when(job: Job, now: datetime, *, short: bool = False) -> str:
    """When the job ended, started, was or will be due: what its status is about."""
    moment = job.completed_at or job.started_at if job.status not in _UNSTARTED else job.scheduled_at
    said = ago(moment, now)
    return _UNIT.sub(r"\1\2", said.removesuffix(" ago")) if short else said


_UNIT = re.compile(r"(\d) (ms|[a-z])[a-z]*$")
"""A number and its unit, of which one letter says enough."""


_UNSTARTED = {JobStatus.Scheduled, JobStatus.Queued, JobStatus.Waiting}


def took(job: Job, now: datetime | None = None) -> float | None:
    """Seconds that the last attempt took, or takes until now."""
    end = job.completed_at or (now if job.status in {JobStatus.Active, JobStatus.Aborting} else None)
    return None if job.started_at is None or end is None else (end - job.started_at).total_seconds()


_EXTRAS: dict[str, Callable[[Job], str]] = {
    "took": lambda job: duration(took(job)),
    "key": lambda job: job.key or "",
    "group": lambda job: job.group_key or "",
    "schedule": lambda job: job.cron_name or "",
    "error": lambda job: last_line(job.error),
    "worker": lambda job: job.worker_id or "",
}
"""What wide terminals show as well, if there is any of it."""


def _width(name: str, cells: Sequence[Text]) -> int:
    return max([len(name), *(cell.cell_len for cell in cells)])


def _shrink(columns: dict[str, list[Text]], name: str, least: int, room: int, *, keep_end: bool) -> int:
    """Take what is missing from a column, as far as it can give it; returns the room then."""
    needed = _width(name, columns[name])
    given = min(max(needed - least, 0), -room)
    if given:
        width = needed - given
        columns[name] = [text(cut(cell.plain, width, keep_end=keep_end)) for cell in columns[name]]
    return room + given
