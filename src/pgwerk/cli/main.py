"""The `werk` command: what there is, and how it ends."""

from __future__ import annotations

import io
import os
import sys
import traceback
from collections.abc import Sequence

import click

from pgwerk.cli import failures
from pgwerk.cli.changes import abort, cancel, delete, requeue
from pgwerk.cli.commands import DEBUG
from pgwerk.cli.cron import cron
from pgwerk.cli.doctor import doctor
from pgwerk.cli.enqueue import enqueue
from pgwerk.cli.info import info
from pgwerk.cli.job import job
from pgwerk.cli.jobs import jobs
from pgwerk.cli.migrate import migrate
from pgwerk.cli.purge import purge
from pgwerk.cli.shown import visible
from pgwerk.cli.stats import stats
from pgwerk.cli.top import top
from pgwerk.cli.worker import worker
from pgwerk.cli.workers import workers

COMMANDS = (
    *(worker, migrate),
    *(jobs, job, enqueue, cancel, abort, requeue, delete, purge),
    *(cron, workers, stats, top, info, doctor),
)
"""In the order of the help text."""

EXIT_CODES = """\b
Exit codes:
  0    done
  1    what was asked for did not come about: no such job, the job failed,
       the schema is behind, problems were found
  2    the command line makes no sense, or APP cannot be loaded
  3    the database cannot be reached, or refuses
  4    the schema is not migrated, or belongs to another release
  130  interrupted
"""


class _InOrder(click.Group):
    """Lists the commands in the order in which they were added."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - the signature is click's
        return list(self.commands)


@click.group(
    cls=_InOrder, epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(package_name="pgwerk", prog_name="werk")
def werk() -> None:
    """Background jobs in PostgreSQL.

    APP names a Werk or a SyncWerk as module:attribute; the current directory can be imported from. In its place, --dsn
    or the environment variables PGWERK_APP, PGWERK_DSN, PGWERK_SCHEMA and PGWERK_PREFIX say where the tables are.
    """


for command in COMMANDS:
    werk.add_command(command)


def run(arguments: Sequence[str]) -> int:
    """Run a command line, and return the exit code; errors are one line on the standard error stream."""
    context = None
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # What the terminal has no character for is shown as an escape.
            stream.reconfigure(errors="backslashreplace")
    try:
        with werk.make_context("werk", list(arguments)) as context:
            result = werk.invoke(context)
            # Here, and not when the interpreter ends: whoever reads may be gone.
            sys.stdout.flush()
            return result if isinstance(result, int) else 0
    except click.exceptions.Exit as end:
        return end.exit_code
    except (click.Abort, KeyboardInterrupt):
        sys.stderr.write("\n")
        return failures.INTERRUPTED
    except click.UsageError as error:
        error.show()
        return error.exit_code
    except BrokenPipeError:
        # Whoever read this has seen enough: `werk jobs | head`. Python would complain once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if (context is not None and context.meta.get(DEBUG)) or "--debug" in arguments:
            traceback.print_exc()
        failure = failures.explain(error)
        sys.stderr.write(f"werk: {visible(failure.format_message())}\n")
        return failure.code
