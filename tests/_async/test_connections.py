"""Connections: where they come from, what becomes of them, and that losing them between two calls goes unnoticed."""

from __future__ import annotations

import os
import select
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import psycopg
import psycopg_pool
import pytest
from psycopg import conninfo
from psycopg.rows import dict_row
from tests import handlers
from tests._async import _compat
from tests.embedded.helpers import needs_wheel

from pgwerk import EnqueueParams, Werk
from pgwerk._async import stock
from pgwerk.embedded import EmbeddedPostgres

OWN = "application_name = %s AND datname = current_database()"


async def value(connection: psycopg.AsyncConnection[Any], query: str, *params: object) -> Any:
    """The one value that a statement returns."""
    cursor = connection.cursor(row_factory=psycopg.rows.tuple_row)
    await cursor.execute(query.encode(), params, prepare=False)
    row = await cursor.fetchone()
    return row and row[0]


@pytest.fixture
async def watcher(dsn: str) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    """A connection beside those of the client."""
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        yield connection


@pytest.fixture
def named(dsn: str, schema: str) -> str:
    """A way to the database under a name that no other test uses."""
    return conninfo.make_conninfo(dsn, application_name=schema)


async def until_there_are(watcher: psycopg.AsyncConnection[Any], sessions: int, name: str) -> None:
    """Wait until there are so many sessions of this name."""
    deadline = time.monotonic() + 20
    while sessions != await value(watcher, f"SELECT count(*) FROM pg_stat_activity WHERE {OWN}", name):
        assert time.monotonic() < deadline
        await _compat.pause()


async def leave_a_mess(app: Werk) -> None:
    """Fail in the middle of a transaction."""
    async with app._connections.connection() as connection:
        await connection.execute("BEGIN")
        await connection.execute("SELECT FROM nowhere")


async def cut(watcher: psycopg.AsyncConnection[Any], name: str) -> int:
    """End all sessions of this name, and count them."""
    ended = await value(watcher, f"SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE {OWN}", name)
    await until_there_are(watcher, 0, name)
    return int(ended)


# What is asked for at construction


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"pooler": "yes"}, ValueError, "pooler must be \"auto\", True or False, not 'yes'"),
        ({"pooler": 1}, TypeError, 'pooler must be "auto", True or False, not int (1)'),
        ({"pooler": None}, TypeError, 'pooler must be "auto", True or False, not NoneType (None)'),
        ({"listen_dsn": 7}, TypeError, "listen_dsn must be a str, not int"),
        ({"listen_dsn": "foo://me:secret@host"}, ValueError, "listen_dsn is not a valid connection string"),
    ],
)
async def test_bad_routes_are_refused_by_name(options: dict[str, Any], error: type[Exception], message: str) -> None:
    """A `pooler` or `listen_dsn` that makes no sense is refused when the client is made, and no password is shown."""
    with pytest.raises(error) as caught:
        Werk("", **options)
    assert message in str(caught.value)
    assert "secret" not in str(caught.value)


async def test_routes_can_be_read_back(dsn: str) -> None:
    """What was passed as `pooler` and `listen_dsn` can be read back."""
    app = Werk("", pooler=True, listen_dsn=dsn)
    assert (True, dsn) == (app.pooler, app.listen_dsn)
    assert ("auto", None) == (Werk("").pooler, Werk("").listen_dsn)


# The client's own pool


@pytest.mark.parametrize("pool_size", [1, 12])
async def test_cut_sessions_go_unnoticed(
    watcher: psycopg.AsyncConnection[Any], named: str, schema: str, pool_size: int
) -> None:
    """When all sessions of the pool were ended since the last call, the next calls work, and do not wait for long."""
    async with Werk(named, schema=schema, pool_size=pool_size) as app:
        for _ in range(3):
            began = time.monotonic()
            for _ in range(pool_size + 1):
                assert await app.enqueue(handlers.echo) is not None
            assert time.monotonic() - began < 10
            await until_there_are(watcher, pool_size, schema)
            assert pool_size == await cut(watcher, schema)
        assert 3 * (pool_size + 1) == len(await app.list_jobs())


async def test_connection_in_use_is_taken_as_it_is(
    watcher: psycopg.AsyncConnection[Any], named: str, schema: str
) -> None:
    """To take a connection that was used a moment ago sends nothing to the server."""
    began = f"SELECT query_start FROM pg_stat_activity WHERE {OWN}"
    async with Werk(named, schema=schema, pool_size=1) as app:
        await app.enqueue(handlers.echo)
        before = await value(watcher, began, schema)
        async with app._connections.connection():
            assert before == await value(watcher, began, schema)


async def test_connection_unused_for_long_is_asked(
    watcher: psycopg.AsyncConnection[Any], named: str, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server is asked about a connection that was unused for long, as a firewall may have dropped it silently."""
    began = f"SELECT query_start FROM pg_stat_activity WHERE {OWN}"
    async with Werk(named, schema=schema, pool_size=1) as app:
        await app.enqueue(handlers.echo)
        before = await value(watcher, began, schema)
        monkeypatch.setattr(stock, "TRUSTED_SECS", -1.0)
        async with app._connections.connection():
            assert before < await value(watcher, began, schema)


async def test_error_leaves_the_pool_whole(make_app: Callable[..., Werk]) -> None:
    """An operation that fails gives its connection back, with no transaction open."""
    app = make_app(pool_size=1)
    for _ in range(3):
        with pytest.raises(psycopg.errors.UndefinedTable):
            await leave_a_mess(app)
        async with app._connections.connection() as connection:
            assert psycopg.pq.TransactionStatus.IDLE == connection.info.transaction_status
    assert await app.enqueue(handlers.echo) is not None


# How a connection is looked at without asking the server

LOOKS = [stock._has_arrived_by_select]
if hasattr(select, "poll"):
    LOOKS.append(stock._has_arrived_by_poll)


@pytest.mark.parametrize("look", LOOKS)
def test_quiet_socket_has_nothing_to_read(look: Callable[[int], bool]) -> None:
    """A socket on which nothing came in is quiet; data and the other side's end are both something to read."""
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            assert not look(ours.fileno())
            theirs.send(b"x")
            assert look(ours.fileno())
            ours.recv(1)
            assert not look(ours.fileno())
        assert look(ours.fileno())


@pytest.mark.posix
def test_sockets_of_large_programs_can_be_looked_at() -> None:
    """Descriptors above 1023, which `select` does not take, are looked at too."""
    if sys.platform != "win32":
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = 3000
        if hard != resource.RLIM_INFINITY and hard < wanted:
            pytest.skip(f"this system allows only {hard} descriptors")
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
        ours, theirs = socket.socketpair()
        try:
            with ours:
                high = os.dup2(ours.fileno(), wanted - 1)
                try:
                    assert not stock.has_arrived(high)
                    theirs.close()
                    assert stock.has_arrived(high)
                finally:
                    os.close(high)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# A server that restarts


@needs_wheel
async def test_restart_between_two_calls_goes_unnoticed(schema: str) -> None:
    """After a restart or a crash of the server, the next call works, over short-lived connections and with a pool."""
    with EmbeddedPostgres(tcp=True) as server:
        short_lived = Werk(server.dsn, schema=schema)
        pooled = Werk(server.dsn, schema=schema, pool_size=10)
        for app in (short_lived, pooled):
            await app.enqueue(handlers.echo)
        for number, mode in enumerate(["fast", "immediate"]):
            server.restart(mode)  # type: ignore[arg-type]
            for app in (short_lived, pooled):
                began = time.monotonic()
                assert await app.enqueue(handlers.echo, number) is not None
                assert time.monotonic() - began < 10
                assert 2 * (number + 1) <= len(await app.list_jobs())
        await pooled.disconnect()
        await short_lived.disconnect()


# A pool of the caller's


async def configure(connection: psycopg.AsyncConnection[Any]) -> None:
    """What an application might want of its connections."""
    await connection.set_isolation_level(psycopg.IsolationLevel.SERIALIZABLE)
    connection.prepare_threshold = 3


async def test_lent_connection_comes_back_as_it_was(dsn: str, schema: str) -> None:
    """Whatever the caller's pool is set to, the client works, and gives each connection back as it was."""
    pool = psycopg_pool.AsyncConnectionPool(
        dsn, min_size=1, max_size=1, open=False, kwargs={"row_factory": dict_row}, configure=configure
    )
    await pool.open()
    app = Werk(dsn, schema=schema, pool=pool)
    job = await app.enqueue(handlers.echo, 1)
    assert job is not None
    assert [job.id] == [each.id for each in await app.list_jobs()]
    await app.enqueue_many([EnqueueParams(handlers.echo, (number,)) for number in range(20_000)])
    with pytest.raises(TimeoutError):
        await app.wait_for(job.id, timeout=0.3, poll_interval=0.1)
    await app.sweep()
    result = _compat.spawn(app.apply, handlers.echo, 2, timeout=30, _priority=1, _queue="quick")
    async with _compat.working(app, queues=["quick"]):
        assert 2 == await result.result()
    async with pool.connection() as connection:
        assert psycopg.pq.TransactionStatus.IDLE == connection.info.transaction_status
        assert (False, psycopg.IsolationLevel.SERIALIZABLE) == (connection.autocommit, connection.isolation_level)
        assert (3, dict_row) == (connection.prepare_threshold, connection.row_factory)
        cursor = await connection.execute("SELECT 1 AS one")
        assert {"one": 1} == await cursor.fetchone()
    await app.disconnect()
    assert not pool.closed
    await pool.close()


async def test_lent_connection_commits_at_once(watcher: psycopg.AsyncConnection[Any], dsn: str, schema: str) -> None:
    """A connection of the caller's pool that is not in autocommit mode shows others what was done before it is back."""
    async with psycopg_pool.AsyncConnectionPool(dsn, min_size=1, max_size=1, open=False) as pool:
        app = Werk(dsn, schema=schema, pool=pool)
        await app.enqueue(handlers.echo)
        async with app._connections.connection() as connection:
            await connection.execute(f'UPDATE {schema}."_pgwerk_jobs" SET priority = 7'.encode())
            assert 7 == await value(watcher, f'SELECT priority FROM {schema}."_pgwerk_jobs"')
        await app.disconnect()


async def test_lent_connection_cut_off_in_the_middle_is_replaced(dsn: str, schema: str) -> None:
    """A connection that an error leaves in the middle of a transaction does not go back to the caller like that."""
    async with psycopg_pool.AsyncConnectionPool(dsn, min_size=1, max_size=1, open=False) as pool:
        app = Werk(dsn, schema=schema, pool=pool)
        await app.enqueue(handlers.echo)
        with pytest.raises(psycopg.errors.UndefinedTable):
            await leave_a_mess(app)
        async with pool.connection() as connection:
            assert psycopg.pq.TransactionStatus.IDLE == connection.info.transaction_status
            assert not connection.autocommit
        assert await app.enqueue(handlers.echo) is not None
        await app.disconnect()


async def test_encoding_that_cannot_carry_text_is_refused(dsn: str, schema: str) -> None:
    """A pool whose connections know no text is an error that says so, not mangled data."""
    odd = conninfo.make_conninfo(dsn, client_encoding="SQL_ASCII")
    async with psycopg_pool.AsyncConnectionPool(odd, min_size=1, max_size=1, open=False) as pool:
        app = Werk(dsn, schema=schema, pool=pool)
        with pytest.raises(ValueError, match="pool has the client_encoding SQL_ASCII"):
            await app.enqueue(handlers.echo)
        await app.disconnect()


# Prepared statements


async def prepared_statements(connection: psycopg.AsyncConnection[Any]) -> list[str]:
    """What has been prepared on a connection, by whomever."""
    cursor = await connection.execute("SELECT statement FROM pg_prepared_statements", prepare=False)
    return [statement for (statement,) in await cursor.fetchall()]


@pytest.mark.parametrize(("pooler", "prepares"), [("auto", True), (False, True), (True, False)])
async def test_only_direct_connections_get_prepared_statements(
    dsn: str, schema: str, pooler: Any, prepares: bool
) -> None:
    """What is sent often is prepared where a pooler is excluded, and nowhere else, whoever opened the connection."""
    async with psycopg_pool.AsyncConnectionPool(dsn, min_size=1, max_size=1, open=False) as pool:
        owner = Werk(dsn, schema=schema, pool_size=1, pooler=pooler)
        borrower = Werk(dsn, schema=schema, pool=pool, pooler=pooler)
        for app in (owner, borrower):
            for _ in range(10):
                await app.enqueue(handlers.echo)
            async with app._connections.connection() as connection:
                assert prepares == any("_pgwerk_jobs" in each for each in await prepared_statements(connection))
        async with await psycopg.AsyncConnection.connect(dsn) as connection:
            for _ in range(10):
                await borrower.enqueue(handlers.echo, _conn=connection)
            assert prepares == any("_pgwerk_jobs" in each for each in await prepared_statements(connection))
        await owner.disconnect()
        await borrower.disconnect()


async def test_connection_from_elsewhere_gets_no_prepared_statements(
    watcher: psycopg.AsyncConnection[Any], dsn: str, schema: str
) -> None:
    """As long as nobody knows whether a pooler answers there, nothing is prepared on a connection of the caller's."""
    app = Werk(dsn, schema=schema)
    await app.connect()
    # The same server, under another name.
    host = watcher.info.host
    other = f"{host}/" if host.startswith("/") else {"localhost": "127.0.0.1"}.get(host, "localhost")
    elsewhere = conninfo.make_conninfo(dsn, host=other)
    async with await psycopg.AsyncConnection.connect(elsewhere) as connection:
        for _ in range(10):
            await app.enqueue(handlers.echo, _conn=connection)
            await connection.commit()
            await app.enqueue_many([EnqueueParams(handlers.echo) for _ in range(3)], _conn=connection)
            await connection.commit()
            await app.enqueue(handlers.echo, _sync=True, _conn=connection)
            await connection.commit()
        assert [] == await prepared_statements(connection)
    await app.disconnect()


# Listening


async def test_unreachable_listen_dsn_costs_latency_only(
    app: Werk, schema: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Where nobody answers at `listen_dsn`, waiters poll, and are not held up by it."""
    deaf = Werk(app.dsn, schema=schema, pool_size=2, listen_dsn="host=127.0.0.1 port=1")
    async with deaf, _compat.working(app, poll_interval=0.05):
        await deaf.apply(handlers.echo, timeout=20, poll_interval=0.05)
        began = time.monotonic()
        for number in range(3):
            assert number == await deaf.apply(handlers.echo, number, timeout=20, poll_interval=0.05)
        assert time.monotonic() - began < 10
    assert "cannot listen for the end of jobs, polling goes on" in caplog.text


# Many at once


@pytest.mark.parametrize("kind", ["short-lived", "owned", "given"])
async def test_sixteen_at_once(dsn: str, schema: str, kind: str) -> None:
    """Sixteen that enqueue and read through one client at once do not get into each other's way."""
    pool = psycopg_pool.AsyncConnectionPool(dsn, min_size=1, max_size=3, open=False)
    await pool.open()
    kinds: dict[str, dict[str, Any]] = {"short-lived": {}, "owned": {"pool_size": 3}, "given": {"pool": pool}}
    app = Werk(dsn, schema=schema, **kinds[kind])

    async def use(number: int) -> list[Any]:
        seen = []
        for turn in range(5):
            job = await app.enqueue(handlers.echo, [number, turn])
            assert job is not None
            found = await app.get_job(job.id)
            assert found.payload is not None
            seen += found.payload["args"]
        return seen

    runs = [_compat.spawn(use, number) for number in range(16)]
    for number, run in enumerate(runs):
        assert [[number, turn] for turn in range(5)] == await run.result()
    assert 80 == len(await app.list_jobs())
    await app.disconnect()
    await pool.close()


# Forked children


@pytest.mark.posix
async def test_forked_child_leaves_the_given_pool_alone(dsn: str, schema: str) -> None:
    """In a forked child, the pool that was opened before is the parent's: both go on, each over its own connections."""
    async with psycopg_pool.AsyncConnectionPool(dsn, min_size=2, max_size=2, open=False) as pool:
        app = Werk(dsn, schema=schema, pool=pool)
        await app.enqueue(handlers.echo, "parent")
        async with pool.connection() as one, pool.connection() as two:
            inherited = [await value(each, "SELECT pg_backend_pid()") for each in (one, two)]

        async def use() -> None:
            async with app._connections.connection() as connection:
                assert await value(connection, "SELECT pg_backend_pid()") not in inherited
            await app.enqueue(handlers.echo, "child")

        child = os.fork()
        if child == 0:
            _compat.in_forked_child(use)
        assert 0 == _compat.exit_code(child)
        for _ in range(4):
            await app.enqueue(handlers.echo, "parent again")
        assert 6 == len(await app.list_jobs())
        await app.disconnect()
