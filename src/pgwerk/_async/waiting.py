"""Waiting for jobs to end: listen first, then look, then wait, and look again now and then.

The order is what makes it safe. A job that ends before the first look is seen by it; one that ends later is notified,
because it was marked as awaited before that look, and the listener is already there. Where the mark could not be set
(the row was locked at that moment) or the notification does not arrive, the next look by the clock finds it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from pgwerk._async.connections import Connections, WerkCursor
from pgwerk._async.listening import START_SECS, Listener
from pgwerk._core.errors import JobNotFound
from pgwerk._core.models import Job
from pgwerk._core.rows import job_from_row
from pgwerk._core.serializers import Serializer
from pgwerk._sql import Statements


class Waiting:
    """Waits for the jobs of one set of tables."""

    def __init__(
        self, connections: Connections, statements: Statements, listener: Listener, serializer: Serializer
    ) -> None:
        self._connections = connections
        self._statements = statements
        self._listener = listener
        self._serializer = serializer

    async def until_ended(
        self,
        ids: Iterable[str],
        *,
        timeout: float | None,
        poll_interval: float,
        enough: Callable[[Job], bool] | None = None,
    ) -> dict[str, Job]:
        """Wait until all of these jobs have ended, or one of them for which `enough` is true.

        Args:
            ids: The jobs.
            timeout: Seconds to wait at most; None waits for ever.
            poll_interval: Seconds between looks, in case that no notification arrives.
            enough: Decides whether the end of this job ends the waiting; None waits for all of them.

        Returns:
            The jobs that have ended, by id.

        Raises:
            TimeoutError: They have not ended in time.
            JobNotFound: One of them does not exist, or was deleted meanwhile.
        """
        outstanding = dict.fromkeys(ids)
        ended: dict[str, Job] = {}
        deadline = None if timeout is None else time.monotonic() + timeout
        async with self._listener.subscribe(outstanding, START_SECS if timeout is None else timeout) as subscription:
            suspects, mark = list(outstanding), True
            next_look = time.monotonic() + poll_interval
            while True:
                for job in await self._look(suspects, mark=mark):
                    ended[job.id] = job
                    outstanding.pop(job.id, None)
                    if enough is not None and enough(job):
                        return ended
                if not outstanding:
                    return ended
                now = time.monotonic()
                if deadline is not None and now >= deadline:
                    raise TimeoutError(f"{_some(list(outstanding))} did not end within {timeout:g} s")
                wait = next_look - now if deadline is None else min(next_look, deadline) - now
                heard = await subscription.wait(wait)
                if heard:
                    suspects, mark = [job_id for job_id in heard if job_id in outstanding], False
                else:
                    suspects, mark = list(outstanding), True
                    next_look = time.monotonic() + poll_interval

    async def _look(self, ids: list[str], *, mark: bool) -> list[Job]:
        """Those of the jobs that have ended."""
        if not ids:
            return []
        async with self._connections.connection() as connection:
            cursor = WerkCursor(connection)
            if mark:
                await cursor.execute(self._statements["await_jobs"], {"ids": ids})
            await cursor.execute(self._statements["get_ended"], {"ids": ids}, binary=True)
            rows = await cursor.fetchall()
        for wanted_id, *row in rows:
            if row[0] is None:
                raise JobNotFound(wanted_id)
        return [job_from_row(row[1:], self._serializer) for row in rows]


def _some(ids: list[str]) -> str:
    return f"job {ids[0]}" if len(ids) == 1 else f"{len(ids)} jobs, among them {ids[0]},"
