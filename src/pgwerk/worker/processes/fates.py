"""What a child died of, in words."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import NamedTuple

CRASHED = 70
"""The exit code of a child in which pgwerk itself has failed; the traceback is on its standard error stream."""

_MIB = 1024 * 1024


class Death(NamedTuple):
    """How a child died.

    Attributes:
        status: Its wait status.
        max_memory: How many bytes of memory it had at most.
    """

    status: int
    max_memory: int

    @property
    def was_killed(self) -> bool:
        """Whether it was killed by SIGKILL."""
        return os.WIFSIGNALED(self.status) and os.WTERMSIG(self.status) == signal.SIGKILL

    def describe(self, *, stopped: str | None = None, memory: str = "") -> str:
        """What it died of.

        Args:
            stopped: Why the worker has killed it, if it has.
            memory: What is known about the out-of-memory killer.
        """
        if os.WIFEXITED(self.status):
            code = os.WEXITSTATUS(self.status)
            if code == CRASHED:
                return (
                    f"the child process exited with code {code}, because it could not go on: its standard error stream "
                    "says why; the handler may have closed files that are not its own"
                )
            return f"the child process exited with code {code} without a result; the handler may have called os._exit()"
        reason = f"the child process was killed by {signal_name(os.WTERMSIG(self.status))}"
        if not self.was_killed:
            return reason
        if stopped is not None:
            return f"{reason}, {stopped}"
        return f"{reason}, which this worker did not send; {memory} (it had {self.max_memory / _MIB:.0f} MiB at most)"


def signal_name(number: int) -> str:
    """The name of a signal."""
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"


def memory_in_bytes(maxrss: int) -> int:
    """What `getrusage` calls `ru_maxrss`, in bytes: systems have units of their own for it."""
    return maxrss if sys.platform == "darwin" else maxrss * 1024


class MemoryKills:
    """Watches how often the out-of-memory killer has struck, in the control group and on the machine.

    Args:
        proc: Where the kernel tells about processes.
        groups: Where control groups are mounted.
    """

    def __init__(self, proc: Path = Path("/proc"), groups: Path = Path("/sys/fs/cgroup")) -> None:
        self._machine = proc / "vmstat"
        self._group = next((path for path in _group_files(proc, groups) if _count(path) is not None), None)
        self._before = self._counts()

    def look(self) -> None:
        """What has happened up to now has nothing to do with what comes."""
        self._before = self._counts()

    def verdict(self) -> str:
        """Whether it has struck since the last look. It does not say whom it has killed, so that remains a guess."""
        before, now = self._before, self._counts()
        self._before = now
        if now == (None, None):
            return "it may have been the out-of-memory killer, about which this system tells nothing"
        if _has_grown(before[0], now[0]):
            return "probably by the out-of-memory killer, which has just struck in this control group"
        if _has_grown(before[1], now[1]):
            return "probably by the out-of-memory killer, which has just struck on this machine"
        return "it was not the out-of-memory killer, which has not struck"

    def _counts(self) -> tuple[int | None, int | None]:
        return None if self._group is None else _count(self._group), _count(self._machine)


def _group_files(proc: Path, groups: Path) -> list[Path]:
    """Where the count for our own control group may be found, in either version of control groups."""
    try:
        lines = (proc / "self" / "cgroup").read_text().splitlines()
    except OSError:
        return []
    files = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        folder = path.lstrip("/")
        if not controllers:
            files += [groups / folder / "memory.events", groups / "memory.events"]
        elif "memory" in controllers.split(","):
            # In a container the path may be the one outside of it.
            files += [groups / "memory" / folder / "memory.oom_control", groups / "memory" / "memory.oom_control"]
    return files


def _count(path: Path) -> int | None:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), None)


def _has_grown(before: int | None, now: int | None) -> bool:
    return before is not None and now is not None and now > before
