"""The engine: claim, run, settle, and look after the rest, until told to stop.

These run side by side on one event loop:

- the claim loop, here: as long as there may be work and a slot is free, claim; else sleep until something wakes it: a
  freed slot, a notification, the next due time, or the poll interval;
- one task per running job, which ends with an outcome, and per callback (calling.py);
- the settler (settling.py), the listener (listening.py), heartbeats with rescues, and sweeps (upkeep.py);
- while handlers run, a look now and then whether one of them is to be stopped (aborting.py);
- a guard that finds out when a connection is dead (guarding.py);
- in a thread of its own, the watchdog, in case the event loop is blocked (watchdog.py).

There are three connections: one claims, one settles and beats, one listens. None of the three activities waits for
another, and a worker that does not get on with one of them still holds its lease, or loses it, as it should.

Stopping: claim no more, give the running jobs `shutdown_timeout` to end, then cancel them and give back those that have
stopped, so that another worker starts them at once and no attempt is counted. What cannot be stopped (a thread) keeps
the worker, and its lease, until it returns, or until it is told to stop at once: then the worker leaves, and the job
is rescued when the lease has run out. So are jobs whose results the database does not take for `shutdown_timeout`.
A worker whose process ends with it need not wait for threads either (leaving.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Sequence

import psycopg
from attrs import frozen

from pgwerk._async.aftermath import Aftermath
from pgwerk._async.connections import Connection
from pgwerk._async.leases import Lease, worker_row
from pgwerk._async.sending import Sender
from pgwerk._async.sweeping import Sweeper
from pgwerk._core.backoff import Backoff
from pgwerk._core.claimed import Claimed
from pgwerk._core.config import WerkConfig
from pgwerk._core.execution import Attempted, Attempts, Work, log_failure
from pgwerk._core.inserts import Settled, Settlement
from pgwerk._core.logs import mark_records
from pgwerk._core.models import DequeueStrategy, JobStatus
from pgwerk._sql import Names, Statements
from pgwerk.worker.aborting import Aborts
from pgwerk.worker.calling import Callbacks
from pgwerk.worker.claiming import Claimer, Turn
from pgwerk.worker.execution import Executor, Interruption, Ran, RunKey, Running
from pgwerk.worker.following import Follower
from pgwerk.worker.guarding import Guard
from pgwerk.worker.hooks import Hooks
from pgwerk.worker.leaving import Departure
from pgwerk.worker.listening import WorkListener
from pgwerk.worker.looking import look_around, until
from pgwerk.worker.news import News
from pgwerk.worker.runs import Runs
from pgwerk.worker.session import HANGING_SECS, Session
from pgwerk.worker.settling import Settler
from pgwerk.worker.strays import Strays
from pgwerk.worker.upkeep import Upkeep
from pgwerk.worker.watchdog import Watchdog

logger = logging.getLogger("pgwerk.worker")

BURST_PAUSE_SECS = 0.05
REMINDER_SECS = 10.0
LEAVING_SECS = 1.0
GIVING_BACK_SECS = 3.0
SHORTEST_GRACE_SECS = 0.1
CANCEL_AGAIN_SECS = 1.0
GOODBYE_SECS = 3.0
FIRST_MISS_SECS, LONGEST_MISS_SECS = 0.01, 1.0
"""After how long a claim that somebody else was in the way of is tried again."""
PING_SHARE = 0.6
"""After which part of a heartbeat a connection that listens is tried: with looks and sweeps, two statements a poll."""
WHOLE_CLAIM = 100
"""Up to this concurrency, a claim is for all slots: what a statement costs by itself is more than what its rows do."""


@frozen(kw_only=True)
class Settings:
    """How one worker works. All times in seconds."""

    worker_id: str
    kind: str
    queues: tuple[str, ...]
    strategy: DequeueStrategy
    concurrency: int
    heartbeat_interval: float
    poll_interval: float
    sweep_interval: float
    abort_interval: float
    shutdown_timeout: float
    burst: bool
    listen: bool
    exits_hard: bool


class Engine:
    """One run of a worker.

    Args:
        dsn: Connection string of libpq.
        config: The client's configuration.
        settings: How the worker works.
        attempts: Begins and ends the attempts.
        executor: Runs the handlers.
        hooks: What is called around them.
        pooler: Whether `dsn` leads to a pooler; "auto" finds out.
        listen_dsn: Connection string for the connection that listens; None uses `dsn`.
    """

    def __init__(
        self,
        dsn: str,
        config: WerkConfig,
        settings: Settings,
        attempts: Attempts,
        executor: Executor,
        *,
        hooks: Hooks,
        pooler: bool | str = "auto",
        listen_dsn: str | None = None,
    ) -> None:
        self._settings = settings
        self._executor = executor
        self._hooks = hooks
        self._grace_secs = max(config.sigterm_grace, SHORTEST_GRACE_SECS)
        self._departure = Departure(attempts, exits_hard=settings.exits_hard)
        self._runs = Runs(
            attempts,
            executor,
            hooks,
            grace_secs=self._grace_secs,
            on_ended=self._on_ended,
        )
        names = Names(config.schema, config.prefix)
        self._statements = Statements(names)
        lease_secs = 3 * settings.heartbeat_interval
        self._claims, self._results, sweeping, following = (
            Session(dsn, silence_secs=lease_secs, pooler=pooler) for _ in range(4)
        )
        listening = Session(
            listen_dsn or dsn, silence_secs=lease_secs, pooler=False if listen_dsn else pooler, tuned=False
        )
        watching = Session(dsn, silence_secs=lease_secs, pooler=pooler)
        self._sessions = (self._claims, self._results, listening, sweeping, following)
        self._guard = Guard(self._sessions, self._statements, heartbeat_interval=settings.heartbeat_interval)
        self._claimer = Claimer(self._statements, settings.worker_id, settings.queues, settings.strategy)
        sender = Sender(self._statements)
        aftermath = Aftermath(sender)
        self._sweeper = Sweeper(sender, aftermath, config, attempts.serializer)
        self._settler = Settler(self._results, self._statements, self._on_settled, leaves_it=self._claims_soon)
        self._strays = Strays(
            self._statements,
            settings.worker_id,
            lambda: self._runs.attempts() + self._settler.keys(),
            interval=lease_secs,
        )
        self._follower = Follower(self._results, following, aftermath, self._on_followed)
        self._aborts = Aborts(
            self._results, self._statements, settings.worker_id, self._runs, interval=settings.abort_interval
        )
        self._callbacks = Callbacks(
            self._results,
            self._statements,
            settings.queues,
            lease_secs=lease_secs,
            on_removable=self._on_removable,
            on_postponed=self._on_postponed,
            on_written=self._wake_up,
        )
        self._listener = WorkListener(
            listening,
            self._results,
            names.ready_channel,
            settings.queues,
            interval=settings.heartbeat_interval * PING_SHARE,
            is_alive=self._statements["ping"],
            on_gap=self._on_gap,
            on_ready=self._on_ready,
            on_due=self._on_due,
            on_owing=self._on_owing,
            on_abort=self._aborts.requested,
            on_waiting=self._follower.add_waiting,
        )
        worker = worker_row(
            settings.worker_id,
            settings.kind,
            settings.queues,
            settings.concurrency,
            settings.heartbeat_interval,
            max_active_secs=config.max_active_secs,
        )
        lease = Lease(sender, worker)
        self._upkeep = Upkeep(
            self._results,
            sweeping,
            self._sweeper,
            lease,
            heartbeat_interval=settings.heartbeat_interval,
            sweep_interval=settings.sweep_interval,
            running=self._runs.jobs,
            extend_callbacks=self._callbacks.extend,
            on_rescued=self._on_settled,
            on_beaten=self._on_beaten,
        )
        self._lease = lease
        self._news = News()
        self._watchdog = Watchdog(
            watching,
            lease,
            self._runs,
            heartbeat_interval=settings.heartbeat_interval,
            stack=self._stack,
            on_beat=self._upkeep.beaten,
        )
        self._most = _largest_claim(settings.concurrency)
        # Whether claims settle on the way. One that failed may have failed because of that.
        self._lends = True
        self._misses = Backoff(FIRST_MISS_SECS, LONGEST_MISS_SECS)
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()
        self._leaving = asyncio.Event()
        # Whether there may be something to claim.
        self._may_find_work = True
        # Whether a callback still runs that nothing waits for any more.
        self._left_callback = False
        # Whether a burst has done before its end what sweeps do.
        self._is_tidy = False
        self._look_for_due_at = 0.0
        self._look_for_waiting_at = 0.0
        self._look_for_callbacks_at = 0.0

    async def run(self) -> None:
        """Work until told to stop, or, in a burst, until nothing is left to do."""
        helpers: list[asyncio.Task[None]] = []
        try:
            mark_records()
            self._watchdog.start()
            await self._executor.start()
            await self._register()
            chores = [
                self._settler.run(),
                self._follower.run(),
                self._callbacks.run(),
                self._upkeep.run(),
                self._upkeep.sweep(),
                self._aborts.run(),
                self._guard.run(),
            ]
            if self._settings.listen:
                chores.append(self._listener.run())
            helpers = [asyncio.create_task(chore) for chore in chores]
            for helper in helpers:
                helper.add_done_callback(self._on_helper_done)
            logger.info("worker %s is ready", self._settings.worker_id)
            await self._claim_until_stopped()
            await self._drain(self._settings.shutdown_timeout)
            _raise_first_error(helpers)
        except BaseException:
            # Whoever cancels does not want to wait for jobs to end, but to give them back is a matter of milliseconds.
            # After an error of our own, nothing may go on running that nobody looks after.
            await self._drain(0)
            raise
        finally:
            self._hooks.close()
            await self._executor.close()
            self._hang_up()
            await _cancel(helpers)
            await self._say_goodbye()
            await self._watchdog.stop()
            logger.info("worker %s has stopped", self._settings.worker_id)

    @property
    def has_left_running(self) -> bool:
        """Whether something still runs that the worker does not wait for any more."""
        return self._left_callback or self._departure.leaves_something or bool(self._runs)

    def stop(self, *, now: bool = False) -> None:
        """Stop in an orderly way, or as soon as possible."""
        if now or not self._stopping.is_set():
            self._departure.begin()
            self._departure.announce(self._runs, 0 if now else self._settings.shutdown_timeout)
        if now:
            self._leave()
        self._stopping.set()
        self._settler.leaves_callbacks = True
        self._settler.poke()
        self._wake.set()

    def report(self) -> None:
        """Log what runs, since when, and where it is. May be called by a signal handler."""
        self._watchdog.report()

    async def _stack(self, running: Running) -> str:
        return self._hooks.stack(running) or await self._executor.stack(running)

    # Claiming

    async def _claim_until_stopped(self) -> None:
        backoff = Backoff()
        while not self._stopping.is_set():
            self._wake.clear()
            try:
                for step in (
                    self._look_around,
                    self._promote_due,
                    self._take_callbacks,
                    self._claim,
                    self._say_what_it_wants,
                ):
                    # What is begun after that has to be waited for.
                    if not self._stopping.is_set():
                        await step()
                exhausted = self._settings.burst and not self._stopping.is_set() and await self._is_exhausted()
                backoff.reset()
            except (psycopg.Error, UnicodeError) as error:
                # Whatever it is, the database may take the next try: the worker neither gives up nor spins. Or it was
                # something in an end that went along, which the settler sees to.
                self._may_find_work = True
                self._lends = False
                self._settler.poke()
                self._look_for_due_at = 0.0
                pause = backoff.next()
                logger.warning("claim failed (next try in %.1f s): %s", pause, error)
                await self._sleep(pause, self._stopping)
                continue
            self._settler.poke()
            if exhausted:
                return
            if not (self._may_find_work and self._free_slots()):
                next_look = min(self._look_for_due_at, self._look_for_callbacks_at)
                if not self._free_slots():
                    next_look = self._look_for_due_at
                await self._sleep(min(next_look, self._news.look_again_at) - time.monotonic(), self._wake)
                if self._news.has_to_look_again(time.monotonic()):
                    self._may_find_work = True
                if not self._listener.is_hearing and time.monotonic() >= self._look_for_waiting_at:
                    self._look_for_waiting_at = time.monotonic() + self._settings.poll_interval
                    self._follower.look_around(now=False)

    def _free_slots(self) -> int:
        # Results that are not settled yet count against the limit only when they pile up.
        backlog = max(0, len(self._settler) - 2 * self._settings.concurrency)
        if not self._upkeep.holds_lease():
            # What it claims now, others would take away at once.
            return 0
        return max(0, self._settings.concurrency - len(self._runs) - backlog)

    async def _look_around(self) -> None:
        """While nobody has told of work: look what there is to do, and do no more than that (looking.py)."""
        now = time.monotonic()
        if self._may_find_work or now < min(self._look_for_due_at, self._look_for_callbacks_at):
            return
        due, callbacks = self._look_for_due_at, self._look_for_callbacks_at
        async with self._claims.use() as connection:
            # Whoever tells of something from here on makes it look again.
            self._look_for_due_at = now + self._settings.poll_interval
            self._look_for_callbacks_at = now + self._settings.heartbeat_interval
            try:
                seen = await look_around(connection, self._statements, self._settings.queues)
            except BaseException:
                self._look_for_due_at, self._look_for_callbacks_at = due, callbacks
                raise
        now = time.monotonic()
        self._look_for_due_at = min(self._look_for_due_at, now + until(seen.due_in, self._settings.poll_interval))
        self._look_for_callbacks_at = min(
            self._look_for_callbacks_at, now + until(seen.owed_in, self._settings.heartbeat_interval)
        )
        if seen.is_ready or self._strays.are_to_be_looked_for:
            self._may_find_work = True

    async def _claim(self) -> None:
        limit = min(self._free_slots(), self._most)
        if not (self._may_find_work and limit):
            return
        async with self._claims.use() as connection:
            if self._strays.are_to_be_looked_for:
                await self._strays.give_back(connection)
            # Whatever becomes ready from here on makes it claim again.
            self._may_find_work = False
            self._strays.are_possible = True
            claimed = await self._turn_over(connection, limit)
            for each in claimed:
                self._runs.start(Work(each), RunKey(each.id, each.attempts))
                if each.heartbeat_secs is not None:
                    self._upkeep.reconsider()
            self._strays.are_possible = False
        if claimed:
            self._aborts.attend()
            self._watchdog.attend()
        if len(claimed) == limit:
            self._may_find_work = True

    async def _turn_over(self, connection: Connection, limit: int) -> list[Claimed]:
        """Claim, and settle on the way what has ended meanwhile."""
        turn: Turn | None = None
        ends = self._settler.lend() if self._lends else []
        try:
            turn = await self._claimer.turn_over(connection, limit, ends)
            self._lends = True
            self._come_back(turn)
            return turn.claimed
        finally:
            self._settler.give_back(None if turn is None else turn.settled)

    def _come_back(self, turn: Turn) -> None:
        """Claim again in a moment, if somebody else was quicker, or holds what there is."""
        if turn.claimed:
            self._misses.reset()
        if turn.has_missed:
            asyncio.get_running_loop().call_later(self._misses.next(), self._on_ready)

    async def _say_what_it_wants(self) -> None:
        """Want news before it sleeps for lack of work, and look once more then; want none when it is busy (news.py)."""
        wants_news = self._news.change(
            time.monotonic(), finds_work=self._may_find_work, is_hearing=self._listener.is_hearing
        )
        if wants_news is None:
            return
        self._news.is_going_to_change(wants_news)
        async with self._claims.use() as connection:
            await self._lease.want_news(connection, wants_news)
        self._news.has_changed(time.monotonic(), wants_news)
        self._may_find_work = True

    def _claims_soon(self) -> bool:
        """Whether a claim is about to be sent that settles on the way."""
        if not (self._lends and self._may_find_work and not self._stopping.is_set() and self._free_slots() > 0):
            return False
        # It may be asleep all the same: a lease that was lost comes back without a word.
        self._wake.set()
        return True

    async def _take_callbacks(self) -> None:
        """Call what has to be called: it comes before new jobs."""
        free = self._free_slots()
        if not free or time.monotonic() < self._look_for_callbacks_at:
            return
        async with self._claims.use() as connection:
            self._look_for_callbacks_at = time.monotonic() + self._settings.heartbeat_interval
            taken = await self._callbacks.take(connection, free)
        if len(taken) == free:
            self._on_owing()
        for each in taken:
            self._runs.start(Work(each.claimed, each.due), each.key)
        if taken:
            self._watchdog.attend()

    async def _promote_due(self) -> None:
        if time.monotonic() < self._look_for_due_at:
            return
        async with self._claims.use() as connection:
            promotion = await self._sweeper.promote_due(connection)
        if promotion.count:
            self._may_find_work = True
        pause = self._settings.poll_interval
        if promotion.next_in is not None:
            pause = min(pause, max(promotion.next_in, 0.0))
        # A full batch is seldom the last one.
        self._look_for_due_at = 0.0 if promotion.is_full else time.monotonic() + pause

    async def _is_exhausted(self) -> bool:
        """Whether a burst is over: nothing runs, everything is settled, and nothing is ready, not even under a lock."""
        if self._runs or self._may_find_work or self._unwritten() or self._look_for_callbacks_at == 0.0:
            return False
        async with self._claims.use() as connection:
            promotion = await self._sweeper.promote_due(connection)
            exhausted = not promotion.count and not await self._claimer.is_anything_ready(connection)
            if exhausted and not self._is_tidy:
                # No sweep may have come by. What it leaves behind is looked at once more.
                await self._sweeper.tidy(connection)
                self._is_tidy = self._may_find_work = True
                self._on_owing()
                return False
        if not exhausted:
            self._may_find_work = True
            await self._sleep(BURST_PAUSE_SECS, self._stopping)
        return exhausted

    async def _sleep(self, secs: float, waker: asyncio.Event) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(secs, 0)):
                await waker.wait()

    def _unwritten(self) -> int:
        """How much of what has ended has not been seen to in the database."""
        return len(self._settler) + len(self._callbacks) + len(self._follower)

    # What is heard from the others

    def _on_ended(self, running: Running, ran: Ran | None) -> None:
        key, claimed = running.key, running.claimed
        if ran is None:
            self._leave_behind(running)
        elif not isinstance(ran, Attempted):
            self._callbacks.ended(key, ran, running.interruption)
        elif running.interruption is not Interruption.Lost:
            self._departure.ended(running, ran.outcome)
            self._settle(Settlement.of(claimed, ran.outcome, ran.max_memory), claimed)
        self._wake.set()

    def _on_gap(self) -> None:
        self._on_ready()
        self._on_due()
        self._on_owing()
        self._aborts.look()
        self._follower.look_around(now=True)

    def _on_beaten(self, wants_news: bool) -> None:
        if self._news.is_forgotten(wants_news):
            self._on_ready()

    def _on_ready(self) -> None:
        self._may_find_work = True
        self._wake.set()

    def _on_due(self) -> None:
        self._look_for_due_at = 0.0
        self._wake.set()

    def _on_owing(self) -> None:
        self._look_for_callbacks_at = 0.0
        self._wake.set()

    def _wake_up(self) -> None:
        self._wake.set()

    def _on_removable(self, job_id: str) -> None:
        self._follower.add(job_id, removable=True)

    def _on_postponed(self, secs: float) -> None:
        self._look_for_callbacks_at = min(self._look_for_callbacks_at, time.monotonic() + secs)
        self._wake.set()

    def _on_followed(self, released: bool) -> None:
        if released:
            self._may_find_work = True
        self._wake.set()

    def _on_settled(self, settled: Iterable[Settled]) -> None:
        for each in settled:
            if each.is_over:
                self._follower.add(each.job_id, removable=each.removable)
            if each.owing:
                self._look_for_callbacks_at = 0.0
            # The end of a job with a group lets another one run, in any queue.
            if each.grouped or each.status == JobStatus.Queued.value:
                self._may_find_work = True
            if each.status == JobStatus.Scheduled.value:
                self._look_for_due_at = 0.0
        self._wake.set()

    def _on_helper_done(self, helper: asyncio.Task[None]) -> None:
        if not helper.cancelled() and helper.exception() is not None:
            # A fault of ours. Going on without it would look healthy and not be it.
            logger.critical("the worker stops because of an error in itself", exc_info=helper.exception())
            self.stop(now=True)

    # Stopping

    def _leave(self) -> None:
        self._executor.abandon()
        self._hooks.abandon()
        self._hang_up()
        # Who has only just begun to wait for an answer has waited for a while by then.
        asyncio.get_running_loop().call_later(2 * HANGING_SECS, self._claims.hang_up)
        self._leaving.set()

    def _hang_up(self) -> None:
        for session in self._sessions:
            session.hang_up()

    async def _register(self) -> None:
        backoff = Backoff()
        while not self._stopping.is_set():
            try:
                async with self._results.use() as connection:
                    await self._upkeep.beat(connection)
                return
            except psycopg.Error as error:
                pause = backoff.next()
                logger.warning("cannot register the worker (next try in %.1f s): %s", pause, error)
                await self._sleep(pause, self._stopping)

    async def _drain(self, patience_secs: float) -> None:
        """Let running jobs end, or stop them, and settle what has ended."""
        self._departure.begin()
        # No claim comes any more that would settle something, also where nobody has called stop().
        self._lends = False
        self._settler.poke()
        await self._wait_while(lambda: bool(self._runs), patience_secs)
        if self._runs:
            logger.info("stopping what still runs (%d)", len(self._runs))
            self._runs.interrupt(Interruption.Shutdown)
        if self._settings.exits_hard:
            await self._drain_for_good()
        while self._runs and not self._leaving.is_set():
            await self._wait_while(lambda: bool(self._runs), REMINDER_SECS)
            for running in self._runs:
                logger.warning("job %s (%s) cannot be stopped", running.claimed.id, running.claimed.function)
        # Asked to leave, it takes a moment all the same: what has been cancelled gets to its end, and is given back.
        await self._wait_while(
            lambda: bool(self._runs or len(self._settler) or len(self._callbacks)), LEAVING_SECS, leave=False
        )
        await self._wait_while(lambda: bool(self._unwritten()), patience_secs)
        if len(self._settler):
            logger.error("%d results could not be settled: their jobs are going to run again", len(self._settler))
        for running in self._runs:
            if not running.key.is_callback and running.interruption is not Interruption.Lost:
                self._departure.left(running)
        self._departure.sum_up(self._settler.keys())

    async def _drain_for_good(self) -> None:
        """Do not wait for what cannot be stopped: it ends with the process, and is given back."""
        await self._wait_while(lambda: any(not running.in_thread for running in self._runs), self._grace_secs)
        if not self._runs:
            return
        self._leave()
        # They are told once more: now that nobody waits for them, threads let go.
        self._runs.interrupt(Interruption.Shutdown)
        await self._wait_while(lambda: bool(self._runs), LEAVING_SECS, leave=False)
        for running in self._runs:
            if not running.key.is_callback:
                self._leave_behind(running)
                # Whatever it comes to in the time that is left.
                running.interruption = Interruption.Lost
        await self._wait_while(lambda: bool(len(self._settler)), GIVING_BACK_SECS, leave=False)

    def _leave_behind(self, running: Running) -> None:
        """It still runs, and nobody waits for it any more."""
        if running.key.is_callback:
            self._left_callback = True
            self._callbacks.left_running(running.key)
        elif (settlement := self._departure.left(running)) is not None:
            self._settle(settlement, running.claimed)

    def _settle(self, settlement: Settlement, claimed: Claimed) -> None:
        log_failure(claimed, settlement.outcome)
        self._settler.add(settlement)

    async def _wait_while(self, condition: Callable[[], bool], secs: float, *, leave: bool = True) -> None:
        """Wait while the condition holds, so many seconds at most, and, unless told otherwise, not when leaving."""
        deadline = time.monotonic() + secs
        while condition() and time.monotonic() < deadline and not (leave and self._leaving.is_set()):
            self._wake.clear()
            await self._sleep(deadline - time.monotonic(), self._wake)

    async def _say_goodbye(self) -> None:
        """Leave nothing behind, unless the database does not answer: then leases say when others may see to it."""
        leaving = asyncio.create_task(self._leave_the_tables())
        done, _ = await asyncio.wait([leaving], timeout=GOODBYE_SECS)
        if not done:
            self._hang_up()
            await _cancel([leaving])
        for session in self._sessions:
            await session.close()

    async def _leave_the_tables(self) -> None:
        try:
            if self._strays.are_possible:
                async with self._claims.use() as connection:
                    await self._strays.give_back(connection)
            # With jobs left behind, the row stays: its lease says when they may be rescued.
            if not (self._has_own_runs() or self._left_callback or len(self._settler)):
                async with self._results.use() as connection:
                    await self._upkeep.leave(connection)
        except psycopg.Error as error:
            logger.warning("could not take the worker off the list: %s", error)

    def _has_own_runs(self) -> bool:
        """Whether something still runs that belongs to this worker."""
        return self._departure.needs_lease or any(run.interruption is not Interruption.Lost for run in self._runs)


def _largest_claim(concurrency: int) -> int:
    """How many jobs one claim is for: half of them, so that the server claims one half while the other one runs."""
    return concurrency if concurrency <= WHOLE_CLAIM else -(-concurrency // 2)


async def _cancel(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancel tasks until they have ended: on a connection that is lost, an error may come in between and win."""
    while pending := [task for task in tasks if not task.done()]:
        for task in pending:
            task.cancel()
        await asyncio.wait(pending, timeout=CANCEL_AGAIN_SECS)
    await asyncio.gather(*tasks, return_exceptions=True)


def _raise_first_error(helpers: Iterable[asyncio.Task[None]]) -> None:
    for helper in helpers:
        if helper.done() and not helper.cancelled() and (error := helper.exception()) is not None:
            raise error
