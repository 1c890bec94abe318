"""`diagnose` finds what is wrong in a real database. How facts are judged is tested in tests/core/test_diagnosis.py."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest
from psycopg import conninfo
from tests import handlers
from tests._async import _compat
from tests._async.conftest import MakeApp
from tests._async.test_insights import add_worker, sql
from tests.pgbouncer import bouncing

from pgwerk import Finding, Werk

CHECKS = [
    "connection",
    "notifications",
    "clock",
    "server",
    "durability",
    "connections",
    "schema",
    "indexes",
    "vacuum",
    "persistence",
    "wraparound",
    "snapshots",
    "idle transactions",
    "workers",
    "queues",
    "orphans",
    "waiting",
    "scheduled",
    "callbacks",
    "schedules",
]
"""In the order in which they are made."""

OF_THE_SERVER = {"durability", "connections", "snapshots", "wraparound"}
"""What the server of the tests may be told off for, whatever a test does."""


async def findings(app: Werk, check: str) -> list[Finding]:
    """What one check has found."""
    return [finding for finding in await app.diagnose() if finding.check == check]


async def finding(app: Werk, check: str) -> Finding:
    """The only thing that one check has found."""
    (found,) = await findings(app, check)
    return found


async def severity(app: Werk, check: str) -> str:
    """How bad the only thing is that one check has found."""
    found = await finding(app, check)
    return found.severity


@contextlib.asynccontextmanager
async def role(app: Werk, dsn: str, name: str, *grants: str) -> AsyncIterator[str]:
    """A connection string for a role that has no rights but these; `{}` stands for the schema."""
    schema = f'"{app.config.schema}"'
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        await connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'unprivileged'".encode())
        try:
            for grant in grants:
                await connection.execute(f"GRANT {grant.replace('{}', schema)} TO {name}".encode())
            yield conninfo.make_conninfo(dsn, user=name, password="unprivileged")
        finally:
            await connection.execute(f"DROP OWNED BY {name}; DROP ROLE {name}".encode())


async def test_healthy_database(app: Werk) -> None:
    """Where nothing is wrong, each check says so, and nothing is left to do."""
    await app.connect()
    found = await app.diagnose()
    assert CHECKS == [each.check for each in found]
    bad = [each for each in found if each.check not in OF_THE_SERVER and each.severity != "ok"]
    assert [] == bad


async def test_database_that_cannot_be_reached(dsn: str) -> None:
    """An unreachable database is the finding, and no error."""
    app = Werk(conninfo.make_conninfo(dsn, port=1, host="127.0.0.1"))
    (found,) = await app.diagnose()
    assert ("connection", "problem") == (found.check, found.severity)
    assert "cannot be reached" in found.summary


async def test_missing_tables(make_app: MakeApp) -> None:
    """Missing tables are a finding that names the command; they are not made, and no hooks run."""
    app = make_app()
    app.on_startup(lambda: pytest.fail("connected"))
    found = await finding(app, "schema")
    assert ("problem", "run `werk migrate`") == (found.severity, found.advice)
    status = await app.migration_status()
    assert 0 == status.version


async def test_one_table_is_missing(app: Werk) -> None:
    """A check that cannot be made says why, and does not keep the others from being made."""
    await app.connect()
    await sql(app, 'DROP TABLE {}workers"')
    found = await app.diagnose()
    assert set(CHECKS) == {each.check for each in found}
    unseen = {each.check for each in found if "could not be looked at" in each.summary}
    assert {"workers", "queues", "orphans", "scheduled"} == unseen


async def test_newer_tables(app: Werk) -> None:
    """Tables of a later release are a problem."""
    await app.connect()
    await sql(app, "INSERT INTO {}migrations\" VALUES (999, 'later', false)")
    found = await finding(app, "schema")
    assert "problem" == found.severity
    assert "999" in found.summary


async def test_missing_index(app: Werk) -> None:
    """An index that somebody has dropped is named."""
    await app.connect()
    await sql(app, 'DROP INDEX {}jobs_ready"')
    found = await finding(app, "indexes")
    assert "problem" == found.severity
    assert f"missing: {app.config.prefix}_jobs_ready;" in found.summary


async def test_invalid_index(app: Werk) -> None:
    """An index that its making has left invalid is named."""
    await app.connect()
    await app.enqueue(handlers.echo, _key="one")
    await app.enqueue(handlers.echo, _key="other")
    async with await psycopg.AsyncConnection.connect(app.dsn, autocommit=True) as connection:
        table = f'"{app.config.schema}"."{app.config.prefix}_jobs"'
        with pytest.raises(psycopg.errors.UniqueViolation):
            await connection.execute(f"CREATE UNIQUE INDEX CONCURRENTLY of_mine ON {table} (function)".encode())
    found = await finding(app, "indexes")
    assert "problem" == found.severity
    assert "invalid: of_mine;" in found.summary


async def test_autovacuum_is_off(app: Werk) -> None:
    """A table that nobody vacuums is named."""
    await app.connect()
    await sql(app, 'ALTER TABLE {}jobs" SET (autovacuum_enabled = off)')
    found = await finding(app, "vacuum")
    assert "problem" == found.severity
    assert f"autovacuum is off for {app.config.prefix}_jobs" in found.summary


async def test_unlogged_tables(make_app: MakeApp) -> None:
    """A workers table that was asked to be unlogged is noted; an unlogged history is a problem."""
    app = make_app(config={"ephemeral_tables": True})
    await app.connect()
    noted = await finding(app, "persistence")
    assert ("ok", True) == (noted.severity, "workers is unlogged" in noted.summary)
    await sql(app, 'ALTER TABLE {}executions" SET UNLOGGED')
    found = await finding(app, "persistence")
    assert ("problem", True) == (found.severity, "executions" in found.summary)


async def test_idle_transaction(app: Werk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A transaction that holds locks on the tables and does nothing is named with its process id, without its query."""
    from pgwerk._core.diagnosis import tables

    monkeypatch.setattr(tables, "IDLE_SECS", 0.0)
    monkeypatch.setattr(tables, "OLD_SECS", 0.0)
    await app.connect()
    async with await psycopg.AsyncConnection.connect(app.dsn, application_name="forgetful") as connection:
        await connection.set_isolation_level(psycopg.IsolationLevel.REPEATABLE_READ)
        table = f'"{app.config.schema}"."{app.config.prefix}_jobs"'
        await connection.execute(f"SELECT 'secret' FROM {table}".encode())
        pid = connection.info.backend_pid
        idle = [each.summary for each in await findings(app, "idle transactions")]
        old = [each.summary for each in await findings(app, "snapshots")]
    for summaries in (idle, old):
        (mine,) = [each for each in summaries if f"session {pid} " in each]
        assert "forgetful" in mine
        assert "secret" not in mine


async def test_workers_that_were_lost(app: Werk) -> None:
    """A worker whose lease has run out is named, and its running jobs are orphans that nobody rescues."""
    lost = await add_worker(app, queues=["q"], silent_secs=10_000, host="crashed")
    await app.enqueue(handlers.echo, _queue="q")
    await sql(
        app,
        "UPDATE {}jobs\" SET status = 'active', attempts = 1, worker_id = %s, started_at = now() - interval '3 h'",
        lost,
    )
    found = await finding(app, "workers")
    assert ("warning", True) == (found.severity, "crashed (pid 4242)" in found.summary)
    orphans = await finding(app, "orphans")
    assert ("problem", True) == (orphans.severity, orphans.summary.startswith("1 running job without a worker"))


async def test_workers_of_other_releases(app: Werk) -> None:
    """Workers of another release are noted."""
    await add_worker(app, queues=["q"])
    found = await finding(app, "versions")
    assert ("warning", True) == (found.severity, "0.0.1" in found.summary)


async def test_queue_without_a_worker(app: Werk) -> None:
    """Ready jobs of a queue that nobody works on are a problem after a lease, and a warning until then."""
    await add_worker(app, queues=["other"])
    await app.enqueue(handlers.echo, _queue="q")
    assert "warning" == await severity(app, "queues")
    await sql(app, "UPDATE {}jobs\" SET scheduled_at = now() - interval '10 min'")
    found = await finding(app, "queues")
    assert ("problem", True) == (found.severity, found.summary.startswith("queue q has 1 ready job, the oldest for 10"))
    await add_worker(app, queues=["q"])
    assert "ok" == await severity(app, "queues")


async def test_failing_queue(app: Werk) -> None:
    """A queue of which most attempts fail is a problem."""
    for _ in range(20):
        await app.enqueue(handlers.fail, _queue="q")
    await _compat.burst(app, queues=["q"])
    found = await finding(app, "failures")
    assert ("problem", True) == (found.severity, "20 of 20 attempts failed" in found.summary)


async def test_jobs_that_nobody_releases(app: Werk) -> None:
    """A job that waits for one that is gone is found, once two sweeps should have seen to it."""
    parent = await app.enqueue(handlers.echo)
    assert parent is not None
    await app.enqueue(handlers.echo, _depends_on=parent)
    assert "ok" == await severity(app, "waiting")
    await sql(app, 'DELETE FROM {}jobs" WHERE id = %s', parent.id)
    assert "ok" == await severity(app, "waiting")
    await sql(app, "UPDATE {}jobs\" SET enqueued_at = now() - interval '1 h'")
    found = await finding(app, "waiting")
    assert ("problem", "1 job waiting for others that are over or gone") == (found.severity, found.summary)
    await app.sweep()
    assert "ok" == await severity(app, "waiting")


async def test_overdue_jobs(app: Werk) -> None:
    """A scheduled job whose time came long ago is found."""
    await app.enqueue(handlers.echo, _delay=1000)
    assert "ok" == await severity(app, "scheduled")
    await sql(app, "UPDATE {}jobs\" SET scheduled_at = now() - interval '5 min'")
    found = await finding(app, "scheduled")
    assert ("problem", True) == (found.severity, found.summary.startswith("1 scheduled job overdue, the first for 5"))


async def test_callbacks_that_nobody_calls(app: Werk) -> None:
    """A callback that is owed for long is found."""
    job = await app.enqueue(handlers.echo, _on_stopped=handlers.echo)
    assert job is not None
    await app.cancel_job(job.id)
    assert "ok" == await severity(app, "callbacks")
    await sql(app, "UPDATE {}jobs\" SET callback_due = now() - interval '1 h' WHERE callback_due IS NOT NULL")
    found = await finding(app, "callbacks")
    assert ("problem", True) == (found.severity, found.summary.startswith("1 callback owed, the first for 60 min"))
    await _compat.burst(app)
    assert "ok" == await severity(app, "callbacks")


async def test_overdue_schedule(app: Werk) -> None:
    """A schedule that nobody runs is found once it should have run a while ago, unless it is paused."""
    await app.connect()
    await sql(
        app,
        "INSERT INTO {}schedules\" SELECT 'nightly', 'shop.report', 'q', 0, NULL, '@daily', NULL, 'UTC', 'latest', 1, "
        "'allow', 1, NULL, NULL, NULL, NULL, NULL, false, now(), now() + interval '1 h'",
    )
    assert "ok" == await severity(app, "schedules")
    await sql(app, "UPDATE {}schedules\" SET next_run_at = now() - interval '1 h'")
    found = await finding(app, "schedules")
    assert ("problem", "1 schedule overdue: nightly") == (found.severity, found.summary)
    await sql(app, 'UPDATE {}schedules" SET paused = true')
    assert "ok" == await severity(app, "schedules")


async def test_role_without_rights(app: Werk, dsn: str) -> None:
    """A role that may only read the tables is told what there is, and what it could not see."""
    await app.connect()
    name = f"{app.config.schema}_reader"
    async with role(app, dsn, name, "USAGE ON SCHEMA {}", "SELECT ON ALL TABLES IN SCHEMA {}") as own:
        found = await Werk(own, schema=app.config.schema).diagnose()
    assert CHECKS == [each.check for each in found]
    assert [] == [each for each in found if "could not be looked at" in each.summary]
    for each in found:
        if each.check in {"snapshots", "idle transactions"} and each.severity == "ok":
            assert "pg_read_all_stats" in each.advice


async def test_role_that_may_read_nothing(app: Werk, dsn: str) -> None:
    """What a role has no right to look at is said, and the rest is looked at."""
    await app.connect()
    async with role(app, dsn, f"{app.config.schema}_nobody") as own:
        found = await Werk(own, schema=app.config.schema).diagnose()
    unseen = {each.check: each.summary for each in found if "could not be looked at" in each.summary}
    assert {"schema", "workers", "queues", "orphans", "waiting", "scheduled", "callbacks", "schedules"} <= unseen.keys()
    assert "permission denied" in unseen["schema"]
    assert {"connection", "server", "clock"} <= {each.check for each in found}


@pytest.mark.posix
async def test_through_a_pooler(make_app: MakeApp, dsn: str, schema: str, tmp_path: Path) -> None:
    """Behind a pooler all checks are made, nothing stays behind in its sessions, and what it costs is said."""
    await make_app().connect()
    with bouncing(dsn, tmp_path) as bouncer:
        app = Werk(bouncer.dsn, schema=schema)
        found = await app.diagnose()
        assert CHECKS == [each.check for each in found]
        assert ("warning", True) == (found[1].severity, "listen_dsn" in found[1].advice)
        assert {("0", "0")} == set(
            bouncer.in_all_sessions("SELECT current_setting('statement_timeout'), current_setting('lock_timeout')")
        )
        told = await Werk(bouncer.dsn, schema=schema, pooler=False).diagnose()
        assert "problem" == told[1].severity


async def test_locked_tables(app: Werk) -> None:
    """Where somebody holds the tables, the checks that need them give up and say so."""
    await app.connect()
    began = time.monotonic()
    async with await psycopg.AsyncConnection.connect(app.dsn) as connection:
        await connection.execute(f'LOCK TABLE "{app.config.schema}"."{app.config.prefix}_workers"'.encode())
        found = await finding(app, "workers")
    assert "lock timeout" in found.summary
    assert time.monotonic() - began < 60
