"""The `werk` command: what there is, and how it ends."""

from __future__ import annotations

import io
import os
import sys
import traceback
from collections.abc import Sequence

import click

from pgwerk.cli import failures
from pgwerk.cli.lazy import Announced, LazyGroup
from pgwerk.cli.shown import visible

COMMANDS = (
    Announced("worker", "pgwerk.cli.worker", "Run jobs until told to stop."),
    Announced("migrate", "pgwerk.cli.migrate", "Bring the tables to the version that this release works with."),
    Announced("jobs", "pgwerk.cli.jobs", "List jobs, the newest first, and count them by status."),
    Announced(
        "job",
        "pgwerk.cli.job",
        "Show everything of one job: arguments, result, error, attempts, and the jobs before and after it.",
    ),
    Announced("enqueue", "pgwerk.cli.enqueue", "Enqueue a job, and print its id."),
    Announced(
        "cancel",
        "pgwerk.cli.changes",
        "Cancel jobs that have not started: they end as aborted, and jobs that depend on them fail.",
    ),
    Announced("abort", "pgwerk.cli.changes", "Stop running jobs: they end as aborted, and are not tried again."),
    Announced("requeue", "pgwerk.cli.changes", "Run failed and aborted jobs again, with as many attempts as new ones."),
    Announced("delete", "pgwerk.cli.changes", "Delete jobs and their history, whatever their status is."),
    Announced("purge", "pgwerk.cli.purge", "Delete finished jobs with their history, if they ended long enough ago."),
    Announced("cron", "pgwerk.cli.cron", "Look at schedules, and change them, whatever process runs them."),
    Announced("workers", "pgwerk.cli.workers", "List the workers; those that were lost are marked as lapsed."),
    Announced(
        "stats",
        "pgwerk.cli.stats",
        "Show the depth of each queue, throughput, failures, and how long jobs wait and run.",
    ),
    Announced("top", "pgwerk.cli.top", "Watch queues, workers, running jobs and throughput."),
    Announced(
        "info",
        "pgwerk.cli.info",
        "Show the server, the tables and their sizes, poolers, clocks and versions, queues and workers.",
    ),
    Announced("doctor", "pgwerk.cli.doctor", "Look for what is wrong or slow, and say what to do about it."),
)
"""In the order of the help text: what there is, where it is, and what it says of itself."""

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


@click.group(
    cls=LazyGroup, epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
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
        if (context is not None and context.meta.get(failures.DEBUG)) or "--debug" in arguments:
            traceback.print_exc()
        failure = failures.explain(error)
        sys.stderr.write(f"werk: {visible(failure.format_message())}\n")
        return failure.code
