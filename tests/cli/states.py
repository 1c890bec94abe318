"""Bring the tables of a shop into some state, by hand: what takes hours in real life, or a crash."""

from __future__ import annotations

import itertools
import unicodedata
from typing import Any

import psycopg
from tests.cli.running import Shop

_numbers = itertools.count(1)

NASTY = "a[red]b[/red]\x1b[31m\x07\u202e\nc"
"""A name that would colour the terminal, ring its bell, turn the line round and begin another one."""


OBEYED = {"Cc", "Cs", "Zl", "Zp"}
"""Controls, halves of characters, and separators of lines."""

TURNING = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
"""What turns the direction of writing round."""


def sql(shop: Shop, statement: str, *params: Any) -> None:
    """Execute a statement; `{}` stands for the beginning of the tables' names."""
    with psycopg.connect(shop.dsn, autocommit=True) as connection:
        connection.execute(statement.replace("{}", f'"{shop.schema}"."_pgwerk_').encode(), params)


def add_worker(shop: Shop, *queues: str, host: str = "web-1", pid: int = 4242, silent_secs: float = 0.0) -> str:
    """A worker's row, as one leaves it behind that was last heard of so many seconds ago."""
    worker_id = f"01900000-0000-7000-8000-{next(_numbers):012}"
    sql(
        shop,
        "INSERT INTO {}workers\" VALUES (%s, 'async', %s, %s, %s, 10, '0.0.1', 3, now() - interval '1 day', "
        "now() - %s * interval '1 second', 30)",
        worker_id,
        host,
        pid,
        list(queues),
        silent_secs,
    )
    return worker_id


def add_running(shop: Shop, function: str, queue: str, worker_id: str, secs: float) -> str:
    """A job that has run for so many seconds."""
    job = shop.client.enqueue("shop.add", _queue=queue)
    assert job is not None
    sql(
        shop,
        "UPDATE {}jobs\" SET function = %s, status = 'active', attempts = 1, worker_id = %s, "
        "started_at = now() - %s * interval '1 second' WHERE id = %s",
        function,
        worker_id,
        secs,
        job.id,
    )
    return job.id


def is_harmless(text: str) -> bool:
    """Whether a terminal shows a text and obeys nothing in it but line feeds."""
    return not any(unicodedata.category(each) in OBEYED or each in TURNING for each in text.replace("\n", ""))
