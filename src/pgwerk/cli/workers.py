"""`werk workers`: who takes jobs, and who was lost."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from pgwerk.cli.commands import Command, json_option
from pgwerk.cli.output import console, note, print_json, table, text
from pgwerk.cli.session import Session
from pgwerk.cli.shown import in_one_line
from pgwerk.cli.stats import compact

if TYPE_CHECKING:
    from pgwerk import WorkerInfo

WIDE = 120
"""From so many columns on, ids have a place."""


@click.command(cls=Command, example="werk workers shop.jobs:werk")
@json_option
def workers(session: Session, *, as_json: bool) -> None:
    """List the workers; those that were lost are marked as lapsed."""
    found: list[WorkerInfo] = session.call(session.app.list_workers)
    if as_json:
        print_json(found)
    elif not found:
        note("no workers")
    else:
        show(found)


def show(found: list[WorkerInfo]) -> None:
    """Print a table of workers."""
    out = console()
    is_wide = out.width >= WIDE
    now = datetime.now(UTC)
    headings = ["host", "pid", "kind", "queues", "running", "version", "up for", "silent for", "state"]
    rows = [
        [
            in_one_line(each.host),
            str(each.pid),
            in_one_line(each.kind),
            in_one_line(", ".join(each.queues)),
            f"{each.running}/{each.concurrency}",
            in_one_line(each.version),
            compact((now - each.started_at).total_seconds()),
            compact((now - each.heartbeat_at).total_seconds()),
            text("alive") if each.is_alive else text("lapsed", style="yellow"),
            *([each.id] if is_wide else []),
        ]
        for each in found
    ]
    out.print(
        table([*headings, *(["id"] if is_wide else [])], rows, right=("pid", "running", "up for", "silent for"), gap=1)
    )
