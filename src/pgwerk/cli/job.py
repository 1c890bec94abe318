"""`werk job`: everything of one job."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from pgwerk import ExecutionStatus, JobNotFound, JobStatus
from pgwerk.cli.commands import Command, json_option
from pgwerk.cli.failures import Failure
from pgwerk.cli.families import Parents, dependencies, dependents, named
from pgwerk.cli.jobs import took
from pgwerk.cli.naming import named_job
from pgwerk.cli.output import ago, console, duration, plain, print_json, status_text, table, text
from pgwerk.cli.session import Session
from pgwerk.cli.shown import block, cut, in_one_line, last_line, pretty, visible

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

    from pgwerk import Job, JobExecution

ATTEMPTS = 20
"""How many attempts are shown: the last ones."""


@click.command(
    cls=Command, words="ID", least=1, most=1, example="werk job shop.jobs:werk 01926c1e-8f2a-7cc3-b27c-0f2d3c0a9e11"
)
@click.option("--full", is_flag=True, help="Cut nothing, however long it is.")
@json_option
def job(session: Session, words: tuple[str, ...], *, full: bool, as_json: bool) -> None:
    """Show everything of one job: arguments, result, error, attempts, and the jobs before and after it.

    ID may be cut short: as many digits of its beginning as no other job has, and at least 6.
    """
    job_id = named_job(session, words[0])
    try:
        found = session.call(session.app.get_job, job_id)
        executions = session.call(session.app.get_executions, job_id)
    except JobNotFound as error:
        raise Failure(str(error)) from None
    parents, children = dependencies(session, job_id), dependents(session, job_id)
    if as_json:
        print_json({**plain(found), "executions": executions, "dependencies": parents, "dependents": children})
        return
    screen = console()
    for part in _parts(session, found, executions, parents, children, full=full, width=screen.width):
        screen.print(part)


def _parts(
    session: Session,
    found: Job,
    executions: Sequence[JobExecution],
    parents: Sequence[str],
    children: Sequence[str],
    *,
    full: bool,
    width: int,
) -> Iterator[RenderableType]:
    now = datetime.now(UTC)
    yield grid(fields(found, now))
    yield from _section("payload", block(pretty(found.payload), full=full))
    if found.meta is not None:
        yield from _section("meta", block(pretty(found.meta), full=full))
    if found.status is JobStatus.Complete:
        yield from _section("result", block(pretty(found.result), full=full))
    if found.error:
        yield from _section("error", block(found.error.rstrip(), full=full, keep_end=True))
    if executions:
        yield from _section("attempts", *attempts(found, executions, now, width=width, full=full))
    if parents:
        yield from _section("depends on", *Parents(session).lines(parents))
    if children:
        yield from _section("these depend on it", *(line for _, line in named(session, children)))


def _section(heading: str, *content: RenderableType) -> Iterator[RenderableType]:
    yield text("")
    yield text(heading, style="bold")
    yield from content


def grid(rows: Sequence[tuple[str, Text]]) -> Table:
    """Names and values, side by side."""
    from rich.table import Table

    result = Table.grid(padding=(0, 2))
    result.add_column(no_wrap=True)
    result.add_column(overflow="fold")
    for name, value in rows:
        result.add_row(name, value)
    return result


def fields(found: Job, now: datetime) -> list[tuple[str, Text]]:
    """What is known about a job, in an order for people; what is not set is left out."""
    attempts_made = f"{found.attempts} of {found.max_attempts}"
    rows: list[tuple[str, Any]] = [
        ("id", found.id),
        ("function", found.function),
        ("status", status_text(found.status)),
        ("queue", found.queue),
        ("priority", found.priority),
        ("attempts", attempts_made),
        *((name, _moment(getattr(found, f"{name}_at"), now)) for name in ("enqueued", "scheduled")),
        *((name, _moment(getattr(found, f"{name}_at"), now)) for name in ("started", "completed")),
        ("took" if found.completed_at else "runs for", _secs(took(found, now))),
        ("touched", _moment(found.touched_at, now)),
        ("expires", _moment(found.expires_at, now)),
        ("worker", found.worker_id),
        ("schedule", found.cron_name),
        ("key", found.key),
        ("group", found.group_key),
        ("timeout", _secs(found.timeout_secs)),
        ("heartbeat", _secs(found.heartbeat_secs)),
        ("ttl", _secs(found.ttl)),
        ("result ttl", _secs(found.result_ttl)),
        ("failure ttl", _secs(found.failure_ttl)),
        ("failure mode", found.failure_mode if found.failure_mode != "hold" else None),
        ("retries after", _intervals(found.retry_intervals)),
        ("runs to follow", found.repeat_remaining),
        ("repeats after", _intervals(found.repeat_intervals) or _secs(found.repeat_interval_secs)),
        ("on success", found.on_success),
        ("on failure", found.on_failure),
        ("on stopped", found.on_stopped),
    ]
    return [
        (name, value if name == "status" else text(in_one_line(str(value))))
        for name, value in rows
        if value is not None
    ]


def _moment(value: datetime | None, now: datetime) -> str | None:
    return None if value is None else f"{value:%Y-%m-%d %H:%M:%S.%f} UTC, {ago(value, now)}"


def _secs(value: float | None) -> str | None:
    if value is None:
        return None
    said = duration(value)
    return said if value < 120 else f"{said} ({value:,.0f} s)"


def _intervals(value: Sequence[int] | None) -> str | None:
    return ", ".join(duration(secs) for secs in value) if value else None


def attempts(
    found: Job, executions: Sequence[JobExecution], now: datetime, *, width: int, full: bool
) -> Iterator[RenderableType]:
    """The attempts: a table of their times, and under it what went wrong."""
    shown = executions if full else executions[-ATTEMPTS:]
    if len(shown) < len(executions):
        yield text(f"  ({len(executions) - len(shown):,} before these: --full shows all)")
    has_memory = any(each.max_memory for each in shown)
    day = "%m-%d" if has_memory else "%Y-%m-%d"
    columns = {
        "   ": [f"  {each.attempt}" for each in shown],
        "status": [_outcome(each) for each in shown],
        "started (UTC)": ["" if each.started_at is None else f"{each.started_at:{day} %H:%M:%S}" for each in shown],
        "took": [duration(_took(each, now)) for each in shown],
    }
    if has_memory:
        columns["memory"] = [f"{(each.max_memory or 0) / 1_048_576:,.0f} MiB" for each in shown]
    if any(each.worker_id != found.worker_id for each in shown):
        columns["worker"] = [each.worker_id or "" for each in shown]
    yield table(list(columns), zip(*columns.values(), strict=True), gap=1)
    for each in shown:
        if not each.error:
            continue
        if full:
            yield text(f"  error of attempt {each.attempt}")
            yield text("\n".join(f"    {visible(line)}" for line in each.error.rstrip().split("\n")))
        else:
            yield text(cut(f"  {each.attempt}: {last_line(each.error)}", max(width, 80)))


def _took(execution: JobExecution, now: datetime) -> float | None:
    started, ended = execution.started_at, execution.completed_at or now
    return None if started is None else (ended - started).total_seconds()


def _outcome(execution: JobExecution) -> Text:
    style = {ExecutionStatus.Complete: "green", ExecutionStatus.Failed: "red", ExecutionStatus.Aborted: "yellow"}
    return text(execution.status.value, style=style.get(execution.status, "bold"))
