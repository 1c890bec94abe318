"""Looking around: what an idle worker asks at each poll interval, in one statement.

Only what the answer names is done then: jobs that are due are promoted, callbacks that are owed are taken up, jobs that
are ready are claimed. So a worker that has nothing to do opens no transaction and locks nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from pgwerk._async.connections import Connection, WerkCursor
from pgwerk._sql import Statements


@frozen
class Seen:
    """What there is to do.

    Attributes:
        due_in: Seconds until a scheduled job is due, negative when one is; None when there is none.
        owed_in: Seconds until a callback has to be called, negative when one has to be now; None when there is none.
        is_ready: Whether the queues hold anything that is ready, other workers' locks and running groups aside.
    """

    due_in: float | None
    owed_in: float | None
    is_ready: bool


async def look_around(connection: Connection, statements: Statements, queues: Sequence[str]) -> Seen:
    """Look what there is to do for a worker of these queues."""
    cursor = await WerkCursor(connection).execute(statements["look_around"], {"queues": list(queues)}, binary=True)
    (row,) = await cursor.fetchall()
    return Seen(*row)


def until(secs: float | None, most: float) -> float:
    """How long to wait for what comes after so many seconds, if it comes, and at most."""
    return most if secs is None else min(most, max(secs, 0.0))
