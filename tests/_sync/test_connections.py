# Generated from tests/_async/test_connections.py by `python tools/unasync_build.py`.
# Do not edit: change that file and run the command again.

"""Connections: where they come from, what becomes of them, and that losing them between two calls goes unnoticed."""

from __future__ import annotations

import os
import select
import socket
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import psycopg_pool
import pytest
from psycopg import conninfo
from psycopg.rows import dict_row
from tests import handlers
from tests._sync import _compat
from tests.embedded.helpers import needs_wheel

from pgwerk import EnqueueParams, SyncWerk
from pgwerk._sync import stock
from pgwerk.embedded import EmbeddedPostgres

OWN = "application_name = %s AND datname = current_database()"


def value(connection: psycopg.Connection[Any], query: str, *params: object) -> Any:
    """The one value that a statement returns."""
    cursor = connection.cursor(row_factory=psycopg.rows.tuple_row)
    cursor.execute(query.encode(), params, prepare=False)
    row = cursor.fetchone()
    return row and row[0]


@pytest.fixture
def watcher(dsn: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection beside those of the client."""
    with psycopg.Connection.connect(dsn, autocommit=True) as connection:
        yield connection


@pytest.fixture
def named(dsn: str, schema: str) -> str:
    """A way to the database under a name that no other test uses."""
    return conninfo.make_conninfo(dsn, application_name=schema)


def until_there_are(watcher: psycopg.Connection[Any], sessions: int, name: str) -> None:
    """Wait until there are so many sessions of this name."""
    deadline = time.monotonic() + 20
    while sessions != value(watcher, f"SELECT count(*) FROM pg_stat_activity WHERE {OWN}", name):
        assert time.monotonic() < deadline
        _compat.pause()


def leave_a_mess(app: SyncWerk) -> None:
    """Fail in the middle of a transaction."""
    with app._connections.connection() as connection:
        connection.execute("BEGIN")
        connection.execute("SELECT FROM nowhere")


def cut(watcher: psycopg.Connection[Any], name: str) -> int:
    """End all sessions of this name, and count them."""
    ended = value(watcher, f"SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE {OWN}", name)
    until_there_are(watcher, 0, name)
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
def test_bad_routes_are_refused_by_name(options: dict[str, Any], error: type[Exception], message: str) -> None:
    """A `pooler` or `listen_dsn` that makes no sense is refused when the client is made, and no password is shown."""
    with pytest.raises(error) as caught:
        SyncWerk("", **options)
    assert message in str(caught.value)
    assert "secret" not in str(caught.value)


def test_routes_can_be_read_back(dsn: str) -> None:
    """What was passed as `pooler` and `listen_dsn` can be read back."""
    app = SyncWerk("", pooler=True, listen_dsn=dsn)
    assert (True, dsn) == (app.pooler, app.listen_dsn)
    assert ("auto", None) == (SyncWerk("").pooler, SyncWerk("").listen_dsn)


# The client's own pool


@pytest.mark.parametrize("pool_size", [1, 12])
def test_cut_sessions_go_unnoticed(watcher: psycopg.Connection[Any], named: str, schema: str, pool_size: int) -> None:
    """When all sessions of the pool were ended since the last call, the next calls work, and do not wait for long."""
    with SyncWerk(named, schema=schema, pool_size=pool_size) as app:
        for _ in range(3):
            began = time.monotonic()
            for _ in range(pool_size + 1):
                assert app.enqueue(handlers.echo) is not None
            assert time.monotonic() - began < 10
            until_there_are(watcher, pool_size, schema)
            assert pool_size == cut(watcher, schema)
        assert 3 * (pool_size + 1) == len(app.list_jobs())


def test_connection_in_use_is_taken_as_it_is(watcher: psycopg.Connection[Any], named: str, schema: str) -> None:
    """To take a connection that was used a moment ago sends nothing to the server."""
    began = f"SELECT query_start FROM pg_stat_activity WHERE {OWN}"
    with SyncWerk(named, schema=schema, pool_size=1) as app:
        app.enqueue(handlers.echo)
        before = value(watcher, began, schema)
        with app._connections.connection():
            assert before == value(watcher, began, schema)


def test_connection_unused_for_long_is_asked(
    watcher: psycopg.Connection[Any], named: str, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server is asked about a connection that was unused for long, as a firewall may have dropped it silently."""
    began = f"SELECT query_start FROM pg_stat_activity WHERE {OWN}"
    with SyncWerk(named, schema=schema, pool_size=1) as app:
        app.enqueue(handlers.echo)
        before = value(watcher, began, schema)
        monkeypatch.setattr(stock, "TRUSTED_SECS", -1.0)
        with app._connections.connection():
            assert before < value(watcher, began, schema)


def test_error_leaves_the_pool_whole(make_app: Callable[..., SyncWerk]) -> None:
    """An operation that fails gives its connection back, with no transaction open."""
    app = make_app(pool_size=1)
    for _ in range(3):
        with pytest.raises(psycopg.errors.UndefinedTable):
            leave_a_mess(app)
        with app._connections.connection() as connection:
            assert psycopg.pq.TransactionStatus.IDLE == connection.info.transaction_status
    assert app.enqueue(handlers.echo) is not None


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
def test_restart_between_two_calls_goes_unnoticed(schema: str) -> None:
    """After a restart or a crash of the server, the next call works, over short-lived connections and with a pool."""
    with EmbeddedPostgres(tcp=True) as server:
        short_lived = SyncWerk(server.dsn, schema=schema)
        pooled = SyncWerk(server.dsn, schema=schema, pool_size=10)
        for app in (short_lived, pooled):
            app.enqueue(handlers.echo)
        for number, mode in enumerate(["fast", "immediate"]):
            server.restart(mode)  # type: ignore[arg-type]
            for app in (short_lived, pooled):
                began = time.monotonic()
                assert app.enqueue(handlers.echo, number) is not None
                assert time.monotonic() - began < 10
                assert 2 * (number + 1) <= len(app.list_jobs())
        pooled.disconnect()
        short_lived.disconnect()


# A pool of the caller's


def configure(connection: psycopg.Connection[Any]) -> None:
    """What an application might want of its connections."""
    connection.set_isolation_level(psycopg.IsolationLevel.SERIALIZABLE)
    connection.prepare_threshold = 3


def test_lent_connection_comes_back_as_it_was(dsn: str, schema: str) -> None:
    """Whatever the caller's pool is set to, the client works, and gives each connection back as it was."""
    pool = psycopg_pool.ConnectionPool(
        dsn, min_size=1, max_size=1, open=False, kwargs={"row_factory": dict_row}, configure=configure
    )
    pool.open()
    app = SyncWerk(dsn, schema=schema, pool=pool)
    job = app.enqueue(handlers.echo, 1)
    assert job is not None
    assert [job.id] == [each.id for each in app.list_jobs()]
    app.enqueue_many([EnqueueParams(handlers.echo, (number,)) for number in range(20_000)])
    with pytest.raises(TimeoutError):
        app.wait_for(job.id, timeout=0.3, poll_interval=0.1)
    app.sweep()
    result = _compat.spawn(app.apply, handlers.echo, 2, timeout=30, _priority=1, _queue="quick")
    with _compat.working(app, queues=["quick"]):
        assert 2 == result.result()
    with pool.connection() as connection:
        assert psycopg.pq.TransactionStatus.IDLE == connection.info.transaction_status
        assert (False, psycopg.IsolationLevel.SERIALIZABLE) == (connection.autocommit, connection.isolation_level)
        assert (3, dict_row) == (connection.prepare_threshold, connection.row_factory)
        cursor = connection.execute("SELECT 1 AS one")
        assert {"one": 1} == cursor.fetchone()
    app.disconnect()
    assert not pool.closed
    pool.close()


def test_lent_connection_commits_at_once(watcher: psycopg.Connection[Any], dsn: str, schema: str) -> None:
    """A connection of the caller's pool that is not in autocommit mode shows others what was done before it is back."""
    with psycopg_pool.ConnectionPool(dsn, min_size=1, max_size=1, open=False) as pool:
        app = SyncWerk(dsn, schema=schema, pool=pool)
        app.enqueue(handlers.echo)
        with app._connections.connection() as connection:
            connection.execute(f'UPDATE {schema}."_pgwerk_jobs" SET priority = 7'.encode())
            assert 7 == value(watcher, f'SELECT priority FROM {schema}."_pgwerk_jobs"')
        app.disconnect()


def test_lent_connection_cut_off_in_the_middle_is_replaced(dsn: str, schema: str) -> None:
    """A connection that an error leaves in the middle of a transaction does not go back to the caller like that."""
    with psycopg_pool.ConnectionPool(dsn, min_size=1, max_size=1, open=False) as pool:
        app = SyncWerk(dsn, schema=schema, pool=pool)
        app.enqueue(handlers.echo)
        with pytest.raises(psycopg.errors.UndefinedTable):
            leave_a_mess(app)
        with pool.connection() as connection:
            assert psycopg.pq.TransactionStatus.IDLE == connection.info.transaction_status
            assert not connection.autocommit
        assert app.enqueue(handlers.echo) is not None
        app.disconnect()


def test_encoding_that_cannot_carry_text_is_refused(dsn: str, schema: str) -> None:
    """A pool whose connections know no text is an error that says so, not mangled data."""
    odd = conninfo.make_conninfo(dsn, client_encoding="SQL_ASCII")
    with psycopg_pool.ConnectionPool(odd, min_size=1, max_size=1, open=False) as pool:
        app = SyncWerk(dsn, schema=schema, pool=pool)
        with pytest.raises(ValueError, match="pool has the client_encoding SQL_ASCII"):
            app.enqueue(handlers.echo)
        app.disconnect()


# Prepared statements


def prepared_statements(connection: psycopg.Connection[Any]) -> list[str]:
    """What has been prepared on a connection, by whomever."""
    cursor = connection.execute("SELECT statement FROM pg_prepared_statements", prepare=False)
    return [statement for (statement,) in cursor.fetchall()]


@pytest.mark.parametrize(("pooler", "prepares"), [("auto", True), (False, True), (True, False)])
def test_only_direct_connections_get_prepared_statements(dsn: str, schema: str, pooler: Any, prepares: bool) -> None:
    """What is sent often is prepared where a pooler is excluded, and nowhere else, whoever opened the connection."""
    with psycopg_pool.ConnectionPool(dsn, min_size=1, max_size=1, open=False) as pool:
        owner = SyncWerk(dsn, schema=schema, pool_size=1, pooler=pooler)
        borrower = SyncWerk(dsn, schema=schema, pool=pool, pooler=pooler)
        for app in (owner, borrower):
            for _ in range(10):
                app.enqueue(handlers.echo)
            with app._connections.connection() as connection:
                assert prepares == any("_pgwerk_jobs" in each for each in prepared_statements(connection))
        with psycopg.Connection.connect(dsn) as connection:
            for _ in range(10):
                borrower.enqueue(handlers.echo, _conn=connection)
            assert prepares == any("_pgwerk_jobs" in each for each in prepared_statements(connection))
        owner.disconnect()
        borrower.disconnect()


def test_connection_from_elsewhere_gets_no_prepared_statements(
    watcher: psycopg.Connection[Any], dsn: str, schema: str
) -> None:
    """As long as nobody knows whether a pooler answers there, nothing is prepared on a connection of the caller's."""
    app = SyncWerk(dsn, schema=schema)
    app.connect()
    # The same server, under another name.
    host = watcher.info.host
    other = f"{host}/" if host.startswith("/") else {"localhost": "127.0.0.1"}.get(host, "localhost")
    elsewhere = conninfo.make_conninfo(dsn, host=other)
    with psycopg.Connection.connect(elsewhere) as connection:
        for _ in range(10):
            app.enqueue(handlers.echo, _conn=connection)
            connection.commit()
            app.enqueue_many([EnqueueParams(handlers.echo) for _ in range(3)], _conn=connection)
            connection.commit()
            app.enqueue(handlers.echo, _sync=True, _conn=connection)
            connection.commit()
        assert [] == prepared_statements(connection)
    app.disconnect()


# Listening


def test_unreachable_listen_dsn_costs_latency_only(
    app: SyncWerk, schema: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Where nobody answers at `listen_dsn`, waiters poll, and are not held up by it."""
    deaf = SyncWerk(app.dsn, schema=schema, pool_size=2, listen_dsn="host=127.0.0.1 port=1")
    with deaf, _compat.working(app, poll_interval=0.05):
        deaf.apply(handlers.echo, timeout=20, poll_interval=0.05)
        began = time.monotonic()
        for number in range(3):
            assert number == deaf.apply(handlers.echo, number, timeout=20, poll_interval=0.05)
        assert time.monotonic() - began < 10
    assert "cannot listen for the end of jobs, polling goes on" in caplog.text


# Many at once


@pytest.mark.parametrize("kind", ["short-lived", "owned", "given"])
def test_sixteen_at_once(dsn: str, schema: str, kind: str) -> None:
    """Sixteen that enqueue and read through one client at once do not get into each other's way."""
    pool = psycopg_pool.ConnectionPool(dsn, min_size=1, max_size=3, open=False)
    pool.open()
    kinds: dict[str, dict[str, Any]] = {"short-lived": {}, "owned": {"pool_size": 3}, "given": {"pool": pool}}
    app = SyncWerk(dsn, schema=schema, **kinds[kind])

    def use(number: int) -> list[Any]:
        seen = []
        for turn in range(5):
            job = app.enqueue(handlers.echo, [number, turn])
            assert job is not None
            found = app.get_job(job.id)
            assert found.payload is not None
            seen += found.payload["args"]
        return seen

    runs = [_compat.spawn(use, number) for number in range(16)]
    for number, run in enumerate(runs):
        assert [[number, turn] for turn in range(5)] == run.result()
    assert 80 == len(app.list_jobs())
    app.disconnect()
    pool.close()


# Forked children


@pytest.mark.posix
def test_forked_child_leaves_the_given_pool_alone(dsn: str, schema: str) -> None:
    """In a forked child, the pool that was opened before is the parent's: both go on, each over its own connections."""
    with psycopg_pool.ConnectionPool(dsn, min_size=2, max_size=2, open=False) as pool:
        app = SyncWerk(dsn, schema=schema, pool=pool)
        app.enqueue(handlers.echo, "parent")
        with pool.connection() as one, pool.connection() as two:
            inherited = [value(each, "SELECT pg_backend_pid()") for each in (one, two)]

        def use() -> None:
            with app._connections.connection() as connection:
                assert value(connection, "SELECT pg_backend_pid()") not in inherited
            app.enqueue(handlers.echo, "child")

        child = os.fork()
        if child == 0:
            _compat.in_forked_child(use)
        assert 0 == _compat.exit_code(child)
        for _ in range(4):
            app.enqueue(handlers.echo, "parent again")
        assert 6 == len(app.list_jobs())
        app.disconnect()
