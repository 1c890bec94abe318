# Generated from src/pgwerk/_async/managing.py by `python tools/unasync_build.py`.
# Do not edit: change that file and run the command again.

"""Managing jobs: cancel, requeue, abort and delete them, one by one or in bulk, and look after the tables.

Who changes a single job waits for whoever holds it, which is a claim or a settlement: after that, the job has been
claimed or settled, and the answer is clear. In bulk, jobs are changed in batches, each in a transaction of its own; a
job that somebody holds is skipped, and looked at again a little later.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeAlias

from attrs import frozen

from pgwerk._core import checks
from pgwerk._core.arrays import plain
from pgwerk._core.errors import JobNotFound
from pgwerk._core.filters import checked_ids, checked_statuses
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

Progress: TypeAlias = Callable[[int], Any]
"""Is told after each batch of a bulk change how many jobs have been changed so far."""


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
        return self._linked("get_dependencies", job_id)

    def dependents(self, job_id: object) -> list[str]:
        """The ids of the jobs that wait for a job, or have waited for it."""
        return self._linked("get_dependents", job_id)

    # In bulk

    def requeue_many(
        self,
        queue: str | None,
        function: str | None,
        ids: Iterable[str] | None = None,
        on_batch: Progress | None = None,
    ) -> int:
        """Make failed and aborted jobs ready again, and count them."""
        _check(on_batch)
        count = 0
        with self._connections.connection() as connection:
            for batch in self._requeueable(connection, queue, function, ids):
                count += self._requeue_batch(connection, batch)
                _report(on_batch, count)
        return count

    def cancel_many(self, queue: str | None, ids: Iterable[str] | None = None, on_batch: Progress | None = None) -> int:
        """End jobs that have not started as aborted, and count them; those that come in meanwhile are left alone."""
        _check(on_batch)
        cancelled: list[str] = []
        with self._connections.connection() as connection:
            for batch in self._cancellable(connection, queue, ids):
                cancelled += self._cancel_batch(connection, batch)
                _report(on_batch, len(cancelled))
            # What follows from all this comes last: nothing is released on the way.
            for batch in _batches(cancelled):
                self._aftermath.see_to_if_possible(connection, ended=batch)
        return len(cancelled)

    def abort_many(self, ids: Iterable[str], on_batch: Progress | None) -> int:
        """Ask for running jobs to be stopped, one after the other, and count them."""
        _check(on_batch)
        count = 0
        with self._connections.connection() as connection:
            for batch in _batches(checked_ids("ids", ids)):
                for job_id in batch:
                    count += self._carry_out(connection, self._abort, job_id)
                _report(on_batch, count)
        return count

    def delete_many(self, ids: Iterable[str], status: object, on_batch: Progress | None) -> int:
        """Delete jobs with their history, those with one of these statuses or whatever it is, and count them."""
        _check(on_batch)
        statuses = checked_statuses(status)
        count = 0
        with self._connections.connection() as connection:
            for batch in _batches(checked_ids("ids", ids)):
                self._aftermath.see_to(connection, ended=batch)
                count += self._delete_batch(connection, batch, statuses)
                _report(on_batch, count)
        return count

    def purge(self, statuses: object, older_than_days: object, on_batch: Progress | None = None) -> int:
        """Delete finished jobs with these statuses that ended so long ago, and count them."""
        _check(on_batch)
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
                _report(on_batch, count)
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

    def _delete(self, connection: Connection, job_id: str, statuses: Sequence[str] | None = None) -> _Done:
        self._sender.run(connection, "limit_lock_wait")
        found = self._sender.first(connection, "lock_job_to_delete", id=job_id)
        if found is None or (statuses is not None and found[0] not in statuses):
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

    def _linked(self, statement: str, job_id: object) -> list[str]:
        identifier = normalize_id(job_id)
        if identifier is None:
            raise JobNotFound(str(job_id))
        with self._connections.connection() as connection:
            found = self._sender.ids(connection, statement, id=identifier)
        if not found:
            raise JobNotFound(identifier)
        # One row, with nothing in it, for a job that has none.
        return list(filter(None, found))

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

    # Batches

    def _requeueable(
        self, connection: Connection, queue: str | None, function: str | None, ids: Iterable[str] | None
    ) -> Iterator[Sequence[str]]:
        """Failed and aborted jobs, in the order of their ids: a job comes after those that it depends on."""
        if ids is not None:
            for batch in _batches(checked_ids("ids", ids)):
                yield self._sender.ids(connection, "still_requeueable", ids=plain(batch))
            return
        after = FIRST_ID
        while found := self._sender.ids(
            connection, "find_requeueable", after=after, queue=queue, function=function, limit=BATCH
        ):
            after = found[-1]
            yield found

    def _cancellable(
        self, connection: Connection, queue: str | None, ids: Iterable[str] | None
    ) -> Iterator[Sequence[str]]:
        """Jobs that have not started. Those that wait for others come first: they are to be cancelled, not to fail."""
        if ids is not None:
            found = [
                row
                for batch in _batches(checked_ids("ids", ids))
                for row in self._sender.rows(connection, "still_unstarted", ids=plain(batch))
            ]
            for waits in (True, False):
                for batch in _batches([job_id for job_id, waiting in found if waiting is waits]):
                    yield batch
            return
        until = None
        for waits in (True, False):
            after = FIRST_ID
            while rows := self._sender.rows(
                connection, "find_unstarted", waiting=waits, queue=queue, until=until, after=after, limit=MANY
            ):
                after, until = rows[-1]
                for batch in _batches([job_id for job_id, _ in rows]):
                    yield batch

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
        left, requeued, waiting = list(ids), set[str](), list[str]()
        for _ in range(TRIES):
            if not left:
                break
            rows = self._sender.rows(connection, "requeue", ids=plain(left), together=plain(ids))
            waiting += _waiting(rows)
            requeued.update(job_id for job_id, *_ in rows)
            left = [job_id for job_id in left if job_id not in requeued]
            if left:
                left = self._sender.ids(connection, "still_requeueable", ids=plain(left))
            if left:
                _compat.sleep(PAUSE_SECS)
        self._aftermath.see_to_if_possible(connection, waiting=waiting)
        return len(requeued)

    def _delete_batch(self, connection: Connection, ids: Sequence[str], statuses: Sequence[str] | None) -> int:
        """Delete jobs together. Those that somebody holds, or that a child waits for, are left, and go one by one."""
        together = functools.partial(self._delete_together, connection, ids, statuses)
        gone, freed = patiently(together)
        self._aftermath.see_to_if_possible(connection, waiting=freed)
        count, done = len(gone), set(gone)
        left = [job_id for job_id in ids if job_id not in done]
        if left:
            left = self._sender.ids(connection, "still_there", ids=plain(left))
        delete = functools.partial(self._delete, statuses=statuses)
        # The youngest first: a job comes before those that it waits for, and is deleted before it has to fail.
        for job_id in reversed(left):
            count += self._carry_out(connection, delete, job_id)
        return count

    def _delete_together(
        self, connection: Connection, ids: Sequence[str], statuses: Sequence[str] | None
    ) -> tuple[list[str], list[str]]:
        with connection.transaction():
            locked = self._sender.ids(connection, "lock_to_delete", ids=plain(ids), statuses=statuses)
            return self._aftermath.delete(connection, locked) if locked else ([], [])


def _check(on_batch: Progress | None) -> None:
    if on_batch is not None:
        _compat.check_hook(on_batch, "on_batch")


def _report(on_batch: Progress | None, count: int) -> None:
    """Say how far it has come."""
    if on_batch is not None:
        _compat.call(on_batch, count)


def _batches(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (ids[start : start + BATCH] for start in range(0, len(ids), BATCH))


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
