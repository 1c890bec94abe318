"""Making a `ProcessWorker` or `ForkWorker`, and the parts of them that need no process."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pgwerk import ForkWorker, JSONSerializer, ProcessWorker, Werk
from pgwerk._core.claimed import Claimed
from pgwerk._core.execution import Attempted, Attempts, Work
from pgwerk._core.policy import given_back
from pgwerk._core.rows import JOB_COLUMNS
from pgwerk.worker import BaseWorker
from pgwerk.worker.execution import Interruption, RunKey, Running, judge
from pgwerk.worker.processes import workers
from pgwerk.worker.processes.errors import Stopped
from pgwerk.worker.processes.fates import MemoryKills
from pgwerk.worker.processes.setup import ATTRIBUTES

KINDS = [ProcessWorker, ForkWorker]


class Opaque(JSONSerializer):
    """Cannot be pickled."""

    def __reduce__(self) -> str:
        raise TypeError("not this one")


@pytest.mark.parametrize("kind", KINDS)
def test_refusals(kind: type[ProcessWorker], monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot work is refused when the worker is made, with an error that says what does."""
    with pytest.raises(TypeError, match=r"serializer Opaque cannot be sent .* not this one.* use AsyncWorker"):
        kind(Werk("", serializer=Opaque()))
    monkeypatch.setattr(JSONSerializer, "__module__", "__main__")
    monkeypatch.setattr(sys.modules["__main__"], "JSONSerializer", JSONSerializer, raising=False)
    with pytest.raises(TypeError, match="move it to a module of its own"):
        kind(Werk(""))
    monkeypatch.undo()
    with pytest.raises(TypeError, match="preload"):
        kind(Werk(""), preload="module")
    if kind is ProcessWorker:
        with pytest.raises(ValueError, match="max_jobs_per_child"):
            kind(Werk(""), max_jobs_per_child=0)
        assert kind(Werk(""), max_jobs_per_child=None).max_jobs_per_child is None
    monkeypatch.delattr(os, "fork")
    with pytest.raises(RuntimeError, match=r"needs fork, .* AsyncWorker works here"):
        kind(Werk(""))


def test_options_are_those_of_all_workers() -> None:
    """Every option of `BaseWorker` is one of these as well, and what children are told about a worker exists."""
    parameters = inspect.signature(BaseWorker).parameters.values()
    options = {each.name for each in parameters if each.kind is inspect.Parameter.KEYWORD_ONLY}
    assert options == set(workers.WorkerOptions.__annotations__)
    worker = ForkWorker(Werk(""))
    assert all(hasattr(worker, name) for name in ATTRIBUTES)
    assert isinstance(worker._executor(Attempts(worker.app.serializer, None)), object)  # type: ignore[arg-type]


def test_the_memory_killer_is_named(tmp_path: Path) -> None:
    """That the out-of-memory killer has struck is seen in the control group, in both versions, and on the machine."""
    proc, groups = tmp_path / "proc", tmp_path / "groups"
    for folder in (proc / "self", groups / "ours", groups / "memory" / "old"):
        folder.mkdir(parents=True)
    (proc / "self" / "cgroup").write_text("4:memory:/old\n0::/ours\n")
    new, old, machine = groups / "ours/memory.events", groups / "memory/old/memory.oom_control", proc / "vmstat"
    machine.write_text("pgfault 1\noom_kill 3\n")
    assert "was not the out-of-memory killer" in MemoryKills(proc, groups).verdict()
    for file in (old, new):
        file.write_text("low 0\noom_kill 1\n")
        kills = MemoryKills(proc, groups)
        file.write_text("low 0\noom_kill 2\n")
        assert "struck in this control group" in kills.verdict()
        file.unlink()
    kills = MemoryKills(proc, groups)
    machine.write_text("pgfault 1\noom_kill 4\n")
    assert "struck on this machine" in kills.verdict()
    machine.write_text("pgfault 1\noom_kill 5\n")
    kills.look()
    assert "has not struck" in kills.verdict()
    machine.unlink()
    assert "this system tells nothing" in MemoryKills(proc, groups).verdict()


def test_memory_is_kept_whatever_comes_of_a_run() -> None:
    """What an attempt took of memory stays with it when the worker has the last word about it."""
    claimed = Claimed([1 if name in ("attempts", "max_attempts") else None for name in JOB_COLUMNS])
    attempts = Attempts(JSONSerializer(), None)  # type: ignore[arg-type]
    ran = Attempted(given_back(), Stopped(), 17)
    for reason in (None, *Interruption):
        running = Running(Work(claimed), RunKey("", 1), 60)
        running.interruption = reason
        assert 17 == judge(attempts, running, ran).max_memory


WITHOUT_FORK = """
import os, signal, socket, sys
for module, names in (
    (os, ["fork", "register_at_fork", "wait4", "waitid", "killpg", "setpgid", "WIFEXITED"]),
    (signal, ["SIGKILL", "SIGUSR1", "SIGUSR2", "SIGHUP", "SIGCHLD", "SIGALRM", "pthread_sigmask", "setitimer"]),
    (socket, ["send_fds", "recv_fds", "AF_UNIX"]),
):
    for name in names:
        delattr(module, name)
sys.modules["resource"] = None
from pgwerk import ForkWorker, ProcessWorker, Werk
for kind in (ForkWorker, ProcessWorker):
    try:
        kind(Werk(""))
    except RuntimeError as error:
        print(error)
"""


def test_systems_without_fork() -> None:
    """Where there is no fork, nor what comes with it, the workers can be imported, and say what works there."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    said = subprocess.run([sys.executable, "-c", WITHOUT_FORK], env=env, capture_output=True, text=True, check=True)
    assert ["AsyncWorker works here"] * 2 == [line.rpartition(": ")[2] for line in said.stdout.splitlines()]
