"""`werk top`: queues, workers, running jobs and throughput, live."""

from __future__ import annotations

import os
import sys
import time
from datetime import UTC, datetime

import click
import psycopg
from attrs import define, field
from rich.console import Console
from rich.text import Text

from pgwerk import Overview
from pgwerk.cli.commands import Command
from pgwerk.cli.durations import Duration
from pgwerk.cli.failures import USAGE, Failure
from pgwerk.cli.frames import MOST_RUNNING, View, draw
from pgwerk.cli.screen import Screen
from pgwerk.cli.session import Session
from pgwerk.cli.sparklines import bars

SLICES = 30
"""Numbers in a sparkline, each of them for one interval."""

IDLE_FACTOR = 9.0
"""A look at a backlog of millions takes seconds: the database is to have more to do than to be watched."""

ANSWER_SECS = 15.0
"""A look that takes longer is given up, and made again later."""

SHORTEST_SECS, LONGEST_SECS = 0.5, 60.0
WIDTH = 100
"""Columns of one frame where there is no terminal."""


@click.command(cls=Command, example="werk top shop.jobs:werk --interval 5s")
@click.option(
    "--interval", type=Duration(least=SHORTEST_SECS), default="2s", show_default=True, help="Time between looks."
)
@click.option("--once", is_flag=True, help="Print one frame, and end.")
def top(session: Session, *, interval: float, once: bool) -> int:
    """Watch queues, workers, running jobs and throughput.

    Keys: q quits, p pauses and goes on, space looks at once, + and - change the interval. The database may go away and
    come back meanwhile. Throughput is that of the last interval, in attempts that ended. Looks that take long are made
    less often.
    """
    if interval > LONGEST_SECS:
        raise Failure(
            f"--interval must be at most {LONGEST_SECS:.0f}s: a screen that changes less often is no live one", USAGE
        )
    if once:
        print_frame(session, interval)
        return 0
    if not sys.stdout.isatty():
        raise Failure("top draws on a terminal, and this is none: --once prints one frame", USAGE)
    if Console().is_dumb_terminal:
        raise Failure("this terminal (TERM) cannot be drawn on: --once prints one frame", USAGE)
    # Before the screen is taken over: what is wrong from the beginning is an error as with any other command.
    first = look(session, interval)
    return Watch(session, interval, first).run()


def look(session: Session, interval: float) -> Overview:
    """What goes on."""
    found: Overview = session.call(session.app.overview, interval * SLICES, slices=SLICES, limit=MOST_RUNNING)
    return found


def print_frame(session: Session, interval: float) -> None:
    """Print what goes on, as far as it takes."""
    overview = look(session, interval)
    view = View(
        title=title(session), now=datetime.now(UTC), overview=overview, interval=interval, pause=interval, bars=bars()
    )
    given = os.environ.get("COLUMNS", "")
    width = Console().width if sys.stdout.isatty() or given.isdigit() else WIDTH
    out = Console(width=width, highlight=False, markup=False, emoji=False)
    out.print(draw(view, width, None), no_wrap=True, overflow="ignore", crop=False)


def title(session: Session) -> str:
    """Where all this is."""
    config = session.app.config
    name = session.target.name or "tables"
    return f"werk top: {name}, {config.schema}.{config.prefix}"


@define
class Watch:
    """The live screen."""

    session: Session
    interval: float
    overview: Overview
    seen_at: float = field(factory=time.monotonic)
    trouble: str | None = None
    is_paused: bool = False
    took: float = 0.0

    def run(self) -> int:
        """Watch until told to stop; returns the exit code."""
        out = Console(highlight=False, markup=False, emoji=False)
        screen = Screen(out)
        with screen.opened():
            due = time.monotonic() + self.pause
            while screen.ended_by is None:
                screen.draw(self._frame(screen))
                left = max(due - time.monotonic(), 0.0)
                key = screen.wait(LONGEST_SECS if self.is_paused else left)
                if key in {"q", "Q"}:
                    return 0
                if self._obey(key) or (key is None and not self.is_paused):
                    self._look(screen)
                    due = time.monotonic() + self.pause
        return 128 + (screen.ended_by or 0)

    def _obey(self, key: str | None) -> bool:
        """Do what a key says; returns whether to look at once."""
        if key == "p":
            self.is_paused = not self.is_paused
            return not self.is_paused
        if key in {"+", "-"}:
            factor = 2.0 if key == "+" else 0.5
            self.interval = min(max(self.interval * factor, SHORTEST_SECS), LONGEST_SECS)
            return not self.is_paused
        return key == " "

    @property
    def pause(self) -> float:
        """Seconds until the next look: so many that looking takes up a tenth of the time at most."""
        return max(self.interval, IDLE_FACTOR * self.took)

    def _look(self, screen: Screen) -> None:
        began = time.monotonic()
        try:
            seen = screen.interruptible(lambda: look(self.session, self.interval), ANSWER_SECS)
        except psycopg.Error as error:
            # It may come back: a restart, a failover, a network that is away for a while.
            self.trouble = str(error) or type(error).__name__
        else:
            if seen is None and screen.ended_by is None:
                # A network that swallows packets; or a backlog beyond all measure.
                self.session.give_up()
                self.trouble = f"no answer within {ANSWER_SECS:g} s"
            elif seen is not None:
                self.overview, self.trouble, self.seen_at = seen, None, time.monotonic()
                self.took = self.seen_at - began

    def _frame(self, screen: Screen) -> Text:
        width, height = screen.size
        view = View(
            title=title(self.session),
            now=datetime.now(UTC),
            overview=self.overview,
            interval=self.interval,
            pause=self.pause,
            bars=bars(),
            is_paused=self.is_paused,
            trouble=self.trouble,
            away_secs=time.monotonic() - self.seen_at,
            has_keys=screen.has_keys,
        )
        return draw(view, width, height)
