"""`werk cron`: what is enqueued again and again, and the scheduler that does it."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from pgwerk import ScheduleNotFound
from pgwerk.cli.commands import Command, json_option
from pgwerk.cli.failures import NOT_DONE, USAGE, Failure
from pgwerk.cli.output import ago, console, duration, print_json, table, text
from pgwerk.cli.session import Session
from pgwerk.cli.shown import in_one_line, visible

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

    from pgwerk import Job, Schedule

CHANGES = {"pause": "paused", "resume": "resumed", "delete": "deleted"}
ACTIONS = ("list", "pause", "resume", "trigger", "run", "delete")
WIDE = 100


@click.command(
    cls=Command, words="[ACTION] [NAME]...", most=None, example="werk cron shop.jobs:werk pause shop.jobs.clean_up"
)
@click.option("--all", "everything", is_flag=True, help="With pause and resume: all schedules.")
@json_option
def cron(session: Session, words: tuple[str, ...], *, everything: bool, as_json: bool) -> int:
    r"""Look at schedules, and change them, whatever process runs them.

    \b
    ACTION is one of
      list     the schedules: their state, and when they run next (the default)
      pause    let them run no more until they are resumed
      resume   let them go on; what was due meanwhile is not made up for
      trigger  enqueue a run now, and print the id of the job
      delete   delete them; a scheduler that still registers one writes it
               anew when it is started
      run      run the schedulers of APP in the foreground, until Ctrl-C or
               SIGTERM
    """
    action, names = words[0] if words else "list", words[1:]
    _check(action, names, everything=everything, as_json=as_json)
    if action == "run":
        from pgwerk.cli.scheduling import run_schedulers

        return run_schedulers(session)
    if action == "list":
        return _list(session, names, as_json=as_json)
    if everything:
        names = tuple(schedule.name for schedule in _schedules(session))
    return _change(session, action, names, as_json=as_json)


def _check(action: str, names: Sequence[str], *, everything: bool, as_json: bool) -> None:
    """Refuse what makes no sense.

    Raises:
        Failure: There is no such action, or it is about no schedule, or about too many.
    """
    if action not in ACTIONS:
        near = difflib.get_close_matches(action, ACTIONS, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise Failure(f"{action!r} is no action.{hint} There are {', '.join(ACTIONS)}", USAGE)
    if everything and (names or action not in {"pause", "resume"}):
        raise Failure("--all goes with pause and resume, without names", USAGE)
    if action == "run" and (names or as_json):
        raise Failure("werk cron run runs all schedulers of APP: it takes no names, and prints no data", USAGE)
    if action not in {"list", "run"} and not names and not everything:
        raise Failure(f"{action} which schedules? Give their names: `werk cron list` shows them", USAGE)


def _schedules(session: Session) -> list[Schedule]:
    found: list[Schedule] = session.call(session.app.list_schedules)
    return found


def _list(session: Session, names: Sequence[str], *, as_json: bool) -> int:
    found = _schedules(session)
    unknown = set(names) - {schedule.name for schedule in found}
    if unknown:
        raise Failure(f"there is no schedule {_or(sorted(unknown), found)}")
    shown = [schedule for schedule in found if not names or schedule.name in names]
    if as_json:
        print_json(shown)
        return 0
    screen = console()
    screen.print(drawn(shown, width=screen.width) if shown else "no schedules")
    return 0


def drawn(schedules: Sequence[Schedule], *, width: int, now: datetime | None = None) -> RenderableType:
    """The table: what a wide terminal has room for is left out in a narrow one, and a name is never cut."""
    now = now or datetime.now(UTC)
    columns: dict[str, Callable[[Schedule], Any]] = {
        "name": lambda schedule: visible(schedule.name),
        "runs": rhythm,
        "state": _state,
        "next": lambda schedule: "" if schedule.paused else ago(schedule.next_run_at, now),
        "last": lambda schedule: ago(schedule.last_run_at, now),
    }
    if width >= WIDE:
        columns["queue"] = lambda schedule: in_one_line(schedule.queue)
        columns["missed"] = lambda schedule: schedule.catch_up
        columns["overlap"] = lambda schedule: schedule.overlap
        columns["function"] = lambda schedule: in_one_line(schedule.function)
    rows = [[value(schedule) for value in columns.values()] for schedule in schedules]
    return table(list(columns), rows, gap=1 if width < WIDE else 2)


def rhythm(schedule: Schedule) -> str:
    """How often it runs, with the time zone if that is not UTC."""
    if schedule.cron is None:
        return f"every {duration(schedule.interval_secs).replace('.0 ', ' ')}"
    return in_one_line(schedule.cron if schedule.timezone == "UTC" else f"{schedule.cron} {schedule.timezone}")


def _state(schedule: Schedule) -> Text:
    if schedule.paused:
        return text("paused", style="yellow")
    if schedule.is_overdue:
        return text("overdue", style="red")
    return text("on", style="green")


def _change(session: Session, action: str, names: Sequence[str], *, as_json: bool) -> int:
    """Do it to each of these, and say what happened."""
    outcomes = [_change_one(session, action, name) for name in dict.fromkeys(names)]
    if as_json:
        print_json(outcomes)
    else:
        for each in outcomes:
            click.echo(visible(each["job"] or f"{each['name']} {each['reason'] or CHANGES[action]}"))
    return 0 if all(each["done"] for each in outcomes) else NOT_DONE


def _change_one(session: Session, action: str, name: str) -> dict[str, Any]:
    if action == "trigger":
        return _trigger(session, name)
    done = session.call(getattr(session.app, f"{action}_schedule"), name)
    reason = None if done else f"not {CHANGES[action]}: there is no such schedule"
    return {"name": name, "done": done, "job": None, "reason": reason}


def _trigger(session: Session, name: str) -> dict[str, Any]:
    try:
        job: Job | None = session.call(session.app.trigger_schedule, name)
    except ScheduleNotFound:
        return {"name": name, "done": False, "job": None, "reason": "not triggered: there is no such schedule"}
    reason = None if job else "not triggered: its last run has not finished, and it says overlap=skip"
    return {"name": name, "done": job is not None, "job": job and job.id, "reason": reason}


def _or(unknown: Sequence[str], found: Sequence[Schedule]) -> str:
    """A name that there is not, and the one that may have been meant."""
    near = difflib.get_close_matches(unknown[0], [schedule.name for schedule in found], n=1)
    return f"{unknown[0]!r}" + (f": did you mean {near[0]!r}?" if near else "")
