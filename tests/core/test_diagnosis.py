"""How facts are judged: pure decisions, without a database that has the fault."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from pgwerk import Finding, MigrationStatus, QueueStats, TableInfo, WorkerInfo
from pgwerk._core.diagnosis import server, tables, wording, work
from pgwerk._core.insights import combine_stats

NOW = datetime(2026, 1, 1, tzinfo=UTC)

SERVER = server.Server(
    version="18.4",
    version_number=180004,
    database="shop",
    user="shop",
    started_at=NOW,
    is_standby=False,
    sees_all=True,
    fsync=True,
    full_page_writes=True,
    synchronous_commit=True,
    autovacuum=True,
    freeze_max_age=200_000_000,
    connections=100,
    connections_used=10,
    database_limit=-1,
    database_used=10,
)

TABLE = TableInfo(
    name="_pgwerk_jobs",
    rows=1000,
    bytes=8192,
    index_bytes=8192,
    is_unlogged=False,
    without_autovacuum=False,
    live=1000,
    dead=0,
    vacuumed_at=NOW,
    age=1000,
    multixact_age=10,
)

WORKER = WorkerInfo(
    id="01900000-0000-7000-8000-000000000001",
    kind="async",
    host="web",
    pid=1,
    queues=("default",),
    concurrency=10,
    running=2,
    version="1.0",
    started_at=NOW,
    heartbeat_at=NOW,
    lease_secs=30,
    lease_expires_at=NOW + timedelta(seconds=30),
    is_alive=True,
)


def severities(findings: list[Finding]) -> dict[str, str]:
    """The severity of each check."""
    return {finding.check: finding.severity for finding in findings}


# The way to the server


@pytest.mark.parametrize(
    ("connect_secs", "round_trip_secs", "expected"),
    [(0.003, 0.0002, "ok"), (0.003, 0.02, "warning"), (0.25, 0.001, "warning")],
)
def test_distance(connect_secs: float, round_trip_secs: float, expected: str) -> None:
    """A long way is a warning, and the advice is about what takes long."""
    found = server.judge_connection("host=db", connect_secs, round_trip_secs)
    assert expected == found.severity
    assert (expected == "ok") == (not found.advice)


@pytest.mark.parametrize(
    ("told", "found", "listen_dsn", "can_listen", "expected"),
    [
        ("auto", False, False, True, "ok"),
        ("auto", True, True, True, "ok"),
        (True, True, True, True, "ok"),
        ("auto", True, False, False, "warning"),
        (True, False, False, False, "warning"),
        ("auto", True, True, False, "warning"),
        ("auto", False, False, False, "warning"),
        (False, True, False, False, "problem"),
        (False, True, True, True, "problem"),
    ],
)
def test_poolers(told: bool, found: bool, listen_dsn: bool, can_listen: bool, expected: str) -> None:
    """A pooler costs latency, which is a warning; one that the application denies is a problem."""
    judged = server.judge_pooler(told, found=found, listen_dsn=listen_dsn, can_listen=can_listen, poll_interval=5.0)
    assert expected == judged.severity
    if judged.severity == "warning":
        assert "every 5 s" in judged.summary
    if told is True and not found:
        assert "leave pooler out" in judged.advice


@pytest.mark.parametrize(
    ("ahead", "round_trip", "expected"),
    [(0.0, 0.001, "ok"), (-0.9, 0.001, "ok"), (1.5, 0.001, "warning"), (-61, 0.001, "problem"), (5, 12, "ok")],
)
def test_clocks(ahead: float, round_trip: float, expected: str) -> None:
    """Clocks that differ are reported, unless the way is so long that this cannot be told."""
    found = server.judge_clock(ahead, round_trip)
    assert expected == found.severity
    if ahead < -1:
        assert "behind" in found.summary


# The server


@pytest.mark.parametrize(
    ("change", "check", "expected"),
    [
        ({}, "server", "ok"),
        ({"version_number": 130022}, "server", "problem"),
        ({"is_standby": True}, "server", "problem"),
        ({"fsync": False}, "durability", "problem"),
        ({"full_page_writes": False}, "durability", "warning"),
        ({"synchronous_commit": False}, "durability", "warning"),
        ({"connections_used": 79}, "connections", "ok"),
        ({"connections_used": 80}, "connections", "warning"),
        ({"connections_used": 95}, "connections", "problem"),
        ({"database_limit": 12}, "connections", "warning"),
        ({"database_limit": 10}, "connections", "problem"),
        ({"database_limit": 0}, "connections", "problem"),
        ({"database_limit": 1000}, "connections", "ok"),
    ],
)
def test_server(change: dict[str, Any], check: str, expected: str) -> None:
    """Old versions, standbys, settings that lose data and connections that run out are reported, and nothing else."""
    found = severities(server.judge_server(evolve(SERVER, **change)))
    assert {"server": "ok", "durability": "ok", "connections": "ok"} | {check: expected} == found


# The tables


@pytest.mark.parametrize(("version", "expected"), [(1, "problem"), (2, "ok"), (3, "problem")])
def test_schema(version: int, expected: str) -> None:
    """Tables that are older or newer are a problem, each with its own way out."""
    status = MigrationStatus(version, 2, ())
    found = tables.judge_schema(status, "shop")
    assert expected == found.severity
    assert found.advice == ("" if expected == "ok" else status.advice)


def test_indexes() -> None:
    """Missing and invalid indexes are reported, also those that do not belong to us."""
    assert ["ok"] == [each.severity for each in tables.judge_indexes(["a", "b"], {"a": True, "b": True, "mine": True})]
    found = tables.judge_indexes(["a", "b"], {"b": False, "mine_ccnew": False})
    assert ["missing: a;", "invalid: b, mine_ccnew;"] == [each.summary.split(";")[0] + ";" for each in found]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, ("vacuum", "ok")),
        ({"dead": 10_000}, ("vacuum", "ok")),
        ({"dead": 10_001}, ("vacuum", "warning")),
        ({"dead": 10_001, "live": 1_000_000}, ("vacuum", "ok")),
        ({"dead": 1_000_001}, ("vacuum", "problem")),
        ({"dead": 1_000_001, "live": 2_000_000}, ("vacuum", "warning")),
        ({"vacuumed_at": None}, ("vacuum", "ok")),
        ({"vacuumed_at": None, "rows": 100_001}, ("vacuum", "warning")),
        ({"without_autovacuum": True}, ("vacuum", "problem")),
        ({"is_unlogged": True}, ("persistence", "problem")),
        ({"is_unlogged": True, "name": "_pgwerk_workers"}, ("persistence", "ok")),
        ({"age": 400_000_000}, ("wraparound", "warning")),
        ({"multixact_age": 400_000_000}, ("wraparound", "warning")),
        ({"age": 1_600_000_000}, ("wraparound", "problem")),
    ],
)
def test_tables(change: dict[str, Any], expected: tuple[str, str]) -> None:
    """Dead rows, tables that are never vacuumed, unlogged ones and old ones are reported, and nothing else."""
    found = tables.judge_tables(
        [evolve(TABLE, **change)], prefix="_pgwerk", autovacuum=True, freeze_max_age=200_000_000
    )
    assert {"vacuum": "ok", "persistence": "ok", "wraparound": "ok"} | dict([expected]) == severities(found)


def test_autovacuum_of_the_server() -> None:
    """When autovacuum is off for the whole server, that is a problem for the tables."""
    found = tables.judge_tables([TABLE], prefix="_pgwerk", autovacuum=False, freeze_max_age=200_000_000)
    assert "problem" == severities(found)["vacuum"]


@pytest.mark.parametrize(
    ("kind", "transactions", "secs", "expected"),
    [
        ("session", 10_000_000, 299.0, None),
        ("session", 0, 300.0, "warning"),
        ("session", 5, 14_400.0, "problem"),
        ("session", 1_000_000, None, "warning"),
        ("prepared transaction", 5, 301.0, "warning"),
        ("replication slot", 999_999, None, None),
        ("replication slot", 1_000_000, None, "warning"),
        ("replication slot", 100_000_000, None, "problem"),
        ("replication slot", None, None, None),
    ],
)
def test_snapshots(kind: str, transactions: int | None, secs: float | None, expected: str | None) -> None:
    """What holds vacuum back for long is named, by its time or else by the transactions since."""
    (found,) = tables.judge_snapshots([tables.Holder(kind, "x17", "shop, psql", transactions, secs)], sees_all=True)
    assert (expected or "ok") == found.severity
    if expected:
        assert f"{kind} x17 (shop, psql)" in found.summary
        assert found.advice


def test_what_cannot_be_seen_is_said() -> None:
    """Where this role is not shown the sessions of others, "nothing found" says so."""
    for judged in (tables.judge_snapshots([], sees_all=False), tables.judge_idle([], sees_all=False)):
        assert ["ok"] == [each.severity for each in judged]
        assert "what this role is shown" in judged[0].summary
        assert "pg_read_all_stats" in judged[0].advice


@pytest.mark.parametrize(("secs", "expected"), [(59, "ok"), (60, "warning"), (3600, "problem")])
def test_idle_transactions(secs: float, expected: str) -> None:
    """A transaction that is idle for long is named."""
    (found,) = tables.judge_idle([(17, "shop, psql", secs)], sees_all=True)
    assert expected == found.severity
    assert (expected != "ok") == ("session 17" in found.summary)


# The work


def test_workers() -> None:
    """Workers that are alive are counted; lost ones, and other releases, are warnings."""
    assert {"workers": "ok"} == severities(work.judge_workers([WORKER], "1.0"))
    assert {"workers": "ok"} == severities(work.judge_workers([], "1.0"))
    other = evolve(WORKER, version="0.9")
    assert {"workers": "ok", "versions": "warning"} == severities(work.judge_workers([WORKER, other], "1.0"))
    lost = evolve(WORKER, version="0.9", is_alive=False)
    found = work.judge_workers([WORKER, lost], "1.0")
    assert [("workers", "ok"), ("workers", "warning")] == [(each.check, each.severity) for each in found]


@pytest.mark.parametrize(
    ("queued", "oldest", "workers", "expected"),
    [(0, None, 0, "ok"), (5, 1000.0, 1, "ok"), (5, 29.0, 0, "warning"), (5, 30.0, 0, "problem")],
)
def test_queues_without_workers(queued: int, oldest: float | None, workers: int, expected: str) -> None:
    """Ready jobs without a worker are a problem once a lease is over."""
    queue = QueueStats("q", queued=queued, oldest_secs=oldest, workers=workers)
    assert {"queues": expected} == severities(work.judge_queues([queue], 30))


@pytest.mark.parametrize(
    ("completed", "failed", "expected"),
    [(0, 19, None), (181, 19, None), (180, 20, "warning"), (20, 20, "problem")],
)
def test_failures(completed: int, failed: int, expected: str | None) -> None:
    """Queues that fail often are reported, where there are enough attempts to tell."""
    queue = QueueStats("q", completed=completed, failed=failed, since_secs=3600, workers=1)
    assert ({"failures": expected} if expected else {"queues": "ok"}) == severities(work.judge_queues([queue], 30))


@pytest.mark.parametrize(
    ("count", "secs", "expected"), [(0, 0, "ok"), (3, 1, "warning"), (3, 59, "warning"), (3, 60, "problem")]
)
def test_orphans(count: int, secs: float, expected: str) -> None:
    """Orphans that somebody should have rescued are a problem."""
    assert expected == work.judge_orphans(count, secs, 30).severity


def test_stranded_and_overdue() -> None:
    """What nobody does anything about is a problem, and a bound that was reached is said."""
    assert "ok" == work.judge_stranded(0, is_bounded=False).severity
    assert "among the first 10,000" in work.judge_stranded(0, is_bounded=True).summary
    assert work.judge_stranded(3, is_bounded=True).summary.startswith("at least 3 jobs")
    assert "ok" == work.judge_overdue(0, 0, any_alive=False).severity
    late = work.judge_overdue(10_000, 300, any_alive=False)
    assert ("problem", True) == (late.severity, late.summary.startswith("at least 10,000 scheduled jobs overdue"))
    assert "start one" in late.advice
    assert "see their logs" in work.judge_overdue(1, 300, any_alive=True).advice


def test_callbacks() -> None:
    """Callbacks that nobody calls are a problem."""
    assert "ok" == work.judge_callbacks(0, 0.0).severity
    found = work.judge_callbacks(10_000, 300.0)
    assert ("problem", True) == (found.severity, found.summary.startswith("at least 10,000 callbacks owed"))


def test_schedules() -> None:
    """Schedules that nobody runs are a problem."""
    assert "ok" == work.judge_schedules(["a", "b"], []).severity
    found = work.judge_schedules(["a", "b", "c"], ["a", "c"])
    assert ("problem", "2 schedules overdue: a, c") == (found.severity, found.summary)


# Words and numbers


@pytest.mark.parametrize(
    ("secs", "expected"),
    [
        (0.0002, "0.20 ms"),
        (0.02, "20 ms"),
        (5, "5 s"),
        (119, "119 s"),
        (600, "10 min"),
        (7200, "2 h"),
        (864000, "10 days"),
    ],
)
def test_span(secs: float, expected: str) -> None:
    """Durations have the unit that fits."""
    assert expected == wording.span(secs)


def test_some() -> None:
    """Of a long list, the first names are shown, and how many more there are."""
    assert "a, b" == wording.some(["a", "b"])
    assert "0, 1, 2, 3, 4 and 2 more" == wording.some([str(number) for number in range(7)])


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(1, 1000)), unique_by=lambda pair: pair[0]),
    st.lists(st.sampled_from(["a", "b", "c"]), unique=True),
    st.lists(st.sampled_from(["a", "d"]), unique=True),
)
def test_stats_of_each_queue(slices: list[tuple[int, int]], names: list[str], listening: list[str]) -> None:
    """Each queue that any source knows is there once, in order, with its own numbers, and a series without gaps."""
    depths = [(name, 1, None, None, 2, 3.0) for name in names]
    numbers, counts = [pair[0] for pair in slices], [pair[1] for pair in slices]
    total = sum(counts)
    history = [("h", total, 0, 0, 0, None, [1.0, 2.0, 3.0], numbers, counts)] if slices else []
    worker = evolve(WORKER, queues=tuple(listening))
    found = combine_stats(depths, history, [worker, evolve(worker, is_alive=False)], since_secs=10, slices=10)
    assert sorted({*names, *listening, *(["h"] if slices else [])}) == [each.queue for each in found]
    for each in found:
        assert 10 == len(each.series)
        assert each.ended == sum(each.series) == (total if each.queue == "h" else 0)
        assert (each.queue in listening) == each.workers
        assert (1, 0, 0, 2) == (each.queued, each.scheduled, each.waiting, each.active) or each.queue not in names
