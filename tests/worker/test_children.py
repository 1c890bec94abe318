"""Children of `ProcessWorker` and `ForkWorker`: what they run, what comes back, and what they die of."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from pathlib import Path

import pytest
from tests.worker import child_jobs
from tests.worker.executing import Bench, appears, executing, lives, until

from pgwerk import ForkWorker, ProcessWorker, WerkError
from pgwerk.worker.processes.errors import ChildDied, RemoteError, RemoteTraceback

# A nursery takes half a second to start, so the tests share one of each kind.
pytestmark = [pytest.mark.posix, pytest.mark.asyncio(loop_scope="module")]

KINDS = [ProcessWorker, ForkWorker]


# What comes back


async def test_results_of_any_size(either: Bench) -> None:
    """A result of 50 MB arrives, and so do arguments of that size."""
    assert 50_000_000 == len(await either.value(child_jobs.large, 50_000_000))
    assert 10_000_000 == await either.value(child_jobs.allocate, 10_000_000)
    assert 10_000_000 == await either.value(child_jobs.length, "x" * 10_000_000)


async def test_exceptions_keep_type_and_traceback(either: Bench) -> None:
    """What a handler raises arrives as what it was, with the traceback that it had in the child."""
    attempted = await either.run(child_jobs.explode, "exit")
    assert isinstance(attempted.error, SystemExit)
    assert 3 == attempted.error.code
    assert isinstance(attempted.error.__cause__, RemoteTraceback)
    assert "in explode" in str(attempted.error.__cause__)
    lines = (attempted.outcome.error or "").splitlines()
    assert ("Traceback (most recent call last):", "SystemExit: 3") == (lines[0], lines[-1])
    assert "child_jobs.py" in lines[1]


@pytest.mark.parametrize("func", [child_jobs.explode, child_jobs.explode_async])
async def test_surprises(either: Bench, func: object) -> None:
    """Whatever a handler raises, it ends the attempt with an error that says what it was, and nothing else."""
    expected = {
        "awkward": (RemoteError, "Awkward: 1 and 2"),
        "mute": (child_jobs.Mute, "Mute: <exception str() failed>"),
        "holder": (RemoteError, "Holder: held"),
        "exit": (SystemExit, "SystemExit: 3"),
        "interrupt": (KeyboardInterrupt, "KeyboardInterrupt"),
        "generator": (GeneratorExit, "GeneratorExit"),
        "cancelled": (asyncio.CancelledError, "CancelledError: of its own accord"),
        "local": (RemoteError, "Local: made here"),
    }
    for name, (kind, text) in expected.items():
        attempted = await either.run(func, name)  # type: ignore[arg-type]
        assert kind is type(attempted.error), name
        assert (attempted.outcome.error or "").rstrip().endswith(text), name
    assert "RecursionError: maximum recursion depth exceeded" in await either.error(child_jobs.recurse)
    assert await either.value(child_jobs.pid) != os.getpid()


async def test_remote_error_names_the_type(forks: Bench) -> None:
    """An exception that cannot travel is replaced by one that says what it was."""
    attempted = await forks.run(child_jobs.explode, "holder")
    assert isinstance(attempted.error, WerkError)
    assert "tests.worker.child_jobs.Holder: held" == str(attempted.error)
    assert "in explode" in str(attempted.error.__cause__)


async def test_loops(pool: Bench) -> None:
    """A handler cannot close the loop; what it leaves running ends with it; the next handler finds the same loop."""
    assert "Cannot close a running event loop" in await pool.error(child_jobs.close_loop)
    assert "Event loop stopped before Future completed" in await pool.error(child_jobs.stop_loop)
    loop = await pool.value(child_jobs.leave_task)
    assert [[True], loop] == await pool.value(child_jobs.left_over)
    await pool.value(child_jobs.close_kept_loop)
    assert [[True], loop] != await pool.value(child_jobs.left_over)


async def test_processes_are_put_in_order(pool: Bench) -> None:
    """Working directory, umask, signal handlers and timers that a handler changes are put back for the next one."""
    umask = os.umask(0o022)
    os.umask(umask)
    pid = await pool.value(child_jobs.pid)
    await pool.run(child_jobs.leave_a_mess)
    assert [str(Path.cwd()), umask, True, False] == await pool.value(child_jobs.find_no_mess)
    assert pid == await pool.value(child_jobs.pid)


async def test_each_run_has_a_fork_of_its_own(forks: Bench) -> None:
    """A `ForkWorker` runs nothing in a process that has run something before."""
    pids = [await forks.value(func) for func in (child_jobs.pid, child_jobs.pid_async, child_jobs.pid)]
    assert 3 == len(set(pids))


async def test_children_are_recycled() -> None:
    """A child of a `ProcessWorker` is replaced after `max_jobs_per_child` runs."""
    async with executing(ProcessWorker, max_jobs_per_child=2) as pool:
        a, b, c, d = [await pool.value(child_jobs.pid) for _ in range(4)]
        assert a == b != c == d
        await until(lambda: not lives(a))


async def test_memory_is_recorded(forks: Bench) -> None:
    """What a forked child had of memory at most is told in bytes, also when it died."""
    small = await forks.run(child_jobs.pid)
    large = await forks.run(child_jobs.allocate, 200_000_000)
    dead = await forks.run(child_jobs.dont_return, "exit")
    assert small.max_memory is not None
    assert large.max_memory is not None
    assert dead.max_memory is not None
    assert 5_000_000 < small.max_memory < 190_000_000 < large.max_memory < 500_000_000
    assert 5_000_000 < dead.max_memory < 190_000_000


async def test_logs(either: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """What a handler logs is handled by the worker's loggers, at the worker's levels, with the job's id."""
    running = either.start(child_jobs.log, "hello")
    await either.end(running)
    records = [record for record in caplog.records if record.name == "tests.child_jobs"]
    assert ["with a traceback"] == [record.getMessage() for record in records]
    (record,) = records
    assert "ValueError: shown" in (record.exc_text or "")
    assert "ValueError: shown" in logging.Formatter().format(record)
    assert running.claimed.id == record.job_id  # type: ignore[attr-defined]


async def test_log_levels_are_the_workers(caplog: pytest.LogCaptureFixture) -> None:
    """A logger that the worker's program has set to a level has that level in the children."""
    caplog.set_level(logging.INFO, "tests.child_jobs")
    async with executing(ForkWorker) as forks:
        await forks.run(child_jobs.log, "hello")
    first, _ = [record for record in caplog.records if record.name == "tests.child_jobs"]
    assert ("hello", logging.INFO, 7) == (first.getMessage(), first.levelno, first.number)  # type: ignore[attr-defined]
    assert "somewhere" in first.odd  # type: ignore[attr-defined]


async def test_handlers_may_fork(pool: Bench) -> None:
    """Processes that a handler forks end as it wants, and do not disturb what the child says to the worker."""
    exit_code, pid = await pool.value(child_jobs.fork_on)
    assert -signal.SIGTERM == exit_code
    assert pid == await pool.value(child_jobs.pid)


async def test_stacks(either: Bench, tmp_path: Path) -> None:
    """The stacks of a child that runs something can be seen."""
    running = either.start(child_jobs.note_and_wait, str(tmp_path))
    await appears(tmp_path, "started")
    stacks = await either.executor.stack(running)
    assert "in note_and_wait" in stacks
    assert "in note_and_wait" in await either.executor.stack(running)
    await either.stop(running)
    assert "" == await either.executor.stack(running)


# What children die of


async def test_deaths_have_names(either: Bench) -> None:
    """A child that dies fails its job with an error that says how it died; the next job runs."""
    expected = {
        "exit": "exited with code 3 without a result; the handler may have called os._exit()",
        "well": "exited with code 0 without a result; the handler may have called os._exit()",
        "close": "the handler may have closed files that are not its own",
        "fault": "killed by SIGSEGV",
        "SIGABRT": "killed by SIGABRT",
        "SIGKILL": "killed by SIGKILL, which this worker did not send",
    }
    for way, text in expected.items():
        attempted = await either.run(child_jobs.dont_return, way)
        assert isinstance(attempted.error, ChildDied)
        assert text in (attempted.outcome.error or ""), way
    assert "out-of-memory killer" in await either.error(child_jobs.dont_return, "SIGKILL")
    assert await either.value(child_jobs.pid) != os.getpid()


async def test_only_the_dead_childs_job_is_affected(pool: Bench, tmp_path: Path) -> None:
    """When one child of a pool dies, the jobs in the others go on."""
    going_on = pool.start(child_jobs.wait_for, str(tmp_path), "go")
    await appears(tmp_path, "started")
    assert "SIGKILL" in await pool.error(child_jobs.dont_return, "SIGKILL")
    (tmp_path / "go").touch()
    assert '"go"' == (await pool.end(going_on)).outcome.result


async def test_idle_children_are_replaced(pool: Bench) -> None:
    """A child that is killed while it does nothing is nobody's failure, however early the next job comes."""
    pid = await pool.value(child_jobs.pid)
    os.kill(pid, signal.SIGKILL)
    assert pid != await pool.value(child_jobs.pid)
    pid = await pool.value(child_jobs.pid)
    os.kill(pid, signal.SIGKILL)
    await until(lambda: not pool.executor._idle)
    assert pid != await pool.value(child_jobs.pid)
