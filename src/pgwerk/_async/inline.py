"""`_sync`: a job that runs in the process that enqueues it, and lives through the same as in a worker.

On its own, the run is a worker of one job. One transaction inserts the job, claims it, and puts the run on the list of
workers, so that the job is running from the first moment that anybody sees it. Heartbeats in the background extend the
lease. Each attempt ends with a transaction that settles it and, when there is another one, claims the job again: no
worker gets in between. When the process dies, the lease runs out, and workers take over as they do for each other.

    [insert, claim] ──> attempt ──> [settle, claim] ──> attempt ──> [settle] ──> what follows ──> callback
                        `── heartbeats in between, brackets are transactions

In the caller's transaction (`_conn`), nobody else sees the job before the commit. There is no lease, and nothing to
rescue: when the process dies, there has never been a job. Each attempt is a savepoint, which is rolled back when the
attempt fails; so is the callback. Nothing is committed here, and the lock of a group is kept until the caller commits.

Between insert and claim, and between two attempts, the job is `waiting`. Nobody sees it so; a queued one would be
announced to all workers with the commit.

What stops the call stops the job: a cancellation, `KeyboardInterrupt`, `SystemExit`, all that is no `Exception`. The
job ends as aborted, so that it neither stays active nor runs once more where nobody asked for it, and the exception
goes on. If not even that can be written down, the lease decides. In the caller's transaction, the run is rolled back.
"""

from __future__ import annotations

import logging
import time

import psycopg
from attrs import frozen

from pgwerk._async import _compat
from pgwerk._async.aftermath import Aftermath, end_unstarted
from pgwerk._async.connections import Connection, Connections
from pgwerk._async.jobs import Jobs
from pgwerk._async.joining import CallersTransaction, OwnTransactions
from pgwerk._async.leases import Heartbeat, Lease, worker_row
from pgwerk._async.sending import Sender
from pgwerk._async.settling import is_fault_of_a_row
from pgwerk._core.claimed import Claimed
from pgwerk._core.errors import JobNotFound, WerkError
from pgwerk._core.execution import CALLBACKS, Attempts, Call, DueCallback, Ending, due_callback, log_failure
from pgwerk._core.failures import storable
from pgwerk._core.ids import new_id
from pgwerk._core.inserts import Settled, Settlement, fence_params, settle_params
from pgwerk._core.logs import current_job
from pgwerk._core.models import TERMINAL, EnqueueParams, Job, JobStatus
from pgwerk._core.new_jobs import NewJob
from pgwerk._core.policy import Outcome, dependency_failed, unstorable

logger = logging.getLogger("pgwerk.jobs")

LOCKED_PAUSE_SECS = 0.05
FIRST_PAUSE_SECS = 0.2
LONGEST_PAUSE_SECS = 5.0
HURRIED_SECS = 2.0


@frozen
class _Over:
    """The end of a run.

    Attributes:
        job: The job as it is then; None if somebody has deleted it.
        is_ours: Whether it was this run that ended it.
        is_removable: Whether its row is not to be kept.
    """

    job: Job | None
    is_ours: bool = True
    is_removable: bool = False


@frozen(kw_only=True)
class Inline:
    """Runs jobs in the calling process, for one client.

    Attributes:
        connections: Where runs of their own get their connections from.
        sender: Sends the statements.
        aftermath: Sees to what follows from the end of a job.
        jobs: Prepares and inserts jobs.
        attempts: Begins and ends attempts.
        heartbeat_interval: Seconds between heartbeats.
        max_active_secs: Seconds after which a call of which nothing is heard is taken for lost.
    """

    connections: Connections
    sender: Sender
    aftermath: Aftermath
    jobs: Jobs
    attempts: Attempts
    heartbeat_interval: float
    max_active_secs: float

    async def run(self, spec: EnqueueParams, connection: Connection | None) -> Job | None:
        """Insert a job and run it to its end.

        Args:
            spec: The job.
            connection: The connection whose transaction all of it becomes part of; None for transactions of its own.

        Returns:
            The finished job; None if its key exists already.

        Raises:
            ValueError: The job is one that cannot start at once.
            WerkError: Its group is busy, or a job that it depends on has not ended. Nothing was written.
            JobNotFound: Somebody deleted the job while it ran.
        """
        _refuse_to_postpone(spec)
        new = await self.jobs.prepare(spec)
        transactions = OwnTransactions(self.connections) if connection is None else CallersTransaction(connection)
        async with transactions.whole():
            return await _Run(self, new, transactions).to_its_end()


class _Run:
    """One run of one job."""

    def __init__(self, inline: Inline, new: NewJob, transactions: OwnTransactions | CallersTransaction) -> None:
        self._inline = inline
        self._sender = inline.sender
        self._attempts = inline.attempts
        self._new = new
        self._id = new.id
        self._transactions = transactions
        self._first: Claimed | None = None
        self._heartbeat: Heartbeat | None = None
        queue = new.options.columns["queue"]
        worker = worker_row(
            new_id(), "sync", [queue], 1, inline.heartbeat_interval, max_active_secs=inline.max_active_secs
        )
        self._lease = Lease(inline.sender, worker)
        # By then the callback has been called, or a worker is to call it.
        timeouts = [new.options.columns.get(f"{option}_timeout") for option in CALLBACKS]
        self._callback_secs = self._lease.secs + max(timeout or inline.max_active_secs for timeout in timeouts)

    async def to_its_end(self) -> Job | None:
        """Insert the job and run it; None if its key exists already."""
        try:
            claimed = await self._start()
        except Exception:
            raise
        except BaseException as error:
            # It may have been committed when the call was stopped.
            if self._transactions.is_own and self._first is not None:
                await self._give_up(self._first, None, error)
            raise
        if claimed is None:
            return None
        token = current_job.set(self._id)
        try:
            over = claimed if isinstance(claimed, _Over) else await self._run_attempts(claimed)
            await self._call_back(over)
        finally:
            current_job.reset(token)
            if self._heartbeat is not None:
                self._heartbeat.stop()
        if over.job is None:
            raise JobNotFound(self._id)
        return over.job

    # The start

    async def _start(self) -> Claimed | _Over | None:
        """Insert the job and claim it; None if its key exists already, its end if it cannot start."""
        async with self._transactions.connection() as connection, connection.transaction():
            if not await self._inline.jobs.hold(self._new, connection):
                return None
            failed = await self._judge_parents(connection) if self._new.parents else None
            if failed is not None:
                return failed
            await self._lock_group(connection)
            claimed = self._first = await self._claim(connection)
            if self._transactions.is_own:
                await self._lease.extend(connection, [claimed])
            return claimed

    async def _judge_parents(self, connection: Connection) -> _Over | None:
        """The end of the job, if one that it depends on has failed; None if all have succeeded."""
        verdicts = await self._sender.rows(connection, "judge_waiting", ids=[self._id], suspects=None)
        if not verdicts:
            raise WerkError("the job cannot run yet: one that it depends on has not ended. Nothing was enqueued")
        _, *culprit = verdicts[0]
        if culprit[0] is None:
            return None
        errors = {self._id: dependency_failed(*culprit)}
        ((_, is_removable),) = await end_unstarted(self._sender, connection, errors, JobStatus.Failed)
        return _Over(self._job(await self._read(connection)), is_removable=is_removable)

    async def _lock_group(self, connection: Connection) -> None:
        group = self._group
        if group is not None:
            found = await self._sender.first(connection, "lock_group", group_key=group)
            if found is None or not found[0]:
                raise self._busy()

    async def _claim(self, connection: Connection) -> Claimed:
        try:
            row = await self._sender.first(connection, "claim_job", id=self._id, worker_id=self._lease.worker_id)
        except psycopg.errors.UniqueViolation as error:
            # The caller's snapshot (REPEATABLE READ) is older than a claim of the group, but the index knows of it.
            raise self._busy() from error
        if row is None:
            raise self._busy()
        return Claimed(row)

    @property
    def _group(self) -> str | None:
        group: str | None = self._new.options.columns.get("group_key")
        return group

    def _busy(self) -> WerkError:
        return WerkError(
            f"the group {self._group!r} is busy: of the jobs of one group, one runs at a time. Nothing was enqueued"
        )

    # The attempts

    async def _run_attempts(self, claimed: Claimed) -> _Over:
        """Make attempts until the job is over; on its own, a run extends its lease meanwhile."""
        outcome: Outcome | None = None
        try:
            if self._transactions.is_own:
                inline = self._inline
                self._heartbeat = Heartbeat(inline.connections, self._lease, claimed, inline.heartbeat_interval)
            while True:
                outcome = None
                outcome = await self._attempt(claimed)
                settled = await self._settle(claimed, outcome)
                if isinstance(settled, _Over):
                    return settled
                claimed = settled
        except BaseException as error:
            if self._transactions.is_own and not isinstance(error, Exception):
                await self._give_up(claimed, outcome, error)
            raise

    async def _attempt(self, claimed: Claimed) -> Outcome:
        async with self._transactions.part() as part:
            outcome = await self._execute(claimed)
            part.undo = outcome.status is not JobStatus.Complete
        return outcome

    async def _execute(self, claimed: Claimed) -> Outcome:
        """Run the handler, and tell what came of it."""
        try:
            call = self._attempts.prepare(claimed)
        except Exception as error:
            attempted = self._attempts.unprepared(claimed, error)
        else:
            attempted = self._attempts.ended(claimed, call, await self._call(call, claimed.timeout_secs))
        log_failure(claimed, attempted.outcome)
        return attempted.outcome

    async def _call(self, call: Call, timeout: float | None) -> Ending:
        ending = await _compat.execute(call, timeout)
        if ending.error is None and self._transactions.is_aborted:
            swallowed = "it returned as if nothing were wrong, but an error before that has aborted the transaction"
            return ending._replace(error=psycopg.errors.InFailedSqlTransaction(swallowed))
        return ending

    # The end of an attempt

    async def _settle(
        self, claimed: Claimed, outcome: Outcome, *, hurried: bool = False, resent: bool = False
    ) -> Claimed | _Over:
        """Write down what an attempt has come to.

        On its own, a run waits for a database that is away, but not for longer than its lease lasts; and for somebody
        who holds the row, because it can keep its lease meanwhile.

        Args:
            claimed: The attempt.
            outcome: What it has come to.
            hurried: Whether not to wait for long.
            resent: Whether it may have been written down already.

        Returns:
            The next attempt, or the end.
        """
        deadline = time.monotonic() + (HURRIED_SECS if hurried else self._lease.secs)
        pause = FIRST_PAUSE_SECS
        while True:
            try:
                settled = await self._send(claimed, outcome, resent=resent)
                if settled is not None:
                    return settled
                if hurried and time.monotonic() > deadline:
                    raise WerkError("somebody holds its row")
                await _compat.sleep(LOCKED_PAUSE_SECS)
            except (psycopg.Error, UnicodeError) as error:
                if is_fault_of_a_row(error) and outcome.status is not JobStatus.Failed:
                    outcome = _refused(self._id, error)
                elif self._transactions.is_own and _may_pass(error) and time.monotonic() < deadline:
                    resent = True
                    logger.warning("a result waits for the database (next try in %.1f s): %s", pause, error)
                    await _compat.sleep(pause)
                    pause = min(2 * pause, LONGEST_PAUSE_SECS)
                else:
                    raise

    async def _send(self, claimed: Claimed, outcome: Outcome, *, resent: bool) -> Claimed | _Over | None:
        """Settle; None when somebody else holds the row just now."""
        if outcome.status not in TERMINAL:
            # The next attempt follows at once.
            outcome = outcome._replace(status=JobStatus.Waiting, delay=0)
        settlement = Settlement(claimed.id, claimed.worker_id, claimed.attempts, outcome)
        async with self._transactions.connection() as connection:
            async with connection.transaction():
                settled = await self._write_down(connection, settlement, resent=resent)
            if isinstance(settled, _Over):
                await self._conclude(connection, settled)
        return settled

    async def _write_down(
        self, connection: Connection, settlement: Settlement, *, resent: bool
    ) -> Claimed | _Over | None:
        params = settle_params([settlement], callback_secs=self._callback_secs)
        rows = await self._sender.rows(connection, "settle", **params)
        if not rows:
            if await self._sender.rows(connection, "fenced", **fence_params([settlement])):
                return None
            return await self._sort_out(connection, settlement, resent=resent)
        settled = Settled(*rows[0])
        if not settled.is_over:
            return await self._claim(connection)
        return _Over(self._job(await self._read(connection)), is_removable=settled.removable)

    async def _sort_out(self, connection: Connection, settlement: Settlement, *, resent: bool) -> Claimed | _Over:
        """The attempt is over: it was settled, and the answer was lost, or somebody has taken the job away."""
        found = await self._read(connection)
        job = self._job(found)
        if found is not None and job is not None and resent and job.worker_id == self._lease.worker_id:
            return _Over(job) if job.status.is_terminal else found
        logger.warning(
            "the outcome of attempt %d at job %s was dropped: the job was taken away from this run, or deleted",
            settlement.attempt,
            self._id,
        )
        return _Over(job, is_ours=False)

    async def _read(self, connection: Connection) -> Claimed | None:
        row = await self._sender.first(connection, "get_jobs", ids=[self._id])
        return None if row is None else Claimed(row)

    def _job(self, found: Claimed | None) -> Job | None:
        return None if found is None else found.job(self._attempts.serializer)

    async def _give_up(self, claimed: Claimed, outcome: Outcome | None, error: BaseException) -> None:
        """End the job although the call was stopped; `outcome` is what was being written down at that moment."""
        resent = outcome is not None
        if outcome is None or outcome.status not in TERMINAL:
            outcome = self._attempts.interrupted(claimed, error)
        try:
            settled = await self._settle(claimed, outcome, hurried=True, resent=resent)
            while isinstance(settled, Claimed):
                # The next attempt had been claimed, and the answer did not arrive.
                settled = await self._settle(settled, self._attempts.interrupted(settled, error), hurried=True)
            await self._call_back(settled)
        except (psycopg.Error, WerkError) as failure:
            logger.warning("job %s was stopped, which cannot be written down: %s", self._id, failure)

    # What follows

    async def _conclude(self, connection: Connection, over: _Over) -> None:
        """Give up the lease, and see to the jobs that wait for this one."""
        try:
            if self._heartbeat is not None:
                self._heartbeat.stop()
                await self._heartbeat.join()
            if self._transactions.is_own:
                await self._lease.end(connection)
            if over.is_ours:
                await self._inline.aftermath.see_to(connection, ended=[self._id])
        except psycopg.Error as error:
            self._leave_to_sweep(error)

    async def _call_back(self, over: _Over) -> None:
        """Call the callback, and remove the row if it is not to be kept."""
        if not over.is_ours or over.job is None:
            return
        due = due_callback(over.job, self._new.options.columns)
        if due is not None:
            async with self._transactions.part() as part:
                ending = await self._execute_callback(due, over.job)
                part.undo = due.has_failed(self._id, ending)
        if due is None and not over.is_removable:
            return
        try:
            async with self._transactions.connection() as connection:
                is_removable = over.is_removable if due is None else await self._has_called_back(connection, over.job)
                if is_removable:
                    await self._inline.aftermath.see_to(connection, removable=[self._id])
        except psycopg.Error as error:
            self._leave_to_sweep(error)

    async def _has_called_back(self, connection: Connection, job: Job) -> bool:
        """Take the mark off that a callback is owed; whether the row is not to be kept."""
        found = await self._sender.first(connection, "end_own_callback", id=self._id, completed_at=job.completed_at)
        return found is not None and bool(found[0])

    async def _execute_callback(self, due: DueCallback, job: Job) -> Ending:
        try:
            call = self._attempts.callback(due, job)
        except Exception as error:
            return Ending(error=error)
        return await self._call(call, due.timeout_secs)

    def _leave_to_sweep(self, error: psycopg.Error) -> None:
        """The job is over, whatever else could not be done. Only the caller's transaction cannot go on."""
        if not self._transactions.is_own:
            raise error
        logger.warning("what follows from the end of job %s is left to the sweep: %s", self._id, error)


def _refuse_to_postpone(spec: EnqueueParams) -> None:
    for name in ("delay", "at"):
        if getattr(spec, name) is not None:
            raise ValueError(f"_{name} and _sync cannot be given together: with _sync the job runs at once")


def _refused(job_id: str, error: Exception) -> Outcome:
    text = storable(f"the outcome of the job cannot be stored: {type(error).__name__}: {error}")
    logger.error("job %s: %s", job_id, text)
    return unstorable(text)


def _may_pass(error: Exception) -> bool:
    """Whether the database may take it later: it cannot be reached, or is a standby that is being promoted."""
    return isinstance(error, (psycopg.OperationalError, psycopg.errors.ReadOnlySqlTransaction))
