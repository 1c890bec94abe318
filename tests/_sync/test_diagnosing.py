# Generated from tests/_async/test_diagnosing.py by `python tools/unasync_build.py`.
# Do not edit: change that file and run the command again.

"""`diagnose` finds what is wrong in a real database. How facts are judged is tested in tests/core/test_diagnosis.py."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import conninfo
from tests import handlers
from tests._sync import _compat
from tests._sync.conftest import MakeApp
from tests._sync.test_insights import add_worker, sql
from tests.pgbouncer import bouncing

from pgwerk import Finding, SyncWerk

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


def findings(app: SyncWerk, check: str) -> list[Finding]:
    """What one check has found."""
    return [finding for finding in app.diagnose() if finding.check == check]


def finding(app: SyncWerk, check: str) -> Finding:
    """The only thing that one check has found."""
    (found,) = findings(app, check)
    return found


def severity(app: SyncWerk, check: str) -> str:
    """How bad the only thing is that one check has found."""
    found = finding(app, check)
    return found.severity


@contextlib.contextmanager
def role(app: SyncWerk, dsn: str, name: str, *grants: str) -> Iterator[str]:
    """A connection string for a role that has no rights but these; `{}` stands for the schema."""
    schema = f'"{app.config.schema}"'
    with psycopg.Connection.connect(dsn, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'unprivileged'".encode())
        try:
            for grant in grants:
                connection.execute(f"GRANT {grant.replace('{}', schema)} TO {name}".encode())
            yield conninfo.make_conninfo(dsn, user=name, password="unprivileged")
        finally:
            connection.execute(f"DROP OWNED BY {name}; DROP ROLE {name}".encode())


def test_healthy_database(app: SyncWerk) -> None:
    """Where nothing is wrong, each check says so, and nothing is left to do."""
    app.connect()
    found = app.diagnose()
    assert CHECKS == [each.check for each in found]
    bad = [each for each in found if each.check not in OF_THE_SERVER and each.severity != "ok"]
    assert [] == bad


def test_database_that_cannot_be_reached(dsn: str) -> None:
    """An unreachable database is the finding, and no error."""
    app = SyncWerk(conninfo.make_conninfo(dsn, port=1, host="127.0.0.1"))
    (found,) = app.diagnose()
    assert ("connection", "problem") == (found.check, found.severity)
    assert "cannot be reached" in found.summary


def test_missing_tables(make_app: MakeApp) -> None:
    """Missing tables are a finding that names the command; they are not made, and no hooks run."""
    app = make_app()
    app.on_startup(lambda: pytest.fail("connected"))
    found = finding(app, "schema")
    assert ("problem", "run `werk migrate`") == (found.severity, found.advice)
    status = app.migration_status()
    assert 0 == status.version


def test_one_table_is_missing(app: SyncWerk) -> None:
    """A check that cannot be made says why, and does not keep the others from being made."""
    app.connect()
    sql(app, 'DROP TABLE {}workers"')
    found = app.diagnose()
    assert set(CHECKS) == {each.check for each in found}
    unseen = {each.check for each in found if "could not be looked at" in each.summary}
    assert {"workers", "queues", "orphans", "scheduled"} == unseen


def test_newer_tables(app: SyncWerk) -> None:
    """Tables of a later release are a problem."""
    app.connect()
    sql(app, "INSERT INTO {}migrations\" VALUES (999, 'later', false)")
    found = finding(app, "schema")
    assert "problem" == found.severity
    assert "999" in found.summary


def test_missing_index(app: SyncWerk) -> None:
    """An index that somebody has dropped is named."""
    app.connect()
    sql(app, 'DROP INDEX {}jobs_ready"')
    found = finding(app, "indexes")
    assert "problem" == found.severity
    assert f"missing: {app.config.prefix}_jobs_ready;" in found.summary


def test_invalid_index(app: SyncWerk) -> None:
    """An index that its making has left invalid is named."""
    app.connect()
    app.enqueue(handlers.echo, _key="one")
    app.enqueue(handlers.echo, _key="other")
    with psycopg.Connection.connect(app.dsn, autocommit=True) as connection:
        table = f'"{app.config.schema}"."{app.config.prefix}_jobs"'
        with pytest.raises(psycopg.errors.UniqueViolation):
            connection.execute(f"CREATE UNIQUE INDEX CONCURRENTLY of_mine ON {table} (function)".encode())
    found = finding(app, "indexes")
    assert "problem" == found.severity
    assert "invalid: of_mine;" in found.summary


def test_autovacuum_is_off(app: SyncWerk) -> None:
    """A table that nobody vacuums is named."""
    app.connect()
    sql(app, 'ALTER TABLE {}jobs" SET (autovacuum_enabled = off)')
    found = finding(app, "vacuum")
    assert "problem" == found.severity
    assert f"autovacuum is off for {app.config.prefix}_jobs" in found.summary


def test_unlogged_tables(make_app: MakeApp) -> None:
    """A workers table that was asked to be unlogged is noted; an unlogged history is a problem."""
    app = make_app(config={"ephemeral_tables": True})
    app.connect()
    noted = finding(app, "persistence")
    assert ("ok", True) == (noted.severity, "workers is unlogged" in noted.summary)
    sql(app, 'ALTER TABLE {}executions" SET UNLOGGED')
    found = finding(app, "persistence")
    assert ("problem", True) == (found.severity, "executions" in found.summary)


def test_idle_transaction(app: SyncWerk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A transaction that holds locks on the tables and does nothing is named with its process id, without its query."""
    from pgwerk._core.diagnosis import tables

    monkeypatch.setattr(tables, "IDLE_SECS", 0.0)
    monkeypatch.setattr(tables, "OLD_SECS", 0.0)
    app.connect()
    with psycopg.Connection.connect(app.dsn, application_name="forgetful") as connection:
        connection.set_isolation_level(psycopg.IsolationLevel.REPEATABLE_READ)
        table = f'"{app.config.schema}"."{app.config.prefix}_jobs"'
        connection.execute(f"SELECT 'secret' FROM {table}".encode())
        pid = connection.info.backend_pid
        idle = [each.summary for each in findings(app, "idle transactions")]
        old = [each.summary for each in findings(app, "snapshots")]
    for summaries in (idle, old):
        (mine,) = [each for each in summaries if f"session {pid} " in each]
        assert "forgetful" in mine
        assert "secret" not in mine


def test_workers_that_were_lost(app: SyncWerk) -> None:
    """A worker whose lease has run out is named, and its running jobs are orphans that nobody rescues."""
    lost = add_worker(app, queues=["q"], silent_secs=10_000, host="crashed")
    app.enqueue(handlers.echo, _queue="q")
    sql(
        app,
        "UPDATE {}jobs\" SET status = 'active', attempts = 1, worker_id = %s, started_at = now() - interval '3 h'",
        lost,
    )
    found = finding(app, "workers")
    assert ("warning", True) == (found.severity, "crashed (pid 4242)" in found.summary)
    orphans = finding(app, "orphans")
    assert ("problem", True) == (orphans.severity, orphans.summary.startswith("1 running job without a worker"))


def test_workers_of_other_releases(app: SyncWerk) -> None:
    """Workers of another release are noted."""
    add_worker(app, queues=["q"])
    found = finding(app, "versions")
    assert ("warning", True) == (found.severity, "0.0.1" in found.summary)


def test_queue_without_a_worker(app: SyncWerk) -> None:
    """Ready jobs of a queue that nobody works on are a problem after a lease, and a warning until then."""
    add_worker(app, queues=["other"])
    app.enqueue(handlers.echo, _queue="q")
    assert "warning" == severity(app, "queues")
    sql(app, "UPDATE {}jobs\" SET scheduled_at = now() - interval '10 min'")
    found = finding(app, "queues")
    assert ("problem", True) == (found.severity, found.summary.startswith("queue q has 1 ready job, the oldest for 10"))
    add_worker(app, queues=["q"])
    assert "ok" == severity(app, "queues")


def test_failing_queue(app: SyncWerk) -> None:
    """A queue of which most attempts fail is a problem."""
    for _ in range(20):
        app.enqueue(handlers.fail, _queue="q")
    _compat.burst(app, queues=["q"])
    found = finding(app, "failures")
    assert ("problem", True) == (found.severity, "20 of 20 attempts failed" in found.summary)


def test_jobs_that_nobody_releases(app: SyncWerk) -> None:
    """A job that waits for one that is gone is found, once two sweeps should have seen to it."""
    parent = app.enqueue(handlers.echo)
    assert parent is not None
    app.enqueue(handlers.echo, _depends_on=parent)
    assert "ok" == severity(app, "waiting")
    sql(app, 'DELETE FROM {}jobs" WHERE id = %s', parent.id)
    assert "ok" == severity(app, "waiting")
    sql(app, "UPDATE {}jobs\" SET enqueued_at = now() - interval '1 h'")
    found = finding(app, "waiting")
    assert ("problem", "1 job waiting for others that are over or gone") == (found.severity, found.summary)
    app.sweep()
    assert "ok" == severity(app, "waiting")


def test_overdue_jobs(app: SyncWerk) -> None:
    """A scheduled job whose time came long ago is found."""
    app.enqueue(handlers.echo, _delay=1000)
    assert "ok" == severity(app, "scheduled")
    sql(app, "UPDATE {}jobs\" SET scheduled_at = now() - interval '5 min'")
    found = finding(app, "scheduled")
    assert ("problem", True) == (found.severity, found.summary.startswith("1 scheduled job overdue, the first for 5"))


def test_callbacks_that_nobody_calls(app: SyncWerk) -> None:
    """A callback that is owed for long is found."""
    job = app.enqueue(handlers.echo, _on_stopped=handlers.echo)
    assert job is not None
    app.cancel_job(job.id)
    assert "ok" == severity(app, "callbacks")
    sql(app, "UPDATE {}jobs\" SET callback_due = now() - interval '1 h' WHERE callback_due IS NOT NULL")
    found = finding(app, "callbacks")
    assert ("problem", True) == (found.severity, found.summary.startswith("1 callback owed, the first for 60 min"))
    _compat.burst(app)
    assert "ok" == severity(app, "callbacks")


def test_overdue_schedule(app: SyncWerk) -> None:
    """A schedule that nobody runs is found once it should have run a while ago, unless it is paused."""
    app.connect()
    sql(
        app,
        "INSERT INTO {}schedules\" SELECT 'nightly', 'shop.report', 'q', 0, NULL, '@daily', NULL, 'UTC', 'latest', 1, "
        "'allow', 1, NULL, NULL, NULL, NULL, NULL, false, now(), now() + interval '1 h'",
    )
    assert "ok" == severity(app, "schedules")
    sql(app, "UPDATE {}schedules\" SET next_run_at = now() - interval '1 h'")
    found = finding(app, "schedules")
    assert ("problem", "1 schedule overdue: nightly") == (found.severity, found.summary)
    sql(app, 'UPDATE {}schedules" SET paused = true')
    assert "ok" == severity(app, "schedules")


def test_role_without_rights(app: SyncWerk, dsn: str) -> None:
    """A role that may only read the tables is told what there is, and what it could not see."""
    app.connect()
    name = f"{app.config.schema}_reader"
    with role(app, dsn, name, "USAGE ON SCHEMA {}", "SELECT ON ALL TABLES IN SCHEMA {}") as own:
        found = SyncWerk(own, schema=app.config.schema).diagnose()
    assert CHECKS == [each.check for each in found]
    assert [] == [each for each in found if "could not be looked at" in each.summary]
    for each in found:
        if each.check in {"snapshots", "idle transactions"} and each.severity == "ok":
            assert "pg_read_all_stats" in each.advice


def test_role_that_may_read_nothing(app: SyncWerk, dsn: str) -> None:
    """What a role has no right to look at is said, and the rest is looked at."""
    app.connect()
    with role(app, dsn, f"{app.config.schema}_nobody") as own:
        found = SyncWerk(own, schema=app.config.schema).diagnose()
    unseen = {each.check: each.summary for each in found if "could not be looked at" in each.summary}
    assert {"schema", "workers", "queues", "orphans", "waiting", "scheduled", "callbacks", "schedules"} <= unseen.keys()
    assert "permission denied" in unseen["schema"]
    assert {"connection", "server", "clock"} <= {each.check for each in found}


@pytest.mark.posix
def test_through_a_pooler(make_app: MakeApp, dsn: str, schema: str, tmp_path: Path) -> None:
    """Behind a pooler all checks are made, nothing stays behind in its sessions, and what it costs is said."""
    make_app().connect()
    with bouncing(dsn, tmp_path) as bouncer:
        app = SyncWerk(bouncer.dsn, schema=schema)
        found = app.diagnose()
        assert CHECKS == [each.check for each in found]
        assert ("warning", True) == (found[1].severity, "listen_dsn" in found[1].advice)
        assert {("0", "0")} == set(
            bouncer.in_all_sessions("SELECT current_setting('statement_timeout'), current_setting('lock_timeout')")
        )
        told = SyncWerk(bouncer.dsn, schema=schema, pooler=False).diagnose()
        assert "problem" == told[1].severity


def test_locked_tables(app: SyncWerk) -> None:
    """Where somebody holds the tables, the checks that need them give up and say so."""
    app.connect()
    began = time.monotonic()
    with psycopg.Connection.connect(app.dsn) as connection:
        connection.execute(f'LOCK TABLE "{app.config.schema}"."{app.config.prefix}_workers"'.encode())
        found = finding(app, "workers")
    assert "lock timeout" in found.summary
    assert time.monotonic() - began < 60
