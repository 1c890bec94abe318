# Generated from src/pgwerk/_async/reading.py by `python tools/unasync_build.py`.
# Do not edit: change that file and run the command again.

"""What the client tells about jobs: the part of it that only reads."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from datetime import timedelta

from pgwerk._core.models import Job, JobExecution, JobStatus
from pgwerk._sync.jobs import Jobs
from pgwerk._sync.managing import Management


class Reading(ABC):
    """The methods that read jobs. The client that inherits them makes what they hand over to."""

    _jobs: Jobs
    _management: Management

    @abstractmethod
    def connect(self) -> None:
        """Make the client ready, unless that has been done."""

    def get_job(self, job_id: str) -> Job:
        """Fetch a job.

        Raises:
            JobNotFound: There is no such job.
        """
        self.connect()
        return self._jobs.get(job_id)

    def list_jobs(  # noqa: PLR0917 - the order of the API that was asked for
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
        function: str | None = None,
        group: str | None = None,
        older_than: float | timedelta | None = None,
        ids: Iterable[str] | None = None,
        id_prefix: str | None = None,
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
            function: Only those with this handler, given by its dotted path.
            group: Only those of this concurrency group.
            older_than: Only those that ended so long ago, in seconds or as a `timedelta`; of those that have not ended,
                only those that were enqueued so long ago.
            ids: Only those with one of these ids.
            id_prefix: Only those whose id begins so. That is found by the index, and needs no search.

        Raises:
            TypeError: A filter has the wrong type.
            ValueError: A status is unknown, `limit` or `offset` is negative, an age makes no sense, or what should be
                an id is none.
        """
        self.connect()
        return self._jobs.page(
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
            function=function,
            group=group,
            older_than=older_than,
            ids=ids,
            id_prefix=id_prefix,
        )

    def count_jobs(  # noqa: PLR0917 - the order of list_jobs
        self,
        queue: str | None = None,
        status: JobStatus | str | Sequence[JobStatus | str] | None = None,
        worker_id: str | None = None,
        search: str | None = None,
        schedule_name: str | None = None,
        retried: bool | None = None,
        *,
        function: str | None = None,
        group: str | None = None,
        older_than: float | timedelta | None = None,
        ids: Iterable[str] | None = None,
        id_prefix: str | None = None,
    ) -> dict[JobStatus, int]:
        """Count jobs by their status. The filters are those of `list_jobs`.

        This reads all rows, if it is not for a few ids: a second for some millions.

        Returns:
            A number for each status, 0 where there is no job.

        Raises:
            TypeError, ValueError: As for `list_jobs`.
        """
        self.connect()
        return self._jobs.count(
            queue=queue,
            status=status,
            worker_id=worker_id,
            search=search,
            schedule_name=schedule_name,
            retried=retried,
            function=function,
            group=group,
            older_than=older_than,
            ids=ids,
            id_prefix=id_prefix,
        )

    def get_job_statuses(  # noqa: PLR0917 - the order of list_jobs
        self,
        queue: str | None = None,
        status: JobStatus | str | Sequence[JobStatus | str] | None = None,
        worker_id: str | None = None,
        search: str | None = None,
        schedule_name: str | None = None,
        retried: bool | None = None,
        *,
        function: str | None = None,
        group: str | None = None,
        older_than: float | timedelta | None = None,
        ids: Iterable[str] | None = None,
        id_prefix: str | None = None,
    ) -> dict[str, JobStatus]:
        """Fetch the statuses of jobs, all of them at one moment. The filters are those of `list_jobs`.

        So one can look at what a change of many jobs would be about, and then pass these ids, and no others, to it.

        Returns:
            The status of each job by its id, in the order in which the jobs were made.

        Raises:
            TypeError, ValueError: As for `list_jobs`.
        """
        self.connect()
        return self._jobs.statuses(
            queue=queue,
            status=status,
            worker_id=worker_id,
            search=search,
            schedule_name=schedule_name,
            retried=retried,
            function=function,
            group=group,
            older_than=older_than,
            ids=ids,
            id_prefix=id_prefix,
        )

    def get_executions(self, job_id: str) -> list[JobExecution]:
        """Fetch the attempts at a job, the first one first. One that runs is among them.

        Raises:
            JobNotFound: There is no such job.
        """
        self.connect()
        return self._jobs.executions(job_id)

    def get_job_dependencies(self, job_id: str) -> list[str]:
        """Fetch the ids of the jobs that must end before this one can run, in the order of their making.

        Jobs that have ended meanwhile are among them as long as their rows are there.

        Raises:
            JobNotFound: There is no such job.
        """
        self.connect()
        return self._management.dependencies(job_id)

    def get_dependents(self, job_id: str) -> list[str]:
        """Fetch the ids of the jobs that depend on this one, in the order of their making.

        Those that no longer wait are among them as long as their rows are there.

        Raises:
            JobNotFound: There is no such job.
        """
        self.connect()
        return self._management.dependents(job_id)
