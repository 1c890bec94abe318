"""What a handler is told about the run it is part of."""

from __future__ import annotations

from typing import Any

from attrs import frozen

from pgwerk._core.models import Job


@frozen
class Context:
    """The execution context of a job.

    A handler receives it when its first parameter is named `ctx` or annotated `Context`.

    Attributes:
        app: The connected client: `Werk` for a coroutine handler, `SyncWerk` for a plain function, so that either can
            enqueue in its own flavour.
        worker: The worker that runs the job; None when no worker does, with `_sync`.
        job: The job that is being executed.
        exception: What the job raised; set in `after_process` hooks only. A `SystemExit` and the like, which a handler
            should not raise, are given as they are.
    """

    # `Any`, because `_core` knows neither the clients nor the workers, and which client it is depends on the handler.
    app: Any
    worker: Any
    job: Job
    exception: Exception | None = None
