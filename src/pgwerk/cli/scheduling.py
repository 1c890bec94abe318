"""`werk cron run`: the schedulers of an application, in the foreground."""

from __future__ import annotations

import asyncio
import inspect
import os
import signal
import threading
from collections.abc import Sequence
from typing import Any

from pgwerk.cli.failures import INTERRUPTED, USAGE, Failure
from pgwerk.cli.schedulers import how_to_make_one
from pgwerk.cli.serving import LogOptions
from pgwerk.cli.session import Session
from pgwerk.cli.stopping import signals_handled


def run_schedulers(session: Session) -> int:
    """Run all schedulers of the application until a signal stops them, and return the exit code.

    The first signal lets the ticks end that are under way. A second one does not wait for them: a tick is one
    transaction, and what has not been committed will be done by whichever scheduler comes next.

    Raises:
        Failure: The application has none.
        psycopg.Error: The database cannot be reached at the start.
    """
    schedulers = session.app.schedulers
    if not schedulers:
        raise Failure(f"the application has no scheduler: {how_to_make_one(session.app)}", USAGE)
    LogOptions().apply()
    session.call(session.app.connect)
    received: list[signal.Signals] = []

    def on_signal(number: signal.Signals) -> None:
        received.append(number)
        if len(received) > 1:
            os._exit(INTERRUPTED)
        _stop(schedulers)

    with signals_handled(on_signal, lambda: None):
        if inspect.iscoroutinefunction(schedulers[0].run):
            session.run(_run_together, schedulers)
        else:
            _run_in_threads(schedulers)
    return 0


def _stop(schedulers: Sequence[Any]) -> None:
    for scheduler in schedulers:
        scheduler.stop()


async def _run_together(schedulers: Sequence[Any]) -> None:
    """Run them on one event loop, until all have been stopped or one fails."""
    await asyncio.gather(*(scheduler.run() for scheduler in schedulers))


def _run_in_threads(schedulers: Sequence[Any]) -> None:
    """Run each in a thread, as signals come to this one. If one fails, the others are stopped."""
    errors: list[Exception] = []

    def run(scheduler: Any) -> None:
        try:
            scheduler.run()
        except Exception as error:  # the command ends with it
            errors.append(error)
            _stop(schedulers)

    threads = [threading.Thread(target=run, args=[scheduler], daemon=True) for scheduler in schedulers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
