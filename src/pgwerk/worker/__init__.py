"""Workers: they claim jobs, run them and settle them."""

from pgwerk.worker.base import AsyncWorker, BaseWorker

__all__ = ["AsyncWorker", "BaseWorker"]
