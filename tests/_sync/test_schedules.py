# Generated from tests/_async/test_schedules.py by `python tools/unasync_build.py`.
# Do not edit: change that file and run the command again.

"""Schedules: registered, ticking, changed by operators; how often each tick is enqueued, and what fails alone."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest
from psycopg import sql
from tests import handlers
from tests._sync import _compat
from tests._sync.conftest import MakeApp

from pgwerk import (
    CronJob,
    Job,
    JobStatus,
    Retry,
    Schedule,
    ScheduleNotFound,
    SerializationError,
    SyncCronScheduler,
    SyncWerk,
)

HOURLY: dict[str, Any] = {"cron": "0 * * * *"}


class Rows:
    """The table of schedules, as a test changes it."""

    def __init__(self, connection: psycopg.Connection[Any], schema: str) -> None:
        self.connection = connection
        self._table = sql.Identifier(schema, "_pgwerk_schedules")

    def execute(self, change: str, *params: object) -> None:
        self.connection.execute(sql.SQL("UPDATE {} ").format(self._table) + sql.SQL(change), params)

    def lock(self) -> None:
        """Hold all rows until the transaction ends."""
        self.connection.execute(sql.SQL("SELECT FROM {} FOR UPDATE").format(self._table))

    def were_missed_for(self, **ago: float) -> None:
        """Have all schedules been due so long ago, and ever since."""
        secs = timedelta(**ago)
        self.execute("SET next_run_at = date_trunc('hour', now() - %s), anchor_at = anchor_at - %s", secs, secs)


@pytest.fixture
def rows(app: SyncWerk, dsn: str, schema: str) -> Iterator[Rows]:
    app.connect()
    with psycopg.Connection.connect(dsn, autocommit=True) as connection:
        yield Rows(connection, schema)


@pytest.fixture
def scheduler(app: SyncWerk) -> SyncCronScheduler:
    return SyncCronScheduler(app)


def the(app: SyncWerk, name: str) -> Schedule:
    """The schedule with this name."""
    (found,) = [schedule for schedule in app.list_schedules() if schedule.name == name]
    return found


def jobs_of(app: SyncWerk, name: str) -> list[Job]:
    return app.list_jobs(schedule_name=name)


def until_enqueued(app: SyncWerk, name: str, count: int) -> None:
    for _ in range(1000):
        if len(jobs_of(app, name)) >= count:
            return
        _compat.pause()
    pytest.fail(f"{name} has not been enqueued {count} times")


def _until_somebody_waits(dsn: str, statement: str) -> None:
    """Wait until a statement waits for a lock; looked for without a transaction, in which the answer never changes."""
    waits = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE %s"
    with psycopg.Connection.connect(dsn, autocommit=True) as connection:
        for _ in range(1000):
            cursor = connection.execute(waits, [statement])
            if cursor.fetchone() is not None:
                return
            _compat.pause()
    pytest.fail(f"nobody waits for a lock with {statement}")


class Gate:
    """Where the first who writes registrations waits, with what it has to write in its hands."""

    def __init__(self) -> None:
        self._is_reached = self._is_open = False

    def open(self) -> None:
        self._is_open = True

    def until_reached(self) -> None:
        while not self._is_reached:
            _compat.pause()

    def wait(self) -> None:
        if not self._is_reached:
            self._is_reached = True
            while not self._is_open:
                _compat.pause()


def slow_writer(app: SyncWerk, monkeypatch: pytest.MonkeyPatch) -> Gate:
    gate, save = Gate(), app._schedules.save

    def slowly(policies: Any) -> Any:
        gate.wait()
        return save(policies)

    monkeypatch.setattr(app._schedules, "save", slowly)
    return gate


# Registration


def test_registration(app: SyncWerk, scheduler: SyncCronScheduler) -> None:
    """What is registered becomes a row with all that was said, and nothing is written before."""
    registered = scheduler.register(
        handlers.echo,
        cron="30 2 * * *",
        queue="q",
        args=(1, "two"),
        kwargs={"three": 3},
        timeout=4,
        result_ttl=5,
        failure_ttl=6,
        meta={"seven": 7},
        name="all of it",
        paused=True,
        timezone=ZoneInfo("Europe/Berlin"),
        catch_up="all",
        catch_up_limit=8,
        overlap="skip",
        priority=9,
        retry=Retry(10, intervals=11),
    )
    assert [] == app.list_schedules()
    assert 0 == scheduler.tick()
    found = the(app, "all of it")
    assert ("tests.handlers.echo", "q", 9) == (found.function, found.queue, found.priority)
    assert {"args": [1, "two"], "kwargs": {"three": 3}} == found.payload
    assert ("30 2 * * *", None, "Europe/Berlin") == (found.cron, found.interval_secs, found.timezone)
    assert ("all", 8, "skip", True) == (found.catch_up, found.catch_up_limit, found.overlap, found.paused)
    assert (10, [11], 4, 5, 6) == (
        found.max_attempts,
        found.retry_intervals,
        found.timeout_secs,
        found.result_ttl,
        found.failure_ttl,
    )
    assert {"seven": 7} == found.meta
    assert (None, None, False) == (found.last_run_at, found.last_job_id, found.is_overdue)
    local = found.next_run_at.astimezone(ZoneInfo("Europe/Berlin"))
    assert (2, 30) == (local.hour, local.minute)
    assert registered is scheduler.get("all of it")
    assert ([registered], 1, True, False) == (
        scheduler.jobs,
        len(scheduler),
        "all of it" in scheduler,
        "none" in scheduler,
    )


def test_name_by_default(scheduler: SyncCronScheduler) -> None:
    """A schedule is named after its function, given as itself or by its path."""
    assert "tests.handlers.echo" == scheduler.register(handlers.echo, interval=1).name
    assert "tests.handlers.fail" == scheduler.register("tests.handlers.fail", interval=1).name
    assert scheduler.get("tests.handlers.other") is None


def test_cron_job(scheduler: SyncCronScheduler) -> None:
    """A `CronJob` is registered as it is, and nothing can be said beside it."""
    job = CronJob(handlers.echo, cron="@daily", name="mine")
    assert job is scheduler.register(job)
    with pytest.raises(ValueError, match="queue cannot be given beside a CronJob"):
        scheduler.register(job, queue="other")


def test_one_name_for_two_functions(scheduler: SyncCronScheduler) -> None:
    """In one process a name belongs to one function; for that one, the last registration counts."""
    scheduler.register(handlers.echo, interval=1, name="mine")
    with pytest.raises(ValueError, match=r"name: 'mine' is registered for tests\.handlers\.echo"):
        scheduler.register(handlers.fail, interval=1, name="mine")
    scheduler.register(handlers.echo, interval=2, name="mine")
    assert [2] == [job.interval for job in scheduler.jobs]


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        ({"cron": "every day"}, "cron: 'every day' has 2 fields"),
        ({"cron": "99 * * * *"}, "cron: '99 "),
        ({"cron": "0 0 31 2 *"}, "cron: '0 0 31 2 [*]' never comes true"),
        ({"cron": 5}, "cron must be a str"),
        ({"interval": 0}, "interval must be at least 1"),
        ({"interval": "60"}, "interval must be an int"),
        ({"interval": 1.5}, "interval must be an int"),
        ({}, "needs either interval or cron"),
        ({"interval": 1, **HOURLY}, "needs either interval or cron, and not both"),
        ({**HOURLY, "timezone": "Mars/Olympus"}, "timezone: there is no time zone 'Mars/Olympus'"),
        ({**HOURLY, "timezone": 5}, "timezone must be the name of a zone"),
        ({**HOURLY, "queue": ""}, "queue must not be empty"),
        ({**HOURLY, "args": "text"}, "args must be a tuple or a list"),
        ({**HOURLY, "kwargs": [1]}, "kwargs must be a dict"),
        ({**HOURLY, "timeout": 0}, "timeout must be at least 1"),
        ({**HOURLY, "result_ttl": -1}, "result_ttl must be at least 0"),
        ({**HOURLY, "failure_ttl": "1"}, "failure_ttl must be an int"),
        ({**HOURLY, "meta": "text"}, "meta must be a dict"),
        ({**HOURLY, "name": "\0"}, "name must not contain a NUL"),
        ({**HOURLY, "paused": 1}, "paused must be"),
        ({**HOURLY, "catch_up": "some"}, "catch_up must be one of 'latest', 'all', 'skip'"),
        ({**HOURLY, "catch_up_limit": 0}, "catch_up_limit must be at least 1"),
        ({**HOURLY, "overlap": "maybe"}, "overlap must be one of 'allow', 'skip'"),
        ({**HOURLY, "priority": "high"}, "priority must be an int"),
        ({**HOURLY, "retry": 0}, "retry must be at least 1"),
    ],
)
def test_bad_registrations(scheduler: SyncCronScheduler, bad: dict[str, Any], field: str) -> None:
    """A registration that makes no sense is refused at once, with the field named, and leaves nothing behind."""
    with pytest.raises((TypeError, ValueError), match=field):
        scheduler.register(handlers.echo, **bad)
    assert 0 == len(scheduler)


def test_functions_that_cannot_be_imported(make_app: MakeApp) -> None:
    """A function that no worker could import is refused, and so is one that is not allowed, or odd arguments."""
    scheduler = SyncCronScheduler(make_app(allowed_functions=["tests.handlers.e*"]))
    with pytest.raises(ValueError, match="lambda"):
        scheduler.register(lambda: None, name="mine", interval=1)
    with pytest.raises(ValueError, match="not allowed"):
        scheduler.register(handlers.fail, interval=1)
    with pytest.raises(SerializationError, match="object"):
        scheduler.register(handlers.echo, interval=1, args=(object(),))


def test_client_of_the_other_flavour(app: SyncWerk) -> None:
    """A scheduler takes a client of its own flavour."""
    with pytest.raises(TypeError, match="app must be a"):
        SyncCronScheduler(app._other_flavour())
    assert () == app.schedulers


def test_client_knows_its_schedulers(app: SyncWerk) -> None:
    """Who has the client finds the schedulers that were made for it."""
    first, second = SyncCronScheduler(app), SyncCronScheduler(app)
    assert (first, second) == app.schedulers


def test_registered_again(app: SyncWerk, scheduler: SyncCronScheduler, rows: Rows) -> None:
    """A new process changes what a schedule does, but not when an interval is due, nor that it is paused."""
    scheduler.register(handlers.echo, interval=3600, name="mine", args=(1,))
    scheduler.pause("mine")
    rows.execute("SET next_run_at = next_run_at - interval '10 min', anchor_at = anchor_at - interval '10 min'")
    before = the(app, "mine")
    again = SyncCronScheduler(app)
    job = again.register(handlers.echo, interval=3600, name="mine", args=(2,), queue="other")
    again.tick()
    after = the(app, "mine")
    assert (before.next_run_at, before.anchor_at, True) == (after.next_run_at, after.anchor_at, after.paused)
    assert ("other", [2]) == (after.queue, (after.payload or {})["args"])
    assert job.paused


def test_interval_that_is_changed_keeps_its_phase(app: SyncWerk, scheduler: SyncCronScheduler) -> None:
    """An interval that gets shorter ticks in the same phase, and one that becomes an expression counts from now."""
    scheduler.register(handlers.echo, interval=3600, name="mine")
    scheduler.tick()
    before = the(app, "mine")
    scheduler.register(handlers.echo, interval=600, name="mine")
    scheduler.tick()
    after = the(app, "mine")
    assert before.anchor_at == after.anchor_at
    assert before.anchor_at + timedelta(seconds=600) == after.next_run_at
    scheduler.register(handlers.echo, cron="0 * * * *", name="mine")
    scheduler.tick()
    changed = the(app, "mine")
    assert (0, 0) == (changed.next_run_at.minute, changed.next_run_at.second)
    assert timedelta() < changed.next_run_at - datetime.now(UTC) <= timedelta(hours=1)


def test_overdue_schedule_is_registered_again(app: SyncWerk, scheduler: SyncCronScheduler, rows: Rows) -> None:
    """What was missed during a deployment is not forgotten because the new process registers it."""
    scheduler.register(handlers.echo, **HOURLY, name="mine")
    scheduler.tick()
    rows.were_missed_for(hours=3)
    again = SyncCronScheduler(app)
    again.register(handlers.echo, **HOURLY, name="mine", queue="other")
    assert 1 == again.tick()
    (job,) = jobs_of(app, "mine")
    assert "other" == job.queue


def test_unregister(app: SyncWerk, scheduler: SyncCronScheduler) -> None:
    """A schedule that is unregistered is gone, and its jobs stay."""
    scheduler.register(handlers.echo, **HOURLY, name="mine")
    assert scheduler.trigger("mine")
    assert scheduler.unregister("mine")
    assert ([], 0) == (app.list_schedules(), len(scheduler))
    assert not scheduler.unregister("mine")
    assert 0 == scheduler.tick()
    assert 1 == len(jobs_of(app, "mine"))


def test_unregister_while_it_is_written(
    app: SyncWerk, scheduler: SyncCronScheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is unregistered while a scheduler is about to write it is gone in the end."""
    gate = slow_writer(app, monkeypatch)
    scheduler.register(handlers.echo, **HOURLY, name="mine")
    ticking = _compat.spawn(scheduler.tick)
    gate.until_reached()
    unregistering = _compat.spawn(scheduler.unregister, "mine")
    for _ in range(10):
        _compat.pause()
    gate.open()
    ticking.result()
    assert unregistering.result()
    assert [] == app.list_schedules()


def test_register_again_while_it_is_written(
    app: SyncWerk, scheduler: SyncCronScheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was registered last is written last, also when an older registration is under way."""
    gate = slow_writer(app, monkeypatch)
    scheduler.register(handlers.echo, interval=60, name="mine")
    ticking = _compat.spawn(scheduler.tick)
    gate.until_reached()
    scheduler.register(handlers.echo, interval=90, name="mine")
    resuming = _compat.spawn(scheduler.resume, "mine")
    for _ in range(10):
        _compat.pause()
    gate.open()
    ticking.result()
    resuming.result()
    found = the(app, "mine")
    assert 90 == found.interval_secs


def test_new_name_that_somebody_else_writes_first(
    app: SyncWerk, scheduler: SyncCronScheduler, rows: Rows, schema: str
) -> None:
    """Of two who register a new name at once, the second one finds the schedule of the first, paused as it may be."""
    other = SyncCronScheduler(app)
    other.register(handlers.echo, interval=3600, name="mine")
    other.tick()
    table = sql.Identifier(schema, "_pgwerk_schedules")
    rows.connection.execute(sql.SQL("CREATE TABLE {}.kept AS TABLE {}").format(sql.Identifier(schema), table))
    app.delete_schedule("mine")
    scheduler.register(handlers.echo, interval=3600, name="mine", queue="q")
    with rows.connection.transaction():
        kept = sql.SQL("INSERT INTO {} TABLE {}.kept").format(table, sql.Identifier(schema))
        rows.connection.execute(kept)
        rows.execute("SET paused = true, next_run_at = next_run_at - interval '10 min'")
        ticking = _compat.spawn(scheduler.tick)
        _until_somebody_waits(app.dsn, f"%INSERT%{schema}%")
    ticking.result()
    found = the(app, "mine")
    assert ("q", True) == (found.queue, found.paused)
    assert found.next_run_at < datetime.now(UTC) + timedelta(minutes=55)


# Ticks


def test_run(app: SyncWerk, scheduler: SyncCronScheduler) -> None:
    """A scheduler enqueues each tick when its time has come, until it is stopped."""
    scheduler.register(handlers.echo, cron="* * * * * *", name="each", args=(1,))
    running = _compat.spawn(scheduler.run)
    until_enqueued(app, "each", 2)
    with pytest.raises(RuntimeError, match="runs already"):
        scheduler.run()
    scheduler.stop()
    running.result()
    first, second, *_ = jobs_of(app, "each")
    assert timedelta(seconds=1) == second.scheduled_at - first.scheduled_at
    assert 0 == first.scheduled_at.microsecond
    assert first.enqueued_at >= first.scheduled_at
    assert ("each", {"args": [1], "kwargs": {}}) == (first.cron_name, first.payload)
    _compat.burst(app)
    assert {JobStatus.Complete} == {job.status for job in jobs_of(app, "each")}


def test_register_while_it_runs(app: SyncWerk, scheduler: SyncCronScheduler) -> None:
    """What is registered while the scheduler runs is seen to at once, not only when it looks around."""
    scheduler.poll_interval = 1000
    running = _compat.spawn(scheduler.run)
    for _ in range(5):
        _compat.pause()
    scheduler.register(handlers.echo, cron="* * * * * *", name="late")
    until_enqueued(app, "late", 1)
    scheduler.stop()
    running.result()


def test_stop_before_run(scheduler: SyncCronScheduler) -> None:
    """A scheduler that was stopped before it ran ends at once, and can run after that."""
    scheduler.stop()
    scheduler.run()
    running = _compat.spawn(scheduler.run)
    while scheduler._alarm is None:
        _compat.pause()
    scheduler.stop()
    running.result()


@pytest.mark.parametrize(("catch_up", "expected"), [("latest", 1), ("all", 4), ("skip", 0)])
def test_catch_up(app: SyncWerk, scheduler: SyncCronScheduler, rows: Rows, catch_up: str, expected: int) -> None:
    """After a downtime, what was missed is made up for as the schedule says, once."""
    scheduler.register(handlers.echo, cron="0 * * * *", name="mine", catch_up=catch_up)
    scheduler.tick()
    rows.were_missed_for(hours=3)
    (now,) = [datetime.now(UTC)]
    on_time = now.minute == 0  # an hour begins just now, so its tick is not missed at all
    assert expected + (on_time and not expected) == scheduler.tick()
    assert 0 == scheduler.tick()
    times = [job.scheduled_at for job in jobs_of(app, "mine")]
    hour = now.replace(minute=0, second=0, microsecond=0)
    if not on_time:
        assert [hour - timedelta(hours=number) for number in reversed(range(expected))] == times
    found = the(app, "mine")
    assert hour + timedelta(hours=1) == found.next_run_at
    assert (times[-1] if times else None) == found.last_run_at


def test_overlap(app: SyncWerk, scheduler: SyncCronScheduler, rows: Rows) -> None:
    """A run is left out while the last one has not finished, and the next ones come when it has."""
    scheduler.register(handlers.echo, cron="0 * * * *", name="mine", overlap="skip", catch_up="all")
    scheduler.tick()
    rows.were_missed_for(hours=3)
    assert 1 == scheduler.tick()
    rows.were_missed_for(hours=3)
    before = the(app, "mine")
    assert 0 == scheduler.tick()
    after = the(app, "mine")
    assert (before.last_run_at, before.last_job_id) == (after.last_run_at, after.last_job_id)
    assert app.trigger_schedule("mine") is None
    _compat.burst(app)
    rows.were_missed_for(hours=3)
    assert 1 == scheduler.tick()
    _compat.burst(app)
    assert app.trigger_schedule("mine")
    assert 3 == len(jobs_of(app, "mine"))


def test_overlap_with_a_run_that_is_gone(app: SyncWerk, scheduler: SyncCronScheduler, rows: Rows) -> None:
    """A last run whose row was deleted is over."""
    scheduler.register(handlers.echo, cron="0 * * * *", name="mine", overlap="skip")
    job = scheduler.trigger("mine")
    assert job is not None
    app.delete_job(job.id)
    rows.were_missed_for(hours=1)
    assert 1 == scheduler.tick()


def test_pause(app: SyncWerk, scheduler: SyncCronScheduler, rows: Rows) -> None:
    """A paused schedule does not tick, and what it has missed meanwhile is not made up for."""
    job = scheduler.register(handlers.echo, cron="0 * * * *", name="mine", catch_up="all")
    assert scheduler.pause("mine")
    assert (True,) == (job.paused,)
    rows.were_missed_for(hours=3)
    assert 0 == scheduler.tick()
    found = the(app, "mine")
    assert not found.is_overdue
    assert scheduler.resume("mine")
    assert (False,) == (job.paused,)
    assert 0 == scheduler.tick()
    found = the(app, "mine")
    assert found.next_run_at > datetime.now(UTC)


def test_resume_of_what_is_not_paused(app: SyncWerk, scheduler: SyncCronScheduler, rows: Rows) -> None:
    """To resume a schedule that is not paused does not take its overdue run away."""
    scheduler.register(handlers.echo, cron="0 * * * *", name="mine")
    scheduler.tick()
    rows.were_missed_for(hours=3)
    assert app.resume_schedule("mine")
    assert 1 == scheduler.tick()


def test_operators(make_app: MakeApp, scheduler: SyncCronScheduler) -> None:
    """Schedules are listed, paused, resumed, triggered and deleted without the scheduler's process."""
    scheduler.register(handlers.echo, **HOURLY, name="b", args=(1,), queue="q")
    scheduler.register(handlers.echo, **HOURLY, name="a")
    scheduler.tick()
    operator = make_app()
    before = the(operator, "b")
    assert ["a", "b"] == [schedule.name for schedule in operator.list_schedules()]
    assert operator.pause_schedule("b")
    paused = the(operator, "b")
    assert paused.paused
    job = operator.trigger_schedule("b")
    assert job is not None
    assert ("b", "q", JobStatus.Queued, [1]) == (job.cron_name, job.queue, job.status, (job.payload or {})["args"])
    after = the(operator, "b")
    assert (before.next_run_at, job.id, job.scheduled_at) == (after.next_run_at, after.last_job_id, after.last_run_at)
    assert operator.resume_schedule("b")
    assert operator.delete_schedule("b")
    assert ["a"] == [schedule.name for schedule in operator.list_schedules()]


def test_unknown_schedule(app: SyncWerk, scheduler: SyncCronScheduler) -> None:
    """For a schedule that is not there, what returns a bool returns False, and to trigger it is an error."""
    for method in (app.pause_schedule, app.resume_schedule, app.delete_schedule, scheduler.pause, scheduler.resume):
        assert False is method("none")
    for trigger in (app.trigger_schedule, scheduler.trigger):
        with pytest.raises(ScheduleNotFound, match="there is no schedule 'none'"):
            trigger("none")
    methods: list[Any] = [app.pause_schedule, app.resume_schedule, app.delete_schedule, app.trigger_schedule]
    for change in methods:
        for wrong in ("\0", "", None, 5):
            with pytest.raises((TypeError, ValueError), match="name must"):
                change(wrong)


def test_two_schedulers_at_once(make_app: MakeApp, app: SyncWerk, scheduler: SyncCronScheduler, rows: Rows) -> None:
    """Whoever ticks while another one does skips its schedules, and finds them advanced after that: no tick twice."""
    for number in range(20):
        scheduler.register(handlers.echo, **HOURLY, name=f"s{number}", catch_up="all")
    scheduler.tick()
    rows.were_missed_for(hours=3)
    others = [SyncCronScheduler(make_app()) for _ in range(4)]
    for other in others:
        for job in scheduler.jobs:
            other.register(job)
    ticking = [_compat.spawn(other.tick) for other in others]
    counts = [each.result() for each in ticking]
    assert 80 == sum(counts) + scheduler.tick()
    found = [(job.cron_name, job.scheduled_at) for job in app.list_jobs(limit=1000)]
    assert (80, 80) == (len(found), len(set(found)))


def test_row_in_somebody_elses_hands(scheduler: SyncCronScheduler, rows: Rows) -> None:
    """A schedule that somebody holds is neither waited for nor enqueued, and comes when it is let go."""
    scheduler.register(handlers.echo, **HOURLY, name="mine")
    scheduler.tick()
    rows.were_missed_for(hours=1)
    with rows.connection.transaction():
        rows.lock()
        assert 0 == scheduler.tick()
    assert 1 == scheduler.tick()


def test_tick_that_is_not_committed(app: SyncWerk, scheduler: SyncCronScheduler, rows: Rows) -> None:
    """A scheduler that dies between the insert and the commit has enqueued nothing, and the tick is still due."""

    class Death(BaseException):
        pass

    def die(_: Job) -> None:
        raise Death

    for name in ("first", "second"):
        scheduler.register(handlers.echo, **HOURLY, name=name)
    scheduler.tick()
    rows.were_missed_for(hours=1)
    app.register_before_enqueue(die)
    with pytest.raises(Death):
        scheduler.tick()
    app.unregister_before_enqueue(die)
    assert [] == app.list_jobs()
    assert 2 == scheduler.tick()


def test_before_enqueue(app: SyncWerk, scheduler: SyncCronScheduler) -> None:
    """The application's callbacks see the jobs of schedules as those of anybody else."""
    seen: list[Job] = []
    app.register_before_enqueue(seen.append)
    scheduler.register(handlers.echo, **HOURLY, name="mine", queue="q")
    scheduler.trigger("mine")
    assert [("mine", "q")] == [(job.cron_name, job.queue) for job in seen]


def test_bad_schedules_do_not_keep_the_others(
    app: SyncWerk, scheduler: SyncCronScheduler, rows: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    """One schedule whose job cannot be made, or is refused by the database, keeps no other one from its run."""

    def refuse(job: Job) -> None:
        if job.cron_name == "refused":
            raise RuntimeError("not this one")

    app.register_before_enqueue(refuse)
    names = ["good", "nowhere", "refused", "senseless", "unreadable", "zzz"]
    for name in names:
        scheduler.register(handlers.echo, **HOURLY, name=name)
    scheduler.tick()
    rows.were_missed_for(hours=1)
    rows.execute("SET timezone = 'Mars/Olympus' WHERE name = 'nowhere'")
    rows.execute("SET cron = 'no such thing' WHERE name = 'senseless'")
    rows.execute("""SET payload = '{"$bytes": 5}' WHERE name = 'unreadable'""")
    assert 2 == scheduler.tick()
    assert ["good", "zzz"] == sorted(str(job.cron_name) for job in app.list_jobs())
    for name in names[1:-1]:
        assert any(f"schedule {name} " in record.getMessage() for record in caplog.records), name
    # As due as before: who mends them gets the run.
    rows.execute("SET timezone = 'UTC', cron = '0 * * * *'")
    app.unregister_before_enqueue(refuse)
    assert 3 == scheduler.tick()


def test_job_that_the_database_refuses(
    scheduler: SyncCronScheduler, rows: Rows, schema: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A job that the database refuses fails alone, and is tried again."""
    for name in ("bad", "good", "other"):
        scheduler.register(handlers.echo, **HOURLY, name=name)
    scheduler.tick()
    rows.were_missed_for(hours=1)
    jobs = sql.Identifier(schema, "_pgwerk_jobs")
    rows.connection.execute(sql.SQL("ALTER TABLE {} ADD CONSTRAINT no_bad CHECK (cron_name <> 'bad')").format(jobs))
    assert 2 == scheduler.tick()
    assert "schedule bad is due, and the database refuses its job" in caplog.text
    rows.connection.execute(sql.SQL("ALTER TABLE {} DROP CONSTRAINT no_bad").format(jobs))
    assert 1 == scheduler.tick()


def test_many_schedules_at_once(scheduler: SyncCronScheduler, rows: Rows) -> None:
    """More schedules than a transaction takes are enqueued all the same."""
    for number in range(250):
        scheduler.register(handlers.echo, **HOURLY, name=f"s{number}")
    scheduler.tick()
    rows.were_missed_for(hours=1)
    assert 250 == scheduler.tick()
    assert 0 == scheduler.tick()


def test_many_missed_runs(scheduler: SyncCronScheduler, rows: Rows) -> None:
    """More missed runs than a transaction takes are made up for all the same."""
    for name in ("a", "b", "c"):
        scheduler.register(handlers.echo, cron="* * * * *", name=name, catch_up="all", catch_up_limit=700)
    scheduler.tick()
    rows.were_missed_for(hours=12)
    assert 2100 == scheduler.tick()


def test_schedules_of_others(
    app: SyncWerk, scheduler: SyncCronScheduler, rows: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    """A schedule that this process has not registered is left alone; one that nobody runs is reported, not deleted."""
    SyncCronScheduler(app).register(handlers.echo, **HOURLY, name="gone")
    SyncCronScheduler(app).register(handlers.echo, **HOURLY, name="cared for")
    for other in app.schedulers[1:]:
        other.tick()
    rows.were_missed_for(hours=3)
    rows.execute("SET next_run_at = now() + interval '1 h' WHERE name = 'cared for'")
    before = app.list_schedules()
    assert [False, True] == [schedule.is_overdue for schedule in before]
    scheduler.register(handlers.echo, cron="* * * * * *", name="mine")
    running = _compat.spawn(scheduler.run)
    until_enqueued(app, "mine", 1)
    scheduler.stop()
    running.result()
    scheduler._look_around()
    assert [] == jobs_of(app, "gone")
    assert before == [schedule for schedule in app.list_schedules() if schedule.name != "mine"]
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert 1 == len([text for text in warnings if "schedule gone" in text])
    assert not any("cared for" in text for text in warnings)


def test_odd_names(app: SyncWerk, scheduler: SyncCronScheduler) -> None:
    """A name may hold whatever PostgreSQL can store."""
    names = ["a,b", '"', "{}", "NULL", "\\", "ü 'x'", " "]
    for name in names:
        scheduler.register(handlers.echo, cron="* * * * * *", name=name)
    scheduler.tick()
    for name in names:
        assert app.trigger_schedule(name)
    assert sorted(names) == sorted(str(job.cron_name) for job in app.list_jobs())


def test_tables_are_made_when_they_are_needed(make_app: MakeApp) -> None:
    """A scheduler needs no `connect()` before."""
    scheduler = SyncCronScheduler(make_app())
    scheduler.register(handlers.echo, **HOURLY, name="mine")
    assert 0 == scheduler.tick()
    assert ["mine"] == [schedule.name for schedule in make_app().list_schedules()]


def test_truncate(make_app: MakeApp) -> None:
    """`truncate` takes the schedules along."""
    app = make_app(config={"allow_truncate": True})
    scheduler = SyncCronScheduler(app)
    scheduler.register(handlers.echo, **HOURLY, name="mine")
    scheduler.tick()
    app.truncate()
    assert [] == app.list_schedules()
