"""Connecting, migrating, hooks, and what is asked for at construction."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import psycopg
import psycopg_pool
import pytest
from psycopg import conninfo
from tests import handlers
from tests._async import _compat

from pgwerk import JSONSerializer, SchemaVersionMismatch, Werk, WerkConfig, WerkError


async def sessions(dsn: str, name: str) -> int:
    """How many sessions of the server have this application name."""
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        cursor = await connection.execute("SELECT count(*) FROM pg_stat_activity WHERE application_name = %s", [name])
        row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def test_nothing_connects_before_the_first_operation() -> None:
    """A client for a database that is not there can be made; the first operation raises the driver's own error."""
    app = Werk("host=127.0.0.1 port=1 password=secret connect_timeout=2")
    with pytest.raises(psycopg.OperationalError) as caught:
        await app.enqueue(handlers.echo)
    assert "secret" not in str(caught.value)
    assert "secret" not in repr(app)


@pytest.mark.parametrize("dsn", ["foo://me:secret@host", "password=secret oops", "password='secret"])
async def test_malformed_dsn_does_not_show_its_password(dsn: str) -> None:
    """A connection string that cannot be parsed is refused at construction, without being quoted."""
    with pytest.raises(ValueError, match="dsn is not a valid connection string") as caught:
        Werk(dsn)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


async def test_first_connects_at_once(make_app: Callable[..., Werk], dsn: str, schema: str) -> None:
    """Of many clients that connect for the first time at once, one migrates, and all can enqueue."""
    apps = [make_app() for _ in range(8)]
    runs = [_compat.spawn(app.enqueue, handlers.echo, number) for number, app in enumerate(apps)]
    jobs = [await run.result() for run in runs]
    assert all(job is not None for job in jobs)
    async with await psycopg.AsyncConnection.connect(dsn) as connection:
        cursor = await connection.execute(f'SELECT count(*) FROM {schema}."_pgwerk_migrations"'.encode())
        assert (1,) == await cursor.fetchone()


async def test_first_connects_at_once_under_repeatable_read(dsn: str, schema: str) -> None:
    """What the application's default isolation is does not matter to those who connect for the first time."""
    strict = conninfo.make_conninfo(dsn, options="-c default_transaction_isolation=serializable")
    runs = [_compat.spawn(Werk(strict, schema=schema).enqueue, handlers.echo) for _ in range(8)]
    jobs = [await run.result() for run in runs]
    assert None not in jobs


async def test_one_client_connects_once(make_app: Callable[..., Werk]) -> None:
    """The start-up hooks of a client run once, however many first operations there are at once."""
    app = make_app(pool_size=8)
    started: list[int] = []
    app.on_startup(lambda: started.append(1))
    runs = [_compat.spawn(app.enqueue, handlers.echo, number) for number in range(8)]
    for run in runs:
        assert await run.result() is not None
    await app.connect()
    assert [1] == started


async def test_hooks_run_on_connect_and_disconnect(make_app: Callable[..., Werk]) -> None:
    """Start-up hooks run on connect, shutdown hooks on disconnect, in their order, and again after a reconnect."""
    app = make_app()
    seen: list[str] = []

    @app.on_startup
    async def first() -> None:
        seen.append("up 1")

    @app.on_startup
    def second() -> None:
        seen.append("up 2")

    @app.on_shutdown
    async def third() -> None:
        seen.append("down")

    async with app:
        await app.connect()
    await app.disconnect()
    async with app:
        pass
    assert ["up 1", "up 2", "down", "up 1", "up 2", "down"] == seen


async def test_startup_hook_may_enqueue(make_app: Callable[..., Werk]) -> None:
    """A start-up hook that enqueues does not wait for itself."""
    app = make_app()
    enqueued: list[Any] = []

    @app.on_startup
    async def hook() -> None:
        enqueued.append(await app.enqueue(handlers.echo))

    job = await app.enqueue(handlers.echo)
    assert job is not None
    assert 2 == len(await app.list_jobs())


async def test_shutdown_hook_may_enqueue(make_app: Callable[..., Werk]) -> None:
    """A shutdown hook that enqueues does so before the client is disconnected, and does not connect it again."""
    app = make_app()
    seen: list[str] = []
    app.on_startup(lambda: seen.append("up"))

    @app.on_shutdown
    async def hook() -> None:
        seen.append("down")
        await app.enqueue(handlers.echo)

    async with app:
        pass
    await app.disconnect()
    assert ["up", "down"] == seen


async def test_failed_startup_can_be_tried_again(make_app: Callable[..., Werk]) -> None:
    """When a start-up hook raises, the client is not connected, and the next operation starts anew."""
    app = make_app()
    failures = [RuntimeError("not yet")]

    @app.on_startup
    async def hook() -> None:
        if failures:
            raise failures.pop()

    with pytest.raises(RuntimeError, match="not yet"):
        await app.enqueue(handlers.echo)
    assert await app.enqueue(handlers.echo) is not None


async def test_every_shutdown_hook_runs(make_app: Callable[..., Werk]) -> None:
    """A shutdown hook that raises does not keep the others from running; its error comes out in the end."""
    app = make_app()
    seen: list[str] = []

    @app.on_shutdown
    async def bad() -> None:
        raise RuntimeError("bad hook")

    @app.on_shutdown
    async def good() -> None:
        seen.append("good")

    await app.connect()
    with pytest.raises(RuntimeError, match="bad hook"):
        await app.disconnect()
    assert ["good"] == seen


async def test_migration_is_not_run_in_the_callers_transaction(make_app: Callable[..., Werk], dsn: str) -> None:
    """With `_conn`, a pending migration is an error that names the command, and the transaction goes on."""
    app = make_app()
    async with await psycopg.AsyncConnection.connect(dsn) as connection:
        await connection.execute("SELECT")
        with pytest.raises(SchemaVersionMismatch, match=r"call connect\(\) once.* or run `werk migrate`"):
            await app.enqueue(handlers.echo, _conn=connection)
        cursor = await connection.execute("SELECT 1")
        assert (1,) == await cursor.fetchone()


@pytest.mark.parametrize("autocommit", [True, False])
async def test_connection_without_a_transaction_is_no_reason_to_wait(
    make_app: Callable[..., Werk], dsn: str, autocommit: bool
) -> None:
    """With a `_conn` that is in no transaction, the first call makes the tables as any other does."""
    app = make_app()
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=autocommit) as connection:
        job = await app.enqueue(handlers.echo, _conn=connection)
    assert [job] == await app.list_jobs()


async def test_auto_migrate_off(make_app: Callable[..., Werk]) -> None:
    """Without `auto_migrate`, missing tables are an error with both versions, and present ones are used."""
    with pytest.raises(SchemaVersionMismatch) as caught:
        await make_app(auto_migrate=False).connect()
    assert (0, True) == (caught.value.found, caught.value.expected >= 1)
    await make_app().connect()
    await make_app(auto_migrate=False).connect()


async def test_newer_tables_are_refused(make_app: Callable[..., Werk], dsn: str, schema: str) -> None:
    """Tables of a later release are an error that says what to do."""
    await make_app().connect()
    async with await psycopg.AsyncConnection.connect(dsn) as connection:
        insert = f"INSERT INTO {schema}.\"_pgwerk_migrations\" VALUES (999, 'later', false)"
        await connection.execute(insert.encode())
    with pytest.raises(SchemaVersionMismatch, match="version 999"):
        await make_app().connect()


async def test_ephemeral_tables_are_fixed_at_creation(make_app: Callable[..., Werk]) -> None:
    """Asking for another `ephemeral_tables` than the tables were made with is an error."""
    await make_app(config={"ephemeral_tables": True}).connect()
    with pytest.raises(WerkError, match="ephemeral_tables"):
        await make_app().connect()


@pytest.mark.parametrize(
    "name", ["Mixed Case", 'quo"ted', "per%cent", "ünïcode", "se;mi'colon", "br{ac}es", "dol$$lar"]
)
async def test_names_that_need_quoting_work(dsn: str, name: str) -> None:
    """Any schema and prefix that PostgreSQL allows can be used."""
    flavour = Werk.__name__
    app = Werk(dsn, schema=name + flavour, prefix=name)
    async with app:
        result = _compat.spawn(app.apply, handlers.echo, 1, timeout=20)
        async with _compat.working(app):
            assert 1 == await result.result()
        assert [] == await app.sweep()


@pytest.mark.parametrize("argument", ["schema", "prefix"])
async def test_names_that_are_too_long_are_refused(argument: str) -> None:
    """A schema or prefix that makes a name of more than 63 bytes is refused at construction."""
    with pytest.raises(ValueError, match=f"^{argument} "):
        Werk("", **{argument: "x" * 64})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at most"):
        Werk("", **{argument: "ü" * 40})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=f"{argument} must not be empty"):
        Werk("", **{argument: ""})  # type: ignore[arg-type]


async def test_two_prefixes_in_one_schema(make_app: Callable[..., Werk]) -> None:
    """Two sets of tables in one schema do not see each other's jobs."""
    one, two = make_app(prefix="one"), make_app(prefix="two")
    await one.enqueue(handlers.echo, _key="k")
    assert await two.enqueue(handlers.echo, _key="k") is not None
    assert 1 == len(await one.list_jobs())


async def test_keyword_arguments_take_precedence(dsn: str) -> None:
    """A keyword argument counts more than the configuration, which may be an object or a dict."""
    base = WerkConfig(prefix="base", max_active_secs=10, sweep_interval=5)
    assert "mine" == Werk(dsn, config=base, prefix="mine").config.prefix
    assert (10, 5) == (Werk(dsn, config=base).config.max_active_secs, Werk(dsn, config=base).config.sweep_interval)
    assert 7 == Werk(dsn, config={"max_active_secs": 10}, max_active_secs=7).config.max_active_secs


@pytest.mark.parametrize(
    ("config", "error", "message"),
    [
        ({"pol_interval": 1}, TypeError, "config has no setting 'pol_interval'. Did you mean 'poll_interval'?"),
        ({"poll_interval": 0}, ValueError, "config.poll_interval must be more than 0"),
        ({"heartbeat_interval": "fast"}, TypeError, "config.heartbeat_interval must be a number"),
        ({"max_active_secs": 0}, ValueError, "config.max_active_secs must be at least 1"),
        ({"allow_truncate": 1}, TypeError, "config.allow_truncate must be True or False"),
        ({"shutdown_timeout": float("inf")}, ValueError, "config.shutdown_timeout must be finite"),
        (7, TypeError, "config must be a WerkConfig or a dict"),
    ],
)
async def test_bad_configuration_is_refused_by_name(config: Any, error: type[Exception], message: str) -> None:
    """A setting that is unknown or makes no sense is refused when the client is made."""
    with pytest.raises(error) as caught:
        Werk("", config=config)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"schema": "pg_mine"}, ValueError, "schema 'pg_mine' is reserved"),
        ({"serializer": object()}, TypeError, "serializer must be an object with the methods dumps() and loads()"),
        ({"serializer": JSONSerializer}, TypeError, "serializer must be an object with the methods"),
    ],
)
async def test_what_could_never_work_is_refused_at_once(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    """What makes every operation fail is refused when the client is made."""
    with pytest.raises(error) as caught:
        Werk("", **options)
    assert message in str(caught.value)


async def test_pool_of_the_callers(dsn: str, schema: str) -> None:
    """A pool that is given is used, and neither opened nor closed."""
    pool = psycopg_pool.AsyncConnectionPool(dsn, min_size=1, max_size=2, open=False)
    await pool.open()
    async with Werk(dsn, schema=schema, pool=pool) as app:
        assert await app.enqueue(handlers.echo) is not None
        assert 1 == len(await app.list_jobs())
    assert not pool.closed
    await pool.close()


async def test_bad_pools_are_refused(dsn: str) -> None:
    """A pool and a size together, a size of nothing, and anything else than a pool are refused."""
    with pytest.raises(TypeError, match="pool must be a psycopg_pool"):
        Werk(dsn, pool="pool")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="pool_size must be at least 1"):
        Werk(dsn, pool_size=0)
    pool = psycopg_pool.AsyncConnectionPool(dsn, open=False)
    with pytest.raises(ValueError, match="cannot be given together"):
        Werk(dsn, pool=pool, pool_size=2)
    await pool.close()


async def test_no_connection_is_left_behind(dsn: str, schema: str) -> None:
    """Without a pool, no operation leaves a connection behind; with one, `disconnect` closes it."""
    named = conninfo.make_conninfo(dsn, application_name=schema)
    app = Werk(named, schema=schema)
    job = await app.enqueue(handlers.echo)
    assert job is not None
    with pytest.raises(TimeoutError):
        await app.wait_for(job.id, timeout=0.1)
    while await sessions(dsn, schema):
        await _compat.pause()
    pooled = Werk(named, schema=schema, pool_size=2)
    await pooled.enqueue(handlers.echo)
    assert 2 == await sessions(dsn, schema)
    await pooled.disconnect()
    while await sessions(dsn, schema):
        await _compat.pause()


@pytest.mark.posix
async def test_forked_child_begins_anew(make_app: Callable[..., Werk]) -> None:
    """A forked child leaves the parent's pool alone: both go on, and the child runs the start-up hooks itself."""
    app = make_app(pool_size=2)
    pids: list[int] = []
    app.on_startup(lambda: pids.append(os.getpid()))
    await app.enqueue(handlers.echo, "parent")
    child = os.fork()
    if child == 0:
        _compat.in_forked_child(app.enqueue, handlers.echo, "child", _meta={"started": "here"})
    assert 0 == _compat.exit_code(child)
    await app.enqueue(handlers.echo, "parent again")
    jobs = await app.list_jobs()
    assert ["parent", "child", "parent again"] == [job.payload and job.payload["args"][0] for job in jobs]
    assert [os.getpid()] == pids
