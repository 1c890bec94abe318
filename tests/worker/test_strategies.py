"""From which of its queues a worker takes the next job."""

from __future__ import annotations

from collections import Counter

import pytest
from tests import handlers
from tests.worker.conftest import Tables

from pgwerk import AsyncWorker, DequeueStrategy, EnqueueParams, Werk
from pgwerk._core.ids import new_id
from pgwerk.worker.claiming import Claimer

QUEUES = ["a", "b", "c"]


async def fill(app: Werk, count: int, group: str | None = None) -> None:
    """So many jobs in each queue; those of the first queue have the highest priority, and were enqueued first."""
    await app.enqueue_many(
        [
            EnqueueParams(handlers.echo, queue=queue, priority=-number, group=group and f"{group}{queue}{each}")
            for number, queue in enumerate(QUEUES)
            for each in range(count)
        ]
    )


def claimer(tables: Tables, strategy: DequeueStrategy) -> Claimer:
    """What claims for a worker of all queues."""
    return Claimer(tables.statements, new_id(), QUEUES, strategy)


async def test_priority(app: Werk, tables: Tables) -> None:
    """By default the best jobs come first, whichever queue they are in."""
    await fill(app, 4)
    claimed = await claimer(tables, DequeueStrategy.Priority).claim(await tables.connect(), 6)
    assert {"a": 4, "b": 2} == Counter(each.queue for each in claimed)


@pytest.mark.parametrize("group", [None, "g"])
async def test_round_robin(app: Werk, tables: Tables, group: str | None) -> None:
    """Queues take turns, within one claim and from one claim to the next, whatever the priorities are."""
    await fill(app, 6, group)
    turns = claimer(tables, DequeueStrategy.RoundRobin)
    connection = await tables.connect()
    order = []
    for _ in range(6):
        order += [each.queue for each in await turns.claim(connection, 1)]
    assert ["a", "b", "c", "a", "b", "c"] == order
    assert {"a": 2, "b": 1, "c": 1} == Counter(each.queue for each in await turns.claim(connection, 4))
    assert ["b"] == [each.queue for each in await turns.claim(connection, 1)]


async def test_round_robin_skips_what_is_empty(app: Werk, tables: Tables) -> None:
    """A queue that has nothing loses its turn to the others."""
    await app.enqueue_many([EnqueueParams(handlers.echo, queue="b") for _ in range(5)])
    turns = claimer(tables, DequeueStrategy.RoundRobin)
    assert 5 == len(await turns.claim(await tables.connect(), 10))


async def test_random(app: Werk, tables: Tables) -> None:
    """With `Random`, every queue comes first now and then."""
    await fill(app, 40)
    lots = claimer(tables, DequeueStrategy.Random)
    connection = await tables.connect()
    first = Counter([(await lots.claim(connection, 1))[0].queue for _ in range(40)])
    # Each of them is left out with a probability of one in ten million.
    assert set(QUEUES) == set(first)


@pytest.mark.parametrize("strategy", list(DequeueStrategy))
async def test_worker_runs_them_all(app: Werk, tables: Tables, strategy: DequeueStrategy) -> None:
    """Whatever the strategy is, every job runs once."""
    await fill(app, 30)
    await AsyncWorker(app, QUEUES, 7, dequeue_strategy=strategy, burst=True, handle_signals=False).run()
    assert {"complete": 90} == await tables.counts()


async def test_strategy_that_does_not_exist(app: Werk) -> None:
    """A strategy that does not exist is refused, and those that do are named."""
    with pytest.raises(ValueError, match=r"one of DequeueStrategy.Priority, .*RoundRobin, .*Random, not 'fifo'"):
        AsyncWorker(app, dequeue_strategy="fifo")
    assert DequeueStrategy.Random is AsyncWorker(app, dequeue_strategy="random").dequeue_strategy
