"""`werk stats`: what is in the queues, and what came out of them lately."""

from __future__ import annotations

import asyncio

import pytest
from tests.cli.running import Shop
from tests.cli.states import NASTY, add_worker, is_harmless, sql

from pgwerk import AsyncWorker, Werk
from pgwerk.cli.sparklines import ASCII, BLOCKS, sparkline
from pgwerk.cli.stats import compact, rate


async def burst(shop: Shop, *queues: str) -> None:
    """Run what is there to run."""
    async with Werk(shop.dsn, schema=shop.schema) as app:
        await AsyncWorker(app, queues=queues, burst=True, handle_signals=False).run()


def worked(shop: Shop) -> Shop:
    """A shop with two queues, in one of which something has ended."""
    for number in range(3):
        shop.client.enqueue("tests.handlers.echo", number, _queue="mail")
    shop.client.enqueue("tests.handlers.fail", _queue="mail")
    asyncio.run(burst(shop, "mail"))
    shop.client.enqueue("shop.add", _queue="reports", _delay=1000)
    shop.client.enqueue("shop.add", _queue="reports")
    sql(shop, "UPDATE {}jobs\" SET scheduled_at = now() - interval '5 min' WHERE status = 'queued'")
    add_worker(shop, "mail")
    return shop


def test_nothing(shop: Shop) -> None:
    """Without queues nothing is printed, and this is said on the error stream."""
    ended = shop.run("stats", "shop:werk")
    assert (0, "") == (ended.code, ended.stdout)
    assert ended.stderr.startswith("no queues: ")


def test_table(shop: Shop) -> None:
    """Each queue has a line for what is in it, with a sparkline, and one for its history, in 80 columns."""
    ended = worked(shop).run("stats", "shop:werk", "--since", "15m")
    assert (0, "") == (ended.code, ended.stderr)
    first, second = ended.stdout.split("\n\n")
    assert first.splitlines()[0].rstrip().endswith("last 15m")
    mail, reports = (line.split() for line in first.splitlines()[1:])
    assert ["mail", "0", "0", "0", "0", "1"] == mail[:-1]
    assert "___________█" == mail[-1]
    assert ["reports", "1", "5.0m", "1", "0", "0", "0", "____________"] == reports
    mail, reports = (line.split() for line in second.splitlines()[1:])
    assert ["mail", "4", "0.004", "25.0%"] == mail[:4]
    assert 10 == len(mail)
    assert ["reports", "0"] == reports
    assert max(map(len, ended.stdout.splitlines())) <= 80


def test_json(shop: Shop) -> None:
    """--json prints the numbers, with what follows from them."""
    ended = worked(shop).run("stats", "shop:werk", "--json", "--queue", "mail", "--since", "1h")
    (found,) = ended.json
    expected = {"queue": "mail", "completed": 3, "failed": 1, "failure_rate": 0.25, "since_secs": 3600.0, "workers": 1}
    assert expected == {name: found[name] for name in expected}
    assert {"p50", "p95", "p99"} == found["wait"].keys() == found["run"].keys()
    assert 4 == sum(found["series"])


def test_unknown_queue(shop: Shop) -> None:
    """A queue that nothing is known about is an error: it may be a slip of the pen."""
    ended = shop.run("stats", "shop:werk", "--queue", "maill")
    assert (1, "", 1) == (ended.code, ended.stdout, ended.stderr.count("\n"))
    assert "'maill'" in ended.stderr


@pytest.mark.parametrize("since", ["soon", "0", "-5m"])
def test_odd_span(shop: Shop, since: str) -> None:
    """A span of time that makes no sense is refused."""
    ended = shop.run("stats", "shop:werk", f"--since={since}")
    assert (2, "") == (ended.code, ended.stdout)


def test_terminal_without_blocks(shop: Shop) -> None:
    """Where the encoding has no blocks, sparklines are drawn in ASCII."""
    ended = worked(shop).run("stats", "shop:werk", env={"PYTHONIOENCODING": "ascii"})
    assert (0, "") == (ended.code, ended.stderr)
    assert "___________@" in ended.stdout
    assert ended.stdout.isascii()


def test_names_are_harmless(shop: Shop) -> None:
    """Names do nothing to the terminal, and long ones do not push the numbers out of it."""
    shop.client.enqueue("shop.add", _queue=NASTY)
    shop.client.enqueue("shop.add", _queue="q" * 255)
    ended = shop.run("stats", "shop:werk")
    assert 0 == ended.code
    assert is_harmless(ended.stdout)
    assert "a[red]b[/red]\\x1b" in ended.stdout
    assert max(map(len, ended.stdout.splitlines())) <= 80


def test_sparkline() -> None:
    """The highest number has the highest bar, any number that is not zero has one, and zero has none."""
    assert "" == sparkline([], BLOCKS)
    assert "___" == sparkline([0, 0, 0], BLOCKS)
    assert "▁▂▃▄▅▆▇█" == sparkline(range(1, 9), BLOCKS)
    assert "▁_█" == sparkline([1, 0, 1_000_000], BLOCKS)
    assert "█" == sparkline([1], BLOCKS)
    assert ".@" == sparkline([1, 8], ASCII)


@pytest.mark.parametrize(
    ("secs", "expected"), [(None, ""), (0.34, "340ms"), (12.5, "12s"), (180, "3.0m"), (18720, "5.2h"), (1036800, "12d")]
)
def test_compact(secs: float | None, expected: str) -> None:
    """Durations take few columns."""
    assert expected == compact(secs)


@pytest.mark.parametrize(("number", "expected"), [(0.0123, "0.012"), (2.345, "2.3"), (1234.5, "1,234")])
def test_rate(number: float, expected: str) -> None:
    """Rates have about three digits."""
    assert expected == rate(number)
