"""`werk info`: where the tables are, how large they are, and by which way they are reached."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click
from attrs import asdict

from pgwerk.cli.commands import Command, json_option
from pgwerk.cli.output import ago, console, duration, print_json, table
from pgwerk.cli.session import Session
from pgwerk.cli.shown import in_one_line
from pgwerk.cli.stats import NAME_WIDTH, as_object, depths
from pgwerk.cli.workers import show

if TYPE_CHECKING:
    from pgwerk import Overview, ServerInfo


@click.command(cls=Command, example="werk info shop.jobs:werk --json")
@json_option
def info(session: Session, *, as_json: bool) -> None:
    """Show the server, the tables and their sizes, poolers, clocks and versions, queues and workers.

    Sizes include everything on disk; rows are estimates. Queues and workers are shown where the tables are those of
    this release; nothing is migrated.
    """
    found: ServerInfo = session.run(session.app.server_info)
    is_current = found.schema_version == found.latest_version
    seen: Overview | None = session.call(session.app.overview) if is_current else None
    if as_json:
        queues = [as_object(each) for each in seen.queues] if seen else []
        print_json({**asdict(found), "queues": queues, "workers": list(seen.workers) if seen else []})
        return
    out = console()
    grid = table(["", ""], [(f"{name}:", in_one_line(value)) for name, value in lines(found)])
    grid.show_header = False
    out.print(grid)
    if found.tables:
        out.print()
        rows = [
            (in_one_line(each.name), f"~{each.rows:,}", size(each.bytes), size(each.index_bytes), f"{each.dead:,}")
            for each in found.tables
        ]
        headings = ["table", "rows", "size", "indexes", "dead rows"]
        out.print(table(headings, rows, right=headings[1:]))
    if seen is not None:
        out.print()
        if seen.queues:
            out.print(depths(seen.queues, NAME_WIDTH, span="min"))
        else:
            out.print("no queues")
        out.print()
        if seen.workers:
            show(list(seen.workers))
        else:
            out.print("no workers")


def lines(found: ServerInfo) -> Iterator[tuple[str, str]]:
    """Names and values, in their order."""
    standby = ", a standby" if found.is_standby else ""
    yield "server", f"PostgreSQL {found.server_version}{standby}, started {ago(found.server_started_at)}"
    yield "database", f"{found.database}, as {found.user}"
    yield "tables", f"schema {found.schema}, prefix {found.prefix}"
    yield "schema version", _version(found)
    if found.ephemeral_tables is not None:
        yield "ephemeral tables", _yes(found.ephemeral_tables)
    yield "pooler", f"{_pooler(found)} (pooler={found.pooler!r})"
    yield "LISTEN", f"{'works' if found.can_listen else 'does not work'}{_way(found)}"
    yield "connecting takes", f"{duration(found.connect_secs)}, a round trip {found.round_trip_secs * 1000:.2f} ms"
    yield "database's clock", _clock(found.clock_ahead_secs, found.round_trip_secs)
    yield "pgwerk", found.pgwerk_version
    yield "psycopg", f"{found.psycopg_version}, libpq {found.libpq_version}"


def size(count: int) -> str:
    """A number of bytes as people say it."""
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" or amount >= 10 else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TB"


def _version(found: ServerInfo) -> str:
    if found.schema_version == found.latest_version:
        return str(found.schema_version)
    if not found.schema_version:
        return "there are no tables: run `werk migrate`"
    behind = "run `werk migrate`" if found.schema_version < found.latest_version else "install a newer pgwerk"
    return f"{found.schema_version}, and this release needs {found.latest_version}: {behind}"


def _pooler(found: ServerInfo) -> str:
    return "found: nothing is prepared" if found.pooler_found else "none found"


def _way(found: ServerInfo) -> str:
    if found.listen_dsn:
        return ", over listen_dsn"
    return "" if found.can_listen else ": workers and waiters poll"


def _clock(ahead: float, round_trip: float) -> str:
    if abs(ahead) <= max(round_trip, 0.001):
        return "the same as here"
    return f"{duration(abs(ahead))} {'ahead of' if ahead > 0 else 'behind'} the one here"


def _yes(value: bool) -> str:
    return "yes" if value else "no"
