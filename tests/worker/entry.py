"""A worker in a process of its own, from both ends: `WorkerProcess` starts one, and `main` is what it runs.

    python -m tests.worker.entry DSN SCHEMA OPTIONS

OPTIONS are the keyword arguments of `AsyncWorker`, as JSON.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from psycopg import conninfo
from tests.worker import jobs

from pgwerk import AsyncWorker, Werk

ROOT = Path(__file__).parents[2]

_numbers = itertools.count(1)


class WorkerProcess:
    """A worker process.

    Args:
        dsn: Connection string of libpq.
        schema: The schema of pgwerk's tables, and of the ledger.
        folder: Where it writes its log.
        options: Keyword arguments of `AsyncWorker`.

    Attributes:
        name: What the server knows its sessions by.
        pid: Its process id.
    """

    def __init__(self, dsn: str, schema: str, folder: Path, **options: Any) -> None:
        self.name = f"{schema} process {next(_numbers)}"
        self._log = folder / f"{self.name}.log"
        named = conninfo.make_conninfo(dsn, application_name=self.name)
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.worker.entry", named, schema, json.dumps(options)],
                cwd=ROOT,
                # The same pgwerk as in this process, be it installed or not.
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.pid = self._process.pid

    @property
    def exit_code(self) -> int | None:
        """What it ended with; negative after a signal, None while it runs."""
        return self._process.poll()

    @property
    def log(self) -> str:
        """What it has printed."""
        return self._log.read_text(errors="replace")

    def kill(self) -> None:
        """Kill it: it gets to know nothing of that."""
        self._process.kill()
        self._process.wait()

    def terminate(self) -> None:
        """Ask it to stop."""
        self._process.terminate()


async def main(dsn: str, schema: str, options: dict[str, Any]) -> None:
    """Run a worker."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    async with jobs.ledger(dsn, schema):
        await AsyncWorker(Werk(dsn, schema=schema), **options).run()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3])))
