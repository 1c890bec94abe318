"""`werk workers`: who takes jobs, and who was lost."""

from __future__ import annotations

from tests.cli.running import Shop
from tests.cli.states import NASTY, add_worker, is_harmless


def test_nobody(shop: Shop) -> None:
    """Without workers nothing is printed, and this is said on the error stream."""
    assert (0, "", "no workers\n") == shop.run("workers", "shop:werk")
    ended = shop.run("workers", "shop:werk", "--json")
    assert (0, []) == (ended.code, ended.json)


def test_table(shop: Shop) -> None:
    """Each worker has a line, and one that was lost is marked by a word."""
    add_worker(shop, "mail", "default", host="web-1", pid=17)
    add_worker(shop, "mail", host="web-2", pid=18, silent_secs=7000)
    ended = shop.run("workers", "shop:sync_werk")
    assert (0, "") == (ended.code, ended.stderr)
    heading, *lines = ended.stdout.splitlines()
    assert ["host", "pid", "kind", "queues", "running"] == heading.split()[:5]
    by_host = {line.split()[0]: line.split() for line in lines if line.startswith("web-")}
    assert {"web-1", "web-2"} == by_host.keys()
    assert ["17", "async", "mail,", "default", "3/10"] == by_host["web-1"][1:6]
    assert ("alive", "lapsed") == (by_host["web-1"][-1], by_host["web-2"][-1])
    assert max(map(len, ended.stdout.splitlines())) <= 80


def test_json(shop: Shop) -> None:
    """--json prints all that is known of each worker."""
    worker_id = add_worker(shop, "mail", silent_secs=31)
    (found,) = shop.run("workers", "shop:werk", "--json").json
    expected = {"id": worker_id, "queues": ["mail"], "lease_secs": 30.0, "is_alive": False, "version": "0.0.1"}
    assert expected == {name: found[name] for name in expected}
    assert found["lease_expires_at"].endswith("+00:00")


def test_worker_that_runs(shop: Shop) -> None:
    """A worker that runs is on the list, with its id where there is room."""
    add_worker(shop, "mail", silent_secs=1)
    (found,) = shop.client.list_workers()
    ended = shop.run("workers", "--dsn", shop.dsn, "--schema", shop.schema, env={"COLUMNS": "160"})
    assert (0, True) == (ended.code, found.id in ended.stdout)


def test_names_are_harmless(shop: Shop) -> None:
    """What a worker's row holds does nothing to the terminal."""
    add_worker(shop, NASTY, host=NASTY)
    add_worker(shop, "q" * 300, host="h" * 300)
    ended = shop.run("workers", "shop:werk", env={"COLUMNS": "400", "FORCE_COLOR": ""})
    assert 0 == ended.code
    assert is_harmless(ended.stdout)
    assert "a[red]b[/red]\\x1b[31m" in ended.stdout
