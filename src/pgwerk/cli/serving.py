"""One process that runs a worker, from loading the application to its end."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

from attrs import frozen

from pgwerk import configure_logging
from pgwerk.cli import stopping
from pgwerk.cli.failures import INTERRUPTED
from pgwerk.cli.reloading import source_folder
from pgwerk.cli.session import Session
from pgwerk.cli.stopping import LastResort, Steps
from pgwerk.cli.supervised import NOW, READY, WATCH, Line

if TYPE_CHECKING:
    from pgwerk import BaseWorker
    from pgwerk.cli.apps import App

logger = logging.getLogger("pgwerk.cli")

HOOKS_SECS = 3.0
"""What the shutdown hooks may take when handlers still run: their jobs start elsewhere soon."""

LAST_SECS = 15.0
"""What a worker may take to end, beside the time that it gives its jobs and the database."""


@frozen
class LogOptions:
    """What was said on the command line about the log; None for what was not said."""

    level: str | None = None
    format: str | None = None
    color: bool | None = None

    def apply(self) -> None:
        """Print the log, unless the application has seen to that by itself.

        Raises:
            ValueError: There is no such level.
        """
        root = logging.getLogger("pgwerk")
        if (self.level, self.format, self.color) != (None, None, None) or not root.hasHandlers():
            configure_logging(self.level or root.level or None, self.format, self.color)


def serve(session: Session, make_worker: Callable[[App], BaseWorker], log: LogOptions, line: Line | None) -> int:
    """Run a worker until it ends, and return the exit code.

    Args:
        session: Has the application.
        make_worker: Makes the worker.
        log: About the log.
        line: The line to the supervisor, if there is one.

    Raises:
        Failure, SchemaVersionMismatch, psycopg.Error: The worker cannot start.
    """
    app = session.app
    if line is not None and (folder := _source_folder(session)) is not None:
        line.say(WATCH, folder)
    log.apply()
    worker = make_worker(app)
    session.connect()
    logger.info("%s", describe(worker))
    try:
        session.run(_run, worker, line)
    except BaseException:
        if worker.has_left_running:
            traceback.print_exc()
            end_process(session, 1)
        raise
    if worker.has_left_running:
        end_process(session, 0)
    # An orderly stop is a success also when it was a signal that asked for it: service managers send SIGTERM to stop a
    # program, and would take another code for a crash.
    return 0


def describe(worker: BaseWorker) -> str:
    """What runs, in a line: without the password, which logs must not have."""
    from psycopg import conninfo

    app = worker.app
    parts = conninfo.conninfo_to_dict(app.dsn)
    names = ("service", "host", "hostaddr", "port", "dbname", "user")
    database = " ".join(f"{name}={parts[name]}" for name in names if parts.get(name)) or "the default database"
    return (
        f"{worker.kind} worker (pid {os.getpid()}): queues {', '.join(worker.queues)}; "
        f"concurrency {worker.concurrency}; {database}, schema {app.config.schema}"
    )


async def _run(worker: BaseWorker, line: Line | None) -> None:
    import asyncio

    loop = asyncio.get_running_loop()
    last_resort = _last_resort(worker)

    def stop() -> None:
        last_resort.begin()
        worker.stop()

    steps = Steps(stop, lambda: worker.stop(now=True), lambda: os._exit(INTERRUPTED))

    def on_signal(number: signal.Signals) -> None:
        if steps.taken == 0:
            # Not from here: this may have come in between while something else was being logged.
            text = "%s: stopping; %s"
            loop.call_soon_threadsafe(logger.info, text, number.name, stopping.how_to_go_on(number))
        steps.on_signal()

    def begin() -> None:
        if line is not None:
            line.obey(lambda order: steps.at_least(2 if order == NOW else 1))
            line.say(READY)

    try:
        with stopping.signals_handled(on_signal, worker.report):
            # By then it runs, and can be stopped.
            loop.call_soon(begin)
            await worker.run()
    finally:
        last_resort.end()


def _last_resort(worker: BaseWorker) -> LastResort:
    """Ends the process when the worker does not: a handler that blocks the event loop keeps it from stopping."""
    # Jobs that run are waited for, and then the database that is to hear of them.
    secs = 2 * (worker.shutdown_timeout + worker.app.config.sigterm_grace) + LAST_SECS

    def end() -> None:
        text = "the worker has not ended %g s after it was told to, and is ended: its jobs are going to be rescued"
        logger.critical(text, secs)
        _exit(1)

    return LastResort(secs, end)


def _source_folder(session: Session) -> str | None:
    name = session.target.name
    folder = None if name is None else source_folder(name.partition(":")[0])
    return None if folder is None else str(folder)


def end_process(session: Session, code: int) -> NoReturn:
    """End the process with the handlers that still run in it, which nothing else ends."""
    ending = threading.Timer(HOOKS_SECS, _exit, [code])
    ending.daemon = True
    ending.start()
    try:
        session.disconnect()
    except Exception:  # the hooks are the application's
        logger.exception("a shutdown hook failed")
    _exit(code)


def _exit(code: int) -> NoReturn:
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # a handler may have closed it
            stream.flush()
    os._exit(code)
