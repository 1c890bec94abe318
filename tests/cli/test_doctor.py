"""`werk doctor`: what is wrong or slow, and what to do about it."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
from rich.console import Console
from tests.cli.running import Shop, opened
from tests.cli.states import NASTY, add_running, add_worker, is_harmless, sql
from tests.databases import embedded_version

from pgwerk import Finding
from pgwerk.cli.doctor import show, verdict
from pgwerk.embedded import EmbeddedPostgres

IMPATIENT = """
from pgwerk._core.diagnosis import tables
from shop import werk

tables.OLD_SECS = tables.IDLE_SECS = 0
"""
"""What is old is a matter of minutes: that facts are found is tested here, and how they are judged in tests/core."""

ENVIRONMENT = {"durability", "connections", "snapshots", "wraparound"}
"""What the server of the tests may be told off for, whatever a test does."""


def findings(shop: Shop, *options: str) -> dict[str, dict[str, str]]:
    """What was found, by the name of the check."""
    return {each["check"]: each for each in shop.run("doctor", "shop:werk", "--json", *options).json}


def test_healthy_tables(shop: Shop) -> None:
    """Where nothing is wrong, each check says so; the exit code is about problems only."""
    ended = shop.run("doctor", "shop:werk", "--json")
    found = {each["check"]: each["severity"] for each in ended.json}
    assert {"ok"} == {severity for check, severity in found.items() if check not in ENVIRONMENT}
    assert int("problem" in found.values()) == ended.code
    strict = shop.run("doctor", "shop:werk", "--json", "--strict")
    assert int(set(found.values()) != {"ok"}) == strict.code


def test_problems(shop: Shop) -> None:
    """Problems are found for real, said with what to do, and end the command with 1."""
    lost = add_worker(shop, "mail", host="crashed", silent_secs=9000)
    add_running(shop, "shop.add", "mail", lost, secs=9000)
    shop.client.enqueue("shop.add", _queue="mail")
    sql(shop, "UPDATE {}jobs\" SET scheduled_at = now() - interval '1 h' WHERE status = 'queued'")
    sql(shop, 'DROP INDEX {}jobs_due"')
    ended = shop.run("doctor", "shop:sync_werk")
    assert (1, "") == (ended.code, ended.stderr)
    text = " ".join(ended.stdout.split())
    assert "PROBLEM indexes: missing: _pgwerk_jobs_due" in text
    assert "PROBLEM queues: queue mail has 1 ready job, the oldest for 60 min" in text
    assert "do: start one: werk worker APP --queues mail" in text
    assert "PROBLEM orphans: 1 running job without a worker" in text
    assert "warning workers: 1 worker did not say goodbye, and the lease has run out: crashed (pid 4242)" in text
    assert "ok schema: the tables" in text
    assert max(map(len, ended.stdout.splitlines())) <= 80


def test_old_snapshot(shop: Shop) -> None:
    """A transaction that has kept a snapshot for long is named with its process, and without its query."""
    with psycopg.connect(shop.dsn, application_name="report") as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.execute(f'SELECT \'secret\' FROM "{shop.schema}"."_pgwerk_jobs"'.encode())
        pid = connection.info.backend_pid
        shop.write("impatient.py", IMPATIENT)
        ended = shop.run("doctor", "impatient:werk")
    text = " ".join(ended.stdout.split())
    assert f"warning snapshots: session {pid} (" in text
    assert f"warning idle transactions: session {pid} (" in text
    assert "report" in text
    assert "secret" not in text


@pytest.mark.posix
def test_forgotten_prepared_transaction(tmp_path: Path) -> None:
    """A prepared transaction that nobody ends is named, whatever became of its session."""
    server = EmbeddedPostgres(version=embedded_version(), settings={"max_prepared_transactions": 2})
    with server, opened(tmp_path, server.dsn, "prepared") as shop:
        shop.client.migrate()
        with psycopg.connect(server.dsn, autocommit=True) as connection:
            connection.execute("BEGIN")
            connection.execute("CREATE TABLE half_done ()")
            connection.execute("PREPARE TRANSACTION 'forgotten'")
        shop.write("impatient.py", IMPATIENT)
        text = " ".join(shop.run("doctor", "impatient:werk").stdout.split())
    assert "warning snapshots: prepared transaction forgotten (postgres)" in text
    assert "ROLLBACK PREPARED" in text


def test_warnings(shop: Shop) -> None:
    """Warnings alone do not end the command with 1, unless it is strict."""
    add_worker(shop, "mail", silent_secs=9000)
    found = findings(shop)
    assert "warning" == found["workers"]["severity"]
    assert 1 == shop.run("doctor", "shop:werk", "--strict").code


def test_without_tables(new_shop: Shop) -> None:
    """Missing tables are a finding, and not made."""
    ended = new_shop.run("doctor", "shop:werk")
    assert 1 == ended.code
    assert "PROBLEM  schema: there are no tables in schema" in ended.stdout
    assert "do: run `werk migrate`" in ended.stdout
    assert 0 == new_shop.client.migration_status().version


def test_unreachable_database(new_shop: Shop) -> None:
    """An unreachable database is the one finding, with the same exit code as any problem."""
    ended = new_shop.run("doctor", "--dsn", "host=127.0.0.1 port=1", "--json")
    assert (1, [("connection", "problem")]) == (ended.code, [(each["check"], each["severity"]) for each in ended.json])


def test_names_are_harmless(shop: Shop) -> None:
    """What the tables hold does nothing to the terminal."""
    add_worker(shop, "mail", host=NASTY, silent_secs=9000)
    shop.client.enqueue("shop.add", _queue=NASTY)
    ended = shop.run("doctor", "shop:werk")
    assert is_harmless(ended.stdout)
    assert "a[red]b[/red]\\x1b[31m" in ended.stdout


@pytest.mark.parametrize(
    ("severities", "strict", "expected"),
    [
        ("", False, 0),
        ("ok", True, 0),
        ("ok warning", False, 0),
        ("ok warning", True, 1),
        ("problem ok", False, 1),
        ("problem", True, 1),
    ],
)
def test_exit_code(severities: str, strict: bool, expected: int) -> None:
    """Problems are an exit code of 1, and warnings are when it is strict."""
    findings = [Finding("check", severity, "") for severity in severities.split()]  # type: ignore[arg-type]
    assert expected == verdict(findings, strict=strict)


@pytest.mark.parametrize("width", [30, 80])
def test_layout(width: int) -> None:
    """The worst comes first; what does not fit goes on below the text; the last line counts."""
    out = Console(width=width, record=True, markup=False)
    with out.capture() as printed:
        show(
            [Finding("a", "ok", "fine"), Finding("b", "problem", "bad " * 30, "mend it"), Finding("c", "ok", "x")], out
        )
    lines = printed.get().splitlines()
    assert lines[0].startswith("PROBLEM  b: bad bad")
    assert lines[1].startswith("         bad")
    assert "         do: mend it" in lines
    assert ["ok       a: fine", "ok       c: x", "", "1 problem, 0 warnings, 2 ok"] == lines[-4:]
    assert max(map(len, lines)) <= width
