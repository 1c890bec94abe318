"""What operators are told about a set of tables, the server that it is on, and those who work on it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, TypeAlias

from attrs import evolve, frozen

from pgwerk._core.models import JobStatus
from pgwerk._core.rows import utc

Severity: TypeAlias = Literal["ok", "warning", "problem"]


@frozen
class MigrationStatus:
    """What the tables of a database are, and what this release needs them to be.

    Attributes:
        version: The version of the tables; 0 when there are none.
        latest: The version that this release works with.
        pending: The names of the migrations that lead there, in their order.
    """

    version: int
    latest: int
    pending: tuple[str, ...]

    @property
    def is_current(self) -> bool:
        """Whether this release can work with the tables."""
        return self.version == self.latest

    @property
    def advice(self) -> str:
        """What to do when it cannot."""
        if self.version > self.latest:
            return "install the release of pgwerk that migrated the database"
        return "run `werk migrate`"


@frozen
class WorkerInfo:
    """A worker as the database knows it.

    A worker that stops takes itself off the list. One that was lost stays on it for a day, its lease lapsed.

    Attributes:
        id: The id of the worker, which its jobs have as `worker_id`.
        kind: "async", "thread", "process" or "fork"; "sync" for a client that runs a job of its own (`_sync`).
        host: The name of its machine.
        pid: The id of its process there.
        queues: The queues that it takes jobs from.
        concurrency: How many jobs it runs at one time.
        running: How many ran at its last heartbeat.
        version: The release of pgwerk that it is.
        started_at: When it started.
        heartbeat_at: When it was heard of last.
        lease_secs: Seconds after a heartbeat for which its jobs are left to it.
        lease_expires_at: When its jobs are rescued by others, unless it is heard of again.
        is_alive: Whether its lease lasts. Judged by the clock of the database, as all these times are.
    """

    id: str
    kind: str
    host: str
    pid: int
    queues: tuple[str, ...]
    concurrency: int
    running: int
    version: str
    started_at: datetime
    heartbeat_at: datetime
    lease_secs: float
    lease_expires_at: datetime
    is_alive: bool

    @classmethod
    def from_row(cls, row: Sequence[Any]) -> WorkerInfo:
        """The worker in a row of `list_workers.sql`."""
        identifier, kind, host, pid, queues, concurrency, running, version, started, heard, secs, expires, alive = row
        return cls(
            identifier,
            kind,
            host,
            pid,
            tuple(queues),
            concurrency,
            running,
            version,
            utc(started),
            utc(heard),
            secs,
            utc(expires),
            alive,
        )


@frozen
class RunningJob:
    """A job that runs, without what it was given and what comes of it.

    Attributes:
        id: The id of the job.
        function: The dotted path of its handler.
        queue: Its queue.
        status: `active`, or `aborting` if it was asked to stop.
        attempt: The number of the attempt that runs.
        max_attempts: How many there may be.
        worker_id: The worker that runs it.
        started_at: When the attempt started.
        running_secs: For how many seconds it has run, by the clock of the database.
    """

    id: str
    function: str
    queue: str
    status: JobStatus
    attempt: int
    max_attempts: int
    worker_id: str | None
    started_at: datetime
    running_secs: float

    @classmethod
    def from_row(cls, row: Sequence[Any]) -> RunningJob:
        """The job in a row of `list_running.sql`."""
        identifier, function, queue, status, attempt, most, worker_id, started_at, secs = row
        return cls(
            identifier, function, queue, JobStatus(status), attempt, most, worker_id, utc(started_at), max(secs, 0.0)
        )


@frozen
class Percentiles:
    """How long something took, in seconds: what half, 95 and 99 of a hundred stayed below. None where nothing was."""

    p50: float | None = None
    p95: float | None = None
    p99: float | None = None


@frozen
class QueueStats:
    """What is in a queue, and what came out of it in a span of time.

    What came out is counted by attempts, as the history has them: a job that was tried three times counts three times,
    and one that ended without having run, because it was cancelled or expired, does not count. Jobs whose rows are gone
    (deleted, purged, or past their `_result_ttl`) have left no history, and do not count either.

    Attributes:
        queue: The name of the queue.
        queued: Jobs that could be claimed now.
        scheduled: Jobs whose time has not come.
        waiting: Jobs that wait for others.
        active: Jobs that run, those included that were asked to stop.
        oldest_secs: For how many seconds the oldest of the queued jobs could have been claimed; None if there is none.
        since_secs: The span of time, in seconds, that all that follows is about.
        completed: Attempts that succeeded.
        failed: Attempts that failed.
        aborted: Attempts that were stopped.
        retried: Those of the failed attempts after which the job was not given up.
        wait: Seconds between the moment when a job could have run and its start, known for the last attempt at each.
        run: Seconds that attempts took.
        series: How many attempts ended in each of the equal parts of that time, the oldest first.
        workers: How many workers take jobs from the queue, and are alive.
    """

    queue: str
    queued: int = 0
    scheduled: int = 0
    waiting: int = 0
    active: int = 0
    oldest_secs: float | None = None
    since_secs: float = 0.0
    completed: int = 0
    failed: int = 0
    aborted: int = 0
    retried: int = 0
    wait: Percentiles = Percentiles()
    run: Percentiles = Percentiles()
    series: tuple[int, ...] = ()
    workers: int = 0

    @property
    def ended(self) -> int:
        """Attempts that ended, however they did."""
        return self.completed + self.failed + self.aborted

    @property
    def throughput(self) -> float:
        """Attempts that ended per second."""
        return self.ended / self.since_secs if self.since_secs else 0.0

    @property
    def failure_rate(self) -> float | None:
        """Which part of the attempts failed, from 0 to 1; None if none ended."""
        return self.failed / self.ended if self.ended else None


@frozen
class Overview:
    """What goes on, at one moment.

    Attributes:
        queues: The queues, in the order of their names.
        workers: The workers, the one that has run longest first.
        running: The jobs that run, the one that has run longest first, up to the limit that was asked for.
    """

    queues: tuple[QueueStats, ...]
    workers: tuple[WorkerInfo, ...]
    running: tuple[RunningJob, ...]


@frozen
class TableInfo:
    """One table, with what vacuum has to do there.

    Attributes:
        name: Its name, without the schema.
        rows: How many rows it has, as the server estimates.
        bytes: What it takes up on disk, without its indexes.
        index_bytes: What its indexes take up.
        is_unlogged: Whether it is empty after a crash of the server.
        without_autovacuum: Whether autovacuum is off for it.
        live: Rows, as the server counts them.
        dead: Rows that are no longer visible, and that vacuum has not removed.
        vacuumed_at: When it was vacuumed last, by hand or automatically; None if never, or if the server has forgotten.
        age: How many transactions ago its oldest row may have been written.
        multixact_age: The same, in multixacts: sets of transactions that had locked one row.
    """

    name: str
    rows: int
    bytes: int
    index_bytes: int
    is_unlogged: bool
    without_autovacuum: bool
    live: int
    dead: int
    vacuumed_at: datetime | None
    age: int
    multixact_age: int

    @classmethod
    def from_row(cls, row: Sequence[Any]) -> TableInfo:
        """The table in a row of `describe_tables.sql`."""
        values = list(row)
        values[8] = values[8] and utc(values[8])
        return cls(*values)


@frozen(kw_only=True)
class ServerInfo:
    """Where the tables are, and by which way they are reached.

    Attributes:
        server_version: The version of PostgreSQL.
        server_started_at: When the server started.
        is_standby: Whether it only follows another server, so that nothing can be written.
        database: The name of the database.
        user: The role that asks.
        schema: The schema of the tables.
        prefix: What their names begin with.
        schema_version: The version of the tables; 0 when there are none.
        latest_version: The version that this release works with.
        ephemeral_tables: Whether the workers table is unlogged; None when there are no tables.
        tables: The tables that are there.
        pooler: What the application was told: True, False or "auto".
        pooler_found: Whether a connection pooler answered.
        listen_dsn: Whether the application has a connection string of its own for listening.
        can_listen: Whether a notification arrived that was sent to try it out. Behind a pooler it is not tried.
        connect_secs: Seconds that it took to connect.
        round_trip_secs: Seconds that the server's answer took at best.
        clock_ahead_secs: Seconds by which the clock of the database is ahead of this machine's; negative if behind. As
            exact as half a round trip.
        pgwerk_version: The version of this package.
        psycopg_version: The version of the driver.
        libpq_version: The version of the library that the driver uses.
    """

    server_version: str
    server_started_at: datetime
    is_standby: bool
    database: str
    user: str
    schema: str
    prefix: str
    schema_version: int
    latest_version: int
    ephemeral_tables: bool | None
    tables: tuple[TableInfo, ...]
    pooler: bool | Literal["auto"]
    pooler_found: bool
    listen_dsn: bool
    can_listen: bool
    connect_secs: float
    round_trip_secs: float
    clock_ahead_secs: float
    pgwerk_version: str
    psycopg_version: str
    libpq_version: str


@frozen
class Finding:
    """What `diagnose` has found out about one thing.

    Attributes:
        check: What was looked at; a short name that stays the same between releases.
        severity: "ok", "warning" for what may become a problem or costs something, "problem" for what is wrong now.
        summary: What was found, in a sentence.
        advice: What to do about it; empty where there is nothing to do.
    """

    check: str
    severity: Severity
    summary: str
    advice: str = ""


def combine_stats(
    depths: Iterable[Sequence[Any]],
    history: Iterable[Sequence[Any]],
    workers: Iterable[WorkerInfo],
    *,
    since_secs: float,
    slices: int,
) -> list[QueueStats]:
    """One `QueueStats` for each queue that any of the three sources knows, in the order of the names.

    Args:
        depths: Rows of `queue_depths.sql`.
        history: Rows of `queue_history.sql`.
        workers: The workers.
        since_secs: Seconds that the history covers.
        slices: How many parts the series has.
    """
    # A client that runs one job (`_sync`) has a lease as well, and takes no others.
    listening = [queue for worker in workers if worker.is_alive and worker.kind != "sync" for queue in worker.queues]
    nothing = (0,) * slices
    found: dict[str, QueueStats] = {}

    def known(queue: str) -> QueueStats:
        return found.get(queue) or QueueStats(
            queue, since_secs=since_secs, series=nothing, workers=listening.count(queue)
        )

    for queue in listening:
        found[queue] = known(queue)
    for queue, queued, scheduled, waiting, active, oldest in depths:
        found[queue] = evolve(
            known(queue),
            queued=queued or 0,
            scheduled=scheduled or 0,
            waiting=waiting or 0,
            active=active or 0,
            oldest_secs=oldest,
        )
    for queue, completed, failed, aborted, retried, wait, run, numbers, counts in history:
        by_slice: Mapping[int, int] = dict(zip(numbers, counts, strict=True))
        found[queue] = evolve(
            known(queue),
            completed=completed,
            failed=failed,
            aborted=aborted,
            retried=retried,
            wait=Percentiles(*(wait or ())),
            run=Percentiles(*(run or ())),
            series=tuple(by_slice.get(number, 0) for number in range(slices)),
        )
    return [found[queue] for queue in sorted(found)]
