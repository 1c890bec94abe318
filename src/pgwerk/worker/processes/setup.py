"""What children need to know about their worker. It travels once, as a pickle, when the nursery starts."""

from __future__ import annotations

import os
import pickle
import sys
from pathlib import Path
from typing import Any

from attrs import frozen

from pgwerk._async.client import Werk
from pgwerk._core.config import WerkConfig
from pgwerk._core.modules import main_name
from pgwerk._core.serializers import Serializer
from pgwerk._sync.client import SyncWerk
from pgwerk.worker.base import BaseWorker
from pgwerk.worker.processes.records import levels

ATTRIBUTES = (
    "abort_interval",
    "burst",
    "concurrency",
    "dequeue_strategy",
    "exits_hard",
    "handle_signals",
    "heartbeat_interval",
    "id",
    "kind",
    "listen",
    "poll_interval",
    "queues",
    "shutdown_timeout",
    "sweep_interval",
)
"""Of a worker, for `ctx.worker`."""


@frozen(kw_only=True)
class Setup:
    """What children need to know.

    Attributes:
        client: Keyword arguments for the clients of handlers, `dsn` among them.
        config: Their configuration.
        serializer: Their serializer.
        worker: The attributes of the worker.
        runs: How many runs a child lives for; None for any number.
        preload: Modules that the nursery imports.
        argv: The worker's `sys.argv`.
        levels: The levels of the worker's loggers.
        unguarded: The module that must not be imported, because that would run the worker's program once more.
    """

    client: dict[str, Any]
    config: WerkConfig
    serializer: Serializer
    worker: dict[str, Any]
    runs: int | None
    preload: tuple[str, ...]
    argv: list[str]
    levels: dict[str, int]
    unguarded: str | None

    def check_importable(self, path: str) -> None:
        """Refuse a path for which the worker's own program would be run.

        Raises:
            RuntimeError: It would be.
        """
        if self.unguarded is not None and path.startswith(f"{self.unguarded}."):
            raise RuntimeError(
                f"{path} is defined in the program that runs the worker, which a child process would have to run as "
                'well to find it: put what starts the worker below `if __name__ == "__main__":`, or move the handler '
                "to a module of its own"
            )


def make_setup(worker: BaseWorker, *, runs: int | None, preload: tuple[str, ...]) -> Setup:
    """What the children of a worker need to know."""
    app: Werk | SyncWerk = worker.app
    return Setup(
        client={
            "dsn": app.dsn,
            "pooler": app.pooler,
            "listen_dsn": app.listen_dsn,
            "allowed_functions": app.allowed_functions,
            "auto_migrate": app._auto_migrate,
        },
        config=app.config,
        serializer=app.serializer,
        worker={name: getattr(worker, name) for name in ATTRIBUTES},
        runs=runs,
        preload=preload,
        argv=list(sys.argv),
        levels=levels(),
        unguarded=_unguarded_main(),
    )


def check_serializer_travels(serializer: Serializer) -> None:
    """Children need the same serializer.

    Raises:
        TypeError: It cannot be sent to them.
    """
    name = type(serializer).__qualname__
    try:
        data = pickle.dumps(serializer)
        pickle.loads(data)  # noqa: S301 - written a line above
    except Exception as error:  # any object may raise anything
        raise TypeError(
            f"the serializer {name} cannot be sent to child processes ({type(error).__name__}: {error}): let it be "
            "pickled, by __getstate__ or __reduce__ for instance, or use AsyncWorker"
        ) from error
    if b"__main__" in data:
        raise TypeError(
            f"the serializer {name} is defined in the program that is being run, which child processes do not run: "
            "move it to a module of its own"
        )


def _unguarded_main() -> str | None:
    """The name of the program that is being run, if others can import it, and if that runs all of it."""
    name = main_name()
    if name is None:
        return None
    try:
        source = Path(str(getattr(sys.modules["__main__"], "__file__", ""))).read_text("utf-8", "replace")
    except OSError:
        return None
    return None if "__name__" in source else name


def search_path() -> list[str]:
    """Where this process finds modules, for one that may have another working directory."""
    return [os.path.abspath(path or os.curdir) for path in map(str, sys.path)]
