"""Real jobs, and a worker that is killed on the way: each source file of Python's standard library is analysed.

The handler is in stdlib_stats.py, the worker process in worker.py. It takes the extras `cli` and `embedded`, and leaves
nothing behind that was not asked for: see `python examples/demo.py --help`.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import psycopg
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress
from rich.table import Table
from stdlib_stats import analyse, source_files

from pgwerk import Job, JobStatus, Retry, SyncWerk, Werk
from pgwerk.embedded import EmbeddedPostgres

console = Console()
# An attempt that dies with its worker counts, so that a job which kills its workers comes to an end: one is not enough.
RETRY = Retry(max=5)
Worker: TypeAlias = tuple[str, subprocess.Popen[str]]  # its id and its process


async def enqueue_from_asyncio(dsn: str, schema: str, files: Sequence[str]) -> None:
    async with Werk(dsn, schema=schema, pool_size=4) as app:
        await asyncio.gather(*(app.enqueue(analyse, file, _retry=RETRY) for file in files))


def enqueue_from_threads(app: SyncWerk, files: Sequence[str]) -> None:
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda file: app.enqueue(analyse, file, _retry=RETRY), files))


@contextmanager
def start_worker(dsn: str, schema: str) -> Iterator[Worker]:
    # The DSN is not on the command line, where every user of the machine could read its password. Files that are odd on
    # purpose give warnings, hence -W. In a session of its own the worker gets no Ctrl-C: that is for us.
    command = [sys.executable, "-W", "ignore", str(Path(__file__).with_name("worker.py")), schema]
    environment, pipe = {**os.environ, "DEMO_DSN": dsn}, subprocess.PIPE
    with subprocess.Popen(
        command, env=environment, stdin=pipe, stdout=pipe, text=True, start_new_session=True
    ) as process:
        try:
            assert process.stdout  # a pipe, in which the worker introduces itself
            yield process.stdout.readline().strip(), process
        finally:
            process.kill()


def follow(app: SyncWerk, db: psycopg.Connection[Any], total: int, workers: Sequence[Worker]) -> None:
    """Show the progress until all jobs have ended, and kill the first worker when a third of them have."""
    (victim_id, victim), (_, survivor) = workers
    # Jobs are rows: plain SQL counts them.
    count = f"SELECT count(*) FROM {app.config.schema}.{app.config.prefix}_jobs WHERE status IN ('complete', 'failed')"
    with Progress(*Progress.get_default_columns(), MofNCompleteColumn(), console=console) as progress:
        bar = progress.add_task("Analysing", total=total)
        while not progress.finished:
            progress.update(bar, completed=db.execute(count).fetchall()[0][0])
            if survivor.poll() is not None:
                raise SystemExit(f"a worker has ended with exit code {survivor.returncode}")
            late = progress.tasks[bar].percentage > 33 and victim.poll() is None
            if late and len(active_on(app, victim_id)) > 4:  # in the middle of several jobs, not in between
                victim.kill()  # SIGKILL: no time for a goodbye, so what it ran is left behind as active
                victim.wait()
                stranded = len(active_on(app, victim_id))
                console.print(f"Killed a worker in the middle of {stranded} jobs: the other one will rescue them.")
            time.sleep(0.05)


def active_on(app: SyncWerk, worker_id: str) -> list[Job]:
    return app.list_jobs(status=JobStatus.Active, worker_id=worker_id)


def report(jobs: Sequence[Job], files: Sequence[str], secs: float) -> bool:
    """Print what came out. Return whether there is one result for each file, no less and no more."""
    results = [job.result for job in jobs if job.status is JobStatus.Complete]
    functions = Table("Lines", "Function", "File", title="The ten largest functions")
    largest = [(*result["largest"], result["file"]) for result in results if result.get("largest")]
    for lines, name, file in sorted(largest, reverse=True)[:10]:
        functions.add_row(str(lines), name, file)
    totals = Table(title=f"The standard library of Python {sys.version.split()[0]}", show_header=False)
    for what in ("lines", "functions", "classes"):
        totals.add_row(what.capitalize(), f"{sum(result.get(what, 0) for result in results):,}")
    totals.add_row("Files that do not parse", str(sum("error" in result for result in results)))
    totals.add_row("Jobs per second", f"{len(jobs) / secs:,.0f}")
    totals.add_row("Attempts that the kill cost", str(sum(job.attempts for job in jobs) - len(jobs)))
    totals.add_row("Results / files", f"{len(results):,} / {len(files):,}")
    console.print(functions, totals)
    return sorted(files) == sorted(result["file"] for result in results)


def main() -> int:
    parser = argparse.ArgumentParser(description="Analyse the standard library with pgwerk.")
    parser.add_argument("--dsn", help="use this database, in a schema of its own, in place of an embedded PostgreSQL")
    parser.add_argument("--keep", action="store_true", help="keep the data, and say where it is")
    parser.add_argument("--files", type=int, help="analyse only so many files")
    options = parser.parse_args()
    files, schema = source_files()[: options.files], f"pgwerk_demo_{secrets.token_hex(4)}"
    folder = Path(tempfile.gettempdir(), schema) if options.keep else None  # None: a temporary one
    with ExitStack() as stack:
        dsn = options.dsn or stack.enter_context(EmbeddedPostgres(data_dir=folder)).dsn
        db = stack.enter_context(psycopg.connect(dsn, autocommit=True))
        if not options.keep:
            stack.callback(db.execute, f"DROP SCHEMA IF EXISTS {schema} CASCADE")
        app = stack.enter_context(SyncWerk(dsn, schema=schema, pool_size=4))
        asyncio.run(enqueue_from_asyncio(dsn, schema, files[::2]))
        enqueue_from_threads(app, files[1::2])
        console.print(f"Enqueued {len(files)} jobs: half from asyncio, half from threads.")
        began = time.monotonic()
        workers = [stack.enter_context(start_worker(dsn, schema)) for _ in range(2)]
        follow(app, db, len(files), workers)
        complete = report(app.list_jobs(limit=2 * len(files)), files, time.monotonic() - began)
        survivor = workers[1][1]
        survivor.terminate()  # an orderly end: it would finish what it runs, and takes itself off the list of workers
        survivor.wait(30)
    if options.keep:
        where = f"{folder}, for EmbeddedPostgres(data_dir=...)" if folder and not options.dsn else "your database"
        console.print(f"The data is in the schema {schema} of {where}.", soft_wrap=True)
    return 0 if complete else 1


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # ends what is between here and there in order
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        console.print("Interrupted.")
        sys.exit(130)
