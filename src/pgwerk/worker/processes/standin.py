"""What stands for the worker in a child, as `ctx.worker`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn, Protocol

from pgwerk._core.execution import Attempts
from pgwerk._sync.client import SyncWerk
from pgwerk.worker.base import BaseWorker
from pgwerk.worker.hooks import ExceptionHandler, Hook

_exists = False


class Blocking(Protocol):
    """Has a blocking client."""

    def blocking(self) -> SyncWerk:
        """The client."""
        ...


class WorkerOfChild(BaseWorker):
    """Has the attributes of the worker in the other process, and can stop it.

    Args:
        attributes: The worker's public attributes, by name.
        clients: Has the client for `app`.
        stop: Stops the worker.
    """

    kind = "child"

    def __init__(self, attributes: dict[str, Any], clients: Blocking, stop: Callable[[bool], None]) -> None:
        global _exists  # noqa: PLW0603 - what it is about is the process
        _exists = True
        self._clients = clients
        self._stop = stop
        vars(self).update(attributes)

    @property
    def app(self) -> SyncWerk:  # type: ignore[override]  # made when somebody wants it
        """A blocking client of the same tables."""
        return self._clients.blocking()

    async def run(self) -> NoReturn:
        """It runs in another process.

        Raises:
            RuntimeError: Always.
        """
        raise _elsewhere()

    def stop(self, *, now: bool = False) -> None:
        """Stop the worker, in an orderly way or at once."""
        self._stop(now)

    @property
    def has_left_running(self) -> NoReturn:
        """Only the worker knows.

        Raises:
            RuntimeError: Always.
        """
        raise _elsewhere()

    def report(self) -> NoReturn:
        """Only the worker can report.

        Raises:
            RuntimeError: Always.
        """
        raise _elsewhere()

    def add_before_process(self, hook: Hook) -> NoReturn:
        """Hooks are called in the process of the worker.

        Raises:
            RuntimeError: Always.
        """
        del hook
        raise _elsewhere()

    def add_after_process(self, hook: Hook) -> NoReturn:
        """As `add_before_process`.

        Raises:
            RuntimeError: Always.
        """
        del hook
        raise _elsewhere()

    def push_exception_handler(self, handler: ExceptionHandler) -> NoReturn:
        """As `add_before_process`.

        Raises:
            RuntimeError: Always.
        """
        del handler
        raise _elsewhere()

    def pop_exception_handler(self) -> NoReturn:
        """As `add_before_process`.

        Raises:
            RuntimeError: Always.
        """
        raise _elsewhere()

    def _executor(self, attempts: Attempts) -> NoReturn:
        del attempts
        raise RuntimeError("a job does not run others")


def _elsewhere() -> RuntimeError:
    return RuntimeError("the worker runs in another process: this one runs a job of it")


def in_child() -> bool:
    """Whether this process is a child of a worker, or was forked by one."""
    return _exists
