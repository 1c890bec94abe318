"""What a child does: wait for work, run it on the main thread, say what came of it."""

from __future__ import annotations

import contextlib
import contextvars
import inspect
import logging
import os
import resource
import signal
import socket
import sys
from asyncio import AbstractEventLoop
from collections.abc import Callable
from typing import Any

from pgwerk._async.client import Werk
from pgwerk._core.allowed import make_allowed
from pgwerk._core.context import Context
from pgwerk._core.execution import Attempted, Attempts, Call, Ending, Work
from pgwerk._core.logs import current_job
from pgwerk._core.models import Job
from pgwerk._sync.client import SyncWerk
from pgwerk.worker.processes import frames
from pgwerk.worker.processes.errors import carry
from pgwerk.worker.processes.fates import memory_in_bytes
from pgwerk.worker.processes.frames import Kind
from pgwerk.worker.processes.loops import Loop
from pgwerk.worker.processes.packing import Report, pack_report, unpack_work
from pgwerk.worker.processes.records import Forwarder, install
from pgwerk.worker.processes.setup import Setup
from pgwerk.worker.processes.standin import WorkerOfChild
from pgwerk.worker.processes.stopping import Stopper
from pgwerk.worker.processes.surroundings import Surroundings
from pgwerk.worker.processes.talking import Incoming, Outgoing


def live(channel: int, stacks: int, setup: Setup, is_orphaned: Callable[[], bool]) -> None:
    """Be a child until the worker wants nothing more of it.

    Args:
        channel: The socket to the worker.
        stacks: Where stacks are written to on SIGUSR1.
        setup: What there is to know about the worker.
        is_orphaned: Whether the worker is gone.
    """
    Child(socket.socket(fileno=channel), stacks, setup, is_orphaned).run()
    logging.shutdown()
    flush()


class Child:
    """A child process.

    Args:
        channel: The socket to the worker.
        stacks: Where stacks are written to on SIGUSR1.
        setup: What there is to know about the worker.
        is_orphaned: Whether the worker is gone.
    """

    def __init__(self, channel: socket.socket, stacks: int, setup: Setup, is_orphaned: Callable[[], bool]) -> None:
        self._incoming = Incoming(channel)
        self._stopper = Stopper(lambda: is_orphaned() or self._incoming.is_stop_ordered())
        self._outgoing = Outgoing(channel, self._stopper)
        self._forwarder = Forwarder(lambda data: self._outgoing.send(Kind.Record, data))
        install(self._forwarder)
        self._setup = setup
        self._loop = Loop(self._stopper)
        self._clients = Clients(setup, self._loop)
        self._worker = WorkerOfChild(setup.worker, self._clients, self._stop_worker)
        self._attempts = Attempts(setup.serializer, self._context, make_allowed(setup.client["allowed_functions"]))
        self._set_signal_handlers()
        self._surroundings = Surroundings(stacks, self._loop.coroutine, lasting=setup.runs != 1)

    def _stop_worker(self, now: bool) -> None:
        self._outgoing.send(Kind.StopWorker, b"now" if now else b"")

    def run(self) -> None:
        """Run one thing after the other."""
        left = self._setup.runs
        while left != 0 and (frame := self._incoming.next()) is not None:
            kind, body = frame
            if kind is Kind.Stop:
                return
            self._outgoing.send(Kind.Started, frames.PID.pack(os.getpid()))
            self._outgoing.send(Kind.Ended, pack_report(self._run(unpack_work(body))))
            if self._outgoing.is_broken:
                raise OSError(
                    "a handler has closed the socket to the worker, so nothing can be told of what came of it"
                )
            if self._stopper.ordered:
                return
            left = None if left is None else left - 1

    def _run(self, work: Work) -> Report:
        self._forwarder.job_id = work.claimed.id
        ran = self._attempt(work)
        flush()
        error = None if ran.error is None else carry(ran.error)
        # The memory of a process never counts down, so what it says is about all that the process has run.
        usage = resource.getrusage(resource.RUSAGE_SELF)
        max_memory = memory_in_bytes(usage.ru_maxrss) if self._setup.runs == 1 else None
        self._forwarder.job_id = None
        return Report(ran.outcome if isinstance(ran, Attempted) else None, error, max_memory)

    def _attempt(self, work: Work) -> Attempted | Ending:
        call: Call | None = None
        try:
            try:
                self._stopper.arm()
                self._setup.check_importable(work.function)
                call = self._attempts.begin(work)
                ending = Ending(contextvars.copy_context().run(self._call, call, work.claimed.id))
            finally:
                # `Stopped` can still be raised before this line has been run. After it, it cannot.
                self._stopper.disarm()
                self._surroundings.put_back()
        except BaseException as error:  # whatever it is, it ends this run and not the process
            if call is None:
                return self._attempts.not_begun(work, error)
            ending = Ending(error=error)
        try:
            return self._attempts.end(work, call, ending)
        except BaseException as error:  # the serializer is the user's own, too
            return self._attempts.not_begun(work, error)

    def _call(self, call: Call, job_id: str) -> Any:
        current_job.set(job_id)
        result = call.func(*call.args, **call.kwargs)
        # A plain function may hand back a coroutine, of a decorator's making for instance.
        return self._loop.run(result) if call.is_coroutine or inspect.isawaitable(result) else result

    def _context(self, job: Job, is_coroutine: bool) -> Context:
        app = self._clients.asyncio() if is_coroutine else self._clients.blocking()
        return Context(app=app, worker=self._worker, job=job)

    def _set_signal_handlers(self) -> None:
        # Functions rather than SIG_IGN, which programs that a handler starts would inherit.
        signal.signal(signal.SIGTERM, self._stopper.on_sigterm)
        signal.signal(signal.SIGINT, _ignore)
        signal.signal(signal.SIGHUP, _ignore)
        os.register_at_fork(after_in_child=_forget_signal_handlers)


class Clients:
    """The clients for handlers, made when the first one wants them.

    Args:
        setup: How to make them.
        loop: The loop that the asyncio client is used on.
    """

    def __init__(self, setup: Setup, loop: Loop) -> None:
        self._setup = setup
        self._loop = loop
        self._blocking: SyncWerk | None = None
        self._asyncio: tuple[AbstractEventLoop, Werk] | None = None

    def blocking(self) -> SyncWerk:
        """For plain functions."""
        if self._blocking is None:
            self._blocking = SyncWerk(
                config=self._setup.config, serializer=self._setup.serializer, **self._setup.client
            )
        return self._blocking

    def asyncio(self) -> Werk:
        """For coroutine functions. It belongs to one loop."""
        loop = self._loop.open()
        if self._asyncio is None or self._asyncio[0] is not loop:
            client = Werk(config=self._setup.config, serializer=self._setup.serializer, **self._setup.client)
            self._asyncio = loop, client
        return self._asyncio[1]


def flush() -> None:
    """Pass on what handlers have printed: a child may be killed at any time."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # a handler may have closed it or put anything in its place
            stream.flush()


def _ignore(*_: object) -> None:
    """SIGINT is for the worker, which decides what becomes of its jobs."""


def _forget_signal_handlers() -> None:
    """A process that a handler has forked ends as any other does."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
