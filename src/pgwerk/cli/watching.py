"""Drawing the same thing again and again, until somebody presses Ctrl-C."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import click

from pgwerk.cli.commands import Command
from pgwerk.cli.durations import Duration, parse
from pgwerk.cli.failures import USAGE, Failure
from pgwerk.cli.shown import in_one_line

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

DEFAULT = "2s"


class WatchingCommand(Command):
    """A command with the option `--watch`, whose value can be left out, also before APP."""

    def parse_args(self, ctx: click.Context, args: Sequence[str]) -> list[str]:
        """Say how often, where that was not said."""
        return super().parse_args(ctx, with_interval(args))


def with_interval(args: Sequence[str]) -> list[str]:
    """The arguments, with an interval after each `--watch`: without one it would take APP for it."""
    result = []
    for place, word in enumerate(args):
        follows = args[place + 1] if place + 1 < len(args) else ""
        result.append(f"--watch={DEFAULT}" if word == "--watch" and parse(follows) is None else word)
    return result


watch_option = click.option(
    "--watch",
    type=Duration(least=0.1),
    metavar="[DURATION]",
    help=f"Draw it again and again, by default every {DEFAULT}. Ctrl-C ends that; the exit code is 0.",
)


def watch(draw: Callable[[Console], RenderableType], interval: float) -> None:
    """Draw on the whole screen until Ctrl-C.

    While the database cannot be reached, what was drawn last stays, with a line that says so.

    Args:
        draw: Makes what is to be drawn, for a console of that size.
        interval: Seconds between two drawings. When one took longer than that, so long is waited before the next: what
            watches the database is not to be what keeps it busy.

    Raises:
        Failure: This is no terminal.
    """
    if not sys.stdout.isatty():
        raise Failure("--watch draws on a terminal, and this is none", USAGE)
    import psycopg
    from rich.console import Console, Group
    from rich.live import Live
    from rich.text import Text

    console = Console(highlight=False, markup=False, emoji=False)
    try:
        last = draw(console)
        with Live(last, console=console, screen=True, auto_refresh=False, vertical_overflow="crop") as live:
            while True:
                begun = time.monotonic()
                try:
                    last = draw(console)
                    shown = last
                except psycopg.OperationalError as error:
                    shown = Group(Text(f"no answer from the database: {in_one_line(str(error))}", style="bold"), last)
                live.update(shown, refresh=True)
                time.sleep(max(interval, time.monotonic() - begun))
    except KeyboardInterrupt:
        return
