"""Fresh interpreters, none of which outlives whoever has started it."""

from __future__ import annotations

import multiprocessing
import os
import threading
from concurrent.futures import ProcessPoolExecutor

CONTEXT = multiprocessing.get_context("spawn")


def pool(processes: int = 1) -> ProcessPoolExecutor:
    """So many processes, which have imported nothing yet."""
    return ProcessPoolExecutor(processes, mp_context=CONTEXT, initializer=end_with_parent)


def end_with_parent() -> None:
    """End this process when its parent has: a worker would go on looking for a server that has gone with it."""
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
