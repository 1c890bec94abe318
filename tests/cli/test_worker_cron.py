"""`werk worker --cron`: workers that carry the application's scheduler."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from tests.cli.running import Shop
from tests.cli.working import wait_until

pytestmark = pytest.mark.posix

TIMED = '''"""Applications that have a scheduler."""

from pgwerk import CronScheduler, SyncCronScheduler, SyncWerk, Werk
from shop import DSN, pid, werk

timed = Werk(DSN, schema=werk.config.schema)
sync_timed = SyncWerk(DSN, schema=werk.config.schema)
twice = Werk(DSN, schema=werk.config.schema)
schedulers = [kind(app) for kind, app in (
    (CronScheduler, timed), (SyncCronScheduler, sync_timed), (CronScheduler, twice), (CronScheduler, twice)
)]
for scheduler in schedulers:
    scheduler.register(pid, cron="* * * * * *", name="each second", catch_up="all")
first, second, third, fourth = schedulers
'''


@pytest.mark.parametrize("options", [["timed:timed"], ["timed:sync_timed", "--kind", "thread"]])
def test_one_process_is_enough(shop: Shop, options: list[str]) -> None:
    """One process enqueues what is due and runs it, until Ctrl-C."""
    shop.write("timed.py", TIMED)
    program = shop.start("worker", "--cron", *options)
    wait_until(lambda: sum(job.status.is_terminal for job in shop.client.list_jobs(schedule_name="each second")) >= 2)
    program.press_ctrl_c()
    ended = program.wait()
    assert 0 == ended.code, ended.stderr
    count = len(shop.client.list_jobs())
    (schedule,) = shop.client.list_schedules()
    assert schedule.last_run_at is not None
    assert schedule.next_run_at == schedule.last_run_at + timedelta(seconds=1)
    assert count == len(shop.client.list_jobs())


def test_several_processes(shop: Shop) -> None:
    """With several processes each carries the scheduler, and every tick is enqueued once all the same."""
    shop.write("timed.py", TIMED)
    program = shop.start("worker", "timed:timed", "--cron", "--processes", "2")
    wait_until(lambda: len(shop.client.list_jobs(status="complete")) >= 5)
    program.press_ctrl_c()
    ended = program.wait()
    assert 0 == ended.code, ended.stderr
    times = [job.scheduled_at for job in shop.client.list_jobs()]
    assert [times[0] + timedelta(seconds=number) for number in range(len(times))] == sorted(times)


def test_several_schedulers(shop: Shop) -> None:
    """With several schedulers it has to be said which; one of another application is refused."""
    shop.write("timed.py", TIMED)
    ended = shop.run("worker", "timed:twice", "--cron", "--burst")
    assert (2, True) == (ended.code, "has 2 schedulers: name one of them" in ended.stderr)
    ended = shop.run("worker", "timed:twice", "--cron", "timed:first", "--burst")
    assert (2, True) == (ended.code, "timed:first is no scheduler of this application" in ended.stderr)
    assert 0 == shop.run("worker", "timed:twice", "--cron", "timed:third", "--burst").code
    assert ["each second"] == [schedule.name for schedule in shop.client.list_schedules()]


def test_burst(shop: Shop) -> None:
    """A burst begins with what is due."""
    shop.write("timed.py", TIMED)
    assert 0 == shop.run("worker", "timed:timed", "--cron", "--burst").code
    wait_until(lambda: shop.client.list_schedules()[0].next_run_at < datetime.now(UTC))
    assert 0 == shop.run("worker", "timed:timed", "--cron", "--burst").code
    assert {"complete"} == {job.status.value for job in shop.client.list_jobs()}
