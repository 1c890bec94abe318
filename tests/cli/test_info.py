"""`werk info`: where the tables are, and by which way they are reached."""

from __future__ import annotations

import re

import psycopg
import pytest
from tests.cli.running import Shop

from pgwerk.cli.info import size


def test_info(shop: Shop) -> None:
    """The server, the tables and the way to them, queues and workers are printed, in 80 columns."""
    shop.enqueue("add", _queue="mail")
    ended = shop.run("info", "shop:werk")
    assert (0, "") == (ended.code, ended.stderr)
    with psycopg.connect(shop.dsn) as connection:
        info = connection.info
        version = info.parameter_status("server_version")
        database = info.dbname
    text = " ".join(ended.stdout.split())
    assert f"server: PostgreSQL {version}" in text
    assert f"database: {database}, as" in text
    assert f"tables: schema {shop.schema}, prefix _pgwerk" in text
    assert "pooler: none found (pooler='auto')" in text
    assert "LISTEN: works" in text
    assert "_pgwerk_executions" in text
    assert re.search(r"queue +ready .*\nmail +1 ", ended.stdout)
    assert ended.stdout.endswith("no workers\n")
    assert max(map(len, ended.stdout.splitlines())) <= 80


def test_json(shop: Shop) -> None:
    """--json prints the same for programs, sizes in bytes and durations in seconds."""
    found = shop.run("info", "shop:werk", "--json").json
    expected = {"schema": shop.schema, "prefix": "_pgwerk", "pooler": "auto", "pooler_found": False, "can_listen": True}
    assert expected == {name: found[name] for name in expected}
    assert found["schema_version"] == found["latest_version"] > 0
    jobs = next(each for each in found["tables"] if each["name"] == "_pgwerk_jobs")
    assert jobs["index_bytes"] > 0
    assert ([], []) == (found["queues"], found["workers"])


def test_queues_and_workers(shop: Shop) -> None:
    """The queues that there is something in, and the workers, are part of it."""
    program = shop.start("worker", "shop:werk", "--queues", "mail")
    program.wait_for_line("is ready")
    found = shop.run("info", "shop:werk", "--json").json
    assert [("mail", 1)] == [(each["queue"], each["workers"]) for each in found["queues"]]
    assert [["mail"]] == [each["queues"] for each in found["workers"]]
    assert "alive" in shop.run("info", "shop:werk").stdout


def test_without_tables(new_shop: Shop) -> None:
    """Without tables this is what it says; none are made."""
    ended = new_shop.run("info", "shop:werk")
    assert 0 == ended.code
    assert "there are no tables: run `werk migrate`" in ended.stdout
    assert 0 == new_shop.client.migration_status().version


def test_unreachable_database(new_shop: Shop) -> None:
    """An unreachable database is an error of one line."""
    ended = new_shop.run("info", "--dsn", "host=127.0.0.1 port=1 connect_timeout=5")
    assert (3, "", 1) == (ended.code, ended.stdout, ended.stderr.count("\n"))


@pytest.mark.parametrize(
    ("count", "expected"),
    [(0, "0 B"), (1023, "1023 B"), (8192, "8.0 kB"), (20_000, "20 kB"), (5 << 30, "5.0 GB"), (3 << 50, "3072.0 TB")],
)
def test_size(count: int, expected: str) -> None:
    """Sizes are printed in the unit that fits."""
    assert expected == size(count)
