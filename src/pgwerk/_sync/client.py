# Generated from src/pgwerk/_async/client.py by `python tools/unasync_build.py`.
# Do not edit: change that file and run the command again.

"""`SyncWerk`, the client: a table of contents, in which every method hands over to the part that does the work."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Literal, Self, Unpack, overload

from psycopg.pq import TransactionStatus

from pgwerk._core import checks, flavours
from pgwerk._core.allowed import make_allowed
from pgwerk._core.bound import POLL_INTERVAL
from pgwerk._core.config import WerkConfig, make_config
from pgwerk._core.context import Context
from pgwerk._core.errors import DependencyFailed, JobError, JobNotFound, SerializationError
from pgwerk._core.execution import Attempts
from pgwerk._core.handlers import CoroutineHandler, R
from pgwerk._core.ids import normalize_id
from pgwerk._core.insights import MigrationStatus
from pgwerk._core.logs import configure_logging
from pgwerk._core.models import (
    Callback,
    Dependency,
    EnqueueParams,
    Handler,
    Job,
    JobStatus,
    Repeat,
    Retry,
    Undecodable,
)
from pgwerk._core.options import Preparation, each_kwargs, refuse_to_wait, split_call
from pgwerk._core.policy import DEPENDENCY_FAILED
from pgwerk._core.serializers import JSONSerializer, Serializer, check_serializer
from pgwerk._sql import Names, Statements
from pgwerk._sync import _compat
from pgwerk._sync.aftermath import Aftermath
from pgwerk._sync.connections import Connection, Connections, Cursor, Pool
from pgwerk._sync.diagnosing import Diagnosis
from pgwerk._sync.enqueuer import Options, SyncEnqueuer
from pgwerk._sync.inline import Inline
from pgwerk._sync.inspecting import Inspector
from pgwerk._sync.jobs import Jobs
from pgwerk._sync.lifecycle import F, Lifecycle
from pgwerk._sync.listening import Listener
from pgwerk._sync.managing import Management
from pgwerk._sync.migrating import Migrator
from pgwerk._sync.operations import Operations
from pgwerk._sync.schedules import Schedules
from pgwerk._sync.sending import Sender
from pgwerk._sync.sweeping import Sweeper
from pgwerk._sync.waiting import Waiting

logger = logging.getLogger("pgwerk.client")


class SyncWerk(Operations):
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
        pool_size: Size of a connection pool that the client owns. While all of it is in use, or the database is away,
            an operation waits up to 30 seconds for a connection, and raises `psycopg_pool.PoolTimeout` then.
        pooler: Whether `dsn` leads to a pooler in transaction mode, such as PgBouncer: True, False, or "auto", which
            finds out. Behind one, statements are not prepared, and nothing is notified: waiters and workers look for
            news every `poll_interval`.
        listen_dsn: Connection string that leads to the same database without a pooler. Waiters and workers listen for
            notifications there, over one connection each; all else goes through the pooler.
        allowed_functions: The dotted paths that jobs may call, as handlers and as callbacks, for instance
            `["myapp.tasks.*"]`: whoever can write to the tables can make workers call nothing else. `*` stands for any
            number of characters, dots included, and `?` for one; neither begins a name with two underscores; case
            matters. What a wildcard lets pass must also be defined at a place that is allowed: with `myapp.tasks.*`, a
            row cannot call what `myapp.tasks` has imported. A path without wildcards allows whatever it leads to. The
            default serializer is then `JSONSerializer(import_enums=False)`, so that rows cannot have modules imported
            as arguments either. None allows everything.

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
        pooler: bool | Literal["auto"] = "auto",
        listen_dsn: str | None = None,
        allowed_functions: Sequence[str] | None = None,
    ) -> None:
        self.config = make_config(config, schema=schema, prefix=prefix, max_active_secs=max_active_secs)
        self._allowed = make_allowed(allowed_functions)
        self.serializer: Serializer = (
            JSONSerializer(import_enums=self._allowed is None) if serializer is None else check_serializer(serializer)
        )
        self._auto_migrate = checks.flag("auto_migrate", auto_migrate)
        self._names = Names(self.config.schema, self.config.prefix)
        self._connections = Connections(dsn, pool=pool, pool_size=pool_size, pooler=pooler, listen_dsn=listen_dsn)
        statements = Statements(self._names)
        self._migrator = Migrator(self._names, statements, self.config)
        sender = Sender(statements)
        aftermath = Aftermath(sender)
        self._management = Management(self._connections, sender, aftermath)
        self._inspector = Inspector(self._connections, sender, self._migrator, self._names, self.config)
        self._diagnosis = Diagnosis(self._inspector)
        self._preparation = Preparation(self.config, self.serializer, allowed=self._allowed)
        self._jobs = Jobs(self._connections, statements, aftermath, self._preparation, self.serializer)
        self._listener = Listener(self._connections, self._names.done_channel)
        self._waiting = Waiting(self._connections, statements, self._listener, self.serializer)
        self._sweeper = Sweeper(sender, aftermath, self.config, self.serializer)
        self._lifecycle = Lifecycle(self._prepare_tables)
        self._inline = Inline(
            connections=self._connections,
            sender=sender,
            aftermath=aftermath,
            jobs=self._jobs,
            attempts=Attempts(self.serializer, self._context, self._allowed),
            heartbeat_interval=self.config.heartbeat_interval,
            max_active_secs=self.config.max_active_secs,
        )
        self._schedules = Schedules(self._connections, sender, self._jobs, self._preparation, self.serializer)
        self._schedulers: tuple[Any, ...] = ()
        self._other: Any = None
        if (log_level, log_format, log_color, log_fmt) != (None, None, None, None):
            configure_logging(log_level, log_format, log_color, log_fmt)

    def __repr__(self) -> str:
        config = self.config
        return f"<{type(self).__name__} {self._connections.where} schema={config.schema} prefix={config.prefix}>"

    @property
    def dsn(self) -> str:
        """The connection string, password included."""
        return self._connections.dsn

    @property
    def pooler(self) -> bool | Literal["auto"]:
        """What was passed as `pooler`."""
        return self._connections.pooler

    @property
    def listen_dsn(self) -> str | None:
        """The connection string for listening, password included; None if it is the same as for all else."""
        return self._connections.listen_dsn

    @property
    def allowed_functions(self) -> tuple[str, ...] | None:
        """The patterns of the functions that jobs may call; None allows everything."""
        return None if self._allowed is None else self._allowed.patterns

    @property
    def schedulers(self) -> tuple[Any, ...]:
        """The schedulers that were made for this client."""
        return self._schedulers

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

    def migration_status(self) -> MigrationStatus:
        """Tell whether the tables are those that this release works with. Neither migrates nor runs start-up hooks.

        Raises:
            psycopg.OperationalError: The database cannot be reached.
        """
        connection = self._connections.open()
        try:
            return self._migrator.status(connection)
        finally:
            connection.close()

    def migrate(self) -> tuple[str, ...]:
        """Migrate the tables, also with `auto_migrate=False`; for deployments. Does not run start-up hooks.

        Returns:
            The names of the migrations that were applied, in their order; none when there was nothing to do.

        Raises:
            psycopg.OperationalError: The database cannot be reached.
            SchemaVersionMismatch: The tables are newer than this release.
        """
        connection = self._connections.open()
        try:
            return self._migrator.prepare(connection, migrate=True)
        finally:
            connection.close()

    def migration_script(self) -> str:
        """The SQL that `migrate()` would send now, as text that can be run by hand; empty when there is nothing to do.

        It is a transaction of its own, takes the lock that keeps others from migrating at the same time, and records
        what it applies. Nothing is changed by asking for it.

        Raises:
            psycopg.OperationalError: The database cannot be reached.
            SchemaVersionMismatch: The tables are newer than this release.
        """
        connection = self._connections.open()
        try:
            return self._migrator.script(connection)
        finally:
            connection.close()

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

    # Working

    def run(
        self,
        queues: Sequence[str] = ("default",),
        concurrency: int = 10,
        *,
        kind: Literal["async", "thread", "process", "fork"] = "async",
        **options: Any,
    ) -> None:
        """Run a worker in this process until it is stopped, by SIGINT or SIGTERM; a burst stops when nothing is left.

        Args:
            queues: The queues to take jobs from.
            concurrency: How many jobs run at one time.
            kind: "async" for an `AsyncWorker`, "thread" for a `ThreadWorker`, "process" for a `ProcessWorker`, "fork"
                for a `ForkWorker`.
            options: Further options of that worker, such as `burst`.

        Raises:
            TypeError: An option is unknown or has the wrong type.
            ValueError: There is no such kind, or an option makes no sense.
            psycopg.Error: The database cannot be reached at the start. Later on, the worker waits for it.
        """
        from pgwerk.worker import worker_class

        _compat.run_worker(worker_class(kind)(self, queues, concurrency, **options))

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
            _conn: A connection or cursor whose transaction the job becomes part of. If that is REPEATABLE READ or
                SERIALIZABLE, a key that was taken since it began is a `psycopg.errors.SerializationFailure`.
            _meta: Metadata to store with the job.
            _result_ttl: Seconds the row is kept after success; None keeps it.
            _failure_ttl: Seconds the row is kept after a failure or abort; None keeps it.
            _ttl: Seconds within which the job must start, counted from when it may run; else it is aborted.
            _on_success: Callback after success.
            _on_failure: Callback after failure.
            _on_stopped: Callback after a cancel or abort.
            _repeat: Run it again after each success.
            _depends_on: Jobs that must succeed before this one starts. If one fails, is aborted or deleted, this one
                fails as well, unless the `Dependency` allows for failure.
            _failure_mode: "hold" keeps the row of a failed job, "delete" removes it.
            _sync: Run the job in this process, now, through the same life as in a worker: history, callbacks, all
                attempts, one right after the other. With `_conn`, as part of that transaction: what a failed attempt
                did in it is undone. `_delay` and `_at` are refused. What stops the call, such as a cancellation or
                `KeyboardInterrupt`, ends the job as aborted; with `_conn`, nothing of it is left.
            kwargs: Keyword arguments for the handler.

        Returns:
            The job, with `_sync` the finished one; or None if its key exists already.

        Raises:
            TypeError: An option is unknown or has the wrong type.
            ValueError: An option makes no sense, or the handler cannot be imported by a worker.
            SerializationError: An argument cannot be serialized.
            JobNotFound: A job in `_depends_on` does not exist; or, with `_sync`, somebody deleted the job while it ran.
            WerkError: With `_sync`, another job of `_group` is running, or one in `_depends_on` has not ended; nothing
                is written.
            psycopg.Error: What the database says; after a connection was lost, the job may or may not be there.
        """
        if kwargs:
            _, kwargs = split_call(kwargs)
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
        return self._enqueue(spec, conn=_conn, sync=checks.flag("_sync", _sync))

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

    @overload
    def options(self, *, key: None = None, **options: Unpack[Options]) -> SyncEnqueuer[Job]: ...
    @overload
    def options(self, *, key: str | None, **options: Unpack[Options]) -> SyncEnqueuer[Job | None]: ...
    def options(self, **options: Any) -> SyncEnqueuer[Any]:
        """Bind options, to be used for any number of jobs.

        The methods `enqueue`, `apply` and `map` of what this returns pass all their arguments to the handler. So they
        are checked by type checkers against the handler's own signature, and may have names that options have, too.

        Args:
            key: As `_key` of `enqueue`. Only with a key can `enqueue` return None.
            options: All other options of `enqueue`, without the underscore; `wait_timeout`, the seconds that `apply`
                and `map` wait at most (None waits for ever); and `poll_interval`, the seconds between their looks, in
                case that no notification arrives.

        Raises:
            TypeError: An option is unknown or has the wrong type.
            ValueError: An option makes no sense.
            SerializationError: The metadata cannot be serialized.
        """
        return SyncEnqueuer(self, self._preparation, options)

    @overload
    def apply(
        self,
        func: CoroutineHandler[..., R],
        /,
        *args: Any,
        timeout: float | None = None,
        poll_interval: float = POLL_INTERVAL,
        **enqueue_kwargs: Any,
    ) -> R: ...
    @overload
    def apply(
        self,
        func: Callable[..., R],
        /,
        *args: Any,
        timeout: float | None = None,
        poll_interval: float = POLL_INTERVAL,
        **enqueue_kwargs: Any,
    ) -> R: ...
    @overload
    def apply(
        self,
        func: str,
        /,
        *args: Any,
        timeout: float | None = None,
        poll_interval: float = POLL_INTERVAL,
        **enqueue_kwargs: Any,
    ) -> Any: ...
    def apply(
        self,
        func: Handler,
        /,
        *args: Any,
        timeout: float | None = None,
        poll_interval: float = POLL_INTERVAL,
        **enqueue_kwargs: Any,
    ) -> Any:
        """Enqueue a job and wait for its result.

        Args:
            func: The handler.
            args: Positional arguments for the handler.
            timeout: Seconds to wait at most, once the job is enqueued; None waits for ever.
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
            JobNotFound: The job was deleted before it was over; or as `enqueue`.
            TypeError, psycopg.Error: As `enqueue`.
        """
        specs = _specs_to_wait_for(func, [(args, {})], enqueue_kwargs)
        results = self._run(specs, timeout, poll_interval, return_exceptions=False)
        return results[0]

    @overload
    def map(
        self,
        func: CoroutineHandler[..., R],
        /,
        iter_kwargs: Iterable[Mapping[str, Any]],
        *,
        timeout: float | None = None,
        poll_interval: float = POLL_INTERVAL,
        return_exceptions: Literal[False] = False,
        **shared_enqueue_kwargs: Any,
    ) -> list[R]: ...
    @overload
    def map(
        self,
        func: CoroutineHandler[..., R],
        /,
        iter_kwargs: Iterable[Mapping[str, Any]],
        *,
        timeout: float | None = None,
        poll_interval: float = POLL_INTERVAL,
        return_exceptions: bool,
        **shared_enqueue_kwargs: Any,
    ) -> list[R | JobError]: ...
    @overload
    def map(
        self,
        func: Callable[..., R],
        /,
        iter_kwargs: Iterable[Mapping[str, Any]],
        *,
        timeout: float | None = None,
        poll_interval: float = POLL_INTERVAL,
        return_exceptions: Literal[False] = False,
        **shared_enqueue_kwargs: Any,
    ) -> list[R]: ...
    @overload
    def map(
        self,
        func: Callable[..., R],
        /,
        iter_kwargs: Iterable[Mapping[str, Any]],
        *,
        timeout: float | None = None,
        poll_interval: float = POLL_INTERVAL,
        return_exceptions: bool,
        **shared_enqueue_kwargs: Any,
    ) -> list[R | JobError]: ...
    @overload
    def map(
        self,
        func: str,
        /,
        iter_kwargs: Iterable[Mapping[str, Any]],
        *,
        timeout: float | None = None,
        poll_interval: float = POLL_INTERVAL,
        return_exceptions: bool = False,
        **shared_enqueue_kwargs: Any,
    ) -> list[Any]: ...
    def map(
        self,
        func: Handler,
        /,
        iter_kwargs: Iterable[Mapping[str, Any]],
        *,
        timeout: float | None = None,
        poll_interval: float = POLL_INTERVAL,
        return_exceptions: bool = False,
        **shared_enqueue_kwargs: Any,
    ) -> list[Any]:
        """Enqueue a job for each set of keyword arguments, and wait for all results.

        Args:
            func: The handler.
            iter_kwargs: Keyword arguments for the handler, one mapping for each job. Options are shared by all jobs,
                so no name in here begins with an underscore.
            timeout: Seconds to wait at most for all of them, once they are enqueued; None waits for ever.
            poll_interval: Seconds between looks, in case that no notification arrives.
            return_exceptions: Whether a job that did not succeed gives a `JobError` in its place.
            shared_enqueue_kwargs: Options of `enqueue`, and keyword arguments for the handler, that all jobs share.

        Returns:
            What the handler returned, in the order of `iter_kwargs`.

        Raises:
            JobError: A job failed or was aborted, and `return_exceptions` is off: the first one that did. The others
                are left to finish.
            TimeoutError: They have not all ended in time. They are not cancelled.
            TypeError: An item of `iter_kwargs` is no mapping or has a name that cannot be an argument's, or as `apply`.
            ValueError, SerializationError, JobNotFound, psycopg.Error: As `apply`.
        """
        calls = [((), kwargs) for kwargs in each_kwargs(iter_kwargs, any_name=False)]
        specs = _specs_to_wait_for(func, calls, shared_enqueue_kwargs)
        return self._run(specs, timeout, poll_interval, return_exceptions=return_exceptions)

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
            timeout: Seconds to wait at most, whether the database answers or not; None waits for ever, 0 looks once.
            poll_interval: Seconds between looks, in case that no notification arrives.

        Returns:
            The job in its terminal state.

        Raises:
            JobNotFound: There is no such job, or it was deleted meanwhile.
            TimeoutError: It has not ended in time.
            psycopg.Error: What the database says when it is asked.
        """
        identifier = normalize_id(job_id)
        if identifier is None:
            raise JobNotFound(str(job_id))
        timeout, poll_interval = _check_patience(timeout, poll_interval)
        self.connect()
        ended = self._waiting.until_ended([identifier], timeout=timeout, poll_interval=poll_interval)
        return ended[identifier]

    # Helpers

    def _other_flavour(self) -> Any:
        """The client of the other flavour for the same tables. It connects when it is first used, and has no pool."""
        if self._other is None:
            self._other = flavours.other(_compat.FLAVOUR)(
                self.dsn,
                config=self.config,
                serializer=self.serializer,
                auto_migrate=self._auto_migrate,
                pooler=self.pooler,
                listen_dsn=self.listen_dsn,
                allowed_functions=self.allowed_functions,
            )
        return self._other

    def _add_scheduler(self, scheduler: object) -> None:
        self._schedulers = (*self._schedulers, scheduler)

    def _context(self, job: Job, is_coroutine: bool) -> Context:
        """What a handler is told that runs in this process, with a client of its own flavour."""
        is_own = is_coroutine == _compat.RUNS_COROUTINES
        return Context(app=self if is_own else self._other_flavour(), worker=None, job=job)

    def _prepare_tables(self, may_migrate: bool) -> None:
        # Not from the pool: when the database cannot be reached, the driver's own error says so, and at once.
        connection = self._connections.open()
        try:
            self._connections.poolers.inspect(connection)
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
            if not self._lifecycle.is_connected:
                self.connect()
            return None
        connection = self._connections.accept(given)
        is_idle = connection.info.transaction_status is TransactionStatus.IDLE
        self._lifecycle.connect(may_migrate=is_idle)
        return connection

    def _enqueue(self, spec: EnqueueParams, *, conn: Connection | Cursor | None, sync: bool) -> Job | None:
        """Insert one job, or run it here."""
        if conn is None and not sync and self._lifecycle.is_connected:
            return self._jobs.enqueue(spec, None)
        connection = self._connection_for(conn)
        if sync:
            return self._inline.run(spec, connection)
        return self._jobs.enqueue(spec, connection)

    def _run(
        self,
        specs: Sequence[EnqueueParams],
        timeout: float | None,
        poll_interval: float,
        *,
        return_exceptions: bool,
    ) -> list[Any]:
        """Insert jobs and wait for their results."""
        timeout, poll_interval = _check_patience(timeout, poll_interval)
        self.connect()
        jobs = self._jobs.enqueue_many(specs, None, awaited=True)
        if None in jobs:
            key = specs[jobs.index(None)].key
            raise ValueError(f"a job with the key {key!r} exists already, so there is nothing to wait for")
        ids = [job.id for job in jobs if job is not None]
        if not ids:
            return []
        ended = self._waiting.until_ended(
            ids,
            timeout=timeout,
            poll_interval=poll_interval,
            marked=True,
            enough=lambda job: not return_exceptions and job.status is not JobStatus.Complete,
        )
        if not return_exceptions:
            for job in ended.values():
                if job.status is not JobStatus.Complete:
                    raise _job_error(job)
        return [_outcome(ended[job_id]) for job_id in ids]


flavours.register(_compat.FLAVOUR, SyncWerk)


def _specs_to_wait_for(
    func: Handler, calls: Sequence[tuple[tuple[Any, ...], Mapping[str, Any]]], shared: Mapping[str, Any]
) -> list[EnqueueParams]:
    """The jobs of `apply` or `map`, from the arguments of each call and what all of them share."""
    options, kwargs = split_call(shared)
    refuse_to_wait(options, jobs=len(calls))
    fields = {name.removeprefix("_"): value for name, value in options.items() if name not in {"_conn", "_sync"}}
    return [EnqueueParams(func, args=args, kwargs={**kwargs, **own}, **fields) for args, own in calls]


def _outcome(job: Job) -> Any:
    """What stands for a job among the results."""
    if job.status is not JobStatus.Complete:
        return _job_error(job)
    if isinstance(job.result, Undecodable):
        raise SerializationError(f"the result of job {job.id} cannot be read: {job.result.reason}")
    return job.result


def _job_error(job: Job) -> JobError:
    could_not_start = (job.error or "").startswith(DEPENDENCY_FAILED)
    return DependencyFailed(job) if could_not_start else JobError(job)


def _check_patience(timeout: object, poll_interval: object) -> tuple[float | None, float]:
    return (
        None if timeout is None else checks.seconds("timeout", timeout),
        checks.seconds("poll_interval", poll_interval, exclusive=True),
    )
