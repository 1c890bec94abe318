"""What is done to jobs after they were enqueued, and to the tables: the operators' part of the client."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from pgwerk._async.connections import Connections
from pgwerk._async.jobs import Jobs
from pgwerk._async.managing import Management
from pgwerk._async.schedules import Schedules
from pgwerk._async.sweeping import Sweeper
from pgwerk._core import checks
from pgwerk._core.config import WerkConfig
from pgwerk._core.cronjobs import Schedule
from pgwerk._core.errors import WerkError
from pgwerk._core.models import Job, JobExecution, JobStatus


class Operations(ABC):
    """The methods for those who look after jobs. The client that inherits them makes what they hand over to."""

    config: WerkConfig
    _connections: Connections
    _jobs: Jobs
    _management: Management
    _schedules: Schedules
    _sweeper: Sweeper

    @abstractmethod
    async def connect(self) -> None:
        """Make the client ready, unless that has been done."""

    # Job management

    async def get_job(self, job_id: str) -> Job:
        """Fetch a job.

        Raises:
            JobNotFound: There is no such job.
        """
        await self.connect()
        return await self._jobs.get(job_id)

    async def list_jobs(  # noqa: PLR0917 - the order of the API that was asked for
        self,
        queue: str | None = None,
        status: JobStatus | str | Sequence[JobStatus | str] | None = None,
        worker_id: str | None = None,
        search: str | None = None,
        schedule_name: str | None = None,
        retried: bool | None = None,
        limit: int = 100,
        offset: int = 0,
        *,
        newest_first: bool = False,
        after: str | None = None,
    ) -> list[Job]:
        """List jobs in the order in which they were made, the oldest first.

        So a page stays what it is while jobs are added, but for those that were made before and committed later, or on
        machines whose clocks are behind. To walk through many jobs, the newest first or while others are deleted, pass
        the id of the last one of a page as `after`; a page far behind the first one costs no more then.

        Args:
            queue: Only of this queue.
            status: Only with this status, or one of these.
            worker_id: Only those that this worker runs or ran last.
            search: Only those with this text in function, key, group, metadata or error. Case does not matter, as far
                as the database's locale knows about it.
            schedule_name: Only those of this schedule.
            retried: True: only those that have been tried before; False: only those that have not.
            limit: How many at most.
            offset: How many to leave out first.
            newest_first: Whether to turn the order round.
            after: Only those that come after the job with this id, in the order of the list.

        Raises:
            TypeError: A filter has the wrong type.
            ValueError: A status is unknown, `limit` or `offset` is negative, or `after` is no id.
        """
        await self.connect()
        return await self._jobs.page(
            queue=queue,
            status=status,
            worker_id=worker_id,
            search=search,
            schedule_name=schedule_name,
            retried=retried,
            limit=limit,
            offset=offset,
            newest_first=newest_first,
            after=after,
        )

    async def get_executions(self, job_id: str) -> list[JobExecution]:
        """Fetch the attempts at a job, the first one first. One that runs is among them.

        Raises:
            JobNotFound: There is no such job.
        """
        await self.connect()
        return await self._jobs.executions(job_id)

    async def touch_job(self, job_id: str) -> None:
        """Extend the heartbeat deadline of a running job. For a job that does not run this does nothing."""
        await self.connect()
        await self._jobs.touch(job_id)

    async def get_job_dependencies(self, job_id: str) -> list[str]:
        """Fetch the ids of the jobs that must end before this one can run, in the order of their making.

        Jobs that have ended meanwhile are among them as long as their rows are there.

        Raises:
            JobNotFound: There is no such job.
        """
        await self.connect()
        return await self._management.dependencies(job_id)

    async def cancel_job(self, job_id: str) -> bool:
        """Cancel a job that has not started: it ends as aborted, and jobs that depend on it fail.

        Returns:
            Whether there was such a job, queued, scheduled or waiting for others. For a running one see `abort_job`.
        """
        await self.connect()
        return await self._management.cancel(job_id)

    async def requeue_job(self, job_id: str) -> bool:
        """Make a failed or aborted job ready once more, with as many attempts as a new job has. The history stays.

        If a job that it depends on was requeued, too, and has not ended, it waits for that one again. Jobs that depend
        on it and have failed because of it stay as they are: requeue them after it.

        Returns:
            Whether there was such a job.
        """
        await self.connect()
        return await self._management.requeue(job_id)

    async def abort_job(self, job_id: str) -> bool:
        """Ask for a running job to be stopped. It ends as aborted, whatever comes of it, and is not tried again.

        Returns:
            Whether there was such a job. One that has not started is not aborted but cancelled: see `cancel_job`.
        """
        await self.connect()
        return await self._management.abort(job_id)

    async def delete_job(self, job_id: str) -> None:
        """Delete a job and its history, if it is there, whatever its status is.

        Jobs that depend on it and still wait fail, unless it had succeeded. A running job is not stopped; what comes of
        it is dropped.

        Raises:
            psycopg.errors.LockNotAvailable: A transaction that enqueues a job which depends on this one stayed open for
                10 seconds.
        """
        await self.connect()
        await self._management.delete(job_id)

    async def bulk_requeue_jobs(self, queue: str | None = None, function_name: str | None = None) -> int:
        """Requeue all failed and aborted jobs, as `requeue_job` does. In batches, each of which is a transaction.

        Args:
            queue: Only those of this queue.
            function_name: Only those with this handler, given by its dotted path.

        Returns:
            How many were requeued.

        Raises:
            TypeError, ValueError: An argument is not a text, or none that a job could have.
        """
        queue = checks.optional_text("queue", queue)
        function_name = checks.optional_text("function_name", function_name)
        await self.connect()
        return await self._management.requeue_many(queue, function_name)

    async def bulk_cancel_jobs(self, queue: str | None = None) -> int:
        """Cancel all jobs that have not started: queued, scheduled, and waiting ones. In batches, as above.

        Jobs that are enqueued meanwhile are left alone.

        Args:
            queue: Only those of this queue.

        Returns:
            How many were cancelled. Jobs that depended on them and failed for that reason do not count.

        Raises:
            TypeError, ValueError: `queue` is not a text, or none that a queue could be named.
        """
        queue = checks.optional_text("queue", queue)
        await self.connect()
        return await self._management.cancel_many(queue)

    async def purge_jobs(self, statuses: JobStatus | str | Sequence[JobStatus | str], older_than_days: float) -> int:
        """Delete finished jobs and their history. In batches, each of which is a transaction, so nobody has to wait.

        Jobs that others wait for are settled first: a job whose parent is purged goes on as if it were still there.

        Args:
            statuses: Which ones: `complete`, `failed`, `aborted`, or several of these.
            older_than_days: Only those that ended so many days ago, or before.

        Returns:
            How many were deleted.

        Raises:
            TypeError: An argument has the wrong type.
            ValueError: A status is unknown or not terminal, or the age is negative.
        """
        await self.connect()
        return await self._management.purge(statuses, older_than_days)

    # Schedules

    async def list_schedules(self) -> list[Schedule]:
        """List the schedules in the order of their names, whatever process has registered them."""
        await self.connect()
        return await self._schedules.all()

    async def pause_schedule(self, name: str) -> bool:
        """Pause a schedule until it is resumed, whatever process runs it.

        Returns:
            Whether there is one.

        Raises:
            TypeError, ValueError: `name` is not a text, or none that a schedule could have.
        """
        await self.connect()
        return await self._schedules.set_paused(name, True)

    async def resume_schedule(self, name: str) -> bool:
        """Let a paused schedule go on. What it would have run meanwhile is not made up for.

        Returns:
            Whether there is one.

        Raises:
            TypeError, ValueError: As `pause_schedule`.
        """
        await self.connect()
        return await self._schedules.set_paused(name, False)

    async def trigger_schedule(self, name: str) -> Job | None:
        """Enqueue a run of a schedule now, paused or not, without a change to when it is due next.

        Returns:
            The job; None if the last run has not finished and the schedule says `overlap="skip"`.

        Raises:
            ScheduleNotFound: There is no such schedule.
            SerializationError: Its arguments cannot be read.
            TypeError, ValueError: As `pause_schedule`.
        """
        await self.connect()
        return await self._schedules.trigger(name)

    async def delete_schedule(self, name: str) -> bool:
        """Delete a schedule. Its jobs stay. A scheduler that has registered it writes it again when it is started.

        Returns:
            Whether there was one.

        Raises:
            TypeError, ValueError: As `pause_schedule`.
        """
        await self.connect()
        return await self._schedules.delete(name)

    # Maintenance

    async def vacuum(self) -> None:
        """Run VACUUM ANALYZE on all tables. Needs to own them, or the right to maintain them."""
        await self.connect()
        await self._management.vacuum()

    async def truncate(self) -> None:
        """Delete everything: jobs, history, dependencies, workers, schedules. For tests.

        Raises:
            WerkError: `allow_truncate` is off in the configuration, as it is by default.
            psycopg.errors.LockNotAvailable: Somebody used the tables in a transaction that stayed open for 10 seconds.
        """
        if not self.config.allow_truncate:
            raise WerkError(
                "truncate() deletes all jobs and is not allowed here: WerkConfig(allow_truncate=True) allows it"
            )
        await self.connect()
        await self._management.truncate()

    async def sweep(self) -> list[str]:
        """Do what nobody else does: rescue orphaned jobs, promote due ones, end and delete expired ones.

        Workers do this by themselves, every `sweep_interval`.

        Returns:
            The ids of the orphaned jobs that can be claimed again.
        """
        await self.connect()
        async with self._connections.connection() as connection:
            return await self._sweeper.sweep(connection)
