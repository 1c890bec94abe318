# Generated from src/pgwerk/_async/client.py by `python tools/unasync_build.py`.
# Do not edit: change that file and run the command again.

"""`SyncWerk`, the client: a table of contents, in which every method hands over to the part that does the work."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self

from pgwerk._core import checks
from pgwerk._core.config import WerkConfig, make_config
from pgwerk._core.errors import JobError, JobNotFound, SerializationError, WerkError
from pgwerk._core.ids import normalize_id
from pgwerk._core.logs import configure_logging
from pgwerk._core.models import (
    Callback,
    Dependency,
    EnqueueParams,
    Handler,
    Job,
    JobExecution,
    JobStatus,
    Repeat,
    Retry,
    Undecodable,
)
from pgwerk._core.options import Preparation, split_call
from pgwerk._core.serializers import JSONSerializer, Serializer
from pgwerk._sql import Names, Statements
from pgwerk._sync import _compat
from pgwerk._sync.connections import Connection, Connections, Cursor, Pool, own_connection
from pgwerk._sync.jobs import Jobs
from pgwerk._sync.lifecycle import F, Lifecycle
from pgwerk._sync.listening import Listener
from pgwerk._sync.migrating import Migrator
from pgwerk._sync.sweeping import Sweeper
from pgwerk._sync.waiting import Waiting

logger = logging.getLogger("pgwerk.client")


class SyncWerk:
    """Background jobs in a PostgreSQL database.

    Nothing connects before the first operation, or `connect()`. Each operation opens and closes a connection of its
    own, which suits external poolers; an application that enqueues often passes `pool` or `pool_size`, and an
    operation then takes about a tenth of the time.

    Args:
        dsn: Connection string of libpq.
        config: Base configuration: a `WerkConfig`, or a dict of its attributes. Keyword arguments take precedence.
        schema: PostgreSQL schema of the tables.
        prefix: Prefix of every table's name.
        serializer: What payloads and results are serialized with; `JSONSerializer` by default.
        max_active_secs: Seconds after which an active job that nothing was heard of counts as stuck.
        log_level: Level of the `pgwerk` logger; this and the other `log_*` arguments go to `configure_logging`.
        log_format: "text" or "json".
        log_color: Whether text logs are coloured.
        log_fmt: Format string of text logs.
        auto_migrate: Whether `connect()` migrates the tables.
        pool: A psycopg pool to take connections from; the caller opens and closes it.
        pool_size: Size of a connection pool that the client owns.

    Raises:
        TypeError: An argument has the wrong type, or `config` an unknown key.
        ValueError: An argument has a value that makes no sense.
    """

    def __init__(
        self,
        dsn: str,
        *,
        config: WerkConfig | Mapping[str, Any] | None = None,
        schema: str | None = None,
        prefix: str | None = None,
        serializer: Serializer | None = None,
        max_active_secs: int | None = None,
        log_level: int | str | None = None,
        log_format: str | None = None,
        log_color: bool | None = None,
        log_fmt: str | None = None,
        auto_migrate: bool = True,
        pool: Pool | None = None,
        pool_size: int | None = None,
    ) -> None:
        self.config = make_config(config, schema=schema, prefix=prefix, max_active_secs=max_active_secs)
        self.serializer: Serializer = serializer or JSONSerializer()
        self._auto_migrate = checks.flag("auto_migrate", auto_migrate)
        self._names = Names(self.config.schema, self.config.prefix)
        self._connections = Connections(dsn, pool=pool, pool_size=pool_size)
        statements = Statements(self._names)
        self._migrator = Migrator(self._names, statements, self.config)
        self._jobs = Jobs(self._connections, statements, Preparation(self.config, self.serializer), self.serializer)
        self._listener = Listener(self._connections, self._names.done_channel)
        self._waiting = Waiting(self._connections, statements, self._listener, self.serializer)
        self._sweeper = Sweeper(statements, self.config, self.serializer)
        self._lifecycle = Lifecycle(self._prepare_tables)
        if (log_level, log_format, log_color, log_fmt) != (None, None, None, None):
            configure_logging(log_level, log_format, log_color, log_fmt)

    def __repr__(self) -> str:
        config = self.config
        return f"<{type(self).__name__} {self._connections.where} schema={config.schema} prefix={config.prefix}>"

    @property
    def dsn(self) -> str:
        """The connection string, password included."""
        return self._connections.dsn

    # Lifecycle

    def connect(self) -> None:
        """Migrate the tables and run the start-up hooks, unless that has been done.

        There is no need to call this: the first operation does it.

        Raises:
            psycopg.OperationalError: The database cannot be reached.
            SchemaVersionMismatch: The tables are newer than this release, or older and `auto_migrate` is off.
        """
        self._lifecycle.connect()

    def disconnect(self) -> None:
        """Run the shutdown hooks and close what is open, unless that has been done.

        Raises:
            ExceptionGroup: Several hooks failed. The error of a single one is raised as it is.
        """
        self._lifecycle.disconnect(self._close)

    def __enter__(self) -> Self:
        self.connect()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.disconnect()

    def on_startup(self, func: F) -> F:
        """Register a function to run on connect; to be used as a decorator, too. It may enqueue.

        Raises:
            TypeError: It is no function that this client can call.
        """
        return self._lifecycle.on_startup(func)

    def on_shutdown(self, func: F) -> F:
        """Register a function to run on disconnect; to be used as a decorator, too.

        Raises:
            TypeError: It is no function that this client can call.
        """
        return self._lifecycle.on_shutdown(func)

    def register_before_enqueue(self, callback: Callable[[Job], Any]) -> None:
        """Register a function that is called with each job just before it is inserted. If it raises, nothing is.

        Raises:
            TypeError: It is no function that this client can call.
        """
        _compat.check_hook(callback, "a before-enqueue callback")
        self._jobs.before_enqueue.append(callback)

    def unregister_before_enqueue(self, callback: Callable[[Job], Any]) -> None:
        """Remove a function that was registered before.

        Raises:
            ValueError: It was not registered.
        """
        if callback not in self._jobs.before_enqueue:
            raise ValueError(f"{callback!r} is not registered as a before-enqueue callback")
        self._jobs.before_enqueue.remove(callback)

    # Enqueueing

    def enqueue(
        self,
        func: Handler,
        /,
        *args: Any,
        _queue: str = "default",
        _priority: int = 0,
        _delay: float | timedelta | None = None,
        _at: datetime | None = None,
        _retry: int | Retry = 1,
        _timeout: int | None = None,
        _heartbeat: int | None = None,
        _key: str | None = None,
        _group: str | None = None,
        _conn: Connection | Cursor | None = None,
        _meta: dict[str, Any] | None = None,
        _result_ttl: int | None = None,
        _failure_ttl: int | None = None,
        _ttl: int | None = None,
        _on_success: Callback | Handler | None = None,
        _on_failure: Callback | Handler | None = None,
        _on_stopped: Callback | Handler | None = None,
        _repeat: Repeat | None = None,
        _depends_on: Dependency | Job | str | Sequence[Dependency | Job | str] | None = None,
        _failure_mode: str = "hold",
        _sync: bool = False,
        **kwargs: Any,
    ) -> Job | None:
        """Enqueue a job.

        Args:
            func: The handler: a module-level function, or its dotted path.
            args: Positional arguments for the handler.
            _queue: Queue name.
            _priority: Higher values run first.
            _delay: Seconds from now before the job may run.
            _at: Time from which the job may run; a naive one is taken as UTC.
            _retry: Number of attempts, or a `Retry` with delays. With a number, retries back off exponentially unless
                `default_retry_backoff` is off.
            _timeout: Seconds an attempt may take.
            _heartbeat: Seconds within which a running job must be heard of. The worker sees to that while it lives.
            _key: Idempotency key: while a row with the same key exists, nothing is enqueued.
            _group: Concurrency group: of the jobs of one group, one runs at a time.
            _conn: A connection or cursor whose transaction the job becomes part of.
            _meta: Metadata to store with the job.
            _result_ttl: Seconds the row is kept after success; None keeps it.
            _failure_ttl: Seconds the row is kept after a failure or abort; None keeps it.
            _ttl: Seconds within which the job must start, counted from when it may run; else it is aborted.
            _on_success: Callback after success.
            _on_failure: Callback after failure.
            _on_stopped: Callback after a cancel or abort.
            _repeat: Run it again after each success.
            _depends_on: Jobs that must end before this one starts.
            _failure_mode: "hold" keeps the row of a failed job, "delete" removes it.
            _sync: Run the job in this process. Not possible yet: refused.
            kwargs: Keyword arguments for the handler.

        Returns:
            The job, or None if its key exists already.

        Raises:
            TypeError: An option is unknown or has the wrong type.
            ValueError: An option makes no sense, or the handler cannot be imported by a worker.
            SerializationError: An argument cannot be serialized.
            JobNotFound: A job in `_depends_on` does not exist.
            WerkError: `_sync` is true.
            psycopg.Error: What the database says; after a connection was lost, the job may or may not be there.
        """
        _, kwargs = split_call(kwargs)
        if checks.flag("_sync", _sync):
            raise WerkError("_sync=True is not possible yet: enqueue the job, and run a worker")
        spec = EnqueueParams(
            func,
            args=args,
            kwargs=kwargs,
            queue=_queue,
            priority=_priority,
            delay=_delay,
            at=_at,
            retry=_retry,
            timeout=_timeout,
            heartbeat=_heartbeat,
            key=_key,
            group=_group,
            meta=_meta,
            result_ttl=_result_ttl,
            failure_ttl=_failure_ttl,
            ttl=_ttl,
            on_success=_on_success,
            on_failure=_on_failure,
            on_stopped=_on_stopped,
            repeat=_repeat,
            depends_on=_depends_on,
            failure_mode=_failure_mode,
        )
        connection = self._connection_for(_conn)
        return self._jobs.enqueue(spec, connection)

    def enqueue_many(
        self, specs: Iterable[EnqueueParams], *, _conn: Connection | Cursor | None = None
    ) -> list[Job | None]:
        """Enqueue many jobs in one transaction.

        Args:
            specs: The jobs. A later one may depend on an earlier one: `depends_on` takes the `EnqueueParams` itself.
            _conn: A connection or cursor whose transaction the jobs become part of.

        Returns:
            The jobs in the order of `specs`; None in the place of one whose key exists already or came earlier.

        Raises:
            TypeError, ValueError, SerializationError, JobNotFound, psycopg.Error: As `enqueue`; nothing is written.
        """
        connection = self._connection_for(_conn)
        return self._jobs.enqueue_many(list(specs), connection)

    def apply(
        self,
        func: Callable[..., Any] | str,
        /,
        *args: Any,
        timeout: float | None = None,
        poll_interval: float = 0.5,
        **enqueue_kwargs: Any,
    ) -> Any:
        """Enqueue a job and wait for its result.

        Args:
            func: The handler.
            args: Positional arguments for the handler.
            timeout: Seconds to wait at most; None waits for ever.
            poll_interval: Seconds between looks, in case that no notification arrives.
            enqueue_kwargs: Options of `enqueue`, and keyword arguments for the handler.

        Returns:
            What the handler returned.

        Raises:
            JobError: The job failed or was aborted.
            TimeoutError: It has not ended in time. It is not cancelled.
            ValueError: The job's key exists already; or `_conn` was given, and the job could not start before its
                transaction ends.
            SerializationError: The result cannot be read back.
            TypeError, JobNotFound, psycopg.Error: As `enqueue`.
        """
        results = self._run([(args, {})], func, enqueue_kwargs, timeout, poll_interval, return_exceptions=False)
        return results[0]

    def map(
        self,
        func: Callable[..., Any] | str,
        iter_kwargs: Iterable[Mapping[str, Any]],
        /,
        *,
        timeout: float | None = None,
        poll_interval: float = 0.5,
        return_exceptions: bool = False,
        **shared_enqueue_kwargs: Any,
    ) -> list[Any]:
        """Enqueue a job for each set of keyword arguments, and wait for all results.

        Args:
            func: The handler.
            iter_kwargs: Keyword arguments for the handler, one mapping for each job.
            timeout: Seconds to wait at most for all of them; None waits for ever.
            poll_interval: Seconds between looks, in case that no notification arrives.
            return_exceptions: Whether a job that did not succeed gives a `JobError` in its place.
            shared_enqueue_kwargs: Options of `enqueue`, and keyword arguments for the handler, that all jobs share.

        Returns:
            What the handler returned, in the order of `iter_kwargs`.

        Raises:
            JobError: A job failed or was aborted, and `return_exceptions` is off. The others are left to finish.
            TimeoutError: They have not all ended in time. They are not cancelled.
            ValueError, SerializationError, TypeError, JobNotFound, psycopg.Error: As `apply`.
        """
        calls = [((), dict(kwargs)) for kwargs in iter_kwargs]
        return self._run(
            calls, func, shared_enqueue_kwargs, timeout, poll_interval, return_exceptions=return_exceptions
        )

    def wait_for(
        self,
        job_id: str,
        *,
        timeout: float | None = None,
        poll_interval: float = 2.0,
    ) -> Job:
        """Wait until a job has ended, however it ends.

        Args:
            job_id: The job.
            timeout: Seconds to wait at most; None waits for ever.
            poll_interval: Seconds between looks, in case that no notification arrives.

        Returns:
            The job in its terminal state.

        Raises:
            JobNotFound: There is no such job, or it was deleted meanwhile.
            TimeoutError: It has not ended in time.
        """
        identifier = normalize_id(job_id)
        if identifier is None:
            raise JobNotFound(str(job_id))
        timeout, poll_interval = _check_patience(timeout, poll_interval)
        self.connect()
        ended = self._waiting.until_ended([identifier], timeout=timeout, poll_interval=poll_interval)
        return ended[identifier]

    # Job management

    def get_job(self, job_id: str) -> Job:
        """Fetch a job.

        Raises:
            JobNotFound: There is no such job.
        """
        self.connect()
        return self._jobs.get(job_id)

    def list_jobs(  # noqa: PLR0917 - the order of the API that was asked for
        self,
        queue: str | None = None,
        status: JobStatus | str | Sequence[JobStatus | str] | None = None,
        worker_id: str | None = None,
        search: str | None = None,
        schedule_name: str | None = None,
        retried: bool | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> list[Job]:
        """List jobs, the newest first.

        Args:
            queue: Only of this queue.
            status: Only with this status, or one of these.
            worker_id: Only those that this worker runs or ran last.
            search: Only those with this text in function, key, group, metadata or error; case does not matter.
            schedule_name: Only those of this schedule.
            retried: True: only those that have been tried before; False: only those that have not.
            limit: How many at most.
            offset: How many to leave out first.

        Raises:
            ValueError: A status is unknown, or `limit` or `offset` is negative.
        """
        self.connect()
        return self._jobs.page(
            queue=queue,
            status=status,
            worker_id=worker_id,
            search=search,
            schedule_name=schedule_name,
            retried=retried,
            limit=limit,
            offset=offset,
        )

    def get_executions(self, job_id: str) -> list[JobExecution]:
        """Fetch the attempts at a job, the first one first. One that runs is among them.

        Raises:
            JobNotFound: There is no such job.
        """
        self.connect()
        return self._jobs.executions(job_id)

    def touch_job(self, job_id: str) -> None:
        """Extend the heartbeat deadline of a running job. For a job that does not run this does nothing."""
        self.connect()
        self._jobs.touch(job_id)

    def sweep(self) -> list[str]:
        """Do what nobody else does: rescue orphaned jobs, promote due ones, end and delete expired ones.

        Workers do this by themselves, every `sweep_interval`.

        Returns:
            The ids of the orphaned jobs that can be claimed again.
        """
        self.connect()
        with self._connections.connection() as connection:
            return self._sweeper.sweep(connection)

    # Helpers

    def _prepare_tables(self, may_migrate: bool) -> None:
        # Not from the pool: when the database cannot be reached, the driver's own error says so, and at once.
        connection = self._connections.open()
        try:
            self._migrator.prepare(connection, migrate=may_migrate and self._auto_migrate)
        finally:
            connection.close()

    def _close(self) -> None:
        self._listener.close()
        self._connections.close()

    def _connection_for(self, given: Connection | Cursor | None) -> Connection | None:
        """The connection of the caller's, if there is one. Either way, the client is connected.

        A migration is not run while the caller is in the middle of a transaction: it might wait for a lock of that very
        transaction, and the caller waits for it.
        """
        if given is None:
            self.connect()
            return None
        connection = own_connection(given)
        self._lifecycle.connect(may_migrate=False)
        return connection

    def _run(
        self,
        calls: Sequence[tuple[tuple[Any, ...], dict[str, Any]]],
        func: Handler,
        shared: Mapping[str, Any],
        timeout: float | None,
        poll_interval: float,
        *,
        return_exceptions: bool,
    ) -> list[Any]:
        timeout, poll_interval = _check_patience(timeout, poll_interval)
        options, kwargs = split_call(shared)
        if "_sync" in options:
            raise ValueError("_sync cannot be given here: this waits for a worker to run the job")
        if options.pop("_conn", None) is not None:
            raise ValueError(
                "_conn cannot be given here: the job starts when its transaction has ended, and this waits before "
                "that; use enqueue(..., _conn=...), commit, then wait_for()"
            )
        if options.get("_key") is not None and len(calls) > 1:
            raise ValueError("_key cannot be given to map() for more than one job: only the first would be enqueued")
        fields = {name.removeprefix("_"): value for name, value in options.items()}
        specs = [EnqueueParams(func, args=args, kwargs={**kwargs, **own}, **fields) for args, own in calls]
        self.connect()
        jobs = self._jobs.enqueue_many(specs, None, awaited=True)
        if None in jobs:
            raise ValueError(
                f"a job with the key {options.get('_key')!r} exists already, so there is nothing to wait for"
            )
        ids = [job.id for job in jobs if job is not None]
        if not ids:
            return []
        ended = self._waiting.until_ended(
            ids,
            timeout=timeout,
            poll_interval=poll_interval,
            enough=lambda job: not return_exceptions and job.status is not JobStatus.Complete,
        )
        outcomes = [_outcome(ended[job_id]) for job_id in ids if job_id in ended]
        if not return_exceptions:
            for outcome in outcomes:
                if isinstance(outcome, JobError):
                    raise outcome
        return outcomes


def _outcome(job: Job) -> Any:
    if job.status is not JobStatus.Complete:
        return JobError(job)
    if isinstance(job.result, Undecodable):
        raise SerializationError(f"the result of job {job.id} cannot be read: {job.result.reason}")
    return job.result


def _check_patience(timeout: object, poll_interval: object) -> tuple[float | None, float]:
    return (
        None if timeout is None else checks.seconds("timeout", timeout),
        checks.seconds("poll_interval", poll_interval, exclusive=True),
    )
