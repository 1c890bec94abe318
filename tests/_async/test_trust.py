"""Rows are input: signed pickles, and the limits of what a row may call."""

from __future__ import annotations

import os
import pickle
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests import handlers
from tests._async import _compat
from tests.core import allowed_tasks, sample_handlers
from tests.core.strategies import Color

from pgwerk import (
    Callback,
    EnqueueParams,
    Job,
    JobError,
    JobStatus,
    PickleSerializer,
    Retry,
    SerializationError,
    Undecodable,
    Werk,
)
from pgwerk._core.envelope import pack

KEY = "a key that is long enough for this purpose"
OTHER = "another key that is long enough, as well"
TASKS = "tests.core.allowed_tasks"


class Point:
    """An object of the user's own."""

    def __init__(self, x: int, y: int) -> None:
        self.x, self.y = x, y

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Point) and (self.x, self.y) == (other.x, other.y)

    def __hash__(self) -> int:
        return hash((self.x, self.y))


class Bomb:
    """Unpickling it makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.path,)


MakeApp = Callable[..., Werk]


async def sql(dsn: str, query: str, *params: object) -> list[tuple[Any, ...]]:
    """Write to the tables behind pgwerk's back."""
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        cursor = await connection.execute(query.encode(), params)
        return await cursor.fetchall() if cursor.description else []


async def enqueued(app: Werk, *args: Any, **options: Any) -> Job:
    job = await app.enqueue(*args, **options)
    assert job is not None
    return job


@pytest.fixture
def pickling(make_app: MakeApp) -> Werk:
    """A client that signs pickles."""
    return make_app(pool_size=2, serializer=PickleSerializer(key=KEY))


# Signed pickles


async def test_objects_make_the_round_trip(pickling: Werk, dsn: str, schema: str) -> None:
    """Arguments and results may be any objects, and are stored as bytes that are marked as such."""
    job = await enqueued(pickling, handlers.echo, Point(1, 2), word=Point(3, 4))
    await _compat.burst(pickling)
    again = await pickling.get_job(job.id)
    assert {"args": [Point(1, 2)], "kwargs": {"word": Point(3, 4)}} == job.payload == again.payload
    assert (JobStatus.Complete, Point(1, 2)) == (again.status, again.result)
    assert [Point(1, 2)] == [execution.result for execution in await pickling.get_executions(job.id)]
    rows = await sql(dsn, f'SELECT payload ? %s, result ? %s FROM {schema}."_pgwerk_jobs"', *["$pgwerk:bytes"] * 2)
    assert [(True, True)] == rows


async def test_apply_gives_objects(pickling: Werk) -> None:
    """`apply` and `map` give objects, too."""
    async with _compat.working(pickling):
        assert Point(1, 2) == await pickling.apply(handlers.echo, Point(1, 2), timeout=20)
        points = [{"x": Point(n, n)} for n in range(3)]
        assert points == await pickling.map(handlers.plain_echo, points, timeout=20)


async def test_what_cannot_be_pickled_is_named(pickling: Werk) -> None:
    """An argument that cannot be pickled is refused by name; a result that cannot be fails the job for good."""
    with pytest.raises(SerializationError, match=r"argument 'x' of tests\.handlers\.echo\(\): cannot pickle .*lock"):
        await pickling.enqueue(handlers.echo, 1, x=threading.Lock())
    job = await enqueued(pickling, handlers.bad_pickle, _retry=Retry(max=3))
    await _compat.burst(pickling)
    job = await pickling.get_job(job.id)
    assert (JobStatus.Failed, 1) == (job.status, job.attempts)
    assert "the result of tests.handlers.bad_pickle(): cannot pickle a value of type lock" in str(job.error)


async def test_a_client_with_another_key_reads_nothing(pickling: Werk, make_app: MakeApp) -> None:
    """Without the key, arguments and results are `Undecodable` and say why; all else of the job can be read."""
    job = await enqueued(pickling, handlers.echo, Point(1, 2))
    await _compat.burst(pickling)
    for serializer in (PickleSerializer(OTHER), None):
        stranger = make_app(serializer=serializer)
        found = await stranger.get_job(job.id)
        assert [found] == await stranger.list_jobs()
        for part in (found.payload, found.result):
            assert isinstance(part, Undecodable)
            assert "another" in part.reason
        assert (JobStatus.Complete, "tests.handlers.echo") == (found.status, found.function)


async def test_a_worker_with_another_key_calls_nothing(pickling: Werk, make_app: MakeApp) -> None:
    """A worker that cannot verify the arguments fails the job at once, and whoever waits for it gets a `JobError`."""
    async with _compat.working(make_app(serializer=PickleSerializer(OTHER))):
        with pytest.raises(JobError, match="the signature of the stored pickle does not fit the key") as caught:
            await pickling.apply(handlers.echo, 1, timeout=20, _retry=3)
    assert (JobStatus.Failed, 1) == (caught.value.job.status, caught.value.job.attempts)


async def test_a_result_that_was_signed_with_another_key_is_not_given(pickling: Werk, make_app: MakeApp) -> None:
    """Who waits for a result that does not verify gets a `SerializationError`."""
    both = PickleSerializer(OTHER, old_keys=[KEY])
    async with _compat.working(make_app(serializer=both)):
        with pytest.raises(SerializationError, match="does not fit the key"):
            await pickling.apply(handlers.echo, 1, timeout=20)


async def test_keys_are_rotated(pickling: Werk, make_app: MakeApp) -> None:
    """Jobs from before a change of the key run after it, and their results are signed with the new key."""
    job = await enqueued(pickling, handlers.echo, Point(1, 2))
    await _compat.burst(make_app(serializer=PickleSerializer(OTHER, old_keys=[KEY])))
    found = await make_app(serializer=PickleSerializer(OTHER)).get_job(job.id)
    assert (JobStatus.Complete, Point(1, 2)) == (found.status, found.result)
    assert isinstance(found.payload, Undecodable)


def forgeries(proof: Path) -> dict[str, bytes]:
    """Bytes that make a folder when they are unpickled, with and without some signature."""
    bomb = pickle.dumps({"args": [Bomb(proof)], "kwargs": {}})
    genuine = PickleSerializer(KEY).dumps({"args": [1], "kwargs": {}})
    return {
        "bare": bomb,
        "no signature": b"\x01" + bytes(32) + bomb,
        "signature of another value": genuine[:33] + bomb,
        "signed with another key": PickleSerializer(OTHER).dumps({"args": [Bomb(proof)], "kwargs": {}}),
        "appended": genuine + bomb,
        "inserted": genuine[:33] + bomb + genuine[33:],
    }


@pytest.mark.parametrize("how", forgeries(Path()))
async def test_a_row_that_was_tampered_with_executes_nothing(
    pickling: Werk, dsn: str, schema: str, tmp_path: Path, how: str
) -> None:
    """Whoever can write to the tables cannot have anything executed by those who unpickle."""
    proof = tmp_path / "executed"
    job = await enqueued(pickling, handlers.echo, 1, _retry=3)
    forged = pack(forgeries(proof)[how])
    await sql(dsn, f'UPDATE {schema}."_pgwerk_jobs" SET payload = %s::jsonb', forged)
    await _compat.burst(pickling)
    job = await pickling.get_job(job.id)
    assert (JobStatus.Failed, 1) == (job.status, job.attempts)
    assert "SerializationError" in str(job.error)
    await sql(dsn, f"""UPDATE {schema}."_pgwerk_jobs" SET status = 'complete', result = %s::jsonb""", forged)
    found = await pickling.wait_for(job.id, timeout=20)
    for part in (found.payload, found.result):
        assert isinstance(part, Undecodable)
    assert [found] == await pickling.list_jobs()
    assert not proof.exists()


async def test_the_proof_would_show(pickling: Werk, dsn: str, schema: str, tmp_path: Path) -> None:
    """With the key, the same bytes do execute: only the signature stands in between."""
    proof = tmp_path / "executed"
    await pickling.enqueue(handlers.echo, 1)
    signed = pack(PickleSerializer(KEY).dumps({"args": [Bomb(proof)], "kwargs": {}}))
    await sql(dsn, f'UPDATE {schema}."_pgwerk_jobs" SET payload = %s::jsonb', signed)
    await _compat.burst(pickling)
    assert proof.exists()


# What rows may call


@pytest.fixture
def limited(make_app: MakeApp) -> Werk:
    """A client whose jobs may call a single module."""
    return make_app(pool_size=2, allowed_functions=[f"{TASKS}.*", "tests.handlers.*limits"])


async def test_what_is_allowed_runs(limited: Werk) -> None:
    """Functions that the patterns match are enqueued and run, by themselves or by their path."""
    jobs = [
        await enqueued(limited, allowed_tasks.send, 1),
        await enqueued(limited, f"{TASKS}.send_later", 2, _on_success=allowed_tasks.send),
        *await limited.enqueue_many([EnqueueParams(allowed_tasks.decorated, (3,))]),
    ]
    await _compat.burst(limited)
    found = [await limited.get_job(job.id) for job in jobs if job is not None]
    assert [(JobStatus.Complete, number) for number in (1, 2, 3)] == [(job.status, job.result) for job in found]


@pytest.mark.parametrize(
    ("func", "options", "said"),
    [
        (sample_handlers.plain, {}, "func: 'tests.core.sample_handlers.plain' is not allowed (allowed_functions: "),
        ("os.system", {}, "func: 'os.system' is not allowed"),
        (f"{TASKS}.__builtins__.eval", {}, f"func: '{TASKS}.__builtins__.eval' is not allowed"),
        (allowed_tasks.Inherits.make, {}, "is not allowed: it leads to 'tests.core.sample_handlers.Base.make'"),
        (allowed_tasks.send, {"_on_success": "os.system"}, "_on_success: 'os.system' is not allowed"),
        (allowed_tasks.send, {"_on_failure": os.getcwd}, "_on_failure: 'posix.getcwd' is not allowed"),
        (allowed_tasks.send, {"_on_stopped": Callback("os.system", timeout=1)}, "_on_stopped.func: 'os.system' is not"),
    ],
)
async def test_what_is_not_allowed_is_not_enqueued(
    limited: Werk, dsn: str, func: Any, options: dict[str, Any], said: str
) -> None:
    """A function or callback that no pattern matches is refused by name, before hooks are called and SQL is sent."""
    await limited.connect()
    limited.register_before_enqueue(lambda _: pytest.fail("called"))
    async with await psycopg.AsyncConnection.connect(dsn) as connection:
        with pytest.raises(ValueError, match=r"is not allowed") as caught:
            await limited.enqueue(func, 1, _conn=connection, **options)
        assert psycopg.pq.TransactionStatus.IDLE == connection.info.transaction_status
    assert said in str(caught.value)
    with pytest.raises(ValueError, match="is not allowed"):
        await limited.apply(func, 1, timeout=1, **options)
    with pytest.raises(ValueError, match="is not allowed"):
        await limited.map(func, [{"x": 1}], timeout=1, **options)
    fields = {name.removeprefix("_"): value for name, value in options.items()}
    with pytest.raises(ValueError, match=r"^specs\[1\]\..* is not allowed"):
        await limited.enqueue_many([EnqueueParams(allowed_tasks.send), EnqueueParams(func, (1,), **fields)])
    assert [] == await limited.list_jobs()


@pytest.mark.parametrize(
    "path", ["os.mkdir", f"{TASKS}.os.mkdir", f"{TASKS}.operating_system.mkdir", f"{TASKS}.__loader__.get_data"]
)
async def test_a_row_cannot_call_what_is_not_allowed(
    limited: Werk, make_app: MakeApp, tmp_path: Path, path: str
) -> None:
    """A row that names another function fails as if there were none, however its path was made to match."""
    proof = tmp_path / "executed"
    job = await enqueued(make_app(), path, str(proof), _retry=Retry(max=2))
    await _compat.burst(limited)
    job = await limited.get_job(job.id)
    assert (JobStatus.Failed, 2) == (job.status, job.attempts)
    last = str(job.error).strip().splitlines()[-1]
    assert last.startswith(f"pgwerk._core.errors.FunctionNotAllowed: '{path}' is not allowed")
    assert f"(allowed_functions: '{TASKS}.*', 'tests.handlers.*limits')" in last
    assert not proof.exists()


async def test_a_row_cannot_have_anything_imported(
    limited: Werk, make_app: MakeApp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The module of a function that is not allowed is not imported."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "pgwerk_unwanted.py").write_text("def run(): pass")
    job = await enqueued(make_app(), "pgwerk_unwanted.run")
    await _compat.burst(limited)
    job = await limited.get_job(job.id)
    assert JobStatus.Failed is job.status
    assert "pgwerk_unwanted" not in sys.modules


@pytest.mark.parametrize("column", ["payload", "meta"])
async def test_a_row_cannot_name_modules_in_its_values(
    limited: Werk, schema: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, column: str
) -> None:
    """With limits, members of enums are found in modules that are loaded already, and no others are imported."""
    job = await enqueued(limited, allowed_tasks.send, Color.RED)
    await _compat.burst(limited)
    job = await limited.get_job(job.id)
    assert Color.RED is job.result
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "pgwerk_unwanted.py").write_text("import enum\nColor = enum.Enum('Color', 'RED')")
    job = await enqueued(limited, handlers.limits)
    value = '{"args": [{"$enum": "pgwerk_unwanted:Color.RED"}], "kwargs": {}}'
    query = f'UPDATE {schema}."_pgwerk_jobs" SET {column} = %s::jsonb WHERE status = %s'
    await sql(limited.dsn, query, value, "queued")
    await _compat.burst(limited)
    job = await limited.get_job(job.id)
    assert isinstance(getattr(job, column), Undecodable)
    assert (JobStatus.Failed if column == "payload" else JobStatus.Complete) is job.status
    assert "pgwerk_unwanted" not in sys.modules


async def test_jobs_that_run_here_are_limited(limited: Werk, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """With `_sync`, handlers and callbacks are limited by what their paths lead to, as in a worker."""
    proof = tmp_path / "executed"
    job = await limited.enqueue(f"{TASKS}.os.mkdir", str(proof), _sync=True)
    assert job is not None
    assert JobStatus.Failed is job.status
    assert f"FunctionNotAllowed: '{TASKS}.os.mkdir' is not allowed: it leads to" in str(job.error)
    assert not proof.exists()
    job = await limited.enqueue(allowed_tasks.send, 1, _on_success=f"{TASKS}.os.mkdir", _sync=True)
    assert job is not None
    assert JobStatus.Complete is job.status
    assert "FunctionNotAllowed" in caplog.text


async def test_a_worker_that_allows_it_may_follow(limited: Werk, make_app: MakeApp, dsn: str, schema: str) -> None:
    """A refusal is retried as the job says: in a rolling deployment, another worker may allow the function."""
    free = make_app()
    job = await enqueued(free, handlers.echo, "at last", _retry=Retry(max=2, intervals=3600))
    await _compat.burst(limited)
    job = await free.get_job(job.id)
    assert (JobStatus.Scheduled, 1) == (job.status, job.attempts)
    await sql(dsn, f'UPDATE {schema}."_pgwerk_jobs" SET scheduled_at = now()')
    await _compat.burst(free)
    job = await free.get_job(job.id)
    assert (JobStatus.Complete, "at last") == (job.status, job.result)


async def test_handlers_get_clients_with_the_same_limits(limited: Werk) -> None:
    """What a handler enqueues through its context is limited, too, whatever the flavour."""
    jobs = [await enqueued(limited, func) for func in (handlers.limits, handlers.plain_limits)]
    await _compat.burst(limited)
    found = [await limited.get_job(job.id) for job in jobs]
    assert [limited.allowed_functions] * 2 == [job.result for job in found]


def test_the_limits_can_be_read_but_not_changed(make_app: MakeApp) -> None:
    """The patterns can be read, in their order; without them everything is allowed."""
    app = make_app(allowed_functions=["b.c", "a.*"])
    assert ("b.c", "a.*") == app.allowed_functions
    assert make_app().allowed_functions is None
    with pytest.raises(AttributeError):
        app.allowed_functions = None  # type: ignore[misc]


@pytest.mark.parametrize(
    ("patterns", "error"), [([], ValueError), ("a.*", TypeError), ([""], ValueError), (["a.\0"], ValueError)]
)
def test_limits_that_allow_nothing_are_refused(make_app: MakeApp, patterns: Any, error: type[Exception]) -> None:
    """An empty list, a single text, an empty pattern and a NUL are refused by the constructor, by name."""
    with pytest.raises(error, match="allowed_functions"):
        make_app(allowed_functions=patterns)
