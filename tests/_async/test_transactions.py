"""`_conn`: jobs that are part of the caller's transaction, whatever the caller's connection is like."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, NoReturn

import psycopg
import psycopg_pool
import pytest
from psycopg import adapt, rows
from psycopg.conninfo import make_conninfo
from psycopg.pq import Format, TransactionStatus
from tests import handlers
from tests._async import _compat

from pgwerk import EnqueueParams, Job, JobNotFound, JobStatus, SchemaVersionMismatch, SerializationError, Werk
from pgwerk._sql import Names

UNKNOWN = "01900000-0000-7000-8000-000000000000"
TEXT = "Zoë €5 漢字 \U0001f389 ' \" \\ {} NULL %s $1"

Connection = psycopg.AsyncConnection[Any]
MakeApp = Callable[..., Werk]


class Ear:
    """Hears what workers are told."""

    def __init__(self, connection: Connection, sender: Connection, channel: str) -> None:
        self._connection = connection
        self._sender = sender
        self._channel = channel

    async def heard(self) -> list[str]:
        """All that was notified since this was called last, in its order. What is still to come is not among it."""
        await self._sender.execute("SELECT pg_notify(%s, 'that is all')", [self._channel])
        payloads: list[str] = []
        while "that is all" not in payloads:
            found = [each.payload async for each in self._connection.notifies(timeout=20, stop_after=1)]
            assert found, "nothing was heard within 20 s"
            payloads += found
        assert "that is all" == payloads.pop()
        return payloads


@pytest.fixture
async def ear(app: Werk, dsn: str) -> AsyncIterator[Ear]:
    """Listens to the channel of jobs that are ready. The tables are there from then on."""
    await app.connect()
    channel = Names(app.config.schema, app.config.prefix).ready_channel
    connection = await psycopg.AsyncConnection.connect(dsn, autocommit=True)
    async with connection, await psycopg.AsyncConnection.connect(dsn, autocommit=True) as sender:
        await connection.execute(f"LISTEN {channel}".encode())
        yield Ear(connection, sender, channel)


@pytest.fixture
async def connection(app: Werk, dsn: str) -> AsyncIterator[Connection]:
    """A connection of the caller's. The tables are there, and nothing waits for an end of its transaction."""
    await app.connect()
    async with await psycopg.AsyncConnection.connect(dsn) as caller:
        yield caller
        await caller.rollback()


async def exists(app: Werk, job: Job | None) -> bool:
    """Whether others can see a job."""
    assert job is not None
    try:
        found = await app.get_job(job.id)
    except JobNotFound:
        return False
    assert job == found
    return True


async def check_works(app: Werk, given: Any) -> list[Job]:
    """Enqueue over a connection of the caller's in all ways there are; the jobs, to be looked at after the commit."""
    single = await app.enqueue(
        handlers.echo,
        TEXT,
        when=datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=timezone(timedelta(hours=5, minutes=45))),
        nothing=None,
        _key="a key",
        _meta={"text": TEXT, "none": None},
        _conn=given,
    )
    assert single is not None
    assert await app.enqueue(handlers.echo, _key="a key", _conn=given) is None
    delayed = await app.enqueue(handlers.echo, _delay=1.5, _ttl=60, _timeout=5, _retry=3, _conn=given)
    at = await app.enqueue(handlers.echo, _at=datetime(2100, 1, 2, 3, 4, 5, 678901, tzinfo=UTC), _conn=given)
    first = EnqueueParams(handlers.echo, kwargs={"text": TEXT})
    many = await app.enqueue_many(
        [first, EnqueueParams(handlers.echo, depends_on=[first, single]), EnqueueParams(handlers.echo, key="a key")],
        _conn=given,
    )
    assert many.pop() is None
    with pytest.raises(JobNotFound):
        await app.enqueue(handlers.echo, _depends_on=UNKNOWN, _conn=given)
    jobs = [single, delayed, at, *many]
    return [job for job in jobs if job is not None]


# What can be given


GIVEN = [*_compat.CURSORS, "connection", "server cursor", "binary cursor"]


@contextlib.asynccontextmanager
async def give(connection: Connection, kind: str) -> AsyncIterator[Any]:
    """The connection, or one of its cursors."""
    if kind == "connection":
        yield connection
    elif kind == "server cursor":
        async with connection.cursor("some_name") as server_cursor:
            yield server_cursor
    elif kind == "binary cursor":
        async with connection.cursor(binary=True) as binary_cursor:
            yield binary_cursor
    else:
        async with _compat.CURSORS[kind](connection) as cursor:
            yield cursor


@pytest.mark.parametrize("autocommit", [False, True])
@pytest.mark.parametrize("kind", GIVEN)
async def test_connections_and_cursors_of_all_kinds(app: Werk, dsn: str, kind: str, autocommit: bool) -> None:
    """A connection, with autocommit or without, or any of its cursors: the job is part of the open transaction."""
    await app.connect()
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=autocommit) as connection:
        async with connection.transaction(), give(connection, kind) as given:
            jobs = await check_works(app, given)
            assert [False] * 5 == [await exists(app, job) for job in jobs]
        assert 5 == len(jobs)
        assert [True] * 5 == [await exists(app, job) for job in jobs]
        assert TransactionStatus.IDLE is connection.info.transaction_status
        assert autocommit is connection.autocommit


@pytest.mark.parametrize("kind", _compat.CURSORS)
async def test_connections_that_make_other_cursors(app: Werk, dsn: str, kind: str) -> None:
    """What kind of cursors a connection makes by itself does not matter."""
    await app.connect()
    factory = _compat.CURSORS[kind]
    async with await psycopg.AsyncConnection.connect(dsn, cursor_factory=factory) as connection:
        jobs = await check_works(app, connection)
    assert [True] * 5 == [await exists(app, job) for job in jobs]


async def test_a_cursor_is_left_as_it_was(app: Werk, connection: Connection) -> None:
    """The cursor that is given keeps its result: it only tells the connection."""
    cursor = await connection.execute("SELECT generate_series(1, 3)")
    assert (1,) == await cursor.fetchone()
    await app.enqueue(handlers.echo, _conn=cursor)
    assert [(2,), (3,)] == await cursor.fetchall()
    async with connection.cursor("some_name", binary=True) as server_cursor:
        await server_cursor.execute("SELECT generate_series(1, 3)")
        assert (1,) == await server_cursor.fetchone()
        await app.enqueue(handlers.echo, _conn=server_cursor)
        assert [(2,), (3,)] == await server_cursor.fetchall()


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
async def test_row_factories(app: Werk, dsn: str, factory: Any) -> None:
    """What the caller's connection makes of rows does not matter."""
    await app.connect()
    async with await psycopg.AsyncConnection.connect(dsn, row_factory=factory) as connection:
        jobs = await check_works(app, connection.cursor())
    assert [True] * 5 == [await exists(app, job) for job in jobs]


async def test_pipelines(app: Werk, connection: Connection) -> None:
    """In a pipeline of the caller's, jobs are enqueued in their place among the caller's own statements."""
    await connection.execute("CREATE TEMPORARY TABLE orders (id integer) ON COMMIT DROP")
    async with connection.pipeline():
        await connection.execute("INSERT INTO orders VALUES (1)")
        jobs = await check_works(app, connection)
        await connection.execute("INSERT INTO orders VALUES (2)")
        cursor = await connection.execute("SELECT count(*) FROM orders")
    assert (2,) == await cursor.fetchone()
    assert [False] * 5 == [await exists(app, job) for job in jobs]
    await connection.commit()
    assert [True] * 5 == [await exists(app, job) for job in jobs]


async def test_pipelines_with_more_than_one_statement(app: Werk, connection: Connection) -> None:
    """In a pipeline, too, a large call is all or nothing, and leaves the transaction alone."""
    specs = [EnqueueParams(handlers.echo, (number,)) for number in range(10_001)]
    async with connection.pipeline():
        jobs = await app.enqueue_many(specs, _conn=connection)
        with pytest.raises(JobNotFound):
            await app.enqueue_many([*specs, EnqueueParams(handlers.echo, depends_on=UNKNOWN)], _conn=connection)
    await connection.commit()
    assert 10_001 == len(jobs) == len(await app.list_jobs(limit=100_000))


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


async def test_adapters(app: Werk, connection: Connection) -> None:
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
    jobs = await check_works(app, connection)
    await connection.commit()
    assert [True] * 5 == [await exists(app, job) for job in jobs]


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
async def test_settings_of_the_session(app: Werk, dsn: str, setting: str) -> None:
    """What the caller's session is set to does not matter, and stays as it is."""
    await app.connect()
    name = setting.split(maxsplit=1)[0].encode()
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        await connection.execute(b"SET " + setting.encode())
        cursor = await connection.execute(b"SHOW " + name)
        before = await cursor.fetchone()
        async with connection.transaction():
            jobs = await check_works(app, connection)
        cursor = await connection.execute(b"SHOW " + name)
        assert before == await cursor.fetchone()
    assert [True] * 5 == [await exists(app, job) for job in jobs]


async def test_an_encoding_that_cannot_carry_a_name(app: Werk, dsn: str) -> None:
    """A name that the caller's encoding has no letters for is refused, and the transaction goes on."""
    await app.connect()
    async with await psycopg.AsyncConnection.connect(dsn, client_encoding="latin1") as connection:
        job = await app.enqueue(handlers.echo, TEXT, _queue="Bücher", _conn=connection)
        with pytest.raises(ValueError, match="client_encoding is LATIN1, which has no '€': use UTF8"):
            await app.enqueue(handlers.echo, _key="€", _conn=connection)
        assert TransactionStatus.INTRANS is connection.info.transaction_status
    assert await exists(app, job)


async def test_statements_that_the_caller_has_prepared(app: Werk, dsn: str) -> None:
    """A connection that prepares each statement at once, or none, works as any other does, again and again."""
    await app.connect()
    for threshold in (0, 1, None):
        async with await psycopg.AsyncConnection.connect(dsn, prepare_threshold=threshold) as connection:
            jobs: list[Job | None] = []
            for _ in range(8):
                jobs.append(await app.enqueue(handlers.echo, TEXT, _conn=connection))
                specs = [EnqueueParams(handlers.echo, depends_on=jobs[0]), EnqueueParams(handlers.echo)]
                jobs += await app.enqueue_many(specs, _conn=connection)
            await connection.commit()
        assert [True] * 24 == [await exists(app, job) for job in jobs]


# Commit and rollback


async def test_nothing_before_the_commit(app: Werk, connection: Connection, ear: Ear) -> None:
    """Before the commit nobody sees the job or is notified; after it everybody does, once."""
    job = await app.enqueue(handlers.echo, _conn=connection, _queue="mail")
    assert not await exists(app, job)
    assert [] == await ear.heard()
    await connection.commit()
    assert await exists(app, job)
    assert ["qmail"] == await ear.heard()
    assert [] == await ear.heard()


async def test_one_notification_for_each_queue(app: Werk, connection: Connection, ear: Ear) -> None:
    """However many jobs a transaction enqueues, each queue is notified once."""
    for _ in range(3):
        await app.enqueue(handlers.echo, _conn=connection, _queue="a")
    await app.enqueue_many([EnqueueParams(handlers.echo, queue=queue) for queue in "abab"], _conn=connection)
    await connection.commit()
    assert ["qa", "qb"] == sorted(await ear.heard())


async def test_a_scheduled_job_is_notified_after_the_commit(app: Werk, connection: Connection, ear: Ear) -> None:
    """The time of a scheduled job that is now the earliest is told after the commit, once."""
    job = await app.enqueue(handlers.echo, _conn=connection, _delay=3600)
    assert [] == await ear.heard()
    await connection.commit()
    (heard,) = await ear.heard()
    assert job is not None
    assert "d" == heard[0]
    assert abs(float(heard[1:]) - job.scheduled_at.timestamp()) < 0.001


async def roll_back(connection: Connection) -> None:
    await connection.rollback()


async def close(connection: Connection) -> None:
    await connection.close()


async def terminate(connection: Connection) -> None:
    """The server ends the session."""
    pid = connection.info.backend_pid
    # The driver leaves the password out of what it shows.
    way = make_conninfo(connection.info.dsn, password=connection.info.password)
    async with await psycopg.AsyncConnection.connect(way, autocommit=True) as other:
        await other.execute("SELECT pg_terminate_backend(%s, 10000)", [pid])


@pytest.mark.parametrize("end", [roll_back, close, terminate], ids=["rollback", "close", "terminated"])
async def test_rolled_back_means_never_existed(app: Werk, dsn: str, ear: Ear, end: Any) -> None:
    """Without a commit there is no job, no notification, no dependency, and the key is free."""
    parent = await app.enqueue(handlers.echo, _queue="parents")
    connection = await psycopg.AsyncConnection.connect(dsn)
    jobs = await check_works(app, connection)
    jobs += [job for job in [await app.enqueue(handlers.echo, _depends_on=parent, _conn=connection)] if job is not None]
    await end(connection)
    await connection.close()
    assert [False] * 6 == [await exists(app, job) for job in jobs]
    assert [] == await ear.heard()
    assert [parent] == await app.list_jobs()
    await _compat.burst(app, queues=["parents"])
    assert await app.enqueue(handlers.echo, _key="a key") is not None


async def test_an_exception_rolls_back(app: Werk, connection: Connection, ear: Ear) -> None:
    """An exception in the caller's `transaction()` takes the jobs with it."""
    jobs: list[Job] = []
    with contextlib.suppress(ZeroDivisionError):
        async with connection.transaction():
            jobs += await check_works(app, connection)
            raise ZeroDivisionError
    assert [False] * 5 == [await exists(app, job) for job in jobs]
    assert [] == await ear.heard()


def undo(savepoint: object) -> None:
    """Have the innermost block rolled back, and nothing else."""
    raise psycopg.Rollback(savepoint)  # type: ignore[arg-type]


async def test_savepoints(app: Werk, connection: Connection, ear: Ear) -> None:
    """A savepoint that is rolled back takes its jobs with it, and no others; one that is not keeps them."""
    async with connection.transaction():
        before = await app.enqueue(handlers.echo, _conn=connection, _queue="before")
        async with connection.transaction() as savepoint:
            lost = await app.enqueue(handlers.echo, _conn=connection, _queue="lost", _key="k")
            async with connection.transaction():
                lost_too = await app.enqueue(handlers.echo, _conn=connection, _queue="lost")
            undo(savepoint)
        async with connection.transaction(), connection.transaction():
            nested = await app.enqueue(handlers.echo, _conn=connection, _queue="nested", _key="k")
        after = await app.enqueue(handlers.echo, _conn=connection, _queue="after")
    assert [True, False, False, True, True] == [
        await exists(app, job) for job in (before, lost, lost_too, nested, after)
    ]
    assert ["qafter", "qbefore", "qnested"] == sorted(await ear.heard())


async def test_autocommit_without_a_transaction(app: Werk, dsn: str, ear: Ear) -> None:
    """On a connection with autocommit and no open transaction, a job is there at once."""
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        job = await app.enqueue(handlers.echo, _conn=connection, _queue="mail")
        assert TransactionStatus.IDLE is connection.info.transaction_status
        assert await exists(app, job)
        assert ["qmail"] == await ear.heard()
        specs = [EnqueueParams(handlers.echo) for _ in range(10_001)]
        with pytest.raises(JobNotFound):
            await app.enqueue_many([*specs, EnqueueParams(handlers.echo, depends_on=UNKNOWN)], _conn=connection)
    assert [] == await ear.heard()
    assert [job] == await app.list_jobs()


async def test_a_worker_is_woken_by_the_commit(app: Werk, connection: Connection) -> None:
    """A worker that sleeps for long starts the job when the caller commits."""
    async with _compat.working(app, poll_interval=3600, sweep_interval=3600):
        warm_up = await app.enqueue(handlers.echo)
        assert warm_up is not None
        await app.wait_for(warm_up.id, timeout=20)
        job = await app.enqueue(handlers.echo, "done", _conn=connection)
        assert job is not None
        await connection.commit()
        ended = await app.wait_for(job.id, timeout=20)
    assert "done" == ended.result


async def test_a_job_that_waits_for_one_that_ended_meanwhile(app: Werk, connection: Connection) -> None:
    """A parent that ends while the caller's transaction is open does not leave the child behind."""
    parent = await app.enqueue(handlers.echo)
    child = await app.enqueue(handlers.echo, "child", _depends_on=parent, _conn=connection)
    assert parent is not None
    assert child is not None
    async with _compat.working(app, poll_interval=3600, sweep_interval=3600):
        await app.wait_for(parent.id, timeout=20)
        await connection.commit()
        ended = await app.wait_for(child.id, timeout=20)
    assert (JobStatus.Complete, "child") == (ended.status, ended.result)


# What is refused


async def test_a_refusal_leaves_the_transaction_alone(app: Werk, connection: Connection) -> None:
    """Whatever pgwerk refuses, the caller's transaction goes on as if nothing had been asked."""
    await connection.execute("CREATE TEMPORARY TABLE orders (id integer)")
    for error, options in (
        (TypeError, {"_priority": "high"}),
        (ValueError, {"_timeout": 0}),
        (SerializationError, {"x": object()}),
        (JobNotFound, {"_depends_on": UNKNOWN}),
    ):
        with pytest.raises(error):
            await app.enqueue(handlers.echo, _conn=connection, **options)
        assert TransactionStatus.INTRANS is connection.info.transaction_status

    def stop(_: Job) -> NoReturn:
        raise PermissionError

    app.register_before_enqueue(stop)
    with pytest.raises(PermissionError):
        await app.enqueue(handlers.echo, _conn=connection)
    app.unregister_before_enqueue(stop)
    await connection.execute("INSERT INTO orders VALUES (1)")
    job = await app.enqueue(handlers.echo, _conn=connection)
    await connection.commit()
    assert [job] == await app.list_jobs()


async def test_connections_of_the_other_flavour(app: Werk, dsn: str) -> None:
    """A connection or cursor of the other flavour is refused, and the error says which one is needed."""
    await app.connect()
    with _compat.other_flavour(dsn) as (connection, cursor, pool):
        for given in (connection, cursor):
            with pytest.raises(TypeError, match=r"_conn is of the other flavour: .* needs a psycopg\."):
                await app.enqueue(handlers.echo, _conn=given)
            with pytest.raises(TypeError, match="_conn is of the other flavour"):
                await app.enqueue_many([EnqueueParams(handlers.echo)], _conn=given)
        with pytest.raises(TypeError, match="_conn must be a psycopg"):
            await app.enqueue(handlers.echo, _conn=pool)
    assert [] == await app.list_jobs()


@pytest.mark.parametrize("given", ["a dsn", 5, True, object(), psycopg, [], psycopg.AsyncConnection])
async def test_what_is_no_connection(app: Werk, given: Any) -> None:
    """What is no connection is refused by its type."""
    await app.connect()
    with pytest.raises(TypeError, match=r"_conn must be a psycopg\..*Connection or one of its cursors, not "):
        await app.enqueue(handlers.echo, _conn=given)


async def test_a_pool_is_no_connection(app: Werk, dsn: str) -> None:
    """A pool is refused: which of its connections has the transaction, only the caller knows."""
    await app.connect()
    pool = psycopg_pool.AsyncConnectionPool(dsn, open=False)
    with pytest.raises(TypeError, match=r"_conn must be a psycopg\..*Pool"):
        await app.enqueue(handlers.echo, _conn=pool)  # type: ignore[arg-type]


async def test_a_closed_connection(app: Werk, dsn: str) -> None:
    """On a connection that is closed, the driver says that it is."""
    await app.connect()
    connection = await psycopg.AsyncConnection.connect(dsn)
    cursor = connection.cursor()
    await connection.close()
    for given in (connection, cursor):
        with pytest.raises(psycopg.OperationalError, match="the connection is closed"):
            await app.enqueue(handlers.echo, _conn=given)


async def test_a_connection_to_another_database(app: Werk, dsn: str) -> None:
    """Where the tables are not, the server says which one is missing; a savepoint of the caller's saves the rest."""
    await app.connect()
    async with await psycopg.AsyncConnection.connect(make_conninfo(dsn, dbname="postgres")) as connection:
        async with connection.transaction():
            with contextlib.suppress(psycopg.errors.UndefinedTable):
                async with connection.transaction():
                    await app.enqueue(handlers.echo, _conn=connection)
                    pytest.fail("it was enqueued somewhere")
            cursor = await connection.execute("SELECT 1")
            assert (1,) == await cursor.fetchone()
        with pytest.raises(psycopg.errors.UndefinedTable, match=app.config.schema):
            await app.enqueue(handlers.echo, _conn=connection)


async def test_tables_that_are_not_there_yet(make_app: MakeApp, dsn: str) -> None:
    """Without tables, `_conn` gives an error that names the command, before the transaction is touched."""
    async with await psycopg.AsyncConnection.connect(dsn) as connection:
        await connection.execute("SELECT 1")
        with pytest.raises(SchemaVersionMismatch, match="werk migrate"):
            await make_app().enqueue(handlers.echo, _conn=connection)
        assert TransactionStatus.INTRANS is connection.info.transaction_status


async def test_transactions_that_cannot_write(app: Werk, connection: Connection) -> None:
    """In a transaction that is broken or read-only, the server's own error comes through."""
    await connection.set_read_only(True)
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        await app.enqueue(handlers.echo, _conn=connection)
    with pytest.raises(psycopg.errors.InFailedSqlTransaction):
        await app.enqueue(handlers.echo, _conn=connection)


# Isolation levels

STRICT = [psycopg.IsolationLevel.REPEATABLE_READ, psycopg.IsolationLevel.SERIALIZABLE]


async def take_snapshot(connection: Connection, level: psycopg.IsolationLevel) -> None:
    """Begin a transaction that sees nothing of what is committed from now on."""
    await connection.set_isolation_level(level)
    await connection.execute("SELECT 1 FROM pg_class LIMIT 1")


@pytest.mark.parametrize("level", STRICT)
async def test_strict_isolation(app: Werk, connection: Connection, level: psycopg.IsolationLevel, ear: Ear) -> None:
    """In a stricter transaction than by default, jobs are enqueued as in any other."""
    await take_snapshot(connection, level)
    await app.enqueue(handlers.echo, _queue="others")
    jobs = await check_works(app, connection)
    assert [] == await ear.heard()
    await connection.commit()
    assert [True] * 5 == [await exists(app, job) for job in jobs]
    assert "qdefault" in await ear.heard()


@pytest.mark.parametrize("level", STRICT)
async def test_a_key_that_the_caller_cannot_see(
    app: Werk, connection: Connection, level: psycopg.IsolationLevel
) -> None:
    """A key that was committed after the caller's snapshot gives PostgreSQL's own error; the next try sees the key."""
    await take_snapshot(connection, level)
    assert await app.enqueue(handlers.echo, _key="k") is not None
    with pytest.raises(psycopg.errors.SerializationFailure):
        await app.enqueue(handlers.echo, _key="k", _conn=connection)
    await connection.rollback()
    assert await app.enqueue(handlers.echo, _key="k", _conn=connection) is None


@pytest.mark.parametrize("level", STRICT)
async def test_a_parent_that_has_changed(app: Werk, connection: Connection, level: psycopg.IsolationLevel) -> None:
    """A job may depend on one that was claimed and has ended after the caller's snapshot."""
    parent = await app.enqueue(handlers.echo)
    await take_snapshot(connection, level)
    await _compat.burst(app)
    child = await app.enqueue(handlers.echo, "child", _depends_on=parent, _conn=connection)
    many = await app.enqueue_many([EnqueueParams(handlers.echo, depends_on=parent)], _conn=connection)
    await connection.commit()
    await app.sweep()
    await _compat.burst(app)
    assert child is not None
    found = [await app.get_job(job.id) for job in [child, *many] if job is not None]
    assert [JobStatus.Complete] * 2 == [job.status for job in found]


@pytest.mark.parametrize("level", STRICT)
async def test_a_parent_that_the_caller_cannot_see(
    app: Werk, connection: Connection, level: psycopg.IsolationLevel
) -> None:
    """A parent that was enqueued after the caller's snapshot does not exist for it; the transaction goes on."""
    await take_snapshot(connection, level)
    parent = await app.enqueue(handlers.echo)
    with pytest.raises(JobNotFound):
        await app.enqueue(handlers.echo, _depends_on=parent, _conn=connection)
    job = await app.enqueue(handlers.echo, _conn=connection)
    await connection.commit()
    assert await exists(app, job)


async def test_a_caller_can_use_several_clients(app: Werk, make_app: MakeApp, connection: Connection) -> None:
    """Jobs of several sets of tables can be part of one transaction."""
    other = make_app(prefix="other")
    await other.connect()
    jobs = [await each.enqueue(handlers.echo, _conn=connection, _key="k") for each in (app, other)]
    await connection.commit()
    assert [[job] for job in jobs] == [await app.list_jobs(), await other.list_jobs()]
