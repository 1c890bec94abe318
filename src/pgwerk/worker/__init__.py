"""Workers: they claim jobs, run them and settle them."""

from __future__ import annotations

from pgwerk.worker.base import AsyncWorker, BaseWorker, ThreadWorker
from pgwerk.worker.processes.workers import ForkWorker, ProcessWorker

__all__ = ["AsyncWorker", "BaseWorker", "ForkWorker", "ProcessWorker", "ThreadWorker", "worker_class"]

_CLASSES: tuple[type[BaseWorker], ...] = (AsyncWorker, ThreadWorker, ProcessWorker, ForkWorker)


def worker_class(kind: str) -> type[BaseWorker]:
    """The kind of worker with this name.

    Raises:
        ValueError: There is none.
    """
    for each in _CLASSES:
        if each.kind == kind:
            return each
    names = ", ".join(repr(each.kind) for each in _CLASSES)
    raise ValueError(f"kind must be one of {names}, not {kind!r}")
