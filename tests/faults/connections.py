"""Connections that are reset, half-open and stalled for longer than the lease, at every kind of statement."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Sequence
from typing import Any

import psycopg
from tests.faults import handlers
from tests.faults.arena import Arena, Scale
from tests.faults.network import Fault, Kind, Network, Side

from pgwerk import Dependency, EnqueueParams, Retry, Werk
from pgwerk._sql import Names

OPTIONS: dict[str, Any] = {"heartbeat_interval": 0.3, "sweep_interval": 0.3, "poll_interval": 0.1, "concurrency": 8}
LEASE_SECS = 3 * OPTIONS["heartbeat_interval"]
LONGER_SECS = 1.5 * LEASE_SECS
OPPORTUNITY_SECS = 20.0
CALL_SECS = 5.0
WITH_ROWS = 1500
"""Bytes of an answer to a claim that has got something: without, there are only the names of the columns."""
PARTING = 8
LOST = Retry(max=50)

# What a worker with such jobs sends in the course of a few seconds. Which of it is seen is checked.
OF_WORKERS = (
    *("claim_ungrouped", "count_ready", "begin", "claim_best", "turn_over_ungrouped", "turn_over_best"),
    *("lock_strays", "commit after lock_strays", "lock_orphans", "commit after lock_orphans"),
    *("settle", "settle_complete", "find_children", "judge_waiting", "release"),
    *("heartbeat", "ping", "find_unwanted", "take_callbacks", "promote_due", "look_around", "needs_sweep"),
    *("remove_lost_workers", "find_expired", "find_late", "find_waiting"),
)
# What its connections begin with: each time there is a new worker. What the client has to say before is not among it:
# when that fails, the worker does not start, as is documented.
AT_START = ("set", "listen", "notify")
OF_CLIENTS = ("enqueue_one", "enqueue", "enqueue_ready")

# In short: some of each kind, at the statements where it hurts most.
SAMPLE = (
    Fault("settle_complete", Kind.STALL, Side.REQUEST, LONGER_SECS),
    Fault("heartbeat", Kind.STALL, Side.ANSWER, LONGER_SECS),
    Fault("claim_best", Kind.HALF_OPEN, Side.REQUEST, LONGER_SECS),
    Fault("release", Kind.RESET, Side.REQUEST),
    # More than once, because what one of them hits may be no more than a retry.
    *4 * (Fault("settle_complete", Kind.RESET, Side.ANSWER),),
    # What is claimed by these is known to nobody, and the worker keeps its lease from here on.
    Fault("claim_best", Kind.RESET, Side.ANSWER, least=WITH_ROWS),
    Fault("claim_ungrouped", Kind.RESET, Side.ANSWER, least=WITH_ROWS),
)
SAMPLE_AT_START = (Fault("listen", Kind.HALF_OPEN, Side.ANSWER, LONGER_SECS),)
SAMPLE_OF_CLIENTS = (Fault("enqueue_one", Kind.RESET, Side.ANSWER), Fault("enqueue_ready", Kind.RESET, Side.REQUEST))
SAMPLES: tuple[Sequence[Fault], ...] = (SAMPLE, SAMPLE_OF_CLIENTS, SAMPLE_AT_START)
STATEMENTS = (OF_WORKERS, OF_CLIENTS, AT_START)


def plan(statements: tuple[str, ...], scale: Scale) -> list[Fault]:
    """Each kind of fault at each kind of statement, in random order; on which side changes from round to round."""
    faults = []
    for number, (statement, kind) in enumerate(itertools.product(statements, Kind)):
        side = list(Side)[(number + scale.round) % 2]
        faults.append(Fault(statement, kind, side, None if kind is Kind.RESET else LONGER_SECS))
    random.Random(scale.round).shuffle(faults)
    return faults


async def cut(arena: Arena, scale: Scale) -> int:
    """One worker is behind a bad network, one is not, and a client is behind another one; gives the number of faults.

    What the first one loses with its lease, the second one takes over: the outcomes of both arrive, and one counts.
    """
    names = Names(arena.schema, arena.app.config.prefix)
    kind = scale.kind()
    of_workers, of_clients, at_start = SAMPLES if not scale.full else (plan(each, scale) for each in STATEMENTS)
    enough = asyncio.Event()
    async with Network(arena.dsn, names) as network, Network(arena.dsn, names) as other:
        await arena.start(kind, dsn=network.dsn, **OPTIONS)
        await arena.start(kind, **OPTIONS)
        async with asyncio.TaskGroup() as background:
            background.create_task(feed(arena, enough))
            calling = background.create_task(call(arena, other, enough))
            async with asyncio.TaskGroup() as tasks:
                injecting = [
                    tasks.create_task(inject(arena, network, of_workers)),
                    tasks.create_task(inject(arena, other, of_clients)),
                    tasks.create_task(inject_at_start(arena, kind, at_start)),
                    tasks.create_task(inject_at_end(arena, kind)),
                ]
            enough.set()
        unhit = network.seen - {*OF_WORKERS, *AT_START}
        arena.note(f"{calling.result()} calls of a client failed; sent and not hit: {', '.join(sorted(unhit))}")
        await arena.until_over()
        await arena.stop()
    return sum(each.result() for each in injecting)


async def inject(arena: Arena, network: Network, faults: Sequence[Fault]) -> int:
    """Let faults happen, one after the other; gives their number."""
    count = 0
    for fault in faults:
        if await network.hit(fault, OPPORTUNITY_SECS) is None:
            arena.broke(f"no opportunity for: {fault}; nothing of that kind was sent for {OPPORTUNITY_SECS:g} s")
        else:
            count += 1
    return count


async def inject_at_start(arena: Arena, kind: str, faults: Sequence[Fault]) -> int:
    """Start a worker for each fault, which happens while it connects; in spite of it, it stops when it is told to."""
    count = 0
    for fault in faults:
        async with Network(arena.dsn, Names(arena.schema, arena.app.config.prefix)) as network:
            hitting = asyncio.create_task(inject(arena, network, [fault]))
            worker = await arena.start(kind, dsn=network.dsn, **OPTIONS)
            count += await hitting
            await arena.until_ready(worker)
            await arena.stop([worker])
    return count


async def inject_at_end(arena: Arena, kind: str) -> int:
    """A worker that stops gives back its jobs, and does not hear that it has: others run them when it tries again."""
    queue = "parting"
    options = {**OPTIONS, "queues": [queue], "concurrency": PARTING}
    async with Network(arena.dsn, Names(arena.schema, arena.app.config.prefix)) as network:
        parting = await arena.start(kind, dsn=network.dsn, **{**options, "shutdown_timeout": 0})
        await arena.enqueue([EnqueueParams(handlers.work, (1.5,), queue=queue, retry=LOST) for _ in range(PARTING)])
        at_work = "SELECT count(*) = %s FROM {jobs} WHERE queue = %s AND status = 'active'"
        assert await arena.eventually(lambda: arena.tables.value(at_work, PARTING, queue), OPPORTUNITY_SECS)
        await arena.until_ready(await arena.start(kind, **options))
        hitting = asyncio.create_task(inject(arena, network, [Fault("settle", Kind.RESET, Side.ANSWER)]))
        await asyncio.sleep(0)
        parting.terminate()
        count = await hitting
        await parting.ended()
    return count


async def feed(arena: Arena, enough: asyncio.Event) -> None:
    """Enqueue jobs of all kinds all the time, so that all kinds of statements are sent."""
    for number in itertools.count():
        if enough.is_set():
            break
        parents = [EnqueueParams(handlers.work, (0.02,), retry=LOST) for _ in range(2)]
        await arena.enqueue(
            [
                *parents,
                EnqueueParams(handlers.work, (0.02,), retry=LOST, depends_on=[Dependency(each) for each in parents]),
                EnqueueParams(handlers.work_plain, (0.02,), retry=LOST),
                # Not always: while one of them is ready, claims take the other way.
                EnqueueParams(handlers.work, (0.02,), retry=LOST, group=f"g{number % 3}" if number % 4 == 0 else None),
                EnqueueParams(handlers.work, (0.02,), retry=LOST, delay=0.1),
                EnqueueParams(handlers.work_late, (0.02,), retry=LOST),
            ]
        )
        await asyncio.sleep(0.1)


async def call(arena: Arena, network: Network, enough: asyncio.Event) -> int:
    """Enqueue over a bad network; gives how often that failed. What has returned is never lost."""
    failed = 0
    app = Werk(network.dsn, schema=arena.schema, pooler=False)
    await app.connect()
    spec = EnqueueParams(handlers.work, (0.01,), retry=LOST)
    later = EnqueueParams(handlers.work, (0.01,), retry=LOST, delay=0.1)
    while not enough.is_set():
        try:
            async with asyncio.timeout(CALL_SECS):
                one = await app.enqueue(handlers.work, 0.01, _retry=LOST)
                assert one is not None
                arena.accepted.append(one.id)
                for specs in ([spec, spec], [spec, later]):
                    arena.accepted += [job.id for job in await app.enqueue_many(specs) if job is not None]
        except (psycopg.OperationalError, TimeoutError):
            failed += 1
        await asyncio.sleep(0.1)
    await app.disconnect()
    return failed
