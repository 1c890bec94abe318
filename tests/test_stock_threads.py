"""The client's own pool between threads: each order in which one gives back and another one takes, made to happen.

A list whose `append` stops in the middle of a step stands in for the thread that is suspended there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import psycopg_pool
import pytest

from pgwerk._sync.stock import Connection, PooledConnection, Stock

DEADLINE_SECS = 20


class Stopping(list[Any]):
    """A list that somebody appends to, and who stops there, before or after, until told to go on."""

    def __init__(self, *, before: bool) -> None:
        super().__init__()
        self._before = before
        self.there = threading.Event()
        self.go_on = threading.Event()

    def append(self, item: Any) -> None:
        if self._before:
            self._stop()
        super().append(item)
        if not self._before:
            self._stop()

    def _stop(self) -> None:
        self.there.set()
        assert self.go_on.wait(DEADLINE_SECS)


@pytest.fixture
def stock(dsn: str) -> Iterator[Stock]:
    """A stock of one connection."""
    stock = Stock()
    stock.pool = psycopg_pool.ConnectionPool(
        dsn,
        connection_class=PooledConnection,
        min_size=1,
        max_size=1,
        open=False,
        timeout=DEADLINE_SECS,
        configure=stock.admit,
        kwargs={"autocommit": True},
    )
    stock.pool.open(wait=True)
    yield stock
    stock.close()


@pytest.fixture
def beside() -> Iterator[Callable[..., Future[Any]]]:
    """Runs something in another thread."""
    with ThreadPoolExecutor() as threads:
        yield threads.submit


@pytest.mark.parametrize("before", [True, False])
def test_waiter_comes_while_another_gives_back(stock: Stock, beside: Callable[..., Future[Any]], before: bool) -> None:
    """Who begins to wait right before, or right after, a connection is laid aside gets that connection."""
    connection = stock.take()
    aside = stock._aside = Stopping(before=before)
    giving = beside(stock.give_back, connection)
    assert aside.there.wait(DEADLINE_SECS)
    taking = beside(stock.take)
    if before:
        _wait_until(lambda: stock.pool.get_stats().get("requests_waiting") == 1)
    else:
        assert connection is taking.result(DEADLINE_SECS)
    aside.go_on.set()
    giving.result(DEADLINE_SECS)
    assert connection is taking.result(DEADLINE_SECS)
    _give_back(stock, connection)


@pytest.mark.parametrize("before", [True, False])
def test_connection_comes_back_while_another_begins_to_wait(
    stock: Stock, beside: Callable[..., Future[Any]], before: bool
) -> None:
    """Who has found nothing aside gets what is given back right before, or right after, he says that he waits."""
    connection = stock.take()
    waiting = stock._waiting = Stopping(before=before)
    taking = beside(stock.take)
    assert waiting.there.wait(DEADLINE_SECS)
    stock.give_back(connection)
    waiting.go_on.set()
    assert connection is taking.result(DEADLINE_SECS)
    _give_back(stock, connection)


@pytest.mark.parametrize("before", [True, False])
def test_pool_is_closed_while_another_gives_back(
    stock: Stock, beside: Callable[..., Future[Any]], before: bool
) -> None:
    """A connection that is laid aside right before, or right after, the pool is closed is closed as well."""
    connection = stock.take()
    aside = stock._aside = Stopping(before=before)
    giving = beside(stock.give_back, connection)
    assert aside.there.wait(DEADLINE_SECS)
    stock.close()
    aside.go_on.set()
    giving.result(DEADLINE_SECS)
    assert connection.closed


def test_many_threads_share_few_connections(stock: Stock, beside: Callable[..., Future[Any]]) -> None:
    """Each of eight threads gets the one connection hundreds of times, and never two of them at once."""
    inside = threading.Lock()

    def work() -> None:
        for _ in range(200):
            connection = stock.take()
            assert inside.acquire(blocking=False)
            connection.execute("SELECT")
            inside.release()
            stock.give_back(connection)

    for each in [beside(work) for _ in range(8)]:
        each.result(DEADLINE_SECS)


def _give_back(stock: Stock, connection: Connection) -> None:
    stock._aside, stock._waiting = [], []
    stock.give_back(connection)


def _wait_until(condition: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(100 * DEADLINE_SECS):
        if condition():
            return
        pause.wait(0.01)
    raise AssertionError("it did not happen")
