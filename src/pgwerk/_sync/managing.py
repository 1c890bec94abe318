# Generated from src/pgwerk/_async/managing.py by `python tools/unasync_build.py`.
# Do not edit: change that file and run the command again.

"""Managing jobs: cancel, requeue, abort and delete them, one by one or in bulk, and look after the tables.

Who changes a single job waits for whoever holds it, which is a claim or a settlement: after that, the job has been
claimed or settled, and the answer is clear. In bulk, jobs are changed in batches, each in a transaction of its own; a
job that somebody holds is skipped, and looked at again a little later.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from attrs import frozen

from pgwerk._core import checks
from pgwerk._core.arrays import plain
from pgwerk._core.errors import JobNotFound
from pgwerk._core.ids import FIRST_ID, normalize_id
from pgwerk._core.models import TERMINAL, JobStatus
from pgwerk._core.policy import CANCELLED, dependency_failed
from pgwerk._sync import _compat
from pgwerk._sync.aftermath import Aftermath, end_unstarted
from pgwerk._sync.connections import Connection, Connections
from pgwerk._sync.sending import Sender
from pgwerk._sync.transactions import patiently

BATCH = 500
MANY = 50_000
TRIES = 50
PAUSE_SECS = 0.02

UNSTARTED = frozenset({JobStatus.Scheduled.value, JobStatus.Queued.value, JobStatus.Waiting.value})
REQUEUEABLE = frozenset({JobStatus.Failed.value, JobStatus.Aborted.value})


@frozen
class _Done:
    """What a change has come to, and what has to be seen to when it is committed."""

    result: bool
    ended: Sequence[str] = ()
    waiting: Sequence[str] = ()
    removable: Sequence[str] = ()


Change: TypeAlias = Callable[[Connection, str], _compat.Eventually[_Done]]


class Management:
    """Manages the jobs of one set of tables."""

    def __init__(self, connections: Connections, sender: Sender, aftermath: Aftermath) -> None:
        self._connections = connections
        self._sender = sender
        self._aftermath = aftermath

    # One job

    def cancel(self, job_id: object) -> bool:
        """End a job that has not started as aborted; whether it was."""
        return self._change(job_id, self._cancel)

    def requeue(self, job_id: object) -> bool:
        """Make a failed or aborted job ready again; whether it was."""
        return self._change(job_id, self._requeue)

    def abort(self, job_id: object) -> bool:
        """Ask for a running job to be stopped; whether it runs."""
        return self._change(job_id, self._abort)

    def delete(self, job_id: object) -> None:
        """Delete a job with its history, whatever its status is."""
        identifier = normalize_id(job_id)
        if identifier is None:
            return
        with self._connections.connection() as connection:
            # If it is over, most of its children can be seen to before, in batches: they are not locked for so long.
            self._aftermath.see_to(connection, ended=[identifier])
            self._carry_out(connection, self._delete, identifier)

    def dependencies(self, job_id: object) -> list[str]:
        """The ids of the jobs that a job waits for, or has waited for."""
        identifier = normalize_id(job_id)
        if identifier is None:
            raise JobNotFound(str(job_id))
        with self._connections.connection() as connection:
            found = self._sender.ids(connection, "get_dependencies", id=identifier)
        if not found:
            raise JobNotFound(identifier)
        # One row, with nothing in it, for a job that has none.
        return list(filter(None, found))

    # In bulk

    def requeue_many(self, queue: str | None, function: str | None) -> int:
        """Make failed and aborted jobs ready again, and count them."""
        count, after = 0, FIRST_ID
        with self._connections.connection() as connection:
            while found := self._sender.ids(
                connection, "find_requeueable", after=after, queue=queue, function=function, limit=BATCH
            ):
                after = found[-1]
                count += self._requeue_batch(connection, found)
        return count

    def cancel_many(self, queue: str | None) -> int:
        """End jobs that have not started as aborted, and count them; those that come in meanwhile are left alone."""
        cancelled: list[str] = []
        with self._connections.connection() as connection:
            until = None
            # Jobs that wait come first, and what follows from all this comes last: nothing is released on the way.
            for waiting in (True, False):
                after = FIRST_ID
                while found := self._sender.rows(
                    connection, "find_unstarted", waiting=waiting, queue=queue, until=until, after=after, limit=MANY
                ):
                    after, until = found[-1]
                    for start in range(0, len(found), BATCH):
                        ids = [job_id for job_id, _ in found[start : start + BATCH]]
                        cancelled += self._cancel_batch(connection, ids)
            for start in range(0, len(cancelled), BATCH):
                self._aftermath.see_to_if_possible(connection, ended=cancelled[start : start + BATCH])
        return len(cancelled)

    def purge(self, statuses: object, older_than_days: object) -> int:
        """Delete finished jobs with these statuses that ended so long ago, and count them."""
        wanted = _terminal(statuses)
        days = checks.number("older_than_days", older_than_days, unit="days", maximum=checks.CENTURY_SECS / 86400)
        count = 0
        with self._connections.connection() as connection:
            after = FIRST_ID
            while found := self._sender.ids(
                connection, "find_purgeable", after=after, statuses=wanted, days=days, limit=BATCH
            ):
                after = found[-1]
                # Their children first: they are to hear how the jobs ended, not that they are gone.
                self._aftermath.see_to(connection, ended=found)
                gone, freed = self._aftermath.remove(connection, found, statuses=wanted, days=days)
                self._aftermath.see_to_if_possible(connection, waiting=freed)
                count += len(gone)
        return count

    # The tables

    def vacuum(self) -> None:
        """Vacuum and analyze the tables."""
        # A connection of our own: one of somebody's pool may be in a transaction, where there is no vacuum.
        connection = self._connections.open()
        try:
            self._sender.run(connection, "vacuum")
        finally:
            connection.close()

    def truncate(self) -> None:
        """Delete all rows."""
        with self._connections.connection() as connection, connection.transaction():
            self._sender.run(connection, "limit_lock_wait")
            self._sender.run(connection, "truncate")

    # Changes of one job, each in a transaction that has not been committed yet

    def _cancel(self, connection: Connection, job_id: str) -> _Done:
        if self._lock(connection, job_id) not in UNSTARTED:
            return _Done(False)
        ended = end_unstarted(self._sender, connection, {job_id: CANCELLED}, JobStatus.Aborted)
        return _Done(True, ended=[each for each, _ in ended])

    def _requeue(self, connection: Connection, job_id: str) -> _Done:
        if self._lock(connection, job_id) not in REQUEUEABLE:
            return _Done(False)
        rows = self._sender.rows(connection, "requeue", ids=plain([job_id]), together=[])
        return _Done(True, waiting=_waiting(rows))

    def _abort(self, connection: Connection, job_id: str) -> _Done:
        status = self._lock(connection, job_id)
        if status == JobStatus.Active.value:
            self._sender.rows(connection, "request_abort", id=job_id)
        return _Done(status in {JobStatus.Active.value, JobStatus.Aborting.value})

    def _delete(self, connection: Connection, job_id: str) -> _Done:
        self._sender.run(connection, "limit_lock_wait")
        found = self._sender.first(connection, "lock_job_to_delete", id=job_id)
        if found is None:
            return _Done(False)
        status, function = found
        ended: list[tuple[str, bool]] = []
        if status != JobStatus.Complete.value:
            error = dependency_failed(job_id, function, status if status in REQUEUEABLE else "deleted")
            after = FIRST_ID
            while children := self._sender.ids(
                connection, "find_children", parents=plain([job_id]), after=after, strict=True, limit=BATCH
            ):
                after = children[-1]
                self._sender.ids(connection, "lock_jobs", ids=plain(children))
                ended += end_unstarted(self._sender, connection, dict.fromkeys(children, error), JobStatus.Failed)
        _, freed = self._aftermath.delete(connection, [job_id])
        return _Done(
            True,
            ended=[each for each, _ in ended],
            waiting=freed,
            removable=[each for each, is_removable in ended if is_removable],
        )

    # Helpers

    def _change(self, job_id: object, change: Change) -> bool:
        identifier = normalize_id(job_id)
        if identifier is None:
            return False
        with self._connections.connection() as connection:
            return self._carry_out(connection, change, identifier)

    def _carry_out(self, connection: Connection, change: Change, job_id: str) -> bool:
        """Change one job in a transaction, and see to what follows from it."""
        done = patiently(functools.partial(self._commit, connection, change, job_id))
        self._aftermath.see_to_if_possible(connection, ended=done.ended, waiting=done.waiting, removable=done.removable)
        return done.result

    def _commit(self, connection: Connection, change: Change, job_id: str) -> _Done:
        with connection.transaction():
            return change(connection, job_id)

    def _lock(self, connection: Connection, job_id: str) -> str | None:
        """Lock a job, and tell its status; None if there is no such job."""
        row = self._sender.first(connection, "lock_job", id=job_id)
        return None if row is None else str(row[0])

    def _cancel_batch(self, connection: Connection, ids: Sequence[str]) -> list[str]:
        """Cancel jobs, and come back for those that somebody holds: claims them perhaps."""
        cancelled: list[str] = []
        errors = dict.fromkeys(ids, CANCELLED)
        for _ in range(TRIES):
            ended = end_unstarted(self._sender, connection, errors, JobStatus.Aborted)
            cancelled += [job_id for job_id, _ in ended]
            for job_id, _ in ended:
                del errors[job_id]
            if errors:
                left = self._sender.ids(connection, "still_unstarted", ids=plain(errors))
                errors = dict.fromkeys(left, CANCELLED)
            if not errors:
                break
            _compat.sleep(PAUSE_SECS)
        return cancelled

    def _requeue_batch(self, connection: Connection, ids: Sequence[str]) -> int:
        """Requeue jobs, and come back for those that somebody holds: changes them just now."""
        left, waiting = list(ids), list[str]()
        for _ in range(TRIES):
            rows = self._sender.rows(connection, "requeue", ids=plain(left), together=plain(ids))
            waiting += _waiting(rows)
            requeued = {job_id for job_id, *_ in rows}
            left = [job_id for job_id in left if job_id not in requeued]
            if left:
                left = self._sender.ids(connection, "still_requeueable", ids=plain(left))
            if not left:
                break
            _compat.sleep(PAUSE_SECS)
        self._aftermath.see_to_if_possible(connection, waiting=waiting)
        return len(ids) - len(left)


def _waiting(requeued: Sequence[tuple[Any, ...]]) -> list[str]:
    return [job_id for job_id, status, _ in requeued if status == JobStatus.Waiting.value]


def _terminal(statuses: object) -> list[str]:
    """The statuses of a purge.

    Raises:
        TypeError: They are no list of statuses.
        ValueError: There are none, or one is unknown or not terminal: what has not ended is not purged.
    """
    given = [statuses] if isinstance(statuses, str) else statuses
    if not isinstance(given, (list, tuple, set, frozenset)):
        raise TypeError(f"statuses must be a list of statuses, not {type(statuses).__name__} ({statuses!r})")
    if not given:
        raise ValueError("statuses must not be empty")
    valid = [status.value for status in JobStatus if status in TERMINAL]
    return [JobStatus(checks.one_of("statuses", status, valid)).value for status in given]
