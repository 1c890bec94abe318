# Generated from src/pgwerk/_async/operations.py by `python tools/unasync_build.py`.
# Do not edit: change that file and run the command again.

"""What is done to jobs after they were enqueued, and to the tables: the operators' part of the client."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pgwerk._core import checks
from pgwerk._core.config import WerkConfig
from pgwerk._core.cronjobs import Schedule
from pgwerk._core.errors import WerkError
from pgwerk._core.models import Job, JobStatus
from pgwerk._sync.connections import Connections
from pgwerk._sync.managing import Progress
from pgwerk._sync.overseeing import Overseeing
from pgwerk._sync.reading import Reading
from pgwerk._sync.schedules import Schedules
from pgwerk._sync.sweeping import Sweeper


class Operations(Reading, Overseeing):
    """The methods for those who look after jobs. The client that inherits them makes what they hand over to."""

    config: WerkConfig
    _connections: Connections
    _schedules: Schedules
    _sweeper: Sweeper

    # Job management

    def touch_job(self, job_id: str) -> None:
        """Extend the heartbeat deadline of a running job. For a job that does not run this does nothing."""
        self.connect()
        self._jobs.touch(job_id)

    def cancel_job(self, job_id: str) -> bool:
        """Cancel a job that has not started: it ends as aborted, and jobs that depend on it fail.

        Returns:
            Whether there was such a job, queued, scheduled or waiting for others. For a running one see `abort_job`.
        """
        self.connect()
        return self._management.cancel(job_id)

    def requeue_job(self, job_id: str) -> bool:
        """Make a failed or aborted job ready once more, with as many attempts as a new job has. The history stays.

        If a job that it depends on was requeued, too, and has not ended, it waits for that one again. Jobs that depend
        on it and have failed because of it stay as they are: requeue them after it.

        Returns:
            Whether there was such a job.
        """
        self.connect()
        return self._management.requeue(job_id)

    def abort_job(self, job_id: str) -> bool:
        """Ask for a running job to be stopped. It ends as aborted, whatever comes of it, and is not tried again.

        Returns:
            Whether there was such a job. One that has not started is not aborted but cancelled: see `cancel_job`.
        """
        self.connect()
        return self._management.abort(job_id)

    def delete_job(self, job_id: str) -> None:
        """Delete a job and its history, if it is there, whatever its status is.

        Jobs that depend on it and still wait fail, unless it had succeeded. A running job is not stopped; what comes of
        it is dropped.

        Raises:
            psycopg.errors.LockNotAvailable: A transaction that enqueues a job which depends on this one stayed open for
                10 seconds.
        """
        self.connect()
        self._management.delete(job_id)

    def bulk_requeue_jobs(
        self,
        queue: str | None = None,
        function_name: str | None = None,
        *,
        ids: Iterable[str] | None = None,
        on_batch: Progress | None = None,
    ) -> int:
        """Requeue all failed and aborted jobs, as `requeue_job` does. In batches, each of which is a transaction.

        Args:
            queue: Only those of this queue.
            function_name: Only those with this handler, given by its dotted path.
            ids: Only those with one of these ids; then the other filters cannot be given.
            on_batch: Called after each batch with the number of jobs that have been requeued so far.

        Returns:
            How many were requeued.

        Raises:
            TypeError, ValueError: An argument is not a text, or none that a job could have; or `ids` and another filter
                are given.
        """
        queue = checks.optional_text("queue", queue)
        function_name = checks.optional_text("function_name", function_name)
        if ids is not None and (queue, function_name) != (None, None):
            raise ValueError("ids cannot be given together with queue or function_name")
        self.connect()
        return self._management.requeue_many(queue, function_name, ids, on_batch)

    def bulk_cancel_jobs(
        self, queue: str | None = None, *, ids: Iterable[str] | None = None, on_batch: Progress | None = None
    ) -> int:
        """Cancel all jobs that have not started: queued, scheduled, and waiting ones. In batches, as above.

        Jobs that are enqueued meanwhile are left alone.

        Args:
            queue: Only those of this queue.
            ids: Only those with one of these ids; then `queue` cannot be given.
            on_batch: Called after each batch with the number of jobs that have been cancelled so far.

        Returns:
            How many were cancelled. Jobs that depended on them and failed for that reason do not count.

        Raises:
            TypeError, ValueError: `queue` is not a text, or none that a queue could be named; or `ids` are none, or
                given together with it.
        """
        queue = checks.optional_text("queue", queue)
        if ids is not None and queue is not None:
            raise ValueError("ids cannot be given together with queue")
        self.connect()
        return self._management.cancel_many(queue, ids, on_batch)

    def bulk_abort_jobs(self, ids: Iterable[str], *, on_batch: Progress | None = None) -> int:
        """Ask for running jobs to be stopped, as `abort_job` does.

        Args:
            ids: The jobs.
            on_batch: Called now and then with the number of jobs that have been asked to stop so far.

        Returns:
            How many were running.

        Raises:
            TypeError, ValueError: `ids` are none.
        """
        self.connect()
        return self._management.abort_many(ids, on_batch)

    def bulk_delete_jobs(
        self,
        ids: Iterable[str],
        *,
        status: JobStatus | str | Sequence[JobStatus | str] | None = None,
        on_batch: Progress | None = None,
    ) -> int:
        """Delete jobs and their history, as `delete_job` does. In batches, each of which is a transaction.

        A job on which others of them depend is deleted after those.

        Args:
            ids: The jobs.
            status: Only those that have this status, or one of these, when they are deleted.
            on_batch: Called after each batch with the number of jobs that have been deleted so far.

        Returns:
            How many were deleted.

        Raises:
            TypeError, ValueError: `ids` are none, or a status is unknown.
            psycopg.errors.LockNotAvailable: As for `delete_job`. Batches before that one are gone.
        """
        self.connect()
        return self._management.delete_many(ids, status, on_batch)

    def purge_jobs(
        self,
        statuses: JobStatus | str | Sequence[JobStatus | str],
        older_than_days: float,
        *,
        on_batch: Progress | None = None,
    ) -> int:
        """Delete finished jobs and their history. In batches, each of which is a transaction, so nobody has to wait.

        Jobs that others wait for are settled first: a job whose parent is purged goes on as if it were still there.

        Args:
            statuses: Which ones: `complete`, `failed`, `aborted`, or several of these.
            older_than_days: Only those that ended so many days ago, or before.
            on_batch: Called after each batch with the number of jobs that have been deleted so far.

        Returns:
            How many were deleted.

        Raises:
            TypeError: An argument has the wrong type.
            ValueError: A status is unknown or not terminal, or the age is negative.
        """
        self.connect()
        return self._management.purge(statuses, older_than_days, on_batch)

    # Schedules

    def list_schedules(self) -> list[Schedule]:
        """List the schedules in the order of their names, whatever process has registered them."""
        self.connect()
        return self._schedules.all()

    def pause_schedule(self, name: str) -> bool:
        """Pause a schedule until it is resumed, whatever process runs it.

        Returns:
            Whether there is one.

        Raises:
            TypeError, ValueError: `name` is not a text, or none that a schedule could have.
            psycopg.errors.LockNotAvailable: Somebody else has held the schedule for 10 seconds, such as a tick that
                waits for a before-enqueue callback.
        """
        self.connect()
        return self._schedules.set_paused(name, True)

    def resume_schedule(self, name: str) -> bool:
        """Let a paused schedule go on. What it would have run meanwhile is not made up for.

        Returns:
            Whether there is one.

        Raises:
            TypeError, ValueError, psycopg.errors.LockNotAvailable: As `pause_schedule`.
        """
        self.connect()
        return self._schedules.set_paused(name, False)

    def trigger_schedule(self, name: str) -> Job | None:
        """Enqueue a run of a schedule now, paused or not, without a change to when it is due next.

        Returns:
            The job; None if the last run has not finished and the schedule says `overlap="skip"`.

        Raises:
            ScheduleNotFound: There is no such schedule.
            SerializationError: Its arguments cannot be read.
            TypeError, ValueError, psycopg.errors.LockNotAvailable: As `pause_schedule`.
        """
        self.connect()
        return self._schedules.trigger(name)

    def delete_schedule(self, name: str) -> bool:
        """Delete a schedule. Its jobs stay. A scheduler that has registered it writes it again when it is started.

        Returns:
            Whether there was one.

        Raises:
            TypeError, ValueError, psycopg.errors.LockNotAvailable: As `pause_schedule`.
        """
        self.connect()
        return self._schedules.delete(name)

    # Maintenance

    def vacuum(self) -> None:
        """Run VACUUM ANALYZE on all tables. Needs to own them, or the right to maintain them."""
        self.connect()
        self._management.vacuum()

    def truncate(self) -> None:
        """Delete everything: jobs, history, dependencies, workers, schedules. For tests.

        Raises:
            WerkError: `allow_truncate` is off in the configuration, as it is by default.
            psycopg.errors.LockNotAvailable: Somebody used the tables in a transaction that stayed open for 10 seconds.
        """
        if not self.config.allow_truncate:
            raise WerkError(
                "truncate() deletes all jobs and is not allowed here: WerkConfig(allow_truncate=True) allows it"
            )
        self.connect()
        self._management.truncate()

    def sweep(self) -> list[str]:
        """Do what nobody else does: rescue orphaned jobs, promote due ones, end and delete expired ones.

        Workers do this by themselves, every `sweep_interval`.

        Returns:
            The ids of the orphaned jobs that can be claimed again.
        """
        self.connect()
        with self._connections.connection() as connection:
            return self._sweeper.sweep(connection)
