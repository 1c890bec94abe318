from __future__ import annotations

import os
import signal
import sys
import threading
import time
import uuid
import warnings
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgwerk._core import ids
from pgwerk._core.ids import (
    UUID7Generator,
    execution_id,
    new_id,
    new_ids,
    normalize_id,
)


def is_uuid(value: object) -> bool:
    return normalize_id(value) is not None


def test_new_id_is_a_version_7_uuid_of_now() -> None:
    """An id is a canonical UUID of version 7 that holds the current time."""
    before = time.time_ns() // 1_000_000
    text = new_id()
    after = time.time_ns() // 1_000_000
    value = uuid.UUID(text)
    assert (str(value), value.version, value.variant) == (text, 7, uuid.RFC_4122)
    # A process that has made ids faster than its clock went on may be ahead of it; this one is not.
    assert before - 1 <= value.int >> 80 <= after + 1


@given(st.lists(st.tuples(st.integers(0, 2**47), st.integers(0, 40)), max_size=20))
def test_ids_increase_whatever_the_clock_does(calls: list[tuple[int, int]]) -> None:
    """Ids strictly increase while the clock jumps, stands still or goes back."""
    now = 0

    def clock() -> int:
        return now

    generator = UUID7Generator(clock)
    made = []
    for moment, count in calls:
        now = moment
        made += generator.many(count)
        made.append(generator.one())
    assert made == sorted(set(made))
    assert all(uuid.UUID(text).version == 7 for text in made)
    assert all(uuid.UUID(text).variant == uuid.RFC_4122 for text in made)


def test_ids_carry_the_milliseconds() -> None:
    """The first 48 bits are the milliseconds since 1970."""
    generator = UUID7Generator(lambda: 1_763_800_000_000)
    assert uuid.UUID(generator.one()).int >> 80 == 1_763_800_000_000


def test_the_random_part_overflows_into_the_next_millisecond() -> None:
    """When the 74 bits of a millisecond are used up, the next millisecond is begun."""
    generator = UUID7Generator(lambda: 5, lambda count: b"\xff" * count)
    first = generator.one()
    generator._random = 2**74 - 2  # nobody lives to see it otherwise
    second, third = generator.many(2)
    assert first < second < third
    assert uuid.UUID(second).int >> 80 == 6


def test_each_millisecond_begins_at_random() -> None:
    """Ids of different milliseconds have nothing in common that could be guessed, singly made or many at once."""
    now = iter(range(1, 1_000))
    generator = UUID7Generator(lambda: next(now))
    made = [generator.one() for _ in range(100)] + [generator.many(1)[0] for _ in range(100)]
    assert 200 == len({uuid.UUID(text).int >> 32 & (1 << 30) - 1 for text in made})


def test_randomness_that_was_fetched_ahead_is_not_inherited() -> None:
    """A child does not make its ids out of what its parent has fetched and not used yet."""
    fetched = []

    def random_bytes(count: int) -> bytes:
        fetched.append(count)
        return os.urandom(count)

    generator = UUID7Generator(lambda: 5, random_bytes)
    generator.one()
    generator.one()
    assert 1 == len(fetched)
    generator.reset()
    generator.one()
    assert 2 == len(fetched)


def test_threads_never_share_or_disorder_ids() -> None:
    """Ids made by several threads at once are distinct, and each thread sees its own increase."""
    barrier = threading.Barrier(4)
    made: list[list[str]] = [[] for _ in range(4)]

    def work(mine: list[str]) -> None:
        barrier.wait()
        mine.extend(new_id() for _ in range(2_000))

    threads = [threading.Thread(target=work, args=(mine,)) for mine in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(mine == sorted(mine) for mine in made)
    assert len({text for mine in made for text in mine}) == 8_000


@pytest.mark.posix
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_starts_anew() -> None:
    """A child makes ids of its own at once, even when its parent held the lock while forking."""
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with ids._default._lock:  # the very thing that must not block the child
            held.set()
            done.wait(30)

    holder = threading.Thread(target=hold)
    holder.start()
    assert held.wait(30)
    try:
        child = _id_of_a_child()
    finally:
        done.set()
        holder.join()
    assert is_uuid(child)
    assert child != new_id()


def _id_of_a_child() -> str:
    read, write = os.pipe()
    with warnings.catch_warnings():
        # Newer Pythons warn of forking a process with threads: that is what is tried out here.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        signal.alarm(10)
        os.write(write, new_id().encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        text = pipe.read()
    os.waitpid(pid, 0)
    return text


def test_many_ids() -> None:
    """Ids made at once are distinct and in ascending order; none are made for none."""
    made = new_ids(100_000)
    assert len(made) == 100_000
    assert made == sorted(set(made))
    assert all(map(is_uuid, made[::1_000]))
    assert (new_ids(0), new_ids(-1)) == ([], [])
    assert new_id() > made[-1]


@given(st.uuids())
def test_every_spelling_is_normalized(value: uuid.UUID) -> None:
    """A UUID, and its text in any case, with hyphens or without, gives the canonical form."""
    text = str(value)
    for spelling in (value, text, text.upper(), value.hex, value.hex.upper()):
        assert normalize_id(spelling) == text
        assert is_uuid(spelling)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "x",
        None,
        7,
        b"01890000-0000-7000-8000-000000000000",
        "{01890000-0000-7000-8000-000000000000}",
        "urn:uuid:01890000-0000-7000-8000-000000000000",
        "01890000-0000-7000-8000-00000000000",
        "01890000-0000-7000-8000-000000000000 ",
        "01890000-0000-7000-8000-000000000000\n",
        "0189-00000000-7000-8000-000000000000",
        "0189000000007000-8000-000000000000",
        "\u0660" + "1890000-0000-7000-8000-000000000000",
    ],
)
def test_other_things_are_no_ids(value: object) -> None:
    """Whatever is not a UUID in one of these spellings is none, and raises nothing."""
    assert normalize_id(value) is None
    assert not is_uuid(value)


def test_execution_ids_agree_with_sql(dsn: str) -> None:
    """The id of an attempt is the same whether Python or PostgreSQL computes it."""
    pairs: list[Any] = [(new_id(), attempt) for attempt in (1, 2, 10, 2**31 - 1)]
    with psycopg.connect(dsn) as connection:
        for job_id, attempt in pairs:
            row = connection.execute(
                "SELECT (md5(%s::uuid::text || ':' || %s::int)::uuid)::text", [job_id, attempt]
            ).fetchone()
            assert row == (execution_id(job_id, attempt),)


def test_execution_ids_differ() -> None:
    """Each attempt of each job has an id of its own, the same each time it is asked for."""
    one, other = new_ids(2)
    made = {execution_id(job_id, attempt) for job_id in (one, other) for attempt in range(1, 50)}
    assert len(made) == 98
    assert all(map(is_uuid, made))
    assert execution_id(one, 3) == execution_id(one, 3)


if sys.version_info >= (3, 14):

    @given(st.integers(0, 2**47))
    def test_the_standard_library_reads_the_time(ms: int) -> None:
        """`UUID.time` of Python 3.14 gives the milliseconds back."""
        assert uuid.UUID(UUID7Generator(lambda: ms).one()).time == ms
