"""Handlers for tests of workers with child processes: what they do to their process, and what they find in it."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

from pgwerk import Context

logger = logging.getLogger("tests.child_jobs")

_kept: list[Any] = []


class Awkward(Exception):
    """Can be pickled, but not unpickled."""

    def __init__(self, first: int, second: int) -> None:
        super().__init__(f"{first} and {second}")


class Mute(Exception):
    """Cannot say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


class Holder(Exception):
    """Holds what cannot be pickled."""

    def __init__(self) -> None:
        super().__init__("held")
        self.held = lambda: None


def pid() -> int:
    return os.getpid()


async def pid_async() -> int:
    return os.getpid()


def large(size: int) -> str:
    return "x" * size


def explode(kind: str) -> None:
    """Raise something out of the ordinary."""
    errors: dict[str, Any] = {
        "awkward": lambda: Awkward(1, 2),
        "mute": Mute,
        "holder": Holder,
        "exit": lambda: SystemExit(3),
        "interrupt": KeyboardInterrupt,
        "generator": GeneratorExit,
        "cancelled": lambda: asyncio.CancelledError("of its own accord"),
        "local": lambda: type("Local", (Exception,), {})("made here"),
    }
    raise errors[kind]()


async def explode_async(kind: str) -> None:
    explode(kind)


def recurse() -> None:
    recurse()


def dont_return(way: str) -> None:
    """End the process."""
    if way == "exit":
        os._exit(3)
    if way == "well":
        os._exit(0)
    if way == "fault":
        ctypes.string_at(0)
    if way == "close":
        os.closerange(3, 100)
        return
    os.kill(os.getpid(), getattr(signal, way))
    time.sleep(60)


def note_and_wait(folder: str, name: str = "started") -> None:
    """Write down the process, and wait until somebody stops it; write that down as well."""
    try:
        write(folder, name, os.getpid())
        time.sleep(60)
    finally:
        write(folder, f"cleaned up: {name}", "")


async def note_and_wait_async(folder: str, name: str = "started") -> None:
    """The same, on a loop."""
    try:
        write(folder, name, os.getpid())
        await asyncio.sleep(60)
    finally:
        write(folder, f"cleaned up: {name}", "")


def stubborn(folder: str) -> None:
    """Swallow what should end it, and start a program that goes on."""
    program = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    write(folder, "grandchild", program.pid)
    write(folder, "started", os.getpid())
    while True:
        with contextlib.suppress(BaseException):
            time.sleep(60)


async def stubborn_async(folder: str) -> str:
    """Swallow the cancellation, and return."""
    write(folder, "started", os.getpid())
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.sleep(60)
    return "swallowed"


def wait_for(folder: str, name: str) -> str:
    """Wait for a file."""
    write(folder, "started", os.getpid())
    while not Path(folder, name).exists():
        time.sleep(0.005)
    return name


def leave_a_mess() -> None:
    """Change what can be changed."""
    os.chdir("/")
    os.umask(0)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, signal.SIG_DFL)
    signal.signal(signal.SIGALRM, _raise)
    signal.setitimer(signal.ITIMER_REAL, 0.05)


def find_no_mess() -> list[Any]:
    """What has been changed, as a later handler finds it."""
    umask = os.umask(0)
    os.umask(umask)
    alarm = signal.getsignal(signal.SIGALRM)
    return [str(Path.cwd()), umask, alarm is signal.SIG_DFL, signal.getsignal(signal.SIGTERM) is signal.SIG_IGN]


async def close_loop() -> None:
    asyncio.get_running_loop().close()


async def stop_loop() -> None:
    asyncio.get_running_loop().stop()
    await asyncio.sleep(60)


async def leave_task() -> int:
    """Leave something running on the loop; tell which loop it is."""
    _kept.append(asyncio.create_task(asyncio.sleep(60)))
    await asyncio.sleep(0)
    return id(asyncio.get_running_loop())


def close_kept_loop() -> None:
    """Close the loop of an earlier handler."""
    _kept[0].get_loop().close()


async def left_over() -> list[Any]:
    """What has become of what was left, and the loop."""
    return [[task.cancelled() for task in _kept], id(asyncio.get_running_loop())]


def allocate(size: int) -> int:
    return len(bytearray(b"x") * size)


def length(text: str) -> int:
    return len(text)


def log(text: str) -> None:
    """Log at several levels, from several places."""
    logger.debug("not this")
    logger.info("%s", text, extra={"number": 7, "odd": Path("somewhere")})
    try:
        raise ValueError("shown")
    except ValueError:
        logger.exception("with a traceback")


def fork_on() -> list[Any]:
    """Have processes of its own, which log, and which are terminated."""
    context = multiprocessing.get_context("fork")
    process = context.Process(target=_log_for_ever)
    process.start()
    time.sleep(0.05)
    process.terminate()
    process.join(10)
    return [process.exitcode, os.getpid()]


def about_worker(ctx: Context) -> list[Any]:
    """What the context says about the worker."""
    worker = ctx.worker
    return [worker.id, worker.kind, list(worker.queues), worker.concurrency, type(worker.app).__name__]


async def run_worker(ctx: Context) -> NoReturn:
    await ctx.worker.run()
    raise AssertionError


def stop_worker(ctx: Context) -> str:
    ctx.worker.stop()
    return "stopped"


def nest(ctx: Context) -> None:
    """Make a worker in a job of a worker."""
    from pgwerk import ForkWorker

    ForkWorker(ctx.app)


def called_back(job: Any) -> object:
    """A callback, with a result that goes nowhere."""
    logger.warning("called back for %s", job.function)
    return lambda: None


def write(folder: str, name: str, value: object) -> None:
    """Write a file that is complete as soon as it is there."""
    path = Path(folder, f".{name}")
    path.write_text(str(value))
    path.rename(Path(folder, name))


def _raise(*_: object) -> None:
    raise RuntimeError("an alarm that should have been forgotten")


def _log_for_ever() -> None:
    while True:
        logger.info("from a process of the handler's own")
        time.sleep(0.001)
