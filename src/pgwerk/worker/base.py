"""The workers that users start."""

from __future__ import annotations

import abc
import asyncio
import contextlib
import signal
import threading
from collections.abc import Iterator, Sequence
from typing import ClassVar

from pgwerk._async.client import Werk
from pgwerk._core import checks
from pgwerk._core.allowed import make_allowed
from pgwerk._core.context import Context
from pgwerk._core.execution import Attempts
from pgwerk._core.ids import new_id
from pgwerk._core.models import Job
from pgwerk._sync.client import SyncWerk
from pgwerk.worker.engine import Engine, Settings
from pgwerk.worker.execution import Executor, LoopExecutor

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class BaseWorker(abc.ABC):
    """What all kinds of workers have in common.

    Args:
        app: The client whose jobs to run, of either flavour.
        queues: The queues to take jobs from.
        concurrency: How many jobs run at one time.
        heartbeat_interval: Seconds between heartbeats. Three times as long is the lease: jobs of a worker that was not
            heard of for that long are given to others.
        poll_interval: Seconds between looks for work while nothing is notified.
        sweep_interval: Seconds between sweeps.
        abort_interval: Seconds between looks for abort requests. Nothing can be aborted yet, so nothing looks.
        shutdown_timeout: Seconds that running jobs are given to end when the worker is stopped.
        burst: Whether to stop when nothing is left to do.
        listen: Whether to listen for notifications; without, the worker polls only.
        handle_signals: Whether SIGINT and SIGTERM stop the worker. Only in the main thread, and not on top of a program
            that has its own idea of them.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: An argument has a value that makes no sense.
    """

    kind: ClassVar[str]

    def __init__(
        self,
        app: Werk | SyncWerk,
        queues: Sequence[str] = ("default",),
        concurrency: int = 10,
        *,
        heartbeat_interval: float | None = None,
        poll_interval: float | None = None,
        sweep_interval: float | None = None,
        abort_interval: float | None = None,
        shutdown_timeout: float | None = None,
        burst: bool = False,
        listen: bool = True,
        handle_signals: bool = True,
    ) -> None:
        if not isinstance(app, (Werk, SyncWerk)):
            raise TypeError(f"app must be a Werk or a SyncWerk, not {type(app).__name__}")
        config = app.config
        self.app = app
        self.id = new_id()
        self.queues = tuple(checks.strings("queues", queues, max_bytes=checks.QUEUE_BYTES))
        self.concurrency = checks.whole("concurrency", concurrency, minimum=1, maximum=10_000)
        self.heartbeat_interval = _interval("heartbeat_interval", heartbeat_interval, config.heartbeat_interval)
        self.poll_interval = _interval("poll_interval", poll_interval, config.poll_interval)
        self.sweep_interval = _interval("sweep_interval", sweep_interval, config.sweep_interval)
        self.abort_interval = _interval("abort_interval", abort_interval, config.abort_interval)
        self.shutdown_timeout = checks.seconds(
            "shutdown_timeout", config.shutdown_timeout if shutdown_timeout is None else shutdown_timeout
        )
        self.burst = checks.flag("burst", burst)
        self.listen = checks.flag("listen", listen)
        self.handle_signals = checks.flag("handle_signals", handle_signals)
        self._engine: Engine | None = None
        self._stop_requested = False
        self._loop: asyncio.AbstractEventLoop | None = None
        # Handlers may enqueue: a coroutine through the one, a plain function, which is in a thread, through the other.
        self._werk: Werk = app if isinstance(app, Werk) else app._other_flavour()
        self._sync_werk: SyncWerk = app if isinstance(app, SyncWerk) else app._other_flavour()

    async def run(self) -> None:
        """Run jobs until `stop()` is called, a signal arrives, or in a burst nothing is left to do.

        The client is connected first, and stays connected.

        Raises:
            RuntimeError: The worker has been started before; a worker runs once.
            psycopg.Error: The database cannot be reached at the start. Later on, the worker waits for it.
        """
        if self._engine is not None:
            raise RuntimeError("a worker runs once: make a new one")
        settings = Settings(
            worker_id=self.id,
            kind=self.kind,
            queues=self.queues,
            concurrency=self.concurrency,
            heartbeat_interval=self.heartbeat_interval,
            poll_interval=self.poll_interval,
            sweep_interval=self.sweep_interval,
            shutdown_timeout=self.shutdown_timeout,
            burst=self.burst,
            listen=self.listen,
        )
        self._loop = asyncio.get_running_loop()
        attempts = Attempts(self.app.serializer, self._context, make_allowed(self.app.allowed_functions))
        self._engine = Engine(
            self.app.dsn,
            self.app.config,
            settings,
            attempts,
            self._executor(attempts),
            pooler=self.app.pooler,
            listen_dsn=self.app.listen_dsn,
        )
        if self._stop_requested:
            self._engine.stop()
        if isinstance(self.app, Werk):
            await self.app.connect()
        else:
            await asyncio.to_thread(self.app.connect)
        with self._signals() if self.handle_signals else contextlib.nullcontext():
            await self._engine.run()

    def stop(self) -> None:
        """Stop: claim nothing more, and end when the running jobs have. Called again, end at once.

        May be called from any thread. Before `run()`, it makes that return as soon as it is called.
        """
        self._stop_requested = True
        if self._engine is not None and self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._engine.stop)

    @abc.abstractmethod
    def _executor(self, attempts: Attempts) -> Executor:
        """What the kinds differ in: the way in which they run handlers."""

    def _context(self, job: Job, is_coroutine: bool) -> Context:
        return Context(app=self._werk if is_coroutine else self._sync_werk, worker=self, job=job)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Stop on a signal, and put the old handlers back in the end."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, lambda *_: self.stop()) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class AsyncWorker(BaseWorker):
    """Runs coroutine functions on its event loop, and plain functions in threads."""

    kind = "async"

    def _executor(self, attempts: Attempts) -> Executor:
        return LoopExecutor(attempts)


def _interval(name: str, given: float | None, default: float) -> float:
    return checks.seconds(name, default if given is None else given, exclusive=True)
