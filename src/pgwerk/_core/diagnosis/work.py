"""Judging workers, queues, and jobs that nobody does anything about."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pgwerk._core.diagnosis.wording import number, some, span
from pgwerk._core.insights import Finding, QueueStats, WorkerInfo

FEW_ATTEMPTS = 20
"""Of fewer attempts than that, a share says little: one unlucky job would be 5% or more."""

FAILING, MOSTLY_FAILING = 0.1, 0.5
"""One attempt in ten is more than occasional time-outs of other services make; where half of them fail, the code or
something that it needs is broken."""

LOOKED_AT = 10_000
"""So many jobs are looked at, where no index answers at once."""


def judge_workers(workers: Sequence[WorkerInfo], version: str) -> list[Finding]:
    """Who is alive, who is not, and whether they are of one release.

    Args:
        workers: The workers.
        version: The release that asks.
    """
    alive = [worker for worker in workers if worker.is_alive]
    lapsed = [worker for worker in workers if not worker.is_alive]
    findings = []
    if lapsed:
        names = [f"{worker.host} (pid {worker.pid})" for worker in lapsed]
        findings.append(
            Finding(
                "workers",
                "warning",
                f"{number(len(lapsed), 'worker')} did not say goodbye, and the lease has run out: {some(names)}",
                "see in the logs of the machine why it ended, or cannot reach the database; the row goes after a day",
            )
        )
    versions = sorted({worker.version for worker in alive})
    if len(versions) > 1 or (alive and versions != [version]):
        findings.append(
            Finding(
                "versions",
                "warning",
                f"workers run {some(versions)}, and this is {version}",
                "expected while a deployment is under way; after it, restart what is left of the old release",
            )
        )
    running = sum(worker.running for worker in alive)
    if not findings or alive:
        findings.insert(
            0, Finding("workers", "ok", f"{number(len(alive), 'worker')} alive, {number(running, 'job')} running")
        )
    return findings


def judge_queues(queues: Iterable[QueueStats], lease_secs: float) -> list[Finding]:
    """Queues in which jobs wait for a worker that is not there, and queues whose jobs fail.

    Args:
        queues: What is in them, and how attempts ended lately.
        lease_secs: Seconds for which a worker may be away.
    """
    findings = []
    total = 0
    for queue in queues:
        total += queue.queued
        if queue.queued and not queue.workers:
            oldest = queue.oldest_secs or 0.0
            findings.append(
                Finding(
                    "queues",
                    # For as long as a lease, a worker may just be restarting.
                    "problem" if oldest >= lease_secs else "warning",
                    f"queue {queue.queue} has {number(queue.queued, 'ready job')}, the oldest for {span(oldest)}, and "
                    f"no worker that is alive",
                    f"start one: werk worker APP --queues {queue.queue}",
                )
            )
        findings += _judge_failures(queue)
    return findings or [Finding("queues", "ok", f"{number(total, 'job')} ready, in queues that have workers")]


def _judge_failures(queue: QueueStats) -> list[Finding]:
    rate = queue.failure_rate or 0.0
    if queue.ended < FEW_ATTEMPTS or rate < FAILING:
        return []
    return [
        Finding(
            "failures",
            "problem" if rate >= MOSTLY_FAILING else "warning",
            f"in queue {queue.queue}, {queue.failed:,} of {queue.ended:,} attempts failed in the last "
            f"{span(queue.since_secs)} ({rate:.0%}); {queue.retried:,} of these were, or will be, tried again",
            f"see why: werk jobs APP --queue {queue.queue} --status failed",
        )
    ]


def judge_orphans(count: int, secs: float, lease_secs: float) -> Finding:
    """Running jobs whose worker is gone.

    Args:
        count: How many.
        secs: How long ago the lease ran out that did so first.
        lease_secs: Seconds of a lease.
    """
    if not count:
        return Finding("orphans", "ok", "each running job has a worker")
    jobs = number(count, "running job")
    # A worker rescues once it has been connected for one lease, at a heartbeat. Two leases are enough for that.
    if secs < 2 * lease_secs:
        return Finding("orphans", "warning", f"{jobs} without a worker, about to be rescued by another one")
    return Finding(
        "orphans",
        "problem",
        f"{jobs} without a worker, for {span(secs)}, and nobody rescues them",
        "start a worker, of any queue: it rescues them once it has run for a lease; or call app.sweep()",
    )


def judge_stranded(count: int, *, is_bounded: bool) -> Finding:
    """Jobs that wait for others which are gone, or over."""
    if not count:
        bound = f", among the first {LOOKED_AT:,}" if is_bounded else ""
        return Finding("waiting", "ok", f"each job that waits has a job to wait for{bound}")
    least = "at least " if is_bounded else ""
    return Finding(
        "waiting",
        "problem",
        f"{least}{number(count, 'job')} waiting for others that are over or gone",
        "a worker's sweep sees to them: start one, of any queue; or call app.sweep()",
    )


def judge_callbacks(count: int, secs: float) -> Finding:
    """Callbacks that are owed, and that nobody calls.

    Args:
        count: How many.
        secs: For how long the first one has been owed.
    """
    if not count:
        return Finding("callbacks", "ok", "no callback has been owed for long")
    more = "at least " if count >= LOOKED_AT else ""
    return Finding(
        "callbacks",
        "problem",
        f"{more}{number(count, 'callback')} owed, the first for {span(secs)}, and nobody calls them",
        "only workers of the job's own queue do: start one; see in their logs whether callbacks fail",
    )


def judge_schedules(names: Sequence[str], overdue: Sequence[str]) -> Finding:
    """Schedules that should have run, and did not.

    Args:
        names: The names of all schedules.
        overdue: Of those that no scheduler has taken care of.
    """
    if not overdue:
        return Finding("schedules", "ok", f"{number(len(names), 'schedule')}, none of them overdue")
    return Finding(
        "schedules",
        "problem",
        f"{number(len(overdue), 'schedule')} overdue: {some(overdue)}",
        "run a scheduler that registers it, or a worker with one; if its code is gone, delete it",
    )


def judge_overdue(count: int, secs: float, *, any_alive: bool) -> Finding:
    """Scheduled jobs whose time has come some time ago."""
    if not count:
        return Finding("scheduled", "ok", "no scheduled job is overdue")
    more = "at least " if count >= LOOKED_AT else ""
    advice = (
        "workers promote them at their time, and when they sweep: see their logs for what keeps them from it"
        if any_alive
        else "no worker is alive: start one, of any queue"
    )
    late = f"the first for {span(secs)}"
    return Finding("scheduled", "problem", f"{more}{number(count, 'scheduled job')} overdue, {late}", advice)
