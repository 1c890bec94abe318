"""The nursery: a process with one thread that forks children and tells how they died. The worker starts it.

It waits, with `poll`, for two things: requests of the worker, and SIGCHLD. Python's own handler for a signal only
runs between two bytecodes, so one that arrives just before `poll` would be noticed too late; the interpreter
therefore writes a byte into a pipe for each signal (`set_wakeup_fd`), and `poll` looks at the pipe.

A dead child is looked at twice. The first look (`waitid` with WNOWAIT) leaves it in the table of processes, so that its
process group can be killed while its id cannot belong to anybody else; only then it is reaped. That is done for
children that were stopped or came to a bad end: what they have started has nobody to report to. What a child that ended
well has left running is meant to run. Where there is no `waitid`, which is on macOS before Python 3.13, a child is
reaped first, and its id is free for the moment that it takes to kill the group.

Signals that are sent to all processes of a service are ignored here. The nursery ends when the worker is gone, which
the socket to it tells, and when the children have ended, by SIGTERM or after `sigterm_grace` seconds by SIGKILL. When
the nursery is killed, the worker kills the children; where that has been killed as well, Linux does.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import mmap
import os
import pickle
import resource
import select
import signal
import socket
import sys
import threading
import time
import traceback
from typing import NoReturn

from pgwerk._core.failures import describe
from pgwerk.worker.processes import frames
from pgwerk.worker.processes.child import flush, live
from pgwerk.worker.processes.fates import CRASHED, memory_in_bytes
from pgwerk.worker.processes.frames import Kind
from pgwerk.worker.processes.records import set_levels
from pgwerk.worker.processes.setup import Setup

_CAN_LOOK_FIRST = hasattr(os, "waitid")
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None

IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
"""Children inherit that, and each is deaf to these signals until it can deal with them."""


def main(descriptor: int) -> None:
    """Be a nursery.

    Args:
        descriptor: The socket to the worker.
    """
    control = socket.socket(fileno=descriptor)
    control.set_inheritable(False)
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    try:
        setup = _receive_setup(control)
        sys.argv[:] = setup.argv
        for module in setup.preload:
            importlib.import_module(module)
    except BaseException as error:  # a module may raise anything while it is imported
        control.sendall(frames.framed(Kind.Failed, describe(error).encode("utf-8", "replace")))
        return
    control.sendall(frames.framed(Kind.Ready, "\n".join(_other_threads()).encode("utf-8", "replace")))
    # Here, and not in each child: to set a level is to go through all loggers that there are.
    set_levels(setup.levels)
    # What modules have printed is not printed by each child again.
    flush()
    # Objects that are never looked at by the collector stay on pages that are shared with all children.
    gc.collect()
    gc.freeze()
    Nursery(control, setup).run()


class Nursery:
    """Forks, signals and buries children.

    Args:
        control: The socket to the worker.
        setup: What children need to know.
    """

    def __init__(self, control: socket.socket, setup: Setup) -> None:
        self._control = control
        self._setup = setup
        self._pids: dict[int, int] = {}
        self._numbers: dict[int, int] = {}
        self._doomed: set[int] = set()
        self._wakeup, self._alarm = os.pipe()
        self._kill_at: float | None = None
        # Children see it, too. That their own sockets to the worker are closed they may see later than we do ours.
        self._orphaned = mmap.mmap(-1, 1)

    def run(self) -> None:
        """Serve until the worker is gone, and all children are."""
        os.set_blocking(self._wakeup, False)
        os.set_blocking(self._alarm, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._alarm, warn_on_full_buffer=False)
        # Not `select`, which knows no descriptors above 1023, and the worker may have many.
        poll = select.poll()
        poll.register(self._wakeup, select.POLLIN)
        poll.register(self._control, select.POLLIN)
        is_served = True
        while is_served or self._pids:
            ready = {descriptor for descriptor, _ in poll.poll(self._patience_ms())}
            if self._wakeup in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wakeup, 4096)
            self._bury()
            if self._control.fileno() in ready and not self._serve():
                is_served = False
                poll.unregister(self._control)
                self._kill_at = time.monotonic() + self._setup.config.sigterm_grace
                self._orphaned[0] = 1
                self._signal_all(signal.SIGTERM)
            if self._kill_at is not None and time.monotonic() >= self._kill_at:
                self._signal_all(signal.SIGKILL)
                self._kill_at += 1.0

    def _patience_ms(self) -> float | None:
        return None if self._kill_at is None else max(0.0, self._kill_at - time.monotonic()) * 1000

    def _serve(self) -> bool:
        """Serve one request; False when the worker is gone."""
        try:
            data, descriptors, _, _ = socket.recv_fds(self._control, frames.REQUEST.size, 2)
            while data and len(data) < frames.REQUEST.size:
                data += self._control.recv(frames.REQUEST.size - len(data))
        except ConnectionError:
            return False
        if not data:
            return False
        request, number, argument = frames.REQUEST.unpack(data)
        if request == frames.FORK:
            self._fork(number, descriptors)
        elif (pid := self._pids.get(number)) is not None:
            self._signal(pid, argument)
        return True

    def _fork(self, number: int, descriptors: list[int]) -> None:
        own = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            self._report(Kind.NotForked, frames.NOT_FORKED.pack(number, error.errno or 0))
            pid = None
        if pid == 0:
            _die_with(own)
            self._become_child(*descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        if pid is not None:
            # Both sides do this, so that it is done whoever is first.
            with contextlib.suppress(OSError):
                os.setpgid(pid, pid)
            self._pids[number] = pid
            self._numbers[pid] = number
            self._report(Kind.Forked, frames.FORKED.pack(number, pid))

    def _become_child(self, channel: int, stacks: int) -> NoReturn:
        """Leave everything that belongs to the nursery behind, and never come back."""
        code = CRASHED
        try:
            os.setpgid(0, 0)
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._control.close()
            os.close(self._wakeup)
            os.close(self._alarm)
            live(channel, stacks, self._setup, lambda: self._orphaned[0] == 1)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)

    def _signal(self, pid: int, number: int) -> None:
        if number in {signal.SIGTERM, signal.SIGKILL}:
            self._doomed.add(pid)
        with contextlib.suppress(ProcessLookupError):
            if number == signal.SIGKILL:
                os.killpg(pid, number)
            else:
                os.kill(pid, number)

    def _signal_all(self, number: int) -> None:
        for pid in self._numbers:
            self._signal(pid, number)

    def _bury(self) -> None:
        """Reap the children that are dead, and report their deaths."""
        while self._numbers and (dead := self._reap()) is not None:
            pid, status, usage = dead
            number = self._numbers.pop(pid, None)
            self._doomed.discard(pid)
            if number is not None:
                del self._pids[number]
                self._report(Kind.Dead, frames.DEAD.pack(number, status, memory_in_bytes(usage.ru_maxrss)))

    def _reap(self) -> tuple[int, int, resource.struct_rusage] | None:
        """A dead child whose group has been seen to: id, status and what it has used; None if there is none."""
        try:
            if not _CAN_LOOK_FIRST:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
                if pid:
                    self._see_to_group(pid, ended_well=status == 0)
                return (pid, status, usage) if pid else None
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return None
        if found is None:
            return None
        self._see_to_group(found.si_pid, ended_well=found.si_code == os.CLD_EXITED and found.si_status == 0)
        return os.wait4(found.si_pid, 0)

    def _see_to_group(self, pid: int, *, ended_well: bool) -> None:
        if pid in self._doomed or not ended_well:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)

    def _report(self, kind: Kind, body: bytes) -> None:
        with contextlib.suppress(ConnectionError):
            self._control.sendall(frames.framed(kind, body))


def _die_with(parent: int) -> None:
    """Have the system kill this process when its parent has died, where it can."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it has died already
            os._exit(CRASHED)


def _receive_setup(control: socket.socket) -> Setup:
    # Nothing else is sent before the answer, so there is nothing that could be read too far.
    parts = frames.Frames()
    while (frame := parts.take_one()) is None:
        data = control.recv(65536)
        if not data:
            raise SystemExit(0)
        parts.feed(data)
    setup: Setup = pickle.loads(frame[1])  # noqa: S301 - the worker has written it
    return setup


def _other_threads() -> list[str]:
    """Threads that there should not be in a process that forks; those that Python does not know have no names."""
    named = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
    try:
        unnamed = len(os.listdir("/proc/self/task")) - 1 - len(named)
    except OSError:  # no Linux
        unnamed = 0
    return [*named, *["a thread of a library in C"] * unnamed]
