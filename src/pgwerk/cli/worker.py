"""`werk worker`: run jobs until told to stop, in one process or in several."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pgwerk import DequeueStrategy
from pgwerk.cli.apps import looks_like_app
from pgwerk.cli.commands import Command
from pgwerk.cli.failures import USAGE, Failure
from pgwerk.cli.schedulers import THE_ONLY_ONE, choose_scheduler
from pgwerk.cli.serving import LogOptions, serve
from pgwerk.cli.session import Session
from pgwerk.cli.supervised import Line

if TYPE_CHECKING:
    from pgwerk import BaseWorker
    from pgwerk.cli.apps import App

KINDS = ("async", "thread", "process", "fork")

_ONLY_FOR = {"max_jobs_per_child": ("process",), "preload": ("process", "fork")}
"""Options that not all kinds of workers have."""


class WorkerCommand(Command):
    """Knows that the word after `--cron`, whose value may be left out, can be the application."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Tell the application from the other words."""
        return super().parse_args(ctx, with_app(args) if ctx.obj is None else args)


def with_app(args: list[str]) -> list[str]:
    """The arguments, with a `--cron` that leaves the word after it alone if there is no other application."""
    if "--cron" not in args:
        return args
    place = args.index("--cron")
    before, after = args[:place], args[place + 1 :]
    rest = [*before, *after[1:]]
    is_app_elsewhere = any(looks_like_app(word) or word.startswith("--dsn") for word in rest)
    is_app_elsewhere = is_app_elsewhere or bool(os.environ.get("PGWERK_APP"))
    if is_app_elsewhere or not after or not looks_like_app(after[0]):
        return args
    return [*before, f"--cron={THE_ONLY_ONE}", *after]


def _names(_: click.Context, option: click.Parameter, value: str | None) -> tuple[str, ...]:
    """A list of names, separated by commas."""
    if value is None:
        return ()
    names = tuple(name.strip() for name in value.split(","))
    if not all(names):
        raise Failure(f"--{option.name} takes names separated by commas, not {value!r}", USAGE)
    return names


@click.command(cls=WorkerCommand, example="werk worker shop.jobs:werk --queues mail,default --concurrency 20")
@click.option(
    "--queues",
    "-q",
    metavar="NAMES",
    default="default",
    show_default=True,
    callback=_names,
    help="Queues to take jobs from, separated by commas.",
)
@click.option(
    "--concurrency",
    "-c",
    metavar="N",
    type=click.IntRange(1, 10_000),
    default=10,
    help="Jobs at one time.  [default: 10]",
)
@click.option("--kind", "-k", type=click.Choice(KINDS), default="async", help="What jobs run in.  [default: async]")
@click.option("--burst", is_flag=True, help="End when nothing is left to do.")
@click.option(
    "--cron",
    is_flag=False,
    flag_value=THE_ONLY_ONE,
    metavar="[MODULE:ATTRIBUTE]",
    help="Run the application's scheduler as well; with a name if it has several. With --processes, each of them does: "
    "every tick is enqueued once all the same.",
)
@click.option(
    "--processes", metavar="N", type=click.IntRange(1), default=1, help="Processes, started again if they die."
)
@click.option("--reload", is_flag=True, help="Start again when a source file changes; for development.")
@click.option(
    "--strategy",
    "dequeue_strategy",
    type=click.Choice([each.value for each in DequeueStrategy]),
    help="From which of several queues the next job is taken.  [default: priority]",
)
@click.option(
    "--poll-interval",
    metavar="SECS",
    type=click.FloatRange(min=0, min_open=True),
    help="Between looks for work that nobody announces.",
)
@click.option(
    "--shutdown-timeout",
    metavar="SECS",
    type=click.FloatRange(min=0),
    help="What jobs may take to end when the worker stops.",
)
@click.option(
    "--max-jobs-per-child", metavar="N", type=click.IntRange(1), help="With --kind process: then a fresh child."
)
@click.option(
    "--preload",
    metavar="MODULES",
    callback=_names,
    help="With --kind process or fork: imported before children are forked.",
)
@click.option("--log-level", metavar="LEVEL", help="DEBUG, INFO, WARNING or ERROR.  [default: INFO]")
@click.option(
    "--log-format", type=click.Choice(["text", "json"]), help="One line of text, or one JSON object, a record."
)
@click.option("--log-color/--no-log-color", default=None, help="Colour levels.  [default: in a terminal]")
def worker(
    session: Session,
    *,
    processes: int,
    reload: bool,
    cron: str | None,
    kind: str,
    log_level: str | None,
    log_format: str | None,
    log_color: bool | None,
    **options: Any,
) -> int:
    """Run jobs until told to stop.

    The first SIGINT (Ctrl-C) or SIGTERM stops it in order: it claims nothing more, lets its jobs end, and gives back
    those that take longer than --shutdown-timeout. A second one gives back at once what still runs, and a third one
    ends the process. SIGUSR1 logs what runs, with stacks.
    """
    line = Line.take_up()
    log = LogOptions(log_level, log_format, log_color)
    options = {name: value for name, value in options.items() if value not in {None, ()}}
    _check(kind, options, reload=reload)
    if line is None and (processes > 1 or reload):
        return _supervise(processes, log, burst=options["burst"], reload=reload)

    def make_worker(app: App) -> BaseWorker:
        _check_modules(options.get("preload", ()))
        scheduler = {} if cron is None else {"scheduler": choose_scheduler(app, cron)}
        return _worker_class(kind)(app, exits_hard=True, handle_signals=False, **scheduler, **options)

    return serve(session, make_worker, log, line)


def _check(kind: str, options: dict[str, Any], *, reload: bool) -> None:
    for name, kinds in _ONLY_FOR.items():
        if name in options and kind not in kinds:
            raise Failure(f"--{name.replace('_', '-')} is for --kind {' or '.join(kinds)}", USAGE)
    if reload and options["burst"]:
        raise Failure("--reload and --burst cannot be given together", USAGE)


def _check_modules(names: Iterable[str]) -> None:
    """Refuse modules that are not there. They are imported elsewhere, where it cannot be said in a line."""
    for name in names:
        if importlib.util.find_spec(name.partition(".")[0]) is None:
            raise Failure(f"--preload: there is no module {name!r}", USAGE)


def _supervise(processes: int, log: LogOptions, *, burst: bool, reload: bool) -> int:
    if os.name == "nt":
        raise Failure("--processes and --reload need a system with Unix signals: start several workers", USAGE)
    import asyncio

    from pgwerk.cli.reloading import Sources
    from pgwerk.cli.supervising import Supervisor

    log.apply()
    sources = Sources(Path.cwd()) if reload else None
    # In the way in which this process was started, be it as a script, as a module, or by a framework's own command.
    command = [sys.executable, *sys.orig_argv[1:]]
    return asyncio.run(Supervisor(command, processes, burst=burst, sources=sources).run())


def _worker_class(kind: str) -> type[BaseWorker]:
    # Other commands need not load the engine.
    from pgwerk import AsyncWorker, ForkWorker, ProcessWorker, ThreadWorker

    return {each.kind: each for each in (AsyncWorker, ThreadWorker, ProcessWorker, ForkWorker)}[kind]
