# Generated from tests/_async/test_inserting.py by `python tools/unasync_build.py`.
# Do not edit: change that file and run the command again.

"""The statements that insert: one job and many end up as the same rows, and many are all there or none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row
from tests import handlers
from tests._sync import _compat

from pgwerk import Callback, EnqueueParams, Job, JobNotFound, Repeat, Retry, SerializationError, SyncWerk
from pgwerk._core import envelope
from pgwerk._core.options import SPEC_OPTIONS
from pgwerk._sql import Names
from pgwerk._sync import inserting

UNKNOWN = "01900000-0000-7000-8000-000000000000"
FUTURE = datetime(2100, 1, 1, 12, tzinfo=UTC)
PAST = datetime(2000, 1, 1, 12, tzinfo=UTC)

OPTIONS: list[dict[str, Any]] = [
    {},
    {"queue": "mail"},
    {"priority": -5},
    {"delay": 90.5},
    {"delay": timedelta(days=3, microseconds=1)},
    {"delay": 0},
    {"at": FUTURE},
    {"at": PAST},
    {"retry": Retry(max=4, intervals=[10, 60])},
    {"retry": Retry(max=3, intervals=5)},
    {"retry": Retry(max=2)},
    {"timeout": 30},
    {"heartbeat": 20},
    {"key": "the {key} of 'it', \"quoted\" \\ NULL"},
    {"group": "the group"},
    {"meta": {"tags": ["x", None], "größe": '"\\'}},
    {"meta": {}},
    {"result_ttl": 0},
    {"failure_ttl": 100},
    {"ttl": 200},
    {"ttl": 200, "delay": 90},
    {"ttl": 200, "at": FUTURE},
    {"ttl": 200, "at": PAST},
    {"on_success": Callback(handlers.echo, timeout=5)},
    {"on_failure": Callback(handlers.fail, timeout=6)},
    {"on_stopped": Callback("some.module.function", timeout=7)},
    {"on_success": handlers.echo, "on_failure": handlers.fail, "on_stopped": Callback(handlers.echo)},
    {"repeat": Repeat(times=3, interval=5)},
    {"repeat": Repeat(times=3, intervals=[1, 2])},
    {"failure_mode": "delete"},
    {"key": "k", "delay": 5},
    {"key": "k", "meta": {"a": 1}},
    {"delay": 5, "group": "g"},
    {
        "queue": "mail",
        "priority": 2**31 - 1,
        "delay": 1,
        "retry": Retry(max=9, intervals=[1]),
        "timeout": 1,
        "heartbeat": 2,
        "key": "all",
        "group": "g",
        "meta": {"a": [1]},
        "result_ttl": 3,
        "failure_ttl": 4,
        "ttl": 5,
        "on_success": Callback(handlers.echo, timeout=6),
        "on_failure": Callback(handlers.echo, timeout=7),
        "on_stopped": Callback(handlers.echo, timeout=8),
        "repeat": Repeat(times=9, interval=10, intervals=[11]),
        "failure_mode": "delete",
    },
]

WORKER = "(gen_random_uuid(), 'async', 'here', 1, %s, 1, '', 0, now(), now(), 30, true)"
"""The row of a worker that wants news of some queues."""


class Table:
    """The rows of a client's jobs, all columns of them, and what was notified about them."""

    def __init__(self, app: SyncWerk, connection: psycopg.Connection[Any]) -> None:
        self._names = Names(app.config.schema, app.config.prefix)
        self._connection = connection

    def listen(self) -> None:
        """Begin to hear what workers are told."""
        self._connection.execute(f"LISTEN {self._names.ready_channel}".encode())

    def want_news(self, *queues: str) -> None:
        """Have a worker that wants to be told of these queues."""
        query = f"INSERT INTO {self._names.table('workers')} VALUES {WORKER}"
        self._connection.execute(query.encode(), [list(queues)])

    def take(self, job: Job) -> dict[str, Any]:
        """A row, which is deleted."""
        query = f"DELETE FROM {self._names.table('jobs')} WHERE id = %s RETURNING *"
        cursor = self._connection.cursor(row_factory=dict_row)
        cursor.execute(query.encode(), [job.id])
        row = cursor.fetchone()
        assert row is not None
        return row

    def count(self) -> int:
        """How many there are."""
        cursor = self._connection.execute(f"SELECT count(*) FROM {self._names.table('jobs')}".encode())
        (row,) = cursor.fetchall()
        return int(row[0])

    def heard(self) -> list[str]:
        """What was notified since this was called last."""
        self._connection.execute("SELECT pg_notify(%s, 'that is all')", [self._names.ready_channel])
        payloads: list[str] = []
        while "that is all" not in payloads:
            found = [each.payload for each in self._connection.notifies(timeout=20, stop_after=1)]
            assert found, "nothing was heard within 20 s"
            payloads += found
        return payloads[:-1]


@pytest.fixture
def table(app: SyncWerk, dsn: str) -> Iterator[Table]:
    """The client's table of jobs."""
    app.connect()
    with psycopg.Connection.connect(dsn, autocommit=True) as connection:
        yield Table(app, connection)


def counted_from_the_insert(row: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """A row as it would be whenever it had been inserted, and under whatever id."""
    now, at = row["enqueued_at"], options.get("at")
    start = at if at is not None and at > now else now
    expires_at = row["expires_at"]
    return {
        **row,
        "id": None,
        "enqueued_at": None,
        "scheduled_at": row["scheduled_at"] if at is not None else row["scheduled_at"] - now,
        "expires_at": None if expires_at is None else expires_at - start,
    }


def test_all_options_are_compared() -> None:
    """The options that are compared are all there are; dependencies go by the statement for many in any case."""
    assert {*SPEC_OPTIONS} - {"depends_on"} == {name for options in OPTIONS for name in options}


@pytest.mark.parametrize("company", [{}, {"ttl": 3600}], ids=["ready", "undecided"])
@pytest.mark.parametrize("options", OPTIONS)
def test_one_and_many_write_the_same(
    app: SyncWerk, table: Table, options: dict[str, Any], company: dict[str, Any]
) -> None:
    """`enqueue` and both statements of `enqueue_many` write the same row for the same options, and return it."""
    args: tuple[Any, ...] = (1, 'a "quoted" \\ text', {"ü": None})
    kwargs: dict[str, Any] = {"word": "{NULL,two}"}
    one = app.enqueue(handlers.echo, *args, **kwargs, **{f"_{name}": value for name, value in options.items()})
    assert one is not None
    assert app.get_job(one.id) == one
    alone = table.take(one)
    spec = EnqueueParams(handlers.echo, args, kwargs, **options)
    company_specs = [EnqueueParams(handlers.echo, **company), EnqueueParams(handlers.echo)]
    first, *others = app.enqueue_many([spec, *company_specs])
    assert first is not None
    for job in (first, *others):
        assert job is not None
        assert app.get_job(job.id) == job
    among_others = table.take(first)
    assert counted_from_the_insert(alone, options) == counted_from_the_insert(among_others, options)


def test_one_and_many_announce_the_same(app: SyncWerk, table: Table) -> None:
    """Workers hear of a queue that got a ready job, if they want, and of a scheduled job if none is due before it."""
    table.listen()
    table.want_news("mail", "post", "default")
    filler = EnqueueParams(handlers.echo, queue="filler", at=FUTURE + timedelta(days=365))
    cases: list[tuple[dict[str, Any], list[str]]] = [
        ({"queue": "mail"}, ["qmail"]),
        ({"queue": "mail", "key": "k"}, ["qmail"]),
        ({"queue": "mail", "at": PAST}, ["qmail"]),
        ({"at": FUTURE, "group": "g"}, [f"d{FUTURE.timestamp():.6f}"]),
    ]
    for options, expected in cases:
        job = app.enqueue(handlers.echo, **{f"_{name}": value for name, value in options.items()})
        assert job is not None
        assert expected == table.heard()
        table.take(job)
        jobs = app.enqueue_many([EnqueueParams(handlers.echo, **options), filler])
        heard = table.heard()
        assert expected == [payload for payload in heard if payload.startswith(expected[0][0])]
        for each in jobs:
            assert each is not None
            table.take(each)
    ready = [EnqueueParams(handlers.echo, queue=queue) for queue in ("mail", "post", "mail")]
    for each in app.enqueue_many(ready):
        assert each is not None
        table.take(each)
    assert ["qmail", "qpost"] == sorted(table.heard())
    for delay, count in [(600, 1), (800, 0), (700, 0), (500, 1)]:
        app.enqueue(handlers.echo, _delay=delay)
        assert count == len(table.heard())


def test_queues_of_which_nobody_wants_to_hear(app: SyncWerk, table: Table) -> None:
    """Nothing is notified for ready jobs of queues whose workers are busy, or that have none; with many jobs, it is."""
    table.listen()
    table.want_news("post")
    single: list[dict[str, Any]] = [{}, {"_key": "k"}, {"_at": PAST}, {"_group": "g"}]
    for options in single:
        app.enqueue(handlers.echo, _queue="mail", **options)
    several: list[dict[str, Any]] = [{}, {"ttl": 60}]
    for options in several:
        specs = [EnqueueParams(handlers.echo, queue=queue, **options) for queue in ("mail", "other", "post")]
        assert [] == table.heard()
        app.enqueue_many(specs)
        assert ["qpost"] == table.heard()
        app.enqueue_many(specs * 40)
        assert ["qmail", "qother", "qpost"] == sorted(table.heard())


def test_a_job_that_is_awaited_says_so(app: SyncWerk, table: Table) -> None:
    """Somebody who waits is noted in the row, whichever statement writes it."""
    for awaited in (False, True):
        one = app._jobs.enqueue(EnqueueParams(handlers.echo), None, awaited=awaited)
        specs = [EnqueueParams(handlers.echo), EnqueueParams(handlers.echo)]
        many = app._jobs.enqueue_many(specs, None, awaited=awaited)
        specs = [EnqueueParams(handlers.echo), EnqueueParams(handlers.echo, ttl=3600)]
        undecided = app._jobs.enqueue_many(specs, None, awaited=awaited)
        for job in (one, *many, *undecided):
            assert job is not None
            row = table.take(job)
            assert awaited is row["awaited"]


def test_one_prepared_statement_takes_all_values(make_app: Callable[..., SyncWerk]) -> None:
    """The values of the options, large or small, do not make another statement of it."""
    app = make_app(pool_size=1)
    for number in range(10):
        assert app.enqueue(handlers.echo, number, _priority=10**number, _queue=f"q{number}") is not None
    with app._connections.connection() as own:
        query = "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE 'INSERT%'"
        cursor = own.execute(query, prepare=False)
        assert (1,) == cursor.fetchone()


@pytest.mark.parametrize("commits", [True, False])
def test_a_key_in_an_open_transaction_is_waited_for(app: SyncWerk, dsn: str, commits: bool) -> None:
    """A key that somebody is about to insert is taken if he commits, and free if he does not."""
    app.connect()
    with psycopg.Connection.connect(dsn) as connection:
        assert app.enqueue(handlers.echo, _key="k", _conn=connection) is not None
        waiting = _compat.spawn(app.enqueue, handlers.echo, _key="k")
        until_blocked_by(dsn, connection.info.backend_pid)
        if commits:
            connection.commit()
        else:
            connection.rollback()
        assert commits is (waiting.result() is None)


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Statements that take two jobs, or 1,000 characters, at most."""
    monkeypatch.setattr(inserting, "BATCH", 2)
    monkeypatch.setattr(inserting, "BATCH_CHARACTERS", 1000)


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("autocommit", [True, False])
def test_batches_are_part_of_the_callers_transaction(app: SyncWerk, table: Table, dsn: str, autocommit: bool) -> None:
    """More jobs than fit into one statement are gone when the caller rolls back, and there when he commits."""
    specs = [EnqueueParams(handlers.echo, (number,)) for number in range(5)]
    with psycopg.Connection.connect(dsn, autocommit=autocommit) as connection:
        if autocommit:
            connection.execute("BEGIN")
        assert None not in app.enqueue_many(specs, _conn=connection)
        assert 0 == table.count()
        connection.rollback()
        assert 0 == table.count()
        if autocommit:
            connection.execute("BEGIN")
        assert None not in app.enqueue_many(specs, _conn=connection)
        connection.commit()
    assert 5 == table.count()


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("autocommit", [True, False])
def test_batches_are_all_or_nothing(app: SyncWerk, table: Table, dsn: str, autocommit: bool) -> None:
    """When a later statement fails, what the earlier ones have inserted is gone, and the caller can go on."""
    specs = [EnqueueParams(handlers.echo, (number,)) for number in range(5)]
    bad = [*specs, EnqueueParams(handlers.echo, depends_on=UNKNOWN)]
    with pytest.raises(JobNotFound, match=UNKNOWN):
        app.enqueue_many(bad)
    assert 0 == table.count()
    with psycopg.Connection.connect(dsn, autocommit=autocommit) as connection:
        if autocommit:
            connection.execute("BEGIN")
        first = app.enqueue(handlers.echo, _conn=connection)
        with pytest.raises(JobNotFound, match=UNKNOWN):
            app.enqueue_many(bad, _conn=connection)
        connection.commit()
    assert first is not None
    assert 1 == table.count()


@pytest.mark.usefixtures("small_batches")
def test_batches_keep_order_and_keys(app: SyncWerk) -> None:
    """Jobs of several statements are returned in the order given, with None for keys that exist or came earlier."""
    app.enqueue(handlers.echo, _key="old")
    keys = ["z", None, "old", "a", "z", None, "a", "m"]
    specs = [EnqueueParams(handlers.echo, (number,), key=key) for number, key in enumerate(keys)]
    jobs = app.enqueue_many(specs)
    assert [0, 1, None, 3, None, 5, None, 7] == [job and job.payload and job.payload["args"][0] for job in jobs]


@pytest.mark.usefixtures("small_batches")
def test_batches_know_the_parents_of_earlier_ones(app: SyncWerk) -> None:
    """A job waits for one of an earlier statement, and for the job that has the key of one that was left out there."""
    older = app.enqueue(handlers.echo, _key="older")
    assert older is not None
    parent = EnqueueParams(handlers.echo)
    left_out = EnqueueParams(handlers.echo, key="older")
    child = EnqueueParams(handlers.echo, depends_on=[parent, left_out])
    jobs = app.enqueue_many([parent, left_out, EnqueueParams(handlers.echo), EnqueueParams(handlers.echo), child])
    assert jobs[0] is not None
    assert jobs[1] is None
    assert jobs[4] is not None
    assert sorted([older.id, jobs[0].id]) == sorted(app.get_job_dependencies(jobs[4].id))


@pytest.mark.usefixtures("small_batches")
def test_batches_are_cut_by_size(app: SyncWerk) -> None:
    """Large payloads go in statements of their own, and come back."""
    texts = ["x" * size for size in (10, 600, 600, 3000, 0, 1)]
    jobs = app.enqueue_many([EnqueueParams(handlers.echo, (text,)) for text in texts])
    assert texts == [first_argument(app, job) for job in jobs]


def first_argument(app: SyncWerk, job: Job | None) -> Any:
    """The first argument of a job, as it was stored."""
    assert job is not None
    stored = app.get_job(job.id)
    assert stored.payload is not None
    return stored.payload["args"][0]


def test_large_payload(app: SyncWerk) -> None:
    """A payload of 50 MB comes back, from one job and from one of many."""
    text = "0123456789" * 5_000_000
    one = app.enqueue(handlers.echo, text)
    many = app.enqueue_many([EnqueueParams(handlers.echo, (text,)), EnqueueParams(handlers.echo, (text,))])
    for job in (one, *many):
        assert text == first_argument(app, job)


def test_too_large_a_payload_is_refused(app: SyncWerk, table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `jsonb` could not hold is refused by name and size before anything is sent."""
    monkeypatch.setattr(envelope, "LARGEST", 100)
    assert app.enqueue(handlers.echo, "x" * 60) is not None
    message = r"the arguments of tests\.handlers\.echo\(\): .* 1,025 characters .* of 100 allowed"
    with pytest.raises(SerializationError, match=message):
        app.enqueue(handlers.echo, "x" * 1000)
    with pytest.raises(SerializationError, match=message):
        app.enqueue_many([EnqueueParams(handlers.echo), EnqueueParams(handlers.echo, ("x" * 1000,))])
    with pytest.raises(SerializationError, match=r"_meta: .* 1,008 characters .* of 100 allowed"):
        app.enqueue(handlers.echo, _meta={"a": "x" * 1000})
    assert 1 == table.count()


def until_blocked_by(dsn: str, pid: int) -> None:
    """Wait until a session waits for another one."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE %s = ANY (pg_blocking_pids(pid))"
    with psycopg.Connection.connect(dsn, autocommit=True) as connection:
        for _ in range(2000):
            cursor = connection.execute(query, [pid])
            if cursor.fetchone() != (0,):
                return
            _compat.pause()
    raise AssertionError("nobody waits")
