"""`werk purge`."""

from __future__ import annotations

import psycopg
import pytest
from tests import handlers
from tests.cli.running import Shop
from tests.cli.terminal import in_terminal


def fill(shop: Shop) -> None:
    """Two finished jobs of a week ago, one of today, and one that waits."""
    for handler in (handlers.echo, handlers.fail):
        shop.client.enqueue(handler, _sync=True)
    with psycopg.connect(shop.dsn) as connection:
        old = f"UPDATE {shop.schema}.\"_pgwerk_jobs\" SET completed_at = now() - interval '7 days 1 second'"
        connection.execute(old.encode())
    shop.client.enqueue(handlers.echo, _sync=True)
    shop.client.enqueue(handlers.echo)


def test_purge(shop: Shop) -> None:
    """What ended long enough ago is deleted and counted; the rest stays."""
    fill(shop)
    ended = shop.run("purge", "shop:werk", "--status", "complete,failed", "--older-than", "7d", "--dry-run")
    assert (0, "", "2 jobs: 1 complete, 1 failed\n") == ended
    ended = shop.run("purge", "shop:werk", "--status", "complete", "--older-than", "1w")
    assert (
        2,
        "",
        "werk: this would delete 1 job: 1 complete: pass --yes, as there is no terminal to ask on\n",
    ) == ended
    assert 4 == len(shop.client.list_jobs())
    ended = shop.run("purge", "shop:werk", "--status", "complete,failed", "--older-than", "7d", "--yes")
    assert (0, "2 jobs deleted\n", "") == ended
    found = shop.run("purge", "shop:sync_werk", "--status", "complete", "--older-than", "0", "--yes", "--json")
    assert {"found": 1, "done": 1} == found.json
    ended = shop.run("purge", "shop:werk", "--status", "complete,failed,aborted", "--older-than", "0", "--yes")
    assert (0, "", "there are no jobs to purge\n") == ended
    assert ["queued"] == [job.status.value for job in shop.client.list_jobs()]


def test_purge_asks(shop: Shop) -> None:
    """In a terminal the jobs are counted before somebody says yes."""
    fill(shop)
    with in_terminal(shop, "purge", "shop:werk", "--status", "failed", "--older-than", "1d") as terminal:
        terminal.wait_for("delete 1 job? [y/N]")
        assert "1 job: 1 failed\n" in terminal.shown
        terminal.type("y\n")
        assert 0 == terminal.wait()
        assert terminal.shown.endswith("1 job deleted\n")
    assert 3 == len(shop.client.list_jobs())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--older-than", "7d"], "Missing option '--status'"),
        (["--status", "complete"], "Missing option '--older-than'"),
        (["--status", "complete,active", "--older-than", "7d"], "complete, failed or aborted, not active"),
        (["--status", "complete", "--older-than", "-7d"], "'-7d' is no duration"),
    ],
)
def test_bad_options(new_shop: Shop, arguments: list[str], message: str) -> None:
    """A purge says which jobs and how old, and of what has ended only."""
    ended = new_shop.run("purge", "shop:werk", *arguments)
    assert (2, "") == (ended.code, ended.stdout)
    assert message in ended.stderr
