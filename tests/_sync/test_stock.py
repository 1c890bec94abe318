# Generated from tests/_async/test_stock.py by `python tools/unasync_build.py`.
# Do not edit: change that file and run the command again.

"""The client's own pool: the connection that came back last is taken first, and nobody waits for one in vain."""

from __future__ import annotations

import time
from collections.abc import Iterator

import psycopg
import psycopg_pool
import pytest
from tests import handlers
from tests._sync import _compat

from pgwerk import SyncWerk
from pgwerk._sync import stock
from pgwerk._sync.stock import PooledConnection, Stock

MAX_LIFETIME_SECS = 0.2


@pytest.fixture
def filled(dsn: str) -> Iterator[Stock]:
    """Two connections, which the pool does not keep for long."""
    filled = Stock()

    def admit(connection: PooledConnection) -> None:
        filled.admit(connection)

    filled.pool = psycopg_pool.ConnectionPool(
        dsn,
        connection_class=PooledConnection,
        min_size=2,
        max_size=2,
        open=False,
        max_lifetime=MAX_LIFETIME_SECS,
        configure=admit,
        kwargs={"autocommit": True},
    )
    filled.pool.open(wait=True)
    yield filled
    filled.close()


def test_last_one_comes_first(filled: Stock) -> None:
    """Connections are taken in the reverse order of their return."""
    first, second = filled.take(), filled.take()
    filled.give_back(first)
    filled.give_back(second)
    assert second is filled.take()
    assert first is filled.take()
    for each in (first, second):
        filled.give_back(each)


def test_whoever_waits_gets_what_comes_back(filled: Stock) -> None:
    """With all connections in use, each one that comes back goes to somebody who waits, and to nobody twice."""
    held = [filled.take(), filled.take()]
    waiting = [_compat.spawn(filled.take) for _ in range(5)]
    _until_there_wait(filled, 5)
    got = []
    for place in range(5):
        filled.give_back(held.pop(0))
        _until_there_wait(filled, 4 - place)
        done = [each for each in waiting if not each.running()]
        while len(done) <= place:
            _compat.pause()
            done = [each for each in waiting if not each.running()]
        (last,) = [each for each in done if each not in got]
        got.append(last)
        held.append(last.result())
        assert 2 == len(set(held))
    for each in held:
        filled.give_back(each)


def test_too_old_connections_are_replaced(filled: Stock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that is always in use goes through the pool now and then, which replaces it when it is too old."""
    monkeypatch.setattr(stock, "KEPT_TIMES", 10)
    began = time.monotonic()
    pids: set[int] = set()
    while len(pids) < 3:
        assert time.monotonic() < began + 20
        connection = filled.take()
        pids.add(connection.info.backend_pid)
        filled.give_back(connection)


def test_wait_that_is_over_says_what_may_be_wrong(filled: Stock) -> None:
    """Who has waited in vain is told for how long, and what the reasons may be."""
    held = [filled.take(), filled.take()]
    filled.pool.timeout = 0.1
    with pytest.raises(psycopg_pool.PoolTimeout, match=r"^no connection for 0\.1 s: all 2 .* or the database"):
        filled.take()
    for each in held:
        filled.give_back(each)


def test_connection_in_a_transaction_is_not_laid_aside(filled: Stock) -> None:
    """What was cut off in the middle of a transaction is rolled back before somebody else gets it."""
    first, second = filled.take(), filled.take()
    first.execute("BEGIN")
    filled.give_back(first)
    again = filled.take()
    assert psycopg.pq.TransactionStatus.IDLE == again.info.transaction_status
    for each in (again, second):
        filled.give_back(each)


def test_connection_that_comes_back_late_is_closed(filled: Stock) -> None:
    """A connection that is in use while the pool is closed is closed when it comes back, and so are the others."""
    first, second = filled.take(), filled.take()
    filled.give_back(first)
    filled.close()
    assert (True, False) == (first.closed, second.closed)
    filled.give_back(second)
    assert second.closed


def test_one_session_serves_whoever_comes_alone(dsn: str, schema: str) -> None:
    """One call after the other goes over one and the same connection, however many the pool has."""
    with SyncWerk(dsn, schema=schema, pool_size=4) as app:
        app.enqueue(handlers.echo)
        pids = set()
        for _ in range(20):
            app.enqueue(handlers.echo)
            with app._connections.connection() as connection:
                pids.add(connection.info.backend_pid)
        assert 1 == len(pids)


def _until_there_wait(filled: Stock, count: int) -> None:
    deadline = time.monotonic() + 20
    while count != filled.pool.get_stats().get("requests_waiting", 0):
        assert time.monotonic() < deadline
        _compat.pause()
