# Generated from tests/_async/test_transactions.py by `python tools/unasync_build.py`.
# Do not edit: change that file and run the command again.

"""`_conn`: jobs that are part of the caller's transaction, whatever the caller's connection is like."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, NoReturn

import psycopg
import psycopg_pool
import pytest
from psycopg import adapt, rows
from psycopg.conninfo import make_conninfo
from psycopg.pq import Format, TransactionStatus
from tests import handlers
from tests._sync import _compat

from pgwerk import EnqueueParams, Job, JobNotFound, JobStatus, SchemaVersionMismatch, SerializationError, SyncWerk
from pgwerk._sql import Names

UNKNOWN = "01900000-0000-7000-8000-000000000000"
TEXT = "Zoë €5 漢字 \U0001f389 ' \" \\ {} NULL %s $1"

Connection = psycopg.Connection[Any]
MakeApp = Callable[..., SyncWerk]


class Ear:
    """Hears what workers are told."""

    def __init__(self, connection: Connection, sender: Connection, channel: str) -> None:
        self._connection = connection
        self._sender = sender
        self._channel = channel

    def heard(self) -> list[str]:
        """All that was notified since this was called last, in its order. What is still to come is not among it."""
        self._sender.execute("SELECT pg_notify(%s, 'that is all')", [self._channel])
        payloads: list[str] = []
        while "that is all" not in payloads:
            found = [each.payload for each in self._connection.notifies(timeout=20, stop_after=1)]
            assert found, "nothing was heard within 20 s"
            payloads += found
        assert "that is all" == payloads.pop()
        return payloads


@pytest.fixture
def ear(app: SyncWerk, dsn: str) -> Iterator[Ear]:
    """Listens to the channel of jobs that are ready. The tables are there from then on."""
    app.connect()
    channel = Names(app.config.schema, app.config.prefix).ready_channel
    connection = psycopg.Connection.connect(dsn, autocommit=True)
    with connection, psycopg.Connection.connect(dsn, autocommit=True) as sender:
        connection.execute(f"LISTEN {channel}".encode())
        yield Ear(connection, sender, channel)


@pytest.fixture
def connection(app: SyncWerk, dsn: str) -> Iterator[Connection]:
    """A connection of the caller's. The tables are there, and nothing waits for an end of its transaction."""
    app.connect()
    with psycopg.Connection.connect(dsn) as caller:
        yield caller
        caller.rollback()


def exists(app: SyncWerk, job: Job | None) -> bool:
    """Whether others can see a job."""
    assert job is not None
    try:
        found = app.get_job(job.id)
    except JobNotFound:
        return False
    assert job == found
    return True


def check_works(app: SyncWerk, given: Any) -> list[Job]:
    """Enqueue over a connection of the caller's in all ways there are; the jobs, to be looked at after the commit."""
    single = app.enqueue(
        handlers.echo,
        TEXT,
        when=datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=timezone(timedelta(hours=5, minutes=45))),
        nothing=None,
        _key="a key",
        _meta={"text": TEXT, "none": None},
        _conn=given,
    )
    assert single is not None
    assert app.enqueue(handlers.echo, _key="a key", _conn=given) is None
    delayed = app.enqueue(handlers.echo, _delay=1.5, _ttl=60, _timeout=5, _retry=3, _conn=given)
    at = app.enqueue(handlers.echo, _at=datetime(2100, 1, 2, 3, 4, 5, 678901, tzinfo=UTC), _conn=given)
    first = EnqueueParams(handlers.echo, kwargs={"text": TEXT})
    many = app.enqueue_many(
        [first, EnqueueParams(handlers.echo, depends_on=[first, single]), EnqueueParams(handlers.echo, key="a key")],
        _conn=given,
    )
    assert many.pop() is None
    with pytest.raises(JobNotFound):
        app.enqueue(handlers.echo, _depends_on=UNKNOWN, _conn=given)
    jobs = [single, delayed, at, *many]
    return [job for job in jobs if job is not None]


# What can be given


GIVEN = [*_compat.CURSORS, "connection", "server cursor", "binary cursor"]


@contextlib.contextmanager
def give(connection: Connection, kind: str) -> Iterator[Any]:
    """The connection, or one of its cursors."""
    if kind == "connection":
        yield connection
    elif kind == "server cursor":
        with connection.cursor("some_name") as server_cursor:
            yield server_cursor
    elif kind == "binary cursor":
        with connection.cursor(binary=True) as binary_cursor:
            yield binary_cursor
    else:
        with _compat.CURSORS[kind](connection) as cursor:
            yield cursor


@pytest.mark.parametrize("autocommit", [False, True])
@pytest.mark.parametrize("kind", GIVEN)
def test_connections_and_cursors_of_all_kinds(app: SyncWerk, dsn: str, kind: str, autocommit: bool) -> None:
    """A connection, with autocommit or without, or any of its cursors: the job is part of the open transaction."""
    app.connect()
    with psycopg.Connection.connect(dsn, autocommit=autocommit) as connection:
        with connection.transaction(), give(connection, kind) as given:
            jobs = check_works(app, given)
            assert [False] * 5 == [exists(app, job) for job in jobs]
        assert 5 == len(jobs)
        assert [True] * 5 == [exists(app, job) for job in jobs]
        assert TransactionStatus.IDLE is connection.info.transaction_status
        assert autocommit is connection.autocommit


@pytest.mark.parametrize("kind", _compat.CURSORS)
def test_connections_that_make_other_cursors(app: SyncWerk, dsn: str, kind: str) -> None:
    """What kind of cursors a connection makes by itself does not matter."""
    app.connect()
    factory = _compat.CURSORS[kind]
    with psycopg.Connection.connect(dsn, cursor_factory=factory) as connection:
        jobs = check_works(app, connection)
    assert [True] * 5 == [exists(app, job) for job in jobs]


def test_a_cursor_is_left_as_it_was(app: SyncWerk, connection: Connection) -> None:
    """The cursor that is given keeps its result: it only tells the connection."""
    cursor = connection.execute("SELECT generate_series(1, 3)")
    assert (1,) == cursor.fetchone()
    app.enqueue(handlers.echo, _conn=cursor)
    assert [(2,), (3,)] == cursor.fetchall()
    with connection.cursor("some_name", binary=True) as server_cursor:
        server_cursor.execute("SELECT generate_series(1, 3)")
        assert (1,) == server_cursor.fetchone()
        app.enqueue(handlers.echo, _conn=server_cursor)
        assert [(2,), (3,)] == server_cursor.fetchall()


class Row:
    """What somebody makes of rows."""

    def __init__(self, **values: Any) -> None:
        self.values = values


def refuse(_: object) -> Callable[[Sequence[Any]], NoReturn]:
    """Make rows that nobody can read."""

    def make(_: Sequence[Any]) -> NoReturn:
        pytest.fail("a row was made")

    return make


@pytest.mark.parametrize(
    "factory",
    [rows.dict_row, rows.namedtuple_row, rows.class_row(Row), rows.kwargs_row(Row), rows.scalar_row, refuse],
    ids=["dict", "namedtuple", "class", "kwargs", "scalar", "refusing"],
)
def test_row_factories(app: SyncWerk, dsn: str, factory: Any) -> None:
    """What the caller's connection makes of rows does not matter."""
    app.connect()
    with psycopg.Connection.connect(dsn, row_factory=factory) as connection:
        jobs = check_works(app, connection.cursor())
    assert [True] * 5 == [exists(app, job) for job in jobs]


def test_pipelines(app: SyncWerk, connection: Connection) -> None:
    """In a pipeline of the caller's, jobs are enqueued in their place among the caller's own statements."""
    connection.execute("CREATE TEMPORARY TABLE orders (id integer) ON COMMIT DROP")
    with connection.pipeline():
        connection.execute("INSERT INTO orders VALUES (1)")
        jobs = check_works(app, connection)
        connection.execute("INSERT INTO orders VALUES (2)")
        cursor = connection.execute("SELECT count(*) FROM orders")
    assert (2,) == cursor.fetchone()
    assert [False] * 5 == [exists(app, job) for job in jobs]
    connection.commit()
    assert [True] * 5 == [exists(app, job) for job in jobs]


def test_pipelines_with_more_than_one_statement(app: SyncWerk, connection: Connection) -> None:
    """In a pipeline, too, a large call is all or nothing, and leaves the transaction alone."""
    specs = [EnqueueParams(handlers.echo, (number,)) for number in range(10_001)]
    with connection.pipeline():
        jobs = app.enqueue_many(specs, _conn=connection)
        with pytest.raises(JobNotFound):
            app.enqueue_many([*specs, EnqueueParams(handlers.echo, depends_on=UNKNOWN)], _conn=connection)
    connection.commit()
    assert 10_001 == len(jobs) == len(app.list_jobs(limit=100_000))


class BrokenLoader(adapt.Loader):
    """Cannot read what everybody can read."""

    def load(self, data: Any) -> NoReturn:
        pytest.fail(f"{bytes(data)!r} was read")


class BrokenBinaryLoader(BrokenLoader):
    format = Format.BINARY


class BrokenDumper(adapt.Dumper):
    """Cannot write what everybody can write."""

    def dump(self, obj: Any) -> NoReturn:
        pytest.fail(f"{obj!r} was written")


class BrokenBinaryDumper(BrokenDumper):
    format = Format.BINARY


def test_adapters(app: SyncWerk, connection: Connection) -> None:
    """How the caller's connection reads and writes values does not matter."""
    for name in ("bool", "int2", "int4", "int8", "float8", "numeric", "text", "varchar", "name", "uuid"):
        connection.adapters.register_loader(name, BrokenLoader)
        connection.adapters.register_loader(name, BrokenBinaryLoader)
    for name in ("timestamptz", "timestamp", "json", "jsonb", "bytea", "record"):
        connection.adapters.register_loader(name, BrokenLoader)
        connection.adapters.register_loader(name, BrokenBinaryLoader)
    for kind in (bool, int, float, str, bytes, list, tuple, dict, datetime, timedelta, type(None)):
        connection.adapters.register_dumper(kind, BrokenDumper)
        connection.adapters.register_dumper(kind, BrokenBinaryDumper)
    jobs = check_works(app, connection)
    connection.commit()
    assert [True] * 5 == [exists(app, job) for job in jobs]


@pytest.mark.parametrize(
    "setting",
    [
        "timezone = 'Asia/Kathmandu'",
        "timezone = 'America/St_Johns'",
        "datestyle = 'German, DMY'",
        "datestyle = 'SQL, DMY'",
        "datestyle = 'Postgres, MDY'",
        "intervalstyle = 'sql_standard'",
        "search_path = ''",
        "search_path = 'information_schema', 'pg_temp'",
        "client_encoding = 'LATIN1'",
        "client_encoding = 'EUC_JP'",
        "standard_conforming_strings = off",
        "escape_string_warning = off",
        "bytea_output = 'escape'",
        "extra_float_digits = -15",
        "transform_null_equals = on",
        "xmloption = 'document'",
        "plan_cache_mode = force_generic_plan",
        "plan_cache_mode = force_custom_plan",
        "enable_indexscan = off",
        "quote_all_identifiers = on",
        "default_transaction_isolation = 'serializable'",
        "synchronous_commit = off",
        "jit_above_cost = 0",
    ],
)
def test_settings_of_the_session(app: SyncWerk, dsn: str, setting: str) -> None:
    """What the caller's session is set to does not matter, and stays as it is."""
    app.connect()
    name = setting.split(maxsplit=1)[0].encode()
    with psycopg.Connection.connect(dsn, autocommit=True) as connection:
        connection.execute(b"SET " + setting.encode())
        cursor = connection.execute(b"SHOW " + name)
        before = cursor.fetchone()
        with connection.transaction():
            jobs = check_works(app, connection)
        cursor = connection.execute(b"SHOW " + name)
        assert before == cursor.fetchone()
    assert [True] * 5 == [exists(app, job) for job in jobs]


def test_an_encoding_that_cannot_carry_a_name(app: SyncWerk, dsn: str) -> None:
    """A name that the caller's encoding has no letters for is refused, and the transaction goes on."""
    app.connect()
    with psycopg.Connection.connect(dsn, client_encoding="latin1") as connection:
        job = app.enqueue(handlers.echo, TEXT, _queue="Bücher", _conn=connection)
        with pytest.raises(ValueError, match="client_encoding is LATIN1, which has no '€': use UTF8"):
            app.enqueue(handlers.echo, _key="€", _conn=connection)
        assert TransactionStatus.INTRANS is connection.info.transaction_status
    assert exists(app, job)


def test_statements_that_the_caller_has_prepared(app: SyncWerk, dsn: str) -> None:
    """A connection that prepares each statement at once, or none, works as any other does, again and again."""
    app.connect()
    for threshold in (0, 1, None):
        with psycopg.Connection.connect(dsn, prepare_threshold=threshold) as connection:
            jobs: list[Job | None] = []
            for _ in range(8):
                jobs.append(app.enqueue(handlers.echo, TEXT, _conn=connection))
                specs = [EnqueueParams(handlers.echo, depends_on=jobs[0]), EnqueueParams(handlers.echo)]
                jobs += app.enqueue_many(specs, _conn=connection)
            connection.commit()
        assert [True] * 24 == [exists(app, job) for job in jobs]


# Commit and rollback


def test_nothing_before_the_commit(app: SyncWerk, connection: Connection, ear: Ear) -> None:
    """Before the commit nobody sees the job or is notified; after it everybody does, once."""
    job = app.enqueue(handlers.echo, _conn=connection, _queue="mail")
    assert not exists(app, job)
    assert [] == ear.heard()
    connection.commit()
    assert exists(app, job)
    assert ["qmail"] == ear.heard()
    assert [] == ear.heard()


def test_one_notification_for_each_queue(app: SyncWerk, connection: Connection, ear: Ear) -> None:
    """However many jobs a transaction enqueues, each queue is notified once."""
    for _ in range(3):
        app.enqueue(handlers.echo, _conn=connection, _queue="a")
    app.enqueue_many([EnqueueParams(handlers.echo, queue=queue) for queue in "abab"], _conn=connection)
    connection.commit()
    assert ["qa", "qb"] == sorted(ear.heard())


def test_a_scheduled_job_is_notified_after_the_commit(app: SyncWerk, connection: Connection, ear: Ear) -> None:
    """The time of a scheduled job that is now the earliest is told after the commit, once."""
    job = app.enqueue(handlers.echo, _conn=connection, _delay=3600)
    assert [] == ear.heard()
    connection.commit()
    (heard,) = ear.heard()
    assert job is not None
    assert "d" == heard[0]
    assert abs(float(heard[1:]) - job.scheduled_at.timestamp()) < 0.001


def roll_back(connection: Connection) -> None:
    connection.rollback()


def close(connection: Connection) -> None:
    connection.close()


def terminate(connection: Connection) -> None:
    """The server ends the session."""
    pid = connection.info.backend_pid
    # The driver leaves the password out of what it shows.
    way = make_conninfo(connection.info.dsn, password=connection.info.password)
    with psycopg.Connection.connect(way, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 10000)", [pid])


@pytest.mark.parametrize("end", [roll_back, close, terminate], ids=["rollback", "close", "terminated"])
def test_rolled_back_means_never_existed(app: SyncWerk, dsn: str, ear: Ear, end: Any) -> None:
    """Without a commit there is no job, no notification, no dependency, and the key is free."""
    parent = app.enqueue(handlers.echo, _queue="parents")
    connection = psycopg.Connection.connect(dsn)
    jobs = check_works(app, connection)
    jobs += [job for job in [app.enqueue(handlers.echo, _depends_on=parent, _conn=connection)] if job is not None]
    end(connection)
    connection.close()
    assert [False] * 6 == [exists(app, job) for job in jobs]
    assert [] == ear.heard()
    assert [parent] == app.list_jobs()
    _compat.burst(app, queues=["parents"])
    assert app.enqueue(handlers.echo, _key="a key") is not None


def test_an_exception_rolls_back(app: SyncWerk, connection: Connection, ear: Ear) -> None:
    """An exception in the caller's `transaction()` takes the jobs with it."""
    jobs: list[Job] = []
    with contextlib.suppress(ZeroDivisionError):
        with connection.transaction():
            jobs += check_works(app, connection)
            raise ZeroDivisionError
    assert [False] * 5 == [exists(app, job) for job in jobs]
    assert [] == ear.heard()


def undo(savepoint: object) -> None:
    """Have the innermost block rolled back, and nothing else."""
    raise psycopg.Rollback(savepoint)  # type: ignore[arg-type]


def test_savepoints(app: SyncWerk, connection: Connection, ear: Ear) -> None:
    """A savepoint that is rolled back takes its jobs with it, and no others; one that is not keeps them."""
    with connection.transaction():
        before = app.enqueue(handlers.echo, _conn=connection, _queue="before")
        with connection.transaction() as savepoint:
            lost = app.enqueue(handlers.echo, _conn=connection, _queue="lost", _key="k")
            with connection.transaction():
                lost_too = app.enqueue(handlers.echo, _conn=connection, _queue="lost")
            undo(savepoint)
        with connection.transaction(), connection.transaction():
            nested = app.enqueue(handlers.echo, _conn=connection, _queue="nested", _key="k")
        after = app.enqueue(handlers.echo, _conn=connection, _queue="after")
    assert [True, False, False, True, True] == [exists(app, job) for job in (before, lost, lost_too, nested, after)]
    assert ["qafter", "qbefore", "qnested"] == sorted(ear.heard())


def test_autocommit_without_a_transaction(app: SyncWerk, dsn: str, ear: Ear) -> None:
    """On a connection with autocommit and no open transaction, a job is there at once."""
    with psycopg.Connection.connect(dsn, autocommit=True) as connection:
        job = app.enqueue(handlers.echo, _conn=connection, _queue="mail")
        assert TransactionStatus.IDLE is connection.info.transaction_status
        assert exists(app, job)
        assert ["qmail"] == ear.heard()
        specs = [EnqueueParams(handlers.echo) for _ in range(10_001)]
        with pytest.raises(JobNotFound):
            app.enqueue_many([*specs, EnqueueParams(handlers.echo, depends_on=UNKNOWN)], _conn=connection)
    assert [] == ear.heard()
    assert [job] == app.list_jobs()


def test_a_worker_is_woken_by_the_commit(app: SyncWerk, connection: Connection) -> None:
    """A worker that sleeps for long starts the job when the caller commits."""
    with _compat.working(app, poll_interval=3600, sweep_interval=3600):
        warm_up = app.enqueue(handlers.echo)
        assert warm_up is not None
        app.wait_for(warm_up.id, timeout=20)
        job = app.enqueue(handlers.echo, "done", _conn=connection)
        assert job is not None
        connection.commit()
        ended = app.wait_for(job.id, timeout=20)
    assert "done" == ended.result


def test_a_job_that_waits_for_one_that_ended_meanwhile(app: SyncWerk, connection: Connection) -> None:
    """A parent that ends while the caller's transaction is open does not leave the child behind."""
    parent = app.enqueue(handlers.echo)
    child = app.enqueue(handlers.echo, "child", _depends_on=parent, _conn=connection)
    assert parent is not None
    assert child is not None
    with _compat.working(app, poll_interval=3600, sweep_interval=3600):
        app.wait_for(parent.id, timeout=20)
        connection.commit()
        ended = app.wait_for(child.id, timeout=20)
    assert (JobStatus.Complete, "child") == (ended.status, ended.result)


# What is refused


def test_a_refusal_leaves_the_transaction_alone(app: SyncWerk, connection: Connection) -> None:
    """Whatever pgwerk refuses, the caller's transaction goes on as if nothing had been asked."""
    connection.execute("CREATE TEMPORARY TABLE orders (id integer)")
    for error, options in (
        (TypeError, {"_priority": "high"}),
        (ValueError, {"_timeout": 0}),
        (SerializationError, {"x": object()}),
        (JobNotFound, {"_depends_on": UNKNOWN}),
    ):
        with pytest.raises(error):
            app.enqueue(handlers.echo, _conn=connection, **options)
        assert TransactionStatus.INTRANS is connection.info.transaction_status

    def stop(_: Job) -> NoReturn:
        raise PermissionError

    app.register_before_enqueue(stop)
    with pytest.raises(PermissionError):
        app.enqueue(handlers.echo, _conn=connection)
    app.unregister_before_enqueue(stop)
    connection.execute("INSERT INTO orders VALUES (1)")
    job = app.enqueue(handlers.echo, _conn=connection)
    connection.commit()
    assert [job] == app.list_jobs()


def test_connections_of_the_other_flavour(app: SyncWerk, dsn: str) -> None:
    """A connection or cursor of the other flavour is refused, and the error says which one is needed."""
    app.connect()
    with _compat.other_flavour(dsn) as (connection, cursor, pool):
        for given in (connection, cursor):
            with pytest.raises(TypeError, match=r"_conn is of the other flavour: .* needs a psycopg\."):
                app.enqueue(handlers.echo, _conn=given)
            with pytest.raises(TypeError, match="_conn is of the other flavour"):
                app.enqueue_many([EnqueueParams(handlers.echo)], _conn=given)
        with pytest.raises(TypeError, match="_conn must be a psycopg"):
            app.enqueue(handlers.echo, _conn=pool)
    assert [] == app.list_jobs()


@pytest.mark.parametrize("given", ["a dsn", 5, True, object(), psycopg, [], psycopg.Connection])
def test_what_is_no_connection(app: SyncWerk, given: Any) -> None:
    """What is no connection is refused by its type."""
    app.connect()
    with pytest.raises(TypeError, match=r"_conn must be a psycopg\..*Connection or one of its cursors, not "):
        app.enqueue(handlers.echo, _conn=given)


def test_a_pool_is_no_connection(app: SyncWerk, dsn: str) -> None:
    """A pool is refused: which of its connections has the transaction, only the caller knows."""
    app.connect()
    pool = psycopg_pool.ConnectionPool(dsn, open=False)
    with pytest.raises(TypeError, match=r"_conn must be a psycopg\..*Pool"):
        app.enqueue(handlers.echo, _conn=pool)  # type: ignore[arg-type]


def test_a_closed_connection(app: SyncWerk, dsn: str) -> None:
    """On a connection that is closed, the driver says that it is."""
    app.connect()
    connection = psycopg.Connection.connect(dsn)
    cursor = connection.cursor()
    connection.close()
    for given in (connection, cursor):
        with pytest.raises(psycopg.OperationalError, match="the connection is closed"):
            app.enqueue(handlers.echo, _conn=given)


def test_a_connection_to_another_database(app: SyncWerk, dsn: str) -> None:
    """Where the tables are not, the server says which one is missing; a savepoint of the caller's saves the rest."""
    app.connect()
    with psycopg.Connection.connect(make_conninfo(dsn, dbname="postgres")) as connection:
        with connection.transaction():
            with contextlib.suppress(psycopg.errors.UndefinedTable):
                with connection.transaction():
                    app.enqueue(handlers.echo, _conn=connection)
                    pytest.fail("it was enqueued somewhere")
            cursor = connection.execute("SELECT 1")
            assert (1,) == cursor.fetchone()
        with pytest.raises(psycopg.errors.UndefinedTable, match=app.config.schema):
            app.enqueue(handlers.echo, _conn=connection)


def test_tables_that_are_not_there_yet(make_app: MakeApp, dsn: str) -> None:
    """Without tables, `_conn` gives an error that names the command, before the transaction is touched."""
    with psycopg.Connection.connect(dsn) as connection:
        connection.execute("SELECT 1")
        with pytest.raises(SchemaVersionMismatch, match="werk migrate"):
            make_app().enqueue(handlers.echo, _conn=connection)
        assert TransactionStatus.INTRANS is connection.info.transaction_status


def test_transactions_that_cannot_write(app: SyncWerk, connection: Connection) -> None:
    """In a transaction that is broken or read-only, the server's own error comes through."""
    connection.set_read_only(True)
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        app.enqueue(handlers.echo, _conn=connection)
    with pytest.raises(psycopg.errors.InFailedSqlTransaction):
        app.enqueue(handlers.echo, _conn=connection)


# Isolation levels

STRICT = [psycopg.IsolationLevel.REPEATABLE_READ, psycopg.IsolationLevel.SERIALIZABLE]


def take_snapshot(connection: Connection, level: psycopg.IsolationLevel) -> None:
    """Begin a transaction that sees nothing of what is committed from now on."""
    connection.set_isolation_level(level)
    connection.execute("SELECT 1 FROM pg_class LIMIT 1")


@pytest.mark.parametrize("level", STRICT)
def test_strict_isolation(app: SyncWerk, connection: Connection, level: psycopg.IsolationLevel, ear: Ear) -> None:
    """In a stricter transaction than by default, jobs are enqueued as in any other."""
    take_snapshot(connection, level)
    app.enqueue(handlers.echo, _queue="others")
    jobs = check_works(app, connection)
    assert [] == ear.heard()
    connection.commit()
    assert [True] * 5 == [exists(app, job) for job in jobs]
    assert "qdefault" in ear.heard()


@pytest.mark.parametrize("level", STRICT)
def test_a_key_that_the_caller_cannot_see(app: SyncWerk, connection: Connection, level: psycopg.IsolationLevel) -> None:
    """A key that was committed after the caller's snapshot gives PostgreSQL's own error; the next try sees the key."""
    take_snapshot(connection, level)
    assert app.enqueue(handlers.echo, _key="k") is not None
    with pytest.raises(psycopg.errors.SerializationFailure):
        app.enqueue(handlers.echo, _key="k", _conn=connection)
    connection.rollback()
    assert app.enqueue(handlers.echo, _key="k", _conn=connection) is None


@pytest.mark.parametrize("level", STRICT)
def test_a_parent_that_has_changed(app: SyncWerk, connection: Connection, level: psycopg.IsolationLevel) -> None:
    """A job may depend on one that was claimed and has ended after the caller's snapshot."""
    parent = app.enqueue(handlers.echo)
    take_snapshot(connection, level)
    _compat.burst(app)
    child = app.enqueue(handlers.echo, "child", _depends_on=parent, _conn=connection)
    many = app.enqueue_many([EnqueueParams(handlers.echo, depends_on=parent)], _conn=connection)
    connection.commit()
    app.sweep()
    _compat.burst(app)
    assert child is not None
    found = [app.get_job(job.id) for job in [child, *many] if job is not None]
    assert [JobStatus.Complete] * 2 == [job.status for job in found]


@pytest.mark.parametrize("level", STRICT)
def test_a_parent_that_the_caller_cannot_see(
    app: SyncWerk, connection: Connection, level: psycopg.IsolationLevel
) -> None:
    """A parent that was enqueued after the caller's snapshot does not exist for it; the transaction goes on."""
    take_snapshot(connection, level)
    parent = app.enqueue(handlers.echo)
    with pytest.raises(JobNotFound):
        app.enqueue(handlers.echo, _depends_on=parent, _conn=connection)
    job = app.enqueue(handlers.echo, _conn=connection)
    connection.commit()
    assert exists(app, job)


def test_a_caller_can_use_several_clients(app: SyncWerk, make_app: MakeApp, connection: Connection) -> None:
    """Jobs of several sets of tables can be part of one transaction."""
    other = make_app(prefix="other")
    other.connect()
    jobs = [each.enqueue(handlers.echo, _conn=connection, _key="k") for each in (app, other)]
    connection.commit()
    assert [[job] for job in jobs] == [app.list_jobs(), other.list_jobs()]
