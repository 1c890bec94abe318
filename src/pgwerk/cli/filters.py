"""Which jobs a command is about: options that become the filters of `list_jobs` and its like."""

from __future__ import annotations

import difflib
import functools
import uuid
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from pgwerk import JobStatus
from pgwerk.cli.durations import Duration, ParamType

F = TypeVar("F", bound=Callable[..., Any])

STATUSES = tuple(status.value for status in JobStatus)


class Statuses(ParamType):
    """Statuses of jobs, separated by commas."""

    name = "status"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> list[JobStatus]:
        """Read them; what has been read is left as it is."""
        if isinstance(value, list):
            return value
        return [self._read(name.strip(), param, ctx) for name in str(value).split(",")]

    def _read(self, name: str, param: click.Parameter | None, ctx: click.Context | None) -> JobStatus:
        if name.lower() in STATUSES:
            return JobStatus(name.lower())
        near = difflib.get_close_matches(name.lower(), STATUSES, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        return self.fail(f"{name!r} is no status.{hint} There are {', '.join(STATUSES)}.", param, ctx)


def statuses_option(**more: Any) -> Callable[[F], F]:
    """The option `--status`: repeatable, or with commas, and one list in the end."""
    return click.option("--status", type=Statuses(), multiple=True, callback=_flat, metavar="STATUS[,STATUS]", **more)


def _flat(_ctx: click.Context, _param: click.Parameter, given: tuple[list[JobStatus], ...]) -> list[JobStatus] | None:
    return [status for statuses in given for status in statuses] or None


def _not_empty(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    """Refuse the text of a variable that is not set: with it, no filter would be left, and all jobs would be meant."""
    if value == "":
        raise click.BadParameter("must not be empty")
    return value


def _worker(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    try:
        return None if value is None else str(uuid.UUID(value))
    except ValueError:
        raise click.BadParameter(f"{value!r} is not the id of a worker, a UUID: see `werk workers`") from None


_OPTIONS: dict[str, Callable[[Any], Any]] = {
    "queue": click.option("--queue", "-q", metavar="NAME", help="Only of this queue."),
    "status": statuses_option(help="Only with this status; repeat it, or use commas, for several."),
    "function": click.option("--function", "-f", metavar="PATH", help="Only with this handler: its dotted path."),
    "search": click.option(
        "--search", "-s", metavar="TEXT", callback=_not_empty, help="Text in function, key, group, metadata or error."
    ),
    "group": click.option("--group", metavar="NAME", help="Only of this concurrency group."),
    "schedule_name": click.option("--schedule", "schedule_name", metavar="NAME", help="Only of this schedule."),
    "worker_id": click.option("--worker", "worker_id", metavar="ID", callback=_worker, help="Run by this worker."),
    "retried": click.option("--retried/--not-retried", default=None, help="Only those tried more than once, or not."),
    "older_than": click.option(
        "--older-than", type=Duration(), help="Ended so long ago; if they have not, enqueued so long ago."
    ),
}
"""By the names of the filters."""


def filter_options(func: F) -> F:
    """Give a command the filters; those that were given are passed on as `filters`."""

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        found = {name: kwargs.pop(name) for name in _OPTIONS}
        return func(*args, filters={name: value for name, value in found.items() if value is not None}, **kwargs)

    for option in reversed(_OPTIONS.values()):
        option(wrapper)
    return wrapper  # type: ignore[return-value]


def counts_line(counts: Mapping[JobStatus, int]) -> str:
    """How many jobs there are, and with which statuses: `3 jobs: 1 queued, 2 complete`."""
    total = sum(counts.values())
    parts = [f"{count:,} {status.value}" for status, count in counts.items() if count]
    return f"{many(total)}: {', '.join(parts)}" if total else "no jobs"


def many(count: int) -> str:
    """A number of jobs, as people say it."""
    return f"{count:,} job{'' if count == 1 else 's'}"
