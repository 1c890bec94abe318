# Generated from src/pgwerk/_async/overseeing.py by `python tools/unasync_build.py`.
# Do not edit: change that file and run the command again.

"""What is told about a set of tables as a whole, and about the server that it is on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import timedelta

from pgwerk._core.insights import Finding, Overview, QueueStats, RunningJob, ServerInfo, WorkerInfo
from pgwerk._sync.diagnosing import Diagnosis
from pgwerk._sync.inspecting import Inspector


class Overseeing(ABC):
    """The methods for those who look after the whole. The client that inherits them makes what they hand over to."""

    _inspector: Inspector
    _diagnosis: Diagnosis

    @abstractmethod
    def connect(self) -> None:
        """Make the client ready, unless that has been done."""

    def list_workers(self) -> list[WorkerInfo]:
        """List the workers, the one that has run longest first.

        A worker that stops takes itself off the list. One that was lost stays on it for a day, its lease lapsed.
        """
        self.connect()
        return self._inspector.workers()

    def list_running(self, limit: int = 100) -> list[RunningJob]:
        """List the jobs that run, the one that has run longest first, without payloads.

        Args:
            limit: How many at most.

        Raises:
            TypeError: `limit` is no whole number.
            ValueError: It is negative.
        """
        self.connect()
        return self._inspector.running(limit)

    def queue_stats(self, since: float | timedelta = 3600, *, slices: int = 20) -> list[QueueStats]:
        """Tell what is in each queue, and how its attempts ended lately, in the order of the queues' names.

        A queue is known by its jobs that have not ended, by attempts that ended lately, or by a worker that is alive.
        What has ended is read from the history, by the time of its end. So what it costs grows with the attempts of
        that time, and not with what is older. With a million finished jobs in the tables, on two cores that had other
        work, too: 9 ms for a minute with 550 attempts, 0.4 s for an hour with 41,000, 7 s for all million of them. Jobs
        that have not ended are counted one by one: a million ready ones take 0.2 s, or 1 s where vacuum has not come by
        lately.

        Args:
            since: How far to look back, in seconds or as a `timedelta`.
            slices: In how many equal parts the ended attempts of that time are counted for `QueueStats.series`.

        Raises:
            TypeError: An argument has the wrong type.
            ValueError: `since` is not positive, or `slices` is not between 1 and 1000.
        """
        self.connect()
        return self._inspector.queues(since, slices)

    def overview(self, since: float | timedelta = 60, *, slices: int = 20, limit: int = 100) -> Overview:
        """Tell what `queue_stats`, `list_workers` and `list_running` tell, over one connection: for live screens.

        Args:
            since: How far to look back, in seconds or as a `timedelta`.
            slices: In how many equal parts the ended attempts of that time are counted.
            limit: How many running jobs at most.

        Raises:
            TypeError: An argument has the wrong type.
            ValueError: It makes no sense.
        """
        self.connect()
        return self._inspector.overview(since, slices, limit)

    def server_info(self) -> ServerInfo:
        """Tell where the tables are, how large they are, and by which way they are reached.

        Neither migrates nor runs start-up hooks. Whether notifications arrive is tried, for 5 seconds at
        most.

        Raises:
            psycopg.Error: The database cannot be reached, or refuses.
        """
        return self._inspector.info()

    def diagnose(self) -> list[Finding]:
        """Find out what is wrong or slow: the database, the way to it, the tables, workers, queues and jobs.

        Neither migrates nor runs start-up hooks, and changes nothing. What cannot be looked at, because the database
        cannot be reached, tables are missing or a right is, becomes a finding. Needs no rights but to read the tables;
        a role that is not a member of `pg_read_all_stats` is told less about the sessions of others.
        """
        return self._diagnosis.run()
