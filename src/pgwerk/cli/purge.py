"""`werk purge`: delete finished jobs that nobody needs any more."""

from __future__ import annotations

import click

from pgwerk import JobStatus
from pgwerk.cli.bulk import Bulk, asked, progress, refuse_without_terminal
from pgwerk.cli.commands import Command, confirm_option, json_option
from pgwerk.cli.durations import Duration
from pgwerk.cli.failures import NOT_DONE, USAGE, Failure
from pgwerk.cli.filters import counts_line, many, statuses_option
from pgwerk.cli.output import note, print_json
from pgwerk.cli.session import Session

PURGE = Bulk("purge", "deleted", "purge_jobs")
DAY_SECS = 86400


@click.command(cls=Command, example="werk purge shop.jobs:werk --status complete,failed --older-than 7d --yes")
@statuses_option(required=True, help="Which ones: complete, failed, aborted, or several of these.")
@click.option("--older-than", type=Duration(), required=True, help="Only those that ended so long ago.")
@click.option("--dry-run", is_flag=True, help="Only say how many there are.")
@confirm_option
@json_option
def purge(
    session: Session, *, status: list[JobStatus], older_than: float, dry_run: bool, yes: bool, as_json: bool
) -> int:
    """Delete finished jobs with their history, if they ended long enough ago.

    That happens in batches, and nobody has to wait. A job whose callback has not run yet stays, and so does one that a
    waiting job is still to hear of; the next purge takes them.
    """
    unfit = [each.value for each in status or () if not each.is_terminal]
    if unfit:
        raise Failure(f"werk purge is for jobs that are complete, failed or aborted, not {', '.join(unfit)}", USAGE)
    counts = session.call(session.app.count_jobs, status=status, older_than=older_than)
    found = sum(counts.values())
    if found and not dry_run and not yes:
        refuse_without_terminal(f"this would delete {counts_line(counts)}")
    if not found or dry_run or not yes:
        note(counts_line(counts) if found else "there are no jobs to purge")
    wanted = bool(found) and not dry_run and (yes or asked(f"delete {many(found)}?"))
    deleted = _purge(session, status, older_than, found) if wanted else 0
    if as_json:
        print_json({"found": found, "done": deleted})
    elif wanted:
        click.echo(f"{many(deleted)} deleted")
    return 0 if wanted or dry_run or not found else NOT_DONE


def _purge(session: Session, status: list[JobStatus], older_than: float, found: int) -> int:
    with progress(PURGE, found) as on_batch:
        done: int = session.call(session.app.purge_jobs, status, older_than / DAY_SECS, on_batch=on_batch)
    return done
