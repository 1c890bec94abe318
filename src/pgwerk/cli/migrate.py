"""`werk migrate`: bring the tables to the version that this release works with."""

from __future__ import annotations

import click

from pgwerk.cli.commands import Command, json_option
from pgwerk.cli.output import print_json
from pgwerk.cli.session import Session


@click.command(cls=Command, example="werk migrate shop.jobs:werk --check")
@click.option("--check", is_flag=True, help="Change nothing; exit with 1 when the schema is behind.")
@json_option
def migrate(session: Session, *, check: bool, as_json: bool) -> int:
    """Bring the tables to the version that this release works with."""
    if not check:
        session.run(session.app.migrate)
    status = session.run(session.app.migration_status)
    if as_json:
        print_json(status)
    return 0 if status.is_current else 1
