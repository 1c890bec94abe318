"""Stopping handlers whose jobs are not to go on: those that are to be aborted, and those that were taken away.

A request to abort is a status in the job's row. It is announced, and looked for now and then as well, as long as
anything runs. The same look finds jobs that were deleted, or rescued by another worker because this one was not heard
of for too long: what their handlers come to could not be settled any more, and may be done a second time elsewhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging

import psycopg

from pgwerk._async.connections import Connection, WerkCursor
from pgwerk._core.arrays import plain
from pgwerk._core.backoff import Backoff
from pgwerk._core.logs import about
from pgwerk._sql import Statements
from pgwerk.worker.execution import Interruption, RunKey
from pgwerk.worker.runs import Runs
from pgwerk.worker.session import Session

logger = logging.getLogger("pgwerk.worker")


class Aborts:
    """Stops what one worker is not to run any more.

    Args:
        session: The connection to look over.
        statements: The statements.
        worker_id: The worker.
        runs: What it runs.
        interval: Seconds between looks.
    """

    def __init__(
        self, session: Session, statements: Statements, worker_id: str, runs: Runs, *, interval: float
    ) -> None:
        self._session = session
        self._statements = statements
        self._worker_id = worker_id
        self._runs = runs
        self._interval = interval
        self._wake = asyncio.Event()
        self._has_begun = asyncio.Event()

    def attend(self) -> None:
        """Something has begun to run: from now on there is a reason to look now and then."""
        self._has_begun.set()

    def look(self) -> None:
        """Look now."""
        self._wake.set()

    def requested(self, job_id: str) -> None:
        """Somebody says that a job is to be aborted, whoever runs it: look, if it is this worker."""
        if any(job_id == running_id for running_id, _ in self._runs.attempts()):
            self.look()

    async def run(self) -> None:
        """Look now and then, until cancelled."""
        backoff = Backoff()
        while True:
            if not self._runs.attempts():
                self._has_begun.clear()
                await self._has_begun.wait()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._interval):
                    await self._wake.wait()
            self._wake.clear()
            if not self._runs.attempts():
                continue
            try:
                async with self._session.use() as connection:
                    await self._look(connection)
                backoff.reset()
            except psycopg.Error as error:
                pause = backoff.next()
                logger.warning("cannot look for abort requests (next try in %.1f s): %s", pause, error)
                await asyncio.sleep(pause)

    async def _look(self, connection: Connection) -> None:
        attempts = self._runs.attempts()
        params = {
            "ids": plain(job_id for job_id, _ in attempts),
            "attempts": plain(attempt for _, attempt in attempts),
            "worker_id": self._worker_id,
        }
        cursor = await WerkCursor(connection).execute(self._statements["find_unwanted"], params, binary=True)
        for job_id, attempt, is_to_be_aborted in await cursor.fetchall():
            running = self._runs.find(RunKey(job_id, attempt))
            if running is None or running.interruption is not None:
                continue
            with about(job_id):
                if is_to_be_aborted:
                    logger.info("stopping job %s, which is to be aborted", job_id)
                    running.interrupt(Interruption.Abort)
                else:
                    logger.warning("stopping job %s, which was taken away from this worker, or deleted", job_id)
                    running.interrupt(Interruption.Lost)
