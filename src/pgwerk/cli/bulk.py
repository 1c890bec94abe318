"""Changing many jobs: first how many there are, then a question, then exactly those."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import click
from attrs import frozen

from pgwerk import JobStatus
from pgwerk.cli.failures import NOT_DONE, USAGE, Failure
from pgwerk.cli.filters import counts_line, many
from pgwerk.cli.output import ago, note, print_json
from pgwerk.cli.session import Session
from pgwerk.cli.shown import in_one_line

if TYPE_CHECKING:
    from rich.progress import Progress

    from pgwerk import Job

EXAMPLES = 3


@frozen
class Bulk:
    """What is done to many jobs.

    Attributes:
        verb: What it is called: "cancel".
        done: What has become of a job then: "cancelled".
        method: The method of the client that does it to jobs with given ids.
        is_for_all: Whether it can be done whatever the status of a job is. Then the method is told what was asked for:
            a job that has another status by then is not meant.
    """

    verb: str
    done: str
    method: str
    is_for_all: bool = False


def change_found(
    session: Session, bulk: Bulk, filters: Mapping[str, Any], *, yes: bool, dry_run: bool, as_json: bool
) -> int:
    """Change the jobs that the filters let through now, if the user wants that; returns the exit code."""
    statuses: dict[str, JobStatus] = session.call(session.app.get_job_statuses, **filters)
    if not agreed(session, bulk.verb, statuses, yes=yes, dry_run=dry_run):
        if as_json:
            print_json({"found": len(statuses), "done": 0})
        return 0 if dry_run or not statuses else NOT_DONE
    method = getattr(session.app, bulk.method)
    still = {"status": filters.get("status")} if bulk.is_for_all else {}
    with progress(bulk, len(statuses)) as on_batch:
        done = session.call(method, ids=list(statuses), on_batch=on_batch, **still)
    if as_json:
        print_json({"found": len(statuses), "done": done})
    else:
        click.echo(outcome(bulk, len(statuses), done))
    return 0


def outcome(bulk: Bulk, found: int, done: int) -> str:
    """What has come of it."""
    if done == found:
        return f"{many(done)} {bulk.done}"
    left = found - done
    return f"{many(done)} {bulk.done}; {left:,} had changed meanwhile, and {'was' if left == 1 else 'were'} left alone"


def agreed(session: Session, verb: str, statuses: Mapping[str, JobStatus], *, yes: bool, dry_run: bool) -> bool:
    """Show which jobs a change would be about, and ask.

    Args:
        session: The session.
        verb: The change: "cancel".
        statuses: The jobs by id.
        yes: Whether not to ask.
        dry_run: Whether to leave it at showing.

    Returns:
        Whether to go on.

    Raises:
        Failure: There is nobody to ask.
    """
    if not statuses:
        note(f"there are no jobs to {verb}")
        return False
    counts = Counter(statuses.values())
    line = counts_line({status: counts[status] for status in JobStatus})
    if yes and not dry_run:
        return True
    if not dry_run:
        refuse_without_terminal(f"this would {verb} {line}")
    note(f"{line}, for instance")
    ids = list(statuses)
    for job in session.call(session.app.list_jobs, ids=ids[:EXAMPLES], limit=EXAMPLES):
        note(f"  {in_brief(job)}")
    return not dry_run and asked(f"{verb} {'it' if len(ids) == 1 else 'them'}?")


def in_brief(job: Job) -> str:
    """A job in one line."""
    return in_one_line(f"{job.id} {job.status.value} {ago(job.enqueued_at)} {job.queue} {job.function}")


def refuse_without_terminal(what: str) -> None:
    """End the command when there is nobody to ask.

    Raises:
        Failure: The standard input is no terminal.
    """
    if not sys.stdin.isatty():
        raise Failure(f"{what}: pass --yes, as there is no terminal to ask on", USAGE)


def asked(question: str) -> bool:
    """Ask, and say so when nothing was changed."""
    if click.confirm(question, err=True):
        return True
    note("nothing was changed")
    return False


@contextmanager
def progress(bulk: Bulk, total: int) -> Iterator[Callable[[int], None]]:
    """A bar on the error stream, if that is a terminal; gives a function that is told how far it has come.

    When it ends early, what had been done by then is said.
    """
    import psycopg  # the application has done so

    bar = _bar(bulk.verb, total)
    done = 0

    def on_batch(count: int) -> None:
        nonlocal done
        done = count
        if bar is not None:
            bar.update(bar.task_ids[0], completed=count)

    with bar or nullcontext():
        try:
            yield on_batch
        except (KeyboardInterrupt, psycopg.Error):
            if bar is not None:
                bar.stop()
            note(f"ended early: at least {done:,} of {many(total)} {bulk.done}")
            raise


def _bar(verb: str, total: int) -> Progress | None:
    if not sys.stderr.isatty():
        return None
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    screen = Console(stderr=True, highlight=False, markup=False)
    columns = (TextColumn(verb), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=screen, transient=True)
    bar.add_task(verb, total=total)
    return bar
