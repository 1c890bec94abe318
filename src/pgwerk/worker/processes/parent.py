"""The worker's handle on its nursery: starts it, has children forked, and hears of their deaths."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
import pickle
import signal
import socket
import subprocess
import sys
from collections.abc import Callable

from pgwerk._core.failures import exception_line
from pgwerk.worker.processes import frames
from pgwerk.worker.processes.channel import Channel
from pgwerk.worker.processes.children import Child, NotForked, NurseryDied
from pgwerk.worker.processes.fates import Death
from pgwerk.worker.processes.frames import Kind
from pgwerk.worker.processes.setup import Setup, search_path

_BOOT = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[2]); "
    "from pgwerk.worker.processes.nursery import main; main(int(sys.argv[1]))"
)


class NurseryError(RuntimeError):
    """The nursery could not be started."""


class Nursery:
    """The process that forks the children.

    Args:
        setup: What children need to know.
        on_death: Called with each child that has died or could not be forked.
        on_stop_worker: Called when a handler wants the worker to stop; told whether at once.
    """

    def __init__(
        self,
        setup: Setup,
        *,
        on_death: Callable[[Child], None],
        on_stop_worker: Callable[[bool], None],
    ) -> None:
        self._setup = setup
        self._on_death = on_death
        self._on_stop_worker = on_stop_worker
        self._children: dict[int, Child] = {}
        self._last_number = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: Channel | None = None
        self._ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._ended = asyncio.Event()

    @property
    def is_alive(self) -> bool:
        """Whether it can fork children."""
        return self._channel is not None and not self._ended.is_set()

    @property
    def pid(self) -> int | None:
        """Its process id."""
        return None if self._process is None else self._process.pid

    async def start(self) -> list[str]:
        """Start it.

        Returns:
            The threads that run in it, although none should.

        Raises:
            NurseryError: It cannot do its work.
            OSError: It could not be started.
        """
        if not sys.executable:
            raise NurseryError("child processes need a Python interpreter, and sys.executable names none")
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                self._process = _launch(theirs.fileno())
            except BaseException:
                ours.close()
                raise
        self._channel = Channel(ours, self._on_frame, self._on_end)
        self._channel.send(frames.framed(Kind.Setup, pickle.dumps(self._setup)))
        try:
            return (await self._ready).splitlines()
        except BaseException:
            self.kill()
            raise

    def fork(self) -> Child:
        """Have a child forked. It can be given work at once.

        Raises:
            OSError: There are too many open files.
        """
        self._last_number += 1
        ours, theirs = socket.socketpair()
        try:
            readable, writable = os.pipe()
        except OSError:
            ours.close()
            theirs.close()
            raise
        os.set_blocking(readable, False)
        # A child never waits because nobody reads its stacks.
        os.set_blocking(writable, False)
        child = Child(
            self._last_number,
            ours,
            readable,
            send_signal=functools.partial(self._signal, self._last_number),
            on_stop_worker=self._on_stop_worker,
        )
        self._children[child.number] = child
        self._request(frames.FORK, child.number, 0, theirs.detach(), writable)
        return child

    async def close(self, patience_secs: float) -> None:
        """Let it end; it sees to it that its children do.

        Args:
            patience_secs: Seconds that it may take.
        """
        try:
            for child in self._children.values():
                child.dismiss()
            if self._channel is not None:
                self._channel.end()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(patience_secs):
                        await self._ended.wait()
        finally:
            self.kill()

    def kill(self) -> None:
        """Kill it and its children, if it is still there."""
        if self._process is not None and self._process.poll() is None:
            self._kill_children()
            self._process.kill()
            self._process.wait()
        if self._channel is not None:
            self._channel.close()
        self._bury()

    def _signal(self, number: int, signal_number: int) -> None:
        self._request(frames.SIGNAL, number, signal_number)

    def _request(self, request: int, number: int, argument: int, *descriptors: int) -> None:
        if self._channel is not None and not self._ended.is_set():
            self._channel.send(frames.REQUEST.pack(request, number, argument), descriptors)
        else:
            for descriptor in descriptors:
                os.close(descriptor)

    def _on_frame(self, kind: Kind, body: bytes) -> None:
        if kind is Kind.Ready:
            self._ready.set_result(body.decode("utf-8", "replace"))
        elif kind is Kind.Failed:
            text = body.decode("utf-8", "replace")
            error = NurseryError(f"the process that forks the children cannot start: {exception_line(text)}")
            error.add_note(text)
            self._ready.set_exception(error)
        elif kind is Kind.Forked:
            number, pid = frames.FORKED.unpack(body)
            self._children[number].pid = pid
        elif kind is Kind.NotForked:
            number, error = frames.NOT_FORKED.unpack(body)
            self._take_off(number, NotForked(os.strerror(error)))
        elif kind is Kind.Dead:
            number, status, max_memory = frames.DEAD.unpack(body)
            self._take_off(number, Death(status, max_memory))

    def _take_off(self, number: int, end: Death | NotForked | NurseryDied) -> None:
        child = self._children.pop(number)
        child.is_gone(end)
        self._on_death(child)

    def _on_end(self) -> None:
        """It has died, or has ended because it was told to."""
        if not self._ready.done():
            self._ready.set_exception(NurseryError("the process that forks the children died at its start"))
        self._kill_children()
        if self._process is not None:
            # It has closed its files, so the rest of its end takes no time.
            self._process.wait()
        self._bury()

    def _kill_children(self) -> None:
        # Without their parent, init reaps them. One that has died in this very moment may be gone already; that
        # its number belongs to another process group by now takes more than the moment that it takes to get here.
        for child in self._children.values():
            child.read_rest()
            if child.pid is not None:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(child.pid, signal.SIGKILL)

    def _bury(self) -> None:
        self._ended.set()
        for number in list(self._children):
            self._take_off(number, NurseryDied())


def _launch(descriptor: int) -> subprocess.Popen[bytes]:
    options: list[str] = getattr(subprocess, "_args_from_interpreter_flags", list)()
    return subprocess.Popen(  # noqa: S603 - our own program, by our own interpreter
        [sys.executable, *options, "-c", _BOOT, str(descriptor), json.dumps(search_path())],
        stdin=subprocess.DEVNULL,
        pass_fds=[descriptor],
        # Ctrl-C in a terminal is for the worker.
        process_group=0,
    )
