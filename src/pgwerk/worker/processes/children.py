"""The worker's handle on a child: gives it work, hears what comes of it, has it stopped."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
from collections.abc import Callable
from typing import TypeAlias

from attrs import frozen

from pgwerk.worker.processes import frames, records
from pgwerk.worker.processes.channel import Channel
from pgwerk.worker.processes.fates import Death
from pgwerk.worker.processes.frames import Kind
from pgwerk.worker.processes.packing import Report, unpack_report

logger = logging.getLogger("pgwerk.worker")

STACKS_SECS = 0.5
_QUIET_SECS = 0.05


@frozen
class NotForked:
    """The system refuses to fork a child.

    Attributes:
        reason: Why.
    """

    reason: str


@frozen
class NurseryDied:
    """The nursery has died, and the child was killed for that."""


End: TypeAlias = Report | Death | NotForked | NurseryDied
"""What becomes of a child to which work was given."""


class Child:
    """A child process.

    Args:
        number: What it is called; nobody else ever gets this number.
        sock: The socket to it.
        stacks: The descriptor that its stacks can be read from.
        send_signal: Has it signalled by its parent; with SIGKILL, its process group as well.
        on_stop_worker: Called when a handler wants the worker to stop; told whether at once.

    Attributes:
        pid: Its process id; None as long as that is not known.
        runs: How often it was given work.
        is_usable: Whether it can be given more.
        is_started: Whether it has taken up the work.
        end: What came of the work.
        killed: Why the worker has killed it; None if it has not.
    """

    def __init__(
        self,
        number: int,
        sock: socket.socket,
        stacks: int,
        *,
        send_signal: Callable[[int], None],
        on_stop_worker: Callable[[bool], None],
    ) -> None:
        self.number = number
        self.pid: int | None = None
        self.runs = 0
        self.is_usable = True
        self.is_started = False
        self.killed: str | None = None
        self._send_signal = send_signal
        self._stacks = stacks
        self._on_stop_worker = on_stop_worker
        self._killer: asyncio.TimerHandle | None = None
        self._channel = Channel(sock, self._on_frame, self._on_end)
        self.end: asyncio.Future[End] = asyncio.get_running_loop().create_future()

    @property
    def is_stopping(self) -> bool:
        """Whether what it runs is being stopped."""
        return self._killer is not None

    def give(self, work: bytes) -> None:
        """Give it work."""
        self.runs += 1
        self.is_started = False
        self.end = asyncio.get_running_loop().create_future()
        self._channel.send(frames.framed(Kind.Run, work))

    def order_stop(self, grace_secs: float) -> None:
        """Have what it runs stopped, and have it killed if it does not end in time. The first order counts."""
        self.is_usable = False
        if self._killer is None:
            why = f"because it had not ended {grace_secs:g} s after SIGTERM"
            self._killer = asyncio.get_running_loop().call_later(grace_secs, self.kill, why)
            # The signal is worth nothing without the order, so the order goes first.
            self._channel.send(frames.framed(Kind.Stop), then=lambda: self._send_signal(signal.SIGTERM))

    def kill(self, why: str) -> None:
        """Kill it and its process group."""
        self.is_usable = False
        if not self.end.done():
            self.killed = why
            self._send_signal(signal.SIGKILL)

    def dismiss(self) -> None:
        """It has no more to do, and ends by itself."""
        self.is_usable = False
        if self._killer is not None:
            self._killer.cancel()
        self._channel.close()
        if self._stacks >= 0:
            os.close(self._stacks)
            self._stacks = -1

    def read_rest(self) -> None:
        """Take note of what it has said up to now."""
        self._channel.read_rest()

    def is_gone(self, end: Death | NotForked | NurseryDied) -> None:
        """It has died. What it has said before that counts."""
        self.read_rest()
        self._finish(end)
        self.dismiss()

    async def stacks(self) -> str:
        """The stacks of all its threads, as far as it tells them in time."""
        descriptor = os.dup(self._stacks) if self._stacks >= 0 else -1
        if descriptor < 0:
            return ""
        try:
            _read_all(descriptor)
            self._send_signal(signal.SIGUSR1)
            parts = []
            patience = STACKS_SECS
            while await _until_readable(descriptor, patience) and (data := _read_all(descriptor)):
                parts.append(data)
                patience = _QUIET_SECS
            return _without_own_frames(b"".join(parts).decode("utf-8", "replace"))
        finally:
            os.close(descriptor)

    def _finish(self, end: End) -> None:
        if not self.end.done():
            self.end.set_result(end)

    def _on_frame(self, kind: Kind, body: bytes) -> None:
        if kind is Kind.Started:
            self.is_started = True
            (self.pid,) = frames.PID.unpack(body)
        elif kind is Kind.Record:
            try:
                records.handle(body)
            except Exception:  # the application's own handlers and filters
                logger.exception("a log record of a child process could not be handled")
        elif kind is Kind.StopWorker:
            self._on_stop_worker(bool(body))
        elif kind is Kind.Ended:
            self._finish(unpack_report(body))

    def _on_end(self) -> None:
        """It has closed its end, so it is dying: the nursery is going to tell of what."""
        self.is_usable = False


async def _until_readable(descriptor: int, secs: float) -> bool:
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(descriptor, readable.set)
    try:
        async with asyncio.timeout(secs):
            await readable.wait()
    except TimeoutError:
        return False
    finally:
        loop.remove_reader(descriptor)
    return True


def _read_all(descriptor: int) -> bytes:
    parts = []
    with contextlib.suppress(BlockingIOError):
        while data := os.read(descriptor, 65536):
            parts.append(data)
    return b"".join(parts)


def _without_own_frames(text: str) -> str:
    """Stacks without what lies below every handler: this package, and the command line that starts a nursery."""
    own = ("/pgwerk/worker/", 'File "<string>", line 1 in <module>')
    return "".join(line for line in text.splitlines(keepends=True) if not any(each in line for each in own))
