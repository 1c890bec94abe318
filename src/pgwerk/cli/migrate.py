"""`werk migrate`: bring the tables to the version that this release works with."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from pgwerk import SchemaVersionMismatch
from pgwerk.cli.commands import Command, json_option
from pgwerk.cli.failures import NOT_DONE
from pgwerk.cli.output import note, print_json
from pgwerk.cli.session import Session

if TYPE_CHECKING:
    from pgwerk import MigrationStatus


@click.command(cls=Command, example="werk migrate shop.jobs:werk --check")
@click.option("--check", is_flag=True, help="Change nothing; exit with 1 when the schema is behind.")
@click.option("--sql", "as_sql", is_flag=True, help="Change nothing; print the SQL that would be run.")
@json_option
def migrate(session: Session, *, check: bool, as_sql: bool, as_json: bool) -> int:
    """Bring the tables to the version that this release works with.

    Several may run at once: one migrates, and the others find it done.
    """
    if check and as_sql:
        raise click.UsageError("--check and --sql cannot be given together")
    if as_sql:
        return _print_sql(session, as_json)
    if check:
        return _check(session, as_json)
    applied = session.run(session.app.migrate)
    status = session.run(session.app.migration_status)
    if as_json:
        print_json({"version": status.version, "latest": status.latest, "applied": applied})
    else:
        for name in applied:
            click.echo(f"applied {name}")
        if not applied:
            click.echo(f"nothing to do: version {status.version}")
    return 0


def _check(session: Session, as_json: bool) -> int:
    status: MigrationStatus = session.run(session.app.migration_status)
    if as_json:
        print_json({"version": status.version, "latest": status.latest, "pending": status.pending})
    elif status.is_current:
        click.echo(f"nothing to do: version {status.version}")
    else:
        for name in status.pending:
            click.echo(f"pending {name}")
    if status.version > status.latest:
        raise SchemaVersionMismatch(status.version, status.latest, status.advice)
    return 0 if status.is_current else NOT_DONE


def _print_sql(session: Session, as_json: bool) -> int:
    script: str = session.run(session.app.migration_script)
    if as_json:
        print_json({"sql": script})
    elif script:
        sys.stdout.write(script)
    else:
        note("nothing to do")
    return 0
