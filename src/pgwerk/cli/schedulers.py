"""The scheduler that a worker carries: `werk worker APP --cron`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgwerk.cli.apps import load, looks_like_app
from pgwerk.cli.failures import USAGE, Failure

if TYPE_CHECKING:
    from pgwerk.cli.apps import App

THE_ONLY_ONE = ""
"""The value of the option `--cron` when it is given without a name."""


def choose_scheduler(app: App, given: str) -> Any:
    """The scheduler of an application: the only one, or the one that is named.

    Args:
        app: The application.
        given: `module:attribute`, or `THE_ONLY_ONE`.

    Raises:
        Failure: There is none, or it is not clear which.
    """
    if given != THE_ONLY_ONE:
        return _named(app, given)
    schedulers = app.schedulers
    if not schedulers:
        raise Failure(
            f"--cron: the application has no scheduler: {how_to_make_one(app)}; or name one that is elsewhere: "
            "--cron module:attribute",
            USAGE,
        )
    if len(schedulers) > 1:
        raise Failure(
            f"--cron: the application has {len(schedulers)} schedulers: name one of them, --cron module:attribute",
            USAGE,
        )
    return schedulers[0]


def how_to_make_one(app: App) -> str:
    """What to write so that an application has a scheduler."""
    from pgwerk import CronScheduler, SyncCronScheduler, Werk

    kind = CronScheduler if isinstance(app, Werk) else SyncCronScheduler
    return f"make one, {kind.__name__}(...) with the application as its argument, in a module that is imported with it"


def _named(app: App, name: str) -> Any:
    if not looks_like_app(name):
        raise Failure(f"--cron takes module:attribute, not {name!r}", USAGE)
    # Loaded first: by being made, it becomes one of the application's.
    found = load(name)
    if not any(found is scheduler for scheduler in app.schedulers):
        raise Failure(f"--cron: {name} is no scheduler of this application", USAGE)
    return found
