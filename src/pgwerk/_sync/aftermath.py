# Generated from src/pgwerk/_async/aftermath.py by `python tools/unasync_build.py`.
# Do not edit: change that file and run the command again.

"""What follows when jobs have ended: those that waited for them go on, or fail as well, and rows that are not kept go.

All of this happens after the end has been committed, in statements of their own. A job that waits for several others is
judged in a snapshot that is younger than the end which was the reason to look, so whoever ends the last parent sees all
of them (judge_waiting.sql tells what would happen otherwise). A verdict never has to be taken back: what a parent has
come to, it has come to. So it takes no lock to reach one, and a single statement carries it out.

Nobody waits for a row that somebody else holds: it is skipped, and looked at again a little later. Whoever dies on the
way leaves jobs waiting that have nothing left to wait for; the sweep finds them.

    ended ──> their children ──> judged ──┬─> released: queued, or scheduled
      ^                                   └─> failed ──┬─> (as a parent that has ended)
      └────────────────────────────────────────────────┘
    removable ──> deleted ──> children freed of them ──> judged
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterable, Sequence
from typing import Any

import psycopg
from attrs import define, field

from pgwerk._core.arrays import plain, quoted
from pgwerk._core.ids import FIRST_ID
from pgwerk._core.models import JobStatus
from pgwerk._core.policy import dependency_failed
from pgwerk._sync import _compat
from pgwerk._sync.connections import Connection
from pgwerk._sync.sending import Sender
from pgwerk._sync.transactions import patiently

logger = logging.getLogger("pgwerk.dependencies")

BATCH = 500
TRIES = 100
PAUSE_SECS = 0.02


@define
class Changes:
    """What was done.

    Attributes:
        released: Jobs that wait no more, and can be claimed or are scheduled.
        failed: Jobs that failed because of one that they depend on.
        removed: Jobs whose rows were deleted.
    """

    released: list[str] = field(factory=list)
    failed: list[str] = field(factory=list)
    removed: list[str] = field(factory=list)

    @property
    def any(self) -> bool:
        """Whether anything was."""
        return bool(self.released or self.failed or self.removed)


class Aftermath:
    """Sees to what follows from the end of jobs, in one set of tables."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    def see_to(
        self,
        connection: Connection,
        *,
        ended: Iterable[str] = (),
        waiting: Iterable[str] = (),
        removable: Iterable[str] = (),
    ) -> Changes:
        """See to everything that follows, and to what follows from that.

        Args:
            connection: A connection without a transaction.
            ended: Jobs that have ended or been deleted, for good.
            waiting: Jobs that wait, and may have nothing to wait for.
            removable: Finished jobs whose rows are not to be kept.
        """
        changes = Changes()
        ended, waiting, removable = list(ended), list(waiting), list(removable)
        suspects: Sequence[str] | None = None
        while waiting or ended or removable:
            if waiting:
                batch, waiting = waiting[:BATCH], waiting[BATCH:]
                released, failed = self._judge(connection, batch, suspects)
                changes.released += released
                changes.failed += (ids := [job_id for job_id, _ in failed])
                ended += ids
                removable += [job_id for job_id, is_removable in failed if is_removable]
            elif ended:
                suspects, ended = ended[:BATCH], ended[BATCH:]
                waiting = self._all_children(connection, suspects)
            else:
                # Children come first: they are to hear how the job ended, not that its row is gone. One that was
                # requeued meanwhile stays, and so does one that has succeeded since.
                batch, removable = removable[:BATCH], removable[BATCH:]
                gone, waiting = self.remove(connection, batch, statuses=[JobStatus.Failed.value], expired=True)
                changes.removed += gone
                suspects = None
        return changes

    def see_to_if_possible(self, connection: Connection, **what: Iterable[str]) -> Changes:
        """As `see_to`, after a change that has been committed: whatever happens now, that was done.

        What cannot be seen to is left to the sweep.
        """
        try:
            return self.see_to(connection, **what)
        except psycopg.Error as error:
            logger.warning("what follows from the end of jobs is left to the sweep: %s", error)
            return Changes()

    def have_children(self, connection: Connection, parents: Sequence[str]) -> bool:
        """Whether a job still waits for one of these."""
        return bool(self._find_children(connection, parents, FIRST_ID, limit=1))

    def remove(
        self,
        connection: Connection,
        ids: Sequence[str],
        *,
        statuses: Sequence[str] | None = None,
        days: float | None = None,
        expired: bool = False,
    ) -> tuple[list[str], list[str]]:
        """Delete finished jobs with their history, but for those that somebody holds or a waiting child still needs.

        Args:
            connection: A connection without a transaction.
            ids: The jobs.
            statuses: Only those that still have one of these.
            days: Only those that ended so long ago.
            expired: Only those that have been kept for long enough.

        Returns:
            The ids of those that were deleted, and of the jobs that wait and no longer have to wait for them.
        """
        conditions = {"statuses": statuses, "days": days, "expired": expired}
        return patiently(functools.partial(self._remove, connection, ids, conditions))

    def delete(self, connection: Connection, locked: Sequence[str]) -> tuple[list[str], list[str]]:
        """Delete jobs that this transaction has locked; as `remove`."""
        rows = self._sender.rows(connection, "remove_jobs", ids=plain(locked))
        gone = [job_id for fate, job_id, _ in rows if fate == "gone"]
        return gone, [job_id for fate, job_id, _ in rows if fate == "freed"]

    def see_to_all(self, connection: Connection) -> Changes:
        """See to all jobs that wait, as some may have nothing left to wait for: who should have done it has died."""
        changes, after = Changes(), FIRST_ID
        while found := self._sender.ids(connection, "find_waiting", after=after, limit=BATCH):
            after = found[-1]
            done = self.see_to(connection, waiting=found)
            changes.released += done.released
            changes.failed += done.failed
            changes.removed += done.removed
        return changes

    def _remove(
        self, connection: Connection, ids: Sequence[str], conditions: dict[str, Any]
    ) -> tuple[list[str], list[str]]:
        with connection.transaction():
            locked = self._sender.ids(connection, "lock_removable", ids=plain(ids), **conditions)
            return self.delete(connection, locked) if locked else ([], [])

    def _all_children(self, connection: Connection, parents: Sequence[str]) -> list[str]:
        found = batch = self._find_children(connection, parents, FIRST_ID, limit=BATCH)
        while len(batch) == BATCH:
            batch = self._find_children(connection, parents, found[-1], limit=BATCH)
            found = [*found, *batch]
        return found

    def _find_children(self, connection: Connection, parents: Sequence[str], after: str, *, limit: int) -> list[str]:
        return self._sender.ids(
            connection, "find_children", parents=plain(parents), after=after, strict=False, limit=limit
        )

    def _judge(
        self, connection: Connection, waiting: Sequence[str], suspects: Sequence[str] | None
    ) -> tuple[list[str], list[tuple[str, bool]]]:
        """Judge jobs that wait, carry it out, and come back for those that somebody holds.

        Args:
            connection: A connection without a transaction.
            waiting: The jobs.
            suspects: The parents that have just ended, among them all that may have failed; None if that is not known.

        Returns:
            The ids of those that were released; the ids of those that failed, and for each whether it is removable.
        """
        released: list[str] = []
        failed: list[tuple[str, bool]] = []
        for _ in range(TRIES):
            verdicts = self._sender.rows(
                connection, "judge_waiting", ids=plain(waiting), suspects=None if suspects is None else plain(suspects)
            )
            free = [job_id for job_id, culprit, *_ in verdicts if culprit is None]
            doomed = {job_id: dependency_failed(*culprit) for job_id, *culprit in verdicts if culprit[0] is not None}
            if free:
                released += self._sender.ids(connection, "release", ids=plain(free))
            if doomed:
                failed += end_unstarted(self._sender, connection, doomed, JobStatus.Failed)
            done = {*released, *(job_id for job_id, _ in failed)}
            waiting = [job_id for job_id, *_ in verdicts if job_id not in done]
            if not waiting:
                return released, failed
            _compat.sleep(PAUSE_SECS)
        logger.warning("%d jobs that wait are locked by somebody; the next sweep looks again", len(waiting))
        return released, failed


def end_unstarted(
    sender: Sender, connection: Connection, errors: dict[str, str], status: JobStatus, *, expired: bool = False
) -> list[tuple[str, bool]]:
    """End jobs that have not started.

    Args:
        sender: Sends the statement.
        connection: A connection.
        errors: Why, by the id of the job.
        status: How: `Failed` or `Aborted`.
        expired: Only those whose time to live is over.

    Returns:
        The ids of those that have ended, and for each whether its row is not to be kept.
    """
    ordered = sorted(errors)
    rows = sender.rows(
        connection,
        "end_unstarted",
        ids=plain(ordered),
        errors=quoted(errors[job_id] for job_id in ordered),
        status=status.value,
        expired=expired,
    )
    return [(job_id, removable) for job_id, removable, _ in rows]
