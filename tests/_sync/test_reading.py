# Generated from tests/_async/test_reading.py by `python tools/unasync_build.py`.
# Do not edit: change that file and run the command again.

"""`get_job`, `list_jobs`, `count_jobs`, `get_job_statuses`, `get_executions`, `touch_job` and `sweep`."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import psycopg
import pytest
from tests import handlers
from tests._sync import _compat

from pgwerk import ExecutionStatus, Job, JobNotFound, JobStatus, Retry, SyncWerk, Undecodable

UNKNOWN = "01900000-0000-7000-8000-000000000000"


def enqueued(app: SyncWerk, *args: Any, **options: Any) -> Job:
    job = app.enqueue(*args, **options)
    assert job is not None
    return job


def arguments(app: SyncWerk, **filters: Any) -> list[Any]:
    """The first argument of each job that the filters let through."""
    return [job.payload and job.payload["args"][0] for job in app.list_jobs(**filters)]


@pytest.mark.parametrize("job_id", [UNKNOWN, "not a uuid", "", "\0"])
def test_unknown_job(app: SyncWerk, job_id: str) -> None:
    """A job that is not there is `JobNotFound`, whatever its id looks like."""
    for method in (app.get_job, app.get_executions):
        with pytest.raises(JobNotFound):
            method(job_id)
    app.touch_job(job_id)


def test_list_filters(app: SyncWerk) -> None:
    """Each filter of `list_jobs` lets through what it says, the oldest job first."""
    app.enqueue(handlers.echo, 1, _queue="a", _key="Needle 100%", _priority=1)
    app.enqueue(handlers.fail, "needle", _queue="b", _meta={"who": "needle"})
    app.enqueue(handlers.echo, 3, _queue="b", _group="hay_stack", _delay=1000)
    _compat.burst(app, queues=["a", "b"])
    assert [1, "needle", 3] == arguments(app)
    assert ["needle", 3] == arguments(app, queue="b")
    assert ["needle"] == arguments(app, status=JobStatus.Failed)
    assert [1, 3] == arguments(app, status=["scheduled", JobStatus.Complete])
    assert [1, "needle"] == arguments(app, search="NEEDLE")
    assert ["needle"] == arguments(app, search="handlers.fail")
    assert [1] == arguments(app, search="100%")
    assert [3] == arguments(app, search="y_s")
    assert [] == arguments(app, search="h_y")
    assert ["needle"] == arguments(app, search="ValueError")
    assert ["needle", 3] == arguments(app, limit=2, offset=1)
    ran = app.list_jobs(status="complete")
    assert [1, "needle"] == arguments(app, worker_id=ran[0].worker_id)
    assert [] == arguments(app, worker_id="nobody")
    assert [] == arguments(app, schedule_name="none")


def test_filters_of_operators(app: SyncWerk) -> None:
    """Jobs are found by their handler, their group, some ids, or what an id begins with."""
    first, second, third = [
        enqueued(app, func, number, _group=group)
        for number, (func, group) in enumerate([(handlers.echo, "g"), (handlers.fail, None), (handlers.echo, None)])
    ]
    assert [0, 2] == arguments(app, function="tests.handlers.echo")
    assert [] == arguments(app, function="tests.handlers.ech")
    assert [0] == arguments(app, group="g")
    assert [0, 2] == arguments(app, ids=[third.id, first.id.upper(), UNKNOWN])
    assert [] == arguments(app, ids=[])
    assert [1] == arguments(app, id_prefix=second.id)
    assert [1] == arguments(app, id_prefix=second.id.replace("-", "").upper())
    assert [0, 1, 2] == arguments(app, id_prefix=first.id[:6])
    assert [] == arguments(app, id_prefix="ffffffff-")


def test_age_of_a_job(app: SyncWerk, dsn: str, schema: str) -> None:
    """A job that has ended is as old as its end, another one as its making."""
    for name in ("ended long ago", "ended just now", "waits for long", "just came"):
        app.enqueue(handlers.echo, name)
    with psycopg.Connection.connect(dsn) as connection:
        for name, ended in (("ended long ago", "hour"), ("ended just now", "second"), ("waits for long", None)):
            forged = f"""UPDATE {schema}."_pgwerk_jobs" SET enqueued_at = now() - interval '1 day',
                completed_at = now() - %s::interval,
                status = CASE WHEN %s::text IS NULL THEN 'queued' ELSE 'complete' END
                WHERE payload->'args'->>0 = %s"""
            connection.execute(forged.encode(), [ended and f"1 {ended}", ended, name])
    assert ["ended long ago", "waits for long"] == arguments(app, older_than=60)
    assert ["waits for long"] == arguments(app, older_than=timedelta(hours=2))
    assert 4 == len(arguments(app, older_than=0))


def test_counts_and_statuses(app: SyncWerk) -> None:
    """`count_jobs` counts what `list_jobs` lists, for every status; `get_job_statuses` names each of them."""
    jobs = [enqueued(app, handlers.echo, _queue=queue) for queue in ("a", "a", "b")]
    jobs.append(enqueued(app, handlers.fail, _queue="a", _delay=1000))
    _compat.burst(app, queues=["b"])
    counts = app.count_jobs()
    assert list(JobStatus) == list(counts)
    found = {JobStatus.Queued: 2, JobStatus.Complete: 1, JobStatus.Scheduled: 1}
    assert found == {status: count for status, count in counts.items() if count}
    for wanted, filters in ((2, {"queue": "a"}), (1, {"ids": [jobs[0].id]}), (0, {"worker_id": "nobody"})):
        counts = app.count_jobs(**filters)
        assert wanted == counts[JobStatus.Queued]
    statuses = app.get_job_statuses(queue="a")
    assert [(jobs[0].id, JobStatus.Queued), (jobs[1].id, JobStatus.Queued), (jobs[3].id, JobStatus.Scheduled)] == list(
        statuses.items()
    )
    assert {jobs[3].id} == set(app.get_job_statuses(function="tests.handlers.fail"))
    assert {} == app.get_job_statuses(worker_id="nobody")


@pytest.mark.parametrize("text", ["C:\\temp", 'say "hi"', "one\ntwo", "tab\t", "\x01", "größer"])
def test_metadata_is_searched_for_its_text(app: SyncWerk, text: str) -> None:
    """Text in metadata is found as it is, and not as JSON writes it."""
    app.enqueue(handlers.echo, 1, _meta={"note": f"before {text} after"})
    app.enqueue(handlers.echo, 2, _meta={"note": "other"})
    assert [1] == arguments(app, search=text)
    assert [] == arguments(app, search='"note": "')


def test_empty_search_is_none(app: SyncWerk) -> None:
    """An empty search, as a form in a page sends it, lets everything through."""
    app.enqueue(handlers.echo, 1)
    assert [1] == arguments(app, search="")


def test_list_retried(app: SyncWerk) -> None:
    """`retried` tells the jobs that were tried before from those that were not."""
    app.enqueue(handlers.echo, "once")
    app.enqueue(handlers.fail, "twice", _retry=Retry(max=2))
    app.enqueue(handlers.fail, "again", _retry=Retry(max=2, intervals=1000))
    _compat.burst(app)
    assert ["twice", "again"] == arguments(app, retried=True)
    assert ["once"] == arguments(app, retried=False)


def test_pages_are_stable(app: SyncWerk) -> None:
    """A page shows the same jobs while others are added, from either end."""
    first = [app.enqueue(handlers.echo, number) for number in range(6)]
    assert [0, 1, 2] == arguments(app, limit=3)
    newest = app.list_jobs(limit=2, newest_first=True)
    for number in range(6, 9):
        app.enqueue(handlers.echo, number)
    assert [3, 4, 5] == arguments(app, limit=3, offset=3)
    assert first[-1] == newest[0]
    assert [3, 2] == arguments(app, limit=2, newest_first=True, after=newest[-1].id)
    assert [5, 6, 7, 8] == arguments(app, after=newest[-1].id)
    with pytest.raises(ValueError, match="after must be the id of a job"):
        app.list_jobs(after="the last")


@pytest.mark.parametrize(
    ("filters", "error"),
    [
        ({"limit": -1}, ValueError),
        ({"offset": -1}, ValueError),
        ({"status": "done"}, ValueError),
        ({"status": 5}, TypeError),
        ({"queue": 5}, TypeError),
        ({"queue": "\0"}, ValueError),
        ({"schedule_name": 5}, TypeError),
        ({"schedule_name": "\0"}, ValueError),
        ({"search": 5}, TypeError),
        ({"search": "a\0"}, ValueError),
        ({"search": "\ud800"}, ValueError),
        ({"retried": 1}, TypeError),
        ({"newest_first": 1}, TypeError),
        ({"function": 5}, TypeError),
        ({"group": ""}, ValueError),
        ({"older_than": -1}, ValueError),
        ({"older_than": "1d"}, TypeError),
        ({"ids": "one"}, TypeError),
        ({"id_prefix": ""}, ValueError),
        ({"id_prefix": "0190-"}, ValueError),
        ({"id_prefix": "%"}, ValueError),
        ({"id_prefix": 5}, TypeError),
    ],
)
def test_bad_filters_are_refused(app: SyncWerk, filters: dict[str, Any], error: type[Exception]) -> None:
    """A filter that makes no sense is refused by its name."""
    (name,) = filters
    with pytest.raises(error, match=f"^{name} must"):
        app.list_jobs(**filters)
    if name not in {"limit", "offset", "newest_first"}:
        for method in (app.count_jobs, app.get_job_statuses):
            with pytest.raises(error, match=f"^{name} must"):
                method(**filters)


def test_bad_ids_are_refused(app: SyncWerk) -> None:
    """One id that is none is named, with its place."""
    with pytest.raises(ValueError, match=r"^ids\[1\] must be the id of a job, a UUID, not 'no'"):
        app.list_jobs(ids=[UNKNOWN, "no"])


def test_executions_are_the_history(app: SyncWerk) -> None:
    """Each attempt is on record with its number, outcome, times and worker; only the last one can have a result."""
    job = app.enqueue(handlers.fail, "no", _retry=Retry(max=2))
    good = app.enqueue(handlers.echo, "yes")
    assert job is not None
    assert good is not None
    _compat.burst(app)
    attempts = app.get_executions(job.id)
    assert [(1, ExecutionStatus.Failed), (2, ExecutionStatus.Failed)] == [
        (each.attempt, each.status) for each in attempts
    ]
    assert all(each.error and each.error.endswith("ValueError: no\n") for each in attempts)
    assert all(each.started_at and each.completed_at and each.started_at <= each.completed_at for each in attempts)
    (single,) = app.get_executions(good.id)
    assert (ExecutionStatus.Complete, "yes", None) == (single.status, single.result, single.error)
    ended = app.get_job(good.id)
    assert (ended.worker_id, ended.started_at, ended.completed_at) == (
        single.worker_id,
        single.started_at,
        single.completed_at,
    )


def test_running_attempt_is_shown_under_its_later_id(app: SyncWerk) -> None:
    """While an attempt runs it is in the history, under the id that it keeps."""
    job = app.enqueue(handlers.stubborn, 0.5)
    assert job is not None
    with _compat.working(app):
        running = app.get_executions(job.id)
        while not running:
            _compat.pause()
            running = app.get_executions(job.id)
        app.wait_for(job.id, timeout=20)
    ended = app.get_executions(job.id)
    assert [ExecutionStatus.Running, ExecutionStatus.Complete] == [running[0].status, ended[0].status]
    assert (running[0].id, running[0].started_at) == (ended[0].id, ended[0].started_at)


def test_touch_moves_the_time(app: SyncWerk) -> None:
    """Touching a running job is noted; touching another one does nothing."""
    job = app.enqueue(handlers.stubborn, 0.5)
    later = app.enqueue(handlers.echo, _delay=1000)
    assert job is not None
    assert later is not None
    with _compat.working(app):
        before = app.get_job(job.id)
        while before.touched_at is None:
            _compat.pause()
            before = app.get_job(job.id)
        app.touch_job(job.id)
        after = app.get_job(job.id)
        app.touch_job(later.id)
    untouched = app.get_job(later.id)
    assert after.touched_at is not None
    assert before.touched_at < after.touched_at
    assert untouched.touched_at is None


def test_unreadable_row_does_not_spoil_the_list(app: SyncWerk, dsn: str, schema: str) -> None:
    """A payload that the serializer cannot read is shown as such, and the others are read."""
    app.enqueue(handlers.echo, 1)
    app.enqueue(handlers.echo, 2)
    with psycopg.Connection.connect(dsn) as connection:
        spoil = f"""UPDATE {schema}."_pgwerk_jobs" SET payload = '{{"$new": 1}}' WHERE payload->'args'->0 = '2'"""
        connection.execute(spoil.encode())
    good, bad = app.list_jobs()
    payload: Any = bad.payload
    assert isinstance(payload, Undecodable)
    assert {"args": [1], "kwargs": {}} == good.payload


def test_sweep_on_quiet_tables(app: SyncWerk) -> None:
    """A sweep that finds nothing to do does nothing."""
    app.enqueue(handlers.echo)
    assert [] == app.sweep()
    assert 1 == len(app.list_jobs())


def test_sweep_ends_and_removes_what_has_expired(app: SyncWerk, dsn: str, schema: str) -> None:
    """A sweep ends jobs that did not start within their ttl, and removes rows that were kept for long enough."""
    expiring = app.enqueue(handlers.echo, "late", _ttl=1000)
    finished = app.enqueue(handlers.echo, "old", _result_ttl=1000)
    assert expiring is not None
    assert finished is not None
    _compat.burst(app, queues=["other"])
    with psycopg.Connection.connect(dsn) as connection:
        past = f"UPDATE {schema}.\"_pgwerk_jobs\" SET expires_at = now() - interval '1 s' WHERE ttl IS NOT NULL"
        connection.execute(past.encode())
    waiting = _compat.spawn(app.wait_for, expiring.id, timeout=20, poll_interval=0.2)
    app.sweep()
    expired = waiting.result()
    assert (JobStatus.Aborted, True) == (expired.status, (expired.error or "").startswith("expired"))
    _compat.burst(app)
    with psycopg.Connection.connect(dsn) as connection:
        past = f"UPDATE {schema}.\"_pgwerk_jobs\" SET expires_at = now() WHERE status = 'complete'"
        connection.execute(past.encode())
    app.sweep()
    with pytest.raises(JobNotFound):
        app.get_job(finished.id)
    assert ["late"] == arguments(app)
