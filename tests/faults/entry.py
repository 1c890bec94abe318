"""The nursery: a process that has imported everything, and forks a worker process for each line that it reads.

    python -m tests.faults.entry

A Python that imports pgwerk takes 0.3 s of a processor to start. To have a worker killed and another one started every
0.2 s would take most of a small machine, and workers would hardly get to work. What is forked here is an ordinary
process: the nursery has neither threads nor connections.

It reads one JSON object a line (see `Order`), and writes `started NUMBER PID` and `ended NUMBER CODE`, the code
negative after a signal. When its input ends, it kills what still runs, and ends.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import logging
import os
import select
import signal
import sys
from collections.abc import Iterator
from typing import Any, NoReturn, TypedDict

from tests.faults import clocks

# Before anything is imported that reads the clock, which is why pgwerk is imported below; and here, because children
# that a worker spawns begin by importing this module.
if off := os.environ.get(clocks.OFF_BY):
    clocks.shift(float(off))


IMPORTED = ("pgwerk", "tests.faults.handlers")


class Order(TypedDict):
    """A worker that is to be started.

    Attributes:
        number: What it is called in the answers.
        kind: The kind of worker: "async", "thread" ...
        dsn: The worker's way to the database.
        schema: The schema of pgwerk's tables, and of the effects.
        environment: What handlers find there.
        log: The file that it writes to.
        options: Keyword arguments of the worker.
    """

    number: int
    kind: str
    dsn: str
    schema: str
    environment: dict[str, str]
    log: str
    options: dict[str, Any]


def main() -> None:
    """Start what is ordered, and tell what becomes of it."""
    for name in IMPORTED:
        importlib.import_module(name)
    running: dict[int, int] = {}
    for line in _lines(running):
        order: Order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _become(order)
        running[pid] = order["number"]
        print("started", order["number"], pid, flush=True)
    for pid in running:
        os.kill(pid, signal.SIGKILL)


def _lines(running: dict[int, int]) -> Iterator[bytes]:
    """The lines of the standard input; in between, children that have ended are told of."""
    ready, signalled = os.pipe()
    for end in (ready, signalled):
        os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(signalled, warn_on_full_buffer=False)
    rest = b""
    while True:
        readable, _, _ = select.select([0, ready], [], [])
        if ready in readable:
            with contextlib.suppress(BlockingIOError):
                os.read(ready, 4096)
            _tell_of_ended(running)
        if 0 in readable:
            data = os.read(0, 65536)
            if not data:
                return
            *lines, rest = (rest + data).split(b"\n")
            yield from lines


def _tell_of_ended(running: dict[int, int]) -> None:
    for pid in list(running):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            print("ended", running.pop(pid), os.waitstatus_to_exitcode(status), flush=True)


def _become(order: Order) -> NoReturn:
    """Be the worker, until the process ends."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    os.environ.update(order["environment"])
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        _work(order)
    except Exception:
        logging.getLogger(__name__).exception("the worker has failed")
        sys.exit(1)
    sys.exit(0)


def _work(order: Order) -> None:
    import asyncio

    import pgwerk
    from pgwerk.worker import worker_class

    app = pgwerk.Werk(order["dsn"], schema=order["schema"])
    asyncio.run(worker_class(order["kind"])(app, **order["options"]).run())


if __name__ == "__main__":
    main()
