"""`werk cancel`, `abort`, `requeue` and `delete`: change jobs that are named, or all that some filters let through."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click
from attrs import field, frozen

from pgwerk import JobStatus
from pgwerk.cli.bulk import Bulk, change_found
from pgwerk.cli.commands import Command, confirm_option, json_option
from pgwerk.cli.failures import NOT_DONE, USAGE, Failure
from pgwerk.cli.filters import filter_options
from pgwerk.cli.naming import named_jobs
from pgwerk.cli.output import print_json
from pgwerk.cli.session import Session

UNSTARTED = (JobStatus.Scheduled, JobStatus.Queued, JobStatus.Waiting)
RUNNING = (JobStatus.Active, JobStatus.Aborting)
STOPPED = (JobStatus.Failed, JobStatus.Aborted)


@frozen(kw_only=True)
class Change:
    """What a command does to jobs.

    Attributes:
        bulk: How it is done to many.
        method: The method of the client that does it to one.
        fitting: The statuses of jobs that it can be done to.
        hints: What to do instead, by the status of a job that it cannot be done to.
    """

    bulk: Bulk
    method: str
    fitting: Sequence[JobStatus]
    hints: Mapping[JobStatus, str] = field(factory=dict)


CANCEL = Change(
    bulk=Bulk("cancel", "cancelled", "bulk_cancel_jobs"),
    method="cancel_job",
    fitting=UNSTARTED,
    hints=dict.fromkeys(RUNNING, "it runs: `werk abort` stops it"),
)
ABORT = Change(
    bulk=Bulk("abort", "asked to stop", "bulk_abort_jobs"),
    method="abort_job",
    fitting=RUNNING,
    hints=dict.fromkeys(UNSTARTED, "it has not started: `werk cancel` cancels it"),
)
REQUEUE = Change(
    bulk=Bulk("requeue", "requeued", "bulk_requeue_jobs"),
    method="requeue_job",
    fitting=STOPPED,
    hints={JobStatus.Complete: "it succeeded: enqueue it anew"},
)
DELETE = Change(
    bulk=Bulk("delete", "deleted", "bulk_delete_jobs", is_for_all=True), method="delete_job", fitting=tuple(JobStatus)
)


def _command(change: Change, example: str, text: str) -> click.Command:
    """The command for a change."""

    @click.command(name=change.bulk.verb, cls=Command, words="[ID]...", most=None, example=example, help=text)
    @filter_options
    @click.option("--all", "everything", is_flag=True, help="All jobs that this can be done to.")
    @click.option("--dry-run", is_flag=True, help="With filters: show what would be changed, and change nothing.")
    @confirm_option
    @json_option
    def command(
        session: Session,
        words: tuple[str, ...],
        *,
        filters: dict[str, Any],
        everything: bool,
        dry_run: bool,
        yes: bool,
        as_json: bool,
    ) -> int:
        _check(change, words, filters, everything=everything, dry_run=dry_run)
        if words:
            return _change_named(session, change, named_jobs(session, words), as_json=as_json)
        filters = {**filters, "status": filters.get("status", list(change.fitting))}
        return change_found(session, change.bulk, filters, yes=yes, dry_run=dry_run, as_json=as_json)

    return command


_SHARED = """

Name jobs by their ids, of which the beginning will do if no other job has it (at least 6 digits); the exit code is 1 if
it could not be done to one of them, with a line that says why. Or give filters: then this shows how many jobs there are
and asks before it changes exactly those, and none that come in meanwhile.
"""

cancel = _command(
    CANCEL,
    "werk cancel shop.jobs:werk --queue mail --older-than 1d",
    f"Cancel jobs that have not started: they end as aborted, and jobs that depend on them fail.{_SHARED}",
)
abort = _command(
    ABORT,
    "werk abort shop.jobs:werk 01926c1e-8f2a-7cc3-b27c-0f2d3c0a9e11",
    f"Stop running jobs: they end as aborted, and are not tried again.{_SHARED}",
)
requeue = _command(
    REQUEUE,
    "werk requeue shop.jobs:werk --status failed --function shop.jobs.send_mail --yes",
    f"Run failed and aborted jobs again, with as many attempts as new ones.{_SHARED}",
)
delete = _command(
    DELETE,
    "werk delete shop.jobs:werk --status aborted --group import",
    "Delete jobs and their history, whatever their status is. A running one is not stopped; what comes of it is"
    f" dropped. Jobs that wait for a deleted one fail.{_SHARED}",
)


def _check(
    change: Change, words: Sequence[str], filters: Mapping[str, Any], *, everything: bool, dry_run: bool
) -> None:
    """Refuse what makes no sense.

    Raises:
        Failure: Nothing was said about which jobs, or too much, or the filters ask for what cannot be done.
    """
    verb = change.bulk.verb
    if words and (filters or everything):
        raise Failure("give ids, or filters, and not both", USAGE)
    if words and dry_run:
        raise Failure("--dry-run goes with filters", USAGE)
    if everything and filters:
        raise Failure("give filters, or --all, and not both", USAGE)
    if not words and not filters and not everything:
        raise Failure(f"{verb} which jobs? Give their ids, or filters, or --all", USAGE)
    unfit = [status.value for status in filters.get("status", ()) if status not in change.fitting]
    if unfit:
        fitting = ", ".join(status.value for status in change.fitting)
        raise Failure(f"werk {verb} is for jobs that are {fitting}, not {', '.join(unfit)}", USAGE)


def _change_named(session: Session, change: Change, ids: Sequence[str], *, as_json: bool) -> int:
    """Change each of these jobs, and say what happened to it."""
    before = _statuses(session, ids)
    outcomes = [_change_one(session, change, job_id, before.get(job_id)) for job_id in ids]
    if as_json:
        print_json(outcomes)
    else:
        for each in outcomes:
            said = change.bulk.done if each["done"] else f"not {change.bulk.done}: {each['reason']}"
            click.echo(f"{each['id']} {said}")
    return 0 if all(each["done"] for each in outcomes) else NOT_DONE


def _change_one(session: Session, change: Change, job_id: str, status: JobStatus | None) -> dict[str, Any]:
    """Change a job that had this status, or (None) was not there."""
    done = status is not None and session.call(getattr(session.app, change.method), job_id) is not False
    reason = None
    if not done:
        # What kept it from being done may have come about only just now.
        status = status and _statuses(session, [job_id]).get(job_id)
        reason = _reason(change, status)
    return {"id": job_id, "done": done, "status": status, "reason": reason}


def _statuses(session: Session, ids: Sequence[str]) -> dict[str, JobStatus]:
    found: dict[str, JobStatus] = session.call(session.app.get_job_statuses, ids=ids)
    return found


def _reason(change: Change, status: JobStatus | None) -> str:
    if status is None:
        return "there is no such job"
    return change.hints.get(status, f"it is {status.value}")
