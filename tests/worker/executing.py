"""Running handlers in child processes without a database: an executor, and what to give it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from pgwerk import ForkWorker, ProcessWorker, Werk
from pgwerk._core.claimed import Claimed
from pgwerk._core.envelope import pack_limited
from pgwerk._core.execution import Attempted, Attempts, Work
from pgwerk._core.ids import new_id
from pgwerk._core.rows import JOB_COLUMNS
from pgwerk._core.serializers import dumps_payload
from pgwerk.worker.execution import Interruption, RunKey, Running
from pgwerk.worker.processes.executor import ProcessExecutor


class Bench:
    """Runs handlers as a worker does, and shows what the worker gets.

    Args:
        executor: What runs them.
        app: The client.
    """

    def __init__(self, executor: ProcessExecutor, app: Werk) -> None:
        self.executor = executor
        self._app = app

    @property
    def nursery(self) -> int:
        """The process that forks the children."""
        assert self.executor._nursery is not None
        assert self.executor._nursery.pid is not None
        return self.executor._nursery.pid

    def start(self, func: Callable[..., Any], *args: Any) -> Running:
        """Start to run a handler."""
        running = Running(Work(self._claimed(func, args)), RunKey(new_id(), 1), 60)
        running.task = asyncio.create_task(self.executor.execute(running))
        return running

    async def end(self, running: Running) -> Attempted:
        """Wait for what comes of it."""
        assert running.task is not None
        async with asyncio.timeout(20):
            attempted = await running.task
        assert isinstance(attempted, Attempted)
        return attempted

    async def run(self, func: Callable[..., Any], *args: Any) -> Attempted:
        """Run a handler to its end."""
        return await self.end(self.start(func, *args))

    async def value(self, func: Callable[..., Any], *args: Any) -> Any:
        """What a handler returns."""
        attempted = await self.run(func, *args)
        assert attempted.error is None, attempted.outcome.error
        assert attempted.outcome.result is not None
        return self._app.serializer.loads(attempted.outcome.result)

    async def error(self, func: Callable[..., Any], *args: Any) -> str:
        """The error of a job whose handler fails."""
        attempted = await self.run(func, *args)
        assert attempted.outcome.error is not None
        return attempted.outcome.error

    async def stop(self, running: Running) -> Attempted:
        """Stop it, and wait for what comes of that."""
        running.interrupt(Interruption.Shutdown)
        return await self.end(running)

    def _claimed(self, func: Callable[..., Any], args: tuple[Any, ...]) -> Claimed:
        payload = pack_limited(dumps_payload(self._app.serializer, args, {}), "the arguments")
        values = {
            "id": new_id(),
            "function": f"{func.__module__}.{func.__qualname__}",
            "payload": payload,
            "attempts": 1,
            "max_attempts": 1,
        }
        return Claimed([values.get(name) for name in JOB_COLUMNS])


@contextlib.asynccontextmanager
async def executing(
    kind: type[ProcessWorker] | type[ForkWorker], *, sigterm_grace: float = 5, **options: Any
) -> AsyncIterator[Bench]:
    """The executor of a worker, which leaves nothing behind."""
    app = Werk("host=nowhere.invalid", config={"sigterm_grace": sigterm_grace})
    worker = kind(app, **options)
    executor = worker._executor(Attempts(app.serializer, None))  # type: ignore[arg-type]
    assert isinstance(executor, ProcessExecutor)
    try:
        await executor.start()
        yield Bench(executor, app)
    finally:
        await executor.close()


async def appears(folder: Path, name: str) -> str:
    """Wait until a handler has written a file, and give what is in it."""
    await until((folder / name).exists)
    return (folder / name).read_text()


async def until(condition: Callable[[], object], secs: float = 15) -> None:
    """Wait for something to come true."""
    deadline = time.monotonic() + secs
    while not condition():
        assert time.monotonic() < deadline, f"not true within {secs} s"
        await asyncio.sleep(0.005)


def lives(pid: int | str) -> bool:
    """Whether a process is there, and no zombie."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"
