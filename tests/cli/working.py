"""Jobs for commands to work on, and a worker in the test's own process for those that need jobs which run."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from tests.cli.running import PATIENCE_SECS, Shop

from pgwerk import AsyncWorker, Job, Werk


def enqueued(shop: Shop, *args: Any, **options: Any) -> Job:
    """A job of the shop."""
    job = shop.client.enqueue(*args, **options)
    assert job is not None
    return job


@contextlib.contextmanager
def working(shop: Shop) -> Iterator[None]:
    """A worker that runs beside the test."""
    loop = asyncio.new_event_loop()
    worker = AsyncWorker(Werk(shop.dsn, schema=shop.schema), handle_signals=False, shutdown_timeout=0.1)
    thread = threading.Thread(target=lambda: loop.run_until_complete(worker.run()))
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(worker.stop)
        thread.join(PATIENCE_SECS)
        loop.close()


def wait_until(condition: Callable[[], object]) -> None:
    """Wait until something has come about."""
    deadline = time.monotonic() + PATIENCE_SECS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
