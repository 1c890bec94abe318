"""`werk enqueue`: enqueue a job by hand, and perhaps wait for it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from pgwerk import Dependency, EnqueueParams, FailureMode, JobNotFound, JobStatus, SerializationError
from pgwerk.cli.commands import Command, json_option
from pgwerk.cli.durations import Duration, ParamType
from pgwerk.cli.failures import NOT_DONE, USAGE, Failure
from pgwerk.cli.handlers import check_handler
from pgwerk.cli.json_values import Json
from pgwerk.cli.naming import named_jobs
from pgwerk.cli.output import duration, note, print_json
from pgwerk.cli.session import Session
from pgwerk.cli.shown import last_line

if TYPE_CHECKING:
    from pgwerk import Job

SECONDS = Duration(whole=True)
SOME_SECONDS = Duration(whole=True, least=1)

POLL_SECS = 1.0


class Moment(ParamType):
    """A point in time, in ISO 8601."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Read it; one without a zone is in UTC."""
        if isinstance(value, datetime):
            return value
        try:
            found = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no time: write 2026-11-23T18:30 (UTC) or 2026-11-23T18:30+01:00", param, ctx)
        return found if found.tzinfo else found.replace(tzinfo=UTC)


@click.command(
    cls=Command,
    words="FUNCTION",
    least=1,
    most=1,
    example='werk enqueue shop.jobs:werk shop.jobs.send_mail --kwargs \'{"to": "ann@example.org"}\' --wait',
)
@click.option("--args", type=Json(list, "'[1, \"two\"]'"), metavar="JSON", help="Positional arguments: an array.")
@click.option("--kwargs", type=Json(dict, "'{\"a\": 1}'"), metavar="JSON", help="Keyword arguments: an object.")
@click.option("--queue", "-q", metavar="NAME", help="Queue.  [default: default]")
@click.option("--priority", type=int, help="Higher ones run first.  [default: 0]")
@click.option("--delay", type=Duration(), help="Not before so long from now.")
@click.option("--at", type=Moment(), metavar="TIME", help="Not before this time: ISO 8601, without a zone in UTC.")
@click.option("--retry", type=click.IntRange(min=1), help="Number of attempts.  [default: 1]")
@click.option("--timeout", type=SOME_SECONDS, help="How long an attempt may take.")
@click.option("--heartbeat", type=SOME_SECONDS, help="Within what time it must be heard of while it runs.")
@click.option("--key", metavar="TEXT", help="Idempotency key: while a job has it, no other one gets it.")
@click.option("--group", metavar="NAME", help="Concurrency group: one of its jobs runs at a time.")
@click.option("--meta", type=Json(dict, "'{\"a\": 1}'"), metavar="JSON", help="Metadata: an object.")
@click.option("--result-ttl", type=SECONDS, help="How long the row is kept after success.")
@click.option("--failure-ttl", type=SECONDS, help="How long the row is kept after a failure.")
@click.option("--ttl", type=SECONDS, help="Within what time it must start.")
@click.option("--depends-on", metavar="ID", multiple=True, help="Not before this job has succeeded; repeatable.")
@click.option("--allow-failure", is_flag=True, help="It also runs when a job it depends on has failed.")
@click.option("--failure-mode", type=click.Choice([mode.value for mode in FailureMode]), help="What a failure leaves.")
@click.option("--no-check", is_flag=True, help="Do not look whether the function is here.")
@click.option("--wait", is_flag=True, help="Wait for its end, and print the result as JSON.")
@click.option("--wait-timeout", type=Duration(), help="How long to wait at most.")
@json_option
def enqueue(
    session: Session,
    words: tuple[str, ...],
    *,
    args: list[Any] | None,
    kwargs: dict[str, Any] | None,
    depends_on: tuple[str, ...],
    allow_failure: bool,
    no_check: bool,
    wait: bool,
    wait_timeout: float | None,
    as_json: bool,
    **options: Any,
) -> int:
    """Enqueue a job, and print its id.

    With --wait, its result is printed in the place of the id, and a failure is an exit code of 1 and the error's last
    line. With --json, the whole job is printed. A job whose key exists already is not enqueued; the exit code is 1.
    """
    if wait_timeout is not None and not wait:
        raise Failure("--wait-timeout goes with --wait", USAGE)
    if allow_failure and not depends_on:
        raise Failure("--allow-failure goes with --depends-on", USAGE)
    if not no_check:
        check_handler(words[0])
    given = {name: value for name, value in options.items() if value is not None}
    if depends_on:
        parents = named_jobs(session, depends_on)
        given["depends_on"] = [Dependency(job_id, allow_failure=allow_failure) for job_id in parents]
    spec = EnqueueParams(words[0], args=tuple(args or ()), kwargs=kwargs or {}, **given)
    job = _enqueue(session, spec)
    if wait:
        return _wait(session, job, wait_timeout, as_json=as_json)
    if as_json:
        print_json(job)
    else:
        click.echo(job.id)
    return 0


def _enqueue(session: Session, spec: EnqueueParams) -> Job:
    """Enqueue a job; what the client says of an option is said of the option of the command.

    Raises:
        Failure: It was refused, or its key exists already.
    """
    try:
        jobs: Sequence[Job | None] = session.call(session.app.enqueue_many, [spec])
    except (TypeError, ValueError, SerializationError) as error:
        raise Failure(_OPTION.sub(_as_option, str(error)), USAGE) from error
    except JobNotFound as error:
        raise Failure(f"--depends-on: {error}") from error
    if jobs[0] is None:
        raise Failure(f"a job with the key {spec.key!r} exists already: nothing was enqueued")
    return jobs[0]


_OPTION = re.compile(r"specs\[0\]\.(\w+)")


def _as_option(found: re.Match[str]) -> str:
    return "the function" if found[1] == "func" else f"--{found[1].replace('_', '-')}"


def _wait(session: Session, job: Job, timeout: float | None, *, as_json: bool) -> int:
    """Wait for the end of a job, and print what came of it.

    Raises:
        Failure: It did not succeed, or not in time.
    """
    note(f"job {job.id}")
    try:
        ended: Job = session.call(session.app.wait_for, job.id, timeout=timeout, poll_interval=POLL_SECS)
    except TimeoutError:
        raise Failure(f"job {job.id} has not ended after {duration(timeout)}, and goes on") from None
    except JobNotFound:
        raise Failure(f"job {job.id} has been removed before its result could be read") from None
    except KeyboardInterrupt:
        note(f"job {job.id} goes on: `werk job {job.id}` shows it")
        raise
    if as_json:
        print_json(ended)
    elif ended.status is JobStatus.Complete:
        print_json(ended.result)
    if ended.status is JobStatus.Complete:
        return 0
    note(f"job {job.id} {ended.status.value}: {last_line(ended.error)}")
    return NOT_DONE
