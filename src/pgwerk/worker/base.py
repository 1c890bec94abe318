"""The workers that users start."""

from __future__ import annotations

import abc
import asyncio
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, TypeVar, cast

from pgwerk._async.client import Werk
from pgwerk._core import checks
from pgwerk._core.allowed import make_allowed
from pgwerk._core.context import Context
from pgwerk._core.execution import Attempts
from pgwerk._core.ids import new_id
from pgwerk._core.models import DequeueStrategy, Job
from pgwerk._sync.client import SyncWerk
from pgwerk.worker.engine import Engine, Settings
from pgwerk.worker.execution import Executor, LoopExecutor, ThreadExecutor
from pgwerk.worker.hooks import ExceptionHandler, Hook, Hooks
from pgwerk.worker.loops import new_runner
from pgwerk.worker.scheduling import AnyScheduler, Companion, check_scheduler

C = TypeVar("C", bound=Callable[..., Any])

SIGNALS = (signal.SIGINT, signal.SIGTERM)
REPORT_SIGNAL: signal.Signals | None = getattr(signal, "SIGUSR1", None)
"""Windows does not have it."""


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
        abort_interval: Seconds between looks for abort requests, while anything runs. They are notified as well.
        shutdown_timeout: Seconds that running jobs are given to end when the worker is stopped.
        dequeue_strategy: From which of several queues the next job is taken.
        burst: Whether to stop when nothing is left to do.
        before_process: A hook, or several: functions that are called with the `Context` before each handler.
        after_process: The same for after each handler; `ctx.exception` is what the attempt failed with, if it did.
        scheduler: A `CronScheduler` or a `SyncCronScheduler` that runs as long as the worker does. A burst begins with
            what is due.
        listen: Whether to listen for notifications; without, the worker polls only.
        handle_signals: Whether SIGINT and SIGTERM stop the worker, and SIGUSR1 makes it report. Only in the main
            thread, and not on top of a program that has its own idea of them.
        exits_hard: A promise that the process ends as soon as the worker has ended, by `os._exit` if
            `has_left_running`. The worker then does not wait for handlers that cannot be stopped once
            `shutdown_timeout` is over: it gives their jobs back, to be started again 10 seconds later.

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
        dequeue_strategy: DequeueStrategy | str = DequeueStrategy.Priority,
        burst: bool = False,
        before_process: Hook | Sequence[Hook] = (),
        after_process: Hook | Sequence[Hook] = (),
        scheduler: AnyScheduler | None = None,
        listen: bool = True,
        handle_signals: bool = True,
        exits_hard: bool = False,
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
        self.dequeue_strategy = _strategy(dequeue_strategy)
        self.burst = checks.flag("burst", burst)
        self.listen = checks.flag("listen", listen)
        self.handle_signals = checks.flag("handle_signals", handle_signals)
        self.scheduler = check_scheduler(scheduler)
        self._companion = Companion(self.scheduler, lambda: self.stop(now=True))
        self.exits_hard = checks.flag("exits_hard", exits_hard)
        self._engine: Engine | None = None
        self._is_running = False
        self._was_signalled = False
        self._connecting: asyncio.Future[None] | None = None
        self._stop_requested = False
        self._loop: asyncio.AbstractEventLoop | None = None
        # Handlers may enqueue: a coroutine through the one, a plain function, which is in a thread, through the other.
        self._werk: Werk = app if isinstance(app, Werk) else app._other_flavour()
        self._sync_werk: SyncWerk = app if isinstance(app, SyncWerk) else app._other_flavour()
        self._hooks = Hooks(self._context, app.serializer)
        for hook in _hooks("before_process", before_process):
            self.add_before_process(hook)
        for hook in _hooks("after_process", after_process):
            self.add_after_process(hook)

    async def run(self) -> None:
        """Run jobs until `stop()` is called, a signal arrives, or in a burst nothing is left to do.

        The client is connected first, and stays connected.

        Raises:
            RuntimeError: The worker has been started or stopped before; a worker runs once.
            psycopg.Error: The database cannot be reached at the start. Later on, the worker waits for it.
        """
        if self._engine is not None or self._stop_requested:
            state = "runs already" if self._is_running else "was stopped" if self._stop_requested else "has run"
            raise RuntimeError(f"this worker {state}, and a worker runs once: make a new one")
        settings = Settings(
            worker_id=self.id,
            kind=self.kind,
            queues=self.queues,
            strategy=self.dequeue_strategy,
            concurrency=self.concurrency,
            heartbeat_interval=self.heartbeat_interval,
            poll_interval=self.poll_interval,
            sweep_interval=self.sweep_interval,
            abort_interval=self.abort_interval,
            shutdown_timeout=self.shutdown_timeout,
            burst=self.burst,
            listen=self.listen,
            exits_hard=self.exits_hard,
        )
        _make_absolute(sys.path)
        self._loop = asyncio.get_running_loop()
        attempts = Attempts(self.app.serializer, self._context, make_allowed(self.app.allowed_functions))
        self._engine = Engine(
            self.app.dsn,
            self.app.config,
            settings,
            attempts,
            self._executor(attempts),
            hooks=self._hooks,
            pooler=self.app.pooler,
            listen_dsn=self.app.listen_dsn,
        )
        self._is_running = True
        try:
            with self._signals() if self.handle_signals else contextlib.nullcontext():
                if await self._connect():
                    async with self._companion.beside(burst=self.burst):
                        await self._engine.run()
        finally:
            self._is_running = False

    @property
    def has_left_running(self) -> bool:
        """Whether handlers or callbacks run; after the end of the worker, those that it could not stop."""
        return self._engine is not None and self._engine.has_left_running

    def stop(self, *, now: bool = False) -> None:
        """Stop: claim nothing more, and end when the running jobs have, or after `shutdown_timeout` give them back.

        May be called from any thread, and more than once. Stopped before `run()`, it never runs.

        Args:
            now: Whether to give back what runs at once, and not to wait for what cannot be stopped. A second SIGTERM or
                SIGINT does the same.
        """
        self._stop_requested = True
        self._companion.stop()
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._on_stop, now)

    def _on_stop(self, now: bool) -> None:
        if self._connecting is not None:
            self._connecting.cancel()
        if self._engine is not None:
            self._engine.stop(now=now)

    async def _connect(self) -> bool:
        """Connect the client; False when the worker was stopped meanwhile."""
        client = self.app
        connect = client.connect() if isinstance(client, Werk) else asyncio.to_thread(client.connect)
        self._connecting = asyncio.ensure_future(connect)
        try:
            await self._connecting
        except asyncio.CancelledError:
            if not self._stop_requested:
                raise
        finally:
            self._connecting = None
        return not self._stop_requested

    def report(self) -> None:
        """Log what runs, since when, with stacks, also while the event loop is blocked. SIGUSR1 does the same.

        May be called from any thread. A worker that does not run has nothing to report.
        """
        if self._engine is not None:
            self._engine.report()

    def run_blocking(self) -> None:
        """Run as `run()` does, on an event loop of its own, for programs that have none.

        Raises:
            RuntimeError: An event loop runs in this thread, or as with `run()`.
        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            pass
        else:
            raise RuntimeError("an event loop runs in this thread: await run() instead")
        with new_runner() as runner:
            runner.run(self.run())

    def add_before_process(self, hook: Hook) -> None:
        """Have a function called with the `Context` before each handler, after those that were added before.

        It may be a coroutine function, or a plain one, which is called in a thread; it is called in the worker's own
        process, whatever the kind of worker. The time-out of the job does not count it. What it raises is logged, and
        changes nothing.

        Raises:
            TypeError: It is not callable.
        """
        self._hooks.before.append(_callable("a before_process hook", hook))

    def add_after_process(self, hook: Hook) -> None:
        """Have a function called with the `Context` after each handler, before its job is settled.

        `ctx.exception` is what the attempt failed with, or what the handler raised when it was stopped; None after a
        success. Else as with `add_before_process`.

        Raises:
            TypeError: It is not callable.
        """
        self._hooks.after.append(_callable("an after_process hook", hook))

    def push_exception_handler(self, handler: ExceptionHandler) -> None:
        """Have a function called with the `Job` and the exception when an attempt has failed.

        The handler that was pushed last is called first. One that returns `False` keeps the others from being called.
        They run before the `after_process` hooks, and else in the same way.

        Raises:
            TypeError: It is not callable.
        """
        self._hooks.on_exception.append(_callable("an exception handler", handler))

    def pop_exception_handler(self) -> ExceptionHandler:
        """Take back the exception handler that was pushed last, and return it.

        Raises:
            IndexError: There is none.
        """
        if not self._hooks.on_exception:
            raise IndexError("no exception handler is left to pop")
        return self._hooks.on_exception.pop()

    @abc.abstractmethod
    def _executor(self, attempts: Attempts) -> Executor:
        """What the kinds differ in: the way in which they run handlers."""

    def _context(self, job: Job, is_coroutine: bool, exception: BaseException | None = None) -> Context:
        app = self._werk if is_coroutine else self._sync_werk
        return Context(app=app, worker=self, job=job, exception=cast(Exception | None, exception))

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Stop on a signal, and put the old handlers back in the end."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._on_signal) for number in SIGNALS}
        if REPORT_SIGNAL is not None:
            before[REPORT_SIGNAL] = signal.signal(REPORT_SIGNAL, lambda *_: self.report())
        try:
            yield
        finally:
            for number, handler in before.items():
                if number == REPORT_SIGNAL and handler is signal.SIG_DFL:
                    # The default is to kill the process, which nobody means who asks a moment too late.
                    handler = signal.SIG_IGN  # noqa: PLW2901 - for this one only
                signal.signal(number, handler)

    def _on_signal(self, *_: object) -> None:
        self.stop(now=self._was_signalled)
        self._was_signalled = True


class AsyncWorker(BaseWorker):
    """Runs coroutine functions on its event loop, and plain functions in threads."""

    kind = "async"

    def _executor(self, attempts: Attempts) -> Executor:
        return LoopExecutor(attempts)


class ThreadWorker(BaseWorker):
    """Runs every handler in a thread, coroutine functions as well: for handlers that block.

    A thread cannot be stopped. A plain function that is aborted, or takes longer than its time-out, keeps its slot and
    its job until it returns, and its result is dropped then. A coroutine can be stopped while it waits for something.
    """

    kind = "thread"

    def _executor(self, attempts: Attempts) -> Executor:
        # Each thread has an event loop of its own, and so would the pools of the application's client.
        self._werk = self._sync_werk._other_flavour() if self._sync_werk is not self.app else self._werk
        return ThreadExecutor(attempts)


def _make_absolute(folders: list[str]) -> None:
    """Have modules be found where they are found now, also after a handler has changed the working directory."""
    folders[:] = map(os.path.abspath, folders)


def _strategy(given: object) -> DequeueStrategy:
    try:
        return DequeueStrategy(given)
    except ValueError:
        names = ", ".join(f"DequeueStrategy.{each.name}" for each in DequeueStrategy)
        raise ValueError(f"dequeue_strategy must be one of {names}, not {given!r}") from None


def _hooks(name: str, given: object) -> list[Any]:
    if callable(given):
        return [given]
    if not isinstance(given, Sequence) or isinstance(given, (str, bytes)):
        raise TypeError(f"{name} must be a function or a list of functions, not {type(given).__name__} ({given!r})")
    return list(given)


def _callable(what: str, func: C) -> C:
    if not callable(func):
        raise TypeError(f"{what} must be a function, not {type(func).__name__} ({func!r})")
    return func


def _interval(name: str, given: float | None, default: float) -> float:
    return checks.seconds(name, default if given is None else given, exclusive=True)
