"""One frame of `werk top`: from what goes on to the lines that a terminal of some size can show."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from attrs import frozen
from rich.cells import cell_len
from rich.text import Text

from pgwerk import JobStatus, Overview, QueueStats, RunningJob, WorkerInfo
from pgwerk.cli.output import duration
from pgwerk.cli.shown import cut, in_one_line
from pgwerk.cli.sparklines import sparkline
from pgwerk.cli.stats import compact, rate

BESIDE = 140
"""From so many columns on, queues and workers are side by side."""

MOST_RUNNING = 200
"""So many running jobs are looked at: more than a terminal has lines."""

LONG_IDS = 100
"""From so many columns on, a running job has room for its queue."""


class Column(NamedTuple):
    """A column of a section.

    Attributes:
        heading: Its heading.
        width: How many columns of the terminal it has; 0 for all that is left.
        is_number: Whether it is flush right.
        keep_end: Whether the end of a long text says more than its beginning.
    """

    heading: str
    width: int
    is_number: bool = False
    keep_end: bool = False


@frozen(kw_only=True)
class View:
    """What a frame shows.

    Attributes:
        title: Where all this is.
        now: What time it is here.
        overview: What goes on, as far as it is known.
        interval: Seconds that a number of the sparklines stands for.
        pause: Seconds between looks; more than the interval where looking takes long.
        is_paused: Whether nothing is looked at any more until somebody says so.
        trouble: Why the database could not be asked.
        away_secs: For how many seconds it could not be.
        bars: What sparklines are made of.
        has_keys: Whether keys are listened to.
    """

    title: str
    now: datetime
    overview: Overview
    interval: float
    pause: float
    bars: str
    is_paused: bool = False
    trouble: str | None = None
    away_secs: float = 0.0
    has_keys: bool = True


def draw(view: View, width: int, height: int | None) -> Text:
    """The frame.

    Args:
        view: What it shows.
        width: Columns of the terminal.
        height: Its lines; None for as many as it takes.
    """
    overview = view.overview
    half = (width - 2) // 2 if width >= BESIDE else width
    queues = _queues(overview.queues, half, view.bars)
    workers = _workers(overview.workers, half, view.now)
    running = _running(overview, width)
    head, foot = _head(view, width), [] if height is None else [_foot(view, width)]
    if height is None:
        sections = [_beside(queues, workers, half)] if half < width else [queues, workers]
        lines = [*head, *_joined([*sections, running])]
    else:
        room = height - len(head) - len(foot)
        if half < width:
            upper, lower = _shared([max(len(queues), len(workers)), len(running)], room)
            sections = [_beside(_cropped(queues, upper), _cropped(workers, upper), half), _cropped(running, lower)]
        else:
            each = _shared([len(queues), len(workers), len(running)], room)
            sections = [_cropped(*pair) for pair in zip((queues, workers, running), each, strict=True)]
        lines = [*head, *_joined(sections)]
        lines = [*lines[: height - len(foot)], *([Text()] * (height - len(foot) - len(lines))), *foot]
    for line in lines:
        line.truncate(width)
    frame = Text("\n").join(lines)
    frame.no_wrap, frame.overflow = True, "crop"
    return frame


def _head(view: View, width: int) -> list[Text]:
    queues = view.overview.queues
    clock = f"{view.now:%H:%M:%S}"
    title = _fit(view.title, max(width - len(clock) - 1, 0))
    first = Text(cut(_spread(title, clock, width), width), style="bold")
    if view.trouble is not None:
        # The newest is what matters: what is below is as old as that.
        text = f"database away for {duration(view.away_secs)}: {view.trouble}"
        return [first, Text(_fit(text, width), style="reverse")]
    total = [sum(numbers) for numbers in zip(*(queue.series for queue in queues), strict=True)]
    alive = sum(worker.is_alive for worker in view.overview.workers)
    last = total[-1] / view.interval if total else 0.0
    counts = (
        f"{rate(last) if last else '0'} jobs/s",
        f"{sum(queue.queued for queue in queues):,} ready",
        f"{sum(queue.active for queue in queues):,} running",
        f"{alive:,} worker{'' if alive == 1 else 's'}",
    )
    said = "  ".join(counts)
    room = width - cell_len(said) - 2
    return [first, Text(cut(_spread(said, sparkline(total[-room:] if room > 0 else [], view.bars), width), width))]


def _foot(view: View, width: int) -> Text:
    keys = "q quit  p pause  space now  + - interval" if view.has_keys else "Ctrl-C ends"
    if view.is_paused:
        keys = "PAUSED  p go on  q quit" if view.has_keys else keys
    return Text(cut(_spread(keys, f"every {duration(view.pause)}", width), width), style="dim")


def _queues(queues: Sequence[QueueStats], width: int, bars: str) -> list[Text]:
    slices = len(queues[0].series) if queues else 0
    shown = min(slices, max(10, width - 69))
    columns = [
        Column("QUEUE", 0),
        Column("READY", 7, is_number=True),
        Column("OLDEST", 6, is_number=True),
        Column("SCHED", 6, is_number=True),
        Column("WAIT", 6, is_number=True),
        Column("ACTIVE", 6, is_number=True),
        Column("WORKERS", 7, is_number=True),
        Column("FAILED", 6, is_number=True),
        Column("ENDED", max(shown, 5)),
    ]
    # Those in which something goes on come first, in case there is no room for all.
    ranked = sorted(queues, key=lambda queue: queue.active + queue.queued + queue.ended == 0)
    rows = [
        (
            queue.queue,
            _short(queue.queued),
            compact(queue.oldest_secs),
            _short(queue.scheduled),
            _short(queue.waiting),
            _short(queue.active),
            _short(queue.workers),
            "" if queue.failure_rate is None else f"{queue.failure_rate:.1%}",
            sparkline(queue.series[-shown:] if shown else (), bars),
        )
        for queue in ranked
    ]
    return _section(columns, rows, width, "no queues")


def _workers(workers: Sequence[WorkerInfo], width: int, now: datetime) -> list[Text]:
    columns = [
        Column("WORKER", 0),
        Column("KIND", 7),
        Column("QUEUES", 18),
        Column("RUNNING", 9, is_number=True),
        Column("STARTED", 7, is_number=True),
        Column("HEARD OF", 8, is_number=True),
        Column("STATE", 6),
    ]
    ranked = sorted(workers, key=lambda worker: worker.is_alive)
    rows = [
        (
            _name(worker),
            worker.kind,
            ",".join(worker.queues),
            f"{worker.running}/{worker.concurrency}",
            compact((now - worker.started_at).total_seconds()),
            compact((now - worker.heartbeat_at).total_seconds()),
            "alive" if worker.is_alive else "lapsed",
        )
        for worker in ranked
    ]
    return _section(columns, rows, width, "no workers", {i: "yellow" for i, w in enumerate(ranked) if not w.is_alive})


def _running(overview: Overview, width: int) -> list[Text]:
    is_wide = width >= LONG_IDS
    columns = [
        Column("RUNNING", 0, keep_end=True),
        *([Column("QUEUE", 14)] if is_wide else []),
        Column("ID", 36),
        Column("FOR", 6, is_number=True),
        Column("TRY", 5, is_number=True),
        Column("WORKER", 24 if is_wide else 12, keep_end=True),
    ]
    names = {worker.id: _name(worker) for worker in overview.workers}
    rows = [_running_row(job, names, is_wide=is_wide) for job in overview.running]
    lines = _section(columns, rows, width, "nothing runs")
    # The two are counted one after the other, so they differ a little where all were looked at.
    if len(rows) >= MOST_RUNNING and (active := sum(queue.active for queue in overview.queues)) > len(rows):
        lines.append(Text(f"and {active - len(rows):,} more", style="dim"))
    return lines


def _running_row(job: RunningJob, names: Mapping[str, str], *, is_wide: bool) -> tuple[str, ...]:
    function = f"{job.function} (aborting)" if job.status is JobStatus.Aborting else job.function
    return (
        function,
        *([job.queue] if is_wide else []),
        job.id,
        compact(job.running_secs),
        f"{job.attempt}/{job.max_attempts}",
        names.get(job.worker_id or "", "unknown"),
    )


def _name(worker: WorkerInfo) -> str:
    return f"{worker.host}:{worker.pid}"


def _section(
    columns: Sequence[Column],
    rows: Iterable[Sequence[str]],
    width: int,
    nothing: str,
    styles: Mapping[int, str] | None = None,
) -> list[Text]:
    """A heading and a line for each row."""
    left = width - sum(column.width for column in columns) - len(columns) + 1
    fitted = [column if column.width else column._replace(width=max(left, 1)) for column in columns]
    lines = [Text(cut(_line(fitted, [column.heading for column in fitted]), width), style="bold")]
    for number, row in enumerate(rows):
        style = (styles or {}).get(number, "")
        lines.append(Text(cut(_line(fitted, row), width), style=style))
    return lines if len(lines) > 1 else [*lines, Text(nothing, style="dim")]


def _line(columns: Sequence[Column], cells: Sequence[str]) -> str:
    fitted = []
    for column, cell in zip(columns, cells, strict=True):
        text = _fit(cell, column.width, keep_end=column.keep_end)
        blank = " " * (column.width - cell_len(text))
        fitted.append(blank + text if column.is_number else text + blank)
    return " ".join(fitted).rstrip()


def _fit(text: str, width: int, *, keep_end: bool = False) -> str:
    """A text as it may be shown, in so many columns. It may have any length, so it is cut before it is looked at."""
    part = text[-2 * width - 1 :] if keep_end else text[: 2 * width + 1]
    return cut(in_one_line(part), width, keep_end=keep_end)


def _short(count: int) -> str:
    """A number in few columns: `12`, `12,345`, `234k`, `12M`."""
    if count < 100_000:
        return f"{count:,}"
    return f"{count / 1e3:.0f}k" if count < 10_000_000 else f"{count / 1e6:,.0f}M"


def _spread(left: str, right: str, width: int) -> str:
    return left + " " * max(width - cell_len(left) - cell_len(right), 1) + right


def _cropped(lines: Sequence[Text], room: int) -> list[Text]:
    """The first lines, and how many more there are."""
    if len(lines) <= room:
        return list(lines)
    if room < 2:
        return list(lines[:room])
    return [*lines[: room - 1], Text(f"and more: {len(lines) - room + 1} do not fit", style="dim")]


def _joined(sections: Sequence[Sequence[Text]]) -> list[Text]:
    """The sections, with an empty line before each."""
    return [line for section in sections if section for line in (Text(), *section)]


def _shared(needed: Sequence[int], room: int) -> list[int]:
    """How many lines each section gets, when one is lost before each: what it needs, or a fair share."""
    room -= len(needed)
    shares = [0] * len(needed)
    for done, index in enumerate(sorted(range(len(needed)), key=lambda index: needed[index])):
        shares[index] = min(needed[index], max(room, 0) // (len(needed) - done))
        room -= shares[index]
    return shares


def _beside(left: Sequence[Text], right: Sequence[Text], width: int) -> list[Text]:
    """Two sections side by side."""
    lines = []
    for number in range(max(len(left), len(right))):
        one = left[number].copy() if number < len(left) else Text()
        other = right[number] if number < len(right) else Text()
        one.append(" " * (width - one.cell_len + 2))
        one.append_text(other)
        one.rstrip()
        lines.append(one)
    return lines
