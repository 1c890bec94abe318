"""Children of `ProcessWorker` and `ForkWorker`: how they are stopped, and what becomes of them without their worker."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.worker import child_jobs
from tests.worker.executing import Bench, appears, executing, lives, until

from pgwerk import ForkWorker, ProcessWorker
from pgwerk.worker.execution import Interruption
from pgwerk.worker.processes.errors import Stopped
from pgwerk.worker.processes.parent import NurseryError

# A nursery takes half a second to start, so the tests share one of each kind.
pytestmark = [pytest.mark.posix, pytest.mark.asyncio(loop_scope="module")]

KINDS = [ProcessWorker, ForkWorker]


# Stopping


async def test_plain_functions_can_be_stopped(either: Bench, tmp_path: Path) -> None:
    """A plain function that is stopped cleans up, and the error shows where it was."""
    running = either.start(child_jobs.note_and_wait, str(tmp_path))
    pid = await appears(tmp_path, "started")
    attempted = await either.stop(running)
    assert isinstance(attempted.error, Stopped)
    assert "in note_and_wait" in (attempted.outcome.error or "")
    assert (tmp_path / "cleaned up: started").exists()
    # It may have been left in any state.
    await until(lambda: not lives(pid))


async def test_coroutines_are_cancelled(either: Bench, tmp_path: Path) -> None:
    """A coroutine that is stopped is cancelled."""
    running = either.start(child_jobs.note_and_wait_async, str(tmp_path))
    pid = await appears(tmp_path, "started")
    assert isinstance((await either.stop(running)).error, asyncio.CancelledError)
    assert (tmp_path / "cleaned up: started").exists()
    await until(lambda: not lives(pid))


async def test_swallowed_cancellation(either: Bench, tmp_path: Path) -> None:
    """A coroutine that returns although it was cancelled has returned."""
    running = either.start(child_jobs.stubborn_async, str(tmp_path))
    await appears(tmp_path, "started")
    assert '"swallowed"' == (await either.stop(running)).outcome.result


async def test_who_does_not_stop_is_killed(either: Bench, tmp_path: Path) -> None:
    """A handler that swallows SIGTERM is killed after the grace, with the programs that it has started."""
    running = either.start(child_jobs.stubborn, str(tmp_path))
    pid, grandchild = await appears(tmp_path, "started"), await appears(tmp_path, "grandchild")
    assert lives(grandchild)
    attempted = await either.stop(running)
    assert "killed by SIGKILL, because it had not ended 1 s after SIGTERM" in str(attempted.error)
    await until(lambda: not (lives(pid) or lives(grandchild)))


async def test_sigterm_of_somebody_else(either: Bench, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A SIGTERM to all processes, as service managers send it, does not stop what the worker lets go on."""
    running = either.start(child_jobs.wait_for, str(tmp_path), "go")
    pid = int(await appears(tmp_path, "started"))
    for number in (signal.SIGTERM, signal.SIGINT):
        os.kill(either.nursery, number)
        os.kill(pid, number)
    await until(lambda: "a SIGTERM that its worker has not ordered" in caplog.text)
    (tmp_path / "go").touch()
    assert '"go"' == (await either.end(running)).outcome.result
    assert lives(either.nursery)


async def test_stop_at_the_very_start(either: Bench, tmp_path: Path) -> None:
    """An order to stop that overtakes the work is obeyed, whenever it comes."""
    for pause in (0, 0.0005, 0.002, 0.005):
        running = either.start(child_jobs.note_and_wait, str(tmp_path))
        await asyncio.sleep(pause)
        running.interrupt(Interruption.Abort)
        attempted = await either.end(running)
        assert attempted.error is not None
        assert "SIGKILL" not in str(attempted.error)


async def test_abandoning_kills_at_once(tmp_path: Path) -> None:
    """When the worker is told to leave, nothing is waited for."""
    async with executing(ForkWorker, sigterm_grace=60) as forks:
        running = forks.start(child_jobs.stubborn, str(tmp_path))
        pid = await appears(tmp_path, "started")
        running.interrupt(Interruption.Shutdown)
        forks.executor.abandon()
        assert "because the worker was told to end at once" in str((await forks.end(running)).error)
        await until(lambda: not lives(pid))


# The nursery


async def test_a_dead_nursery_is_replaced(either: Bench, tmp_path: Path) -> None:
    """When the nursery dies, what runs fails with an error that says so and goes on nowhere; the next job runs."""
    running = either.start(child_jobs.note_and_wait, str(tmp_path))
    pid = await appears(tmp_path, "started")
    before = either.nursery
    os.kill(before, signal.SIGKILL)
    assert "the process that forks the children had died" in str((await either.end(running)).error)
    await until(lambda: not lives(pid))
    assert await either.value(child_jobs.pid) != os.getpid()
    assert before != either.nursery


PROGRAM = """
import asyncio, sys
from tests.worker import child_jobs
from tests.worker.executing import executing
from pgwerk import ForkWorker, ProcessWorker

async def main():
    async with executing(getattr(sys.modules["pgwerk"], sys.argv[1]), sigterm_grace=1) as bench:
        print(bench.nursery, flush=True)
        await asyncio.gather(
            bench.run(child_jobs.note_and_wait, sys.argv[2], "waits"),
            bench.run(child_jobs.note_and_wait_async, sys.argv[2], "waits on a loop"),
            bench.run(child_jobs.stubborn, sys.argv[2]),
            bench.run(child_jobs.pid),
        )

asyncio.run(main())
"""


@pytest.mark.parametrize("kind", ["ProcessWorker", "ForkWorker"])
async def test_children_do_not_outlive_the_worker(kind: str, tmp_path: Path) -> None:
    """When the worker is killed, all its children end: by SIGTERM those that can, by SIGKILL the others."""
    with started(PROGRAM, kind, str(tmp_path)) as own:
        assert own.stdout is not None
        nursery = int(own.stdout.readline())
        names = ("waits", "waits on a loop", "started", "grandchild")
        pids: list[int | str] = [nursery, *[await appears(tmp_path, name) for name in names], *children_of(nursery)]
        own.kill()
    await until(lambda: not any(lives(pid) for pid in pids))
    assert (tmp_path / "cleaned up: waits").exists()
    assert (tmp_path / "cleaned up: waits on a loop").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux kills children together with their parent")
async def test_children_outlive_nobody(tmp_path: Path) -> None:
    """When worker and nursery are killed at once, the system kills the children."""
    with started(PROGRAM, "ForkWorker", str(tmp_path)) as own:
        assert own.stdout is not None
        nursery = int(own.stdout.readline())
        names = ("waits", "waits on a loop", "started")
        pids = [await appears(tmp_path, name) for name in names]
        os.kill(own.pid, signal.SIGSTOP)
        os.kill(nursery, signal.SIGKILL)
        own.kill()
    await until(lambda: not any(lives(pid) for pid in pids))


async def test_nothing_is_left_over(tmp_path: Path) -> None:
    """A worker that has ended leaves no process and no open file, whatever was going on."""

    def found() -> tuple[int, list[str]]:
        return len(os.listdir("/proc/self/fd")), children_of(os.getpid())

    before = found()
    kinds: list[type[ProcessWorker] | type[ForkWorker]] = [ProcessWorker, ForkWorker]
    for kind in kinds:
        async with executing(kind, sigterm_grace=0.2) as bench:
            await asyncio.gather(*(bench.run(child_jobs.dont_return, way) for way in ("exit", "SIGKILL")))
            await asyncio.gather(*(bench.value(child_jobs.pid) for _ in range(5)))
            running = bench.start(child_jobs.note_and_wait, str(tmp_path), kind.kind)
            pid = await appears(tmp_path, kind.kind)
            await bench.executor.stack(running)
        assert (await bench.end(running)).error is not None
        await until(lambda pid=pid: not lives(pid))  # type: ignore[misc]
    assert before == found()


async def test_cancelled_while_closing(tmp_path: Path) -> None:
    """Whoever cancels the end of the worker does not want to wait, and nothing is left over all the same."""
    async with executing(ForkWorker, sigterm_grace=60) as forks:
        running = forks.start(child_jobs.stubborn, str(tmp_path))
        pid = await appears(tmp_path, "started")
        closing = asyncio.create_task(forks.executor.close())
        await asyncio.sleep(0.05)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        await until(lambda: not lives(pid))
        assert not lives(forks.nursery)
        assert (await forks.end(running)).error is not None


async def test_refused_forks_are_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    """While the system refuses to fork, a job waits; it does not fail for that."""
    async with executing(ForkWorker, preload=["tests.worker.no_fork"]) as forks:
        assert await forks.value(child_jobs.pid) != os.getpid()
    assert 2 == caplog.text.count("the system refused to fork a child process")


async def test_no_file_left_to_open(caplog: pytest.LogCaptureFixture) -> None:
    """While the worker cannot open any more files, a job waits. It may have more than `select` can deal with."""
    async with executing(ForkWorker) as forks, contextlib.AsyncExitStack() as stack:
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (1200, before[1]))
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, before)
        files: list[int] = []
        with contextlib.suppress(OSError):
            while True:
                files.append(os.open(os.devnull, os.O_RDONLY))
                stack.callback(os.close, files[-1])
        waiting = forks.start(child_jobs.pid)
        await until(lambda: "cannot fork a child process" in caplog.text)
        resource.setrlimit(resource.RLIMIT_NOFILE, (1300, before[1]))
        assert (await forks.end(waiting)).error is None
        async with executing(ProcessWorker) as second:
            assert max(files) > 1024
            assert await second.value(child_jobs.pid) != os.getpid()


async def test_preload_of_what_is_not_there() -> None:
    """A module that cannot be preloaded keeps the worker from starting, and the error shows why."""
    with pytest.raises(NurseryError, match=r"No module named 'tests\.worker\.nowhere'"):
        async with executing(ForkWorker, preload=["tests.worker.nowhere"]):
            raise AssertionError


async def test_preload_of_threads(caplog: pytest.LogCaptureFixture) -> None:
    """A preloaded module that starts threads is warned about."""
    async with executing(ForkWorker, preload=["tests.worker.threaded"]):
        assert "a thread of a module" in caplog.text


def started(program: str, *args: str) -> subprocess.Popen[bytes]:
    """A program in a process of its own, with the same modules as here."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.Popen([sys.executable, "-c", program, *args], env=env, stdout=subprocess.PIPE)


def children_of(pid: int) -> list[str]:
    """The processes that a process has started."""
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
