"""What can go wrong with a command: its exit code, and the one line that says what to do.

0    done
1    what was asked for did not come about: no such job, the job failed, the schema is behind, problems were found
2    the command line makes no sense, or names an application that cannot be loaded
3    the database cannot be reached, or refuses
4    the schema is not migrated, or belongs to another release
130  interrupted
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pgwerk import SchemaVersionMismatch
from pgwerk.cli.entry import missing_package

if TYPE_CHECKING:
    import psycopg

DEBUG = "pgwerk.debug"
"""In the `meta` of a context: that the traceback of an error is to be shown."""

NOT_DONE = 1
USAGE = 2
DATABASE = 3
SCHEMA = 4
INTERRUPTED = 130


class Failure(click.ClickException):
    """Ends the command with one line on the standard error stream.

    Args:
        message: The line: what went wrong, and what to do.
        code: The exit code of the command.
    """

    def __init__(self, message: str, code: int = NOT_DONE) -> None:
        super().__init__(message)
        self.code = code


def explain(error: Exception) -> Failure:
    """Put an error that nobody expected, or that comes from the database, into one line."""
    if isinstance(error, Failure):
        return error
    if isinstance(error, click.ClickException):
        return Failure(error.format_message(), USAGE)
    if isinstance(error, SchemaVersionMismatch):
        return Failure(_one_line(error), SCHEMA)
    import psycopg  # not before: most failures are known without it

    if isinstance(error, psycopg.Error):
        return Failure(_said_by_database(error), DATABASE)
    said = missing_package(error) if isinstance(error, ModuleNotFoundError) else None
    if said is not None or isinstance(error, (TypeError, ValueError)):
        return Failure(said or _one_line(error), USAGE)
    return Failure(f"{type(error).__name__}: {_one_line(error)} (--debug shows where)", NOT_DONE)


def _said_by_database(error: psycopg.Error) -> str:
    """What the server says, without the statement that it points into, and what to do if that is clear."""
    from psycopg.errors import InsufficientPrivilege

    reason = error.diag.message_primary or _one_line(error)
    if isinstance(error, InsufficientPrivilege):
        return f"{reason}: GRANT the role what it needs on the schema and its tables"
    return reason


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".:")
