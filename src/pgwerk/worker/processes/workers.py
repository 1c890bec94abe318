"""The workers whose jobs run in processes of their own."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypedDict, Unpack

from pgwerk._async.client import Werk
from pgwerk._core import checks
from pgwerk._core.execution import Attempts
from pgwerk._core.models import DequeueStrategy
from pgwerk._sync.client import SyncWerk
from pgwerk.worker.base import BaseWorker
from pgwerk.worker.execution import Executor
from pgwerk.worker.hooks import Hook
from pgwerk.worker.processes.executor import ProcessExecutor
from pgwerk.worker.processes.setup import check_serializer_travels, make_setup
from pgwerk.worker.processes.standin import in_child
from pgwerk.worker.scheduling import AnyScheduler


class WorkerOptions(TypedDict, total=False):
    """The options of `BaseWorker`."""

    heartbeat_interval: float | None
    poll_interval: float | None
    sweep_interval: float | None
    abort_interval: float | None
    shutdown_timeout: float | None
    dequeue_strategy: DequeueStrategy | str
    burst: bool
    before_process: Hook | Sequence[Hook]
    after_process: Hook | Sequence[Hook]
    scheduler: AnyScheduler | None
    listen: bool
    handle_signals: bool
    exits_hard: bool


class _ChildrenWorker(BaseWorker):
    def __init__(
        self,
        app: Werk | SyncWerk,
        queues: Sequence[str] = ("default",),
        concurrency: int = 10,
        *,
        preload: Sequence[str] = (),
        **options: Unpack[WorkerOptions],
    ) -> None:
        _check_place(type(self).__name__)
        super().__init__(app, queues, concurrency, **options)
        check_serializer_travels(app.serializer)
        self.preload = tuple(checks.strings("preload", preload, max_bytes=checks.KEY_BYTES)) if preload else ()
        self._runs_per_child: int | None = 1

    def _executor(self, attempts: Attempts) -> Executor:
        setup = make_setup(self, runs=self._runs_per_child, preload=self.preload)
        return ProcessExecutor(attempts, setup, lambda now: self.stop(now=now))


class ForkWorker(_ChildrenWorker):
    """Runs each job in a fresh process, forked for it from a small one.

    Whatever a job does to its process is gone with the process: memory, open files, changed settings, crashes. A job
    that does not end is killed. Coroutine functions run on an event loop, and plain functions on the main thread.

    Handlers are found as in any other process: a program that defines some itself is imported to find them, so what it
    runs belongs below `if __name__ == "__main__":`. The children know neither what the program has changed in its
    modules since it began, nor its hooks.

    Args:
        app: As for `BaseWorker`, and so are the other options.
        queues: The queues to take jobs from.
        concurrency: How many jobs run at one time, each in its process.
        preload: Modules to import before children are forked, so that not each child imports them again. They must not
            start threads.
        options: The options of `BaseWorker`.

    Raises:
        TypeError: An argument has the wrong type, or the client's serializer cannot be pickled.
        ValueError: An argument has a value that makes no sense.
        RuntimeError: This system cannot fork, or this process runs a job itself.
    """

    kind = "fork"


class ProcessWorker(_ChildrenWorker):
    """Runs jobs in a pool of processes, each of which runs one job at a time, and many one after the other.

    As `ForkWorker`, without the cost of a process for each job: some milliseconds, and the time for what its handler
    imports. Between two jobs, a process puts back its working directory, umask and signal handlers; what else a job has
    left behind, in memory for instance, the next one finds.

    Args:
        app: As for `BaseWorker`, and so are the other options.
        queues: The queues to take jobs from.
        concurrency: How many jobs run at one time, and so how many processes there are at most.
        max_jobs_per_child: After how many runs, callbacks included, a process is replaced by a fresh one; None for
            never.
        preload: Modules to import before children are forked. They must not start threads.
        options: The options of `BaseWorker`.

    Raises:
        TypeError: An argument has the wrong type, or the client's serializer cannot be pickled.
        ValueError: An argument has a value that makes no sense.
        RuntimeError: This system cannot fork, or this process runs a job itself.
    """

    kind = "process"

    def __init__(
        self,
        app: Werk | SyncWerk,
        queues: Sequence[str] = ("default",),
        concurrency: int = 10,
        *,
        max_jobs_per_child: int | None = 1000,
        preload: Sequence[str] = (),
        **options: Unpack[WorkerOptions],
    ) -> None:
        super().__init__(app, queues, concurrency, preload=preload, **options)
        if max_jobs_per_child is not None:
            checks.whole("max_jobs_per_child", max_jobs_per_child, minimum=1)
        self.max_jobs_per_child = max_jobs_per_child
        self._runs_per_child = max_jobs_per_child


def _check_place(name: str) -> None:
    if not hasattr(os, "fork"):
        raise RuntimeError(f"{name} needs fork, which this system does not have: AsyncWorker works here")
    if in_child():
        raise RuntimeError(
            f"a {name} cannot be made where a job of one runs. If that happens while the module of a handler is "
            'imported: what the program runs belongs below `if __name__ == "__main__":`'
        )
