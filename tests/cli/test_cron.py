"""`werk cron`."""

from __future__ import annotations

import signal
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.console import Console
from tests.cli.running import Shop
from tests.cli.working import wait_until

from pgwerk import Schedule, SyncCronScheduler
from pgwerk.cli.cron import drawn, rhythm

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)

TIMED = '''"""Applications that have schedulers."""

from pgwerk import CronScheduler, SyncCronScheduler, SyncWerk, Werk
from shop import DSN, add, werk

timed = Werk(DSN, schema=werk.config.schema)
sync_timed = SyncWerk(DSN, schema=werk.config.schema)
for kind, app in ((CronScheduler, timed), (SyncCronScheduler, sync_timed)):
    kind(app, poll_interval=0.2).register(add, interval=1, name="each second")
    kind(app, poll_interval=0.2).register(add, cron="30 2 * * *", timezone="Europe/Berlin", name="nightly")
'''


def schedule(**fields: Any) -> Schedule:
    values: dict[str, Any] = {
        "name": "shop.tasks.clean_up",
        "function": "shop.tasks.clean_up",
        "queue": "default",
        "priority": 0,
        "payload": None,
        "cron": None,
        "interval_secs": 300,
        "timezone": "UTC",
        "catch_up": "latest",
        "catch_up_limit": 1000,
        "overlap": "allow",
        "max_attempts": 1,
        "retry_intervals": None,
        "timeout_secs": None,
        "result_ttl": None,
        "failure_ttl": None,
        "meta": None,
        "paused": False,
        "anchor_at": NOW,
        "next_run_at": NOW + timedelta(minutes=3),
        "last_run_at": NOW - timedelta(minutes=2),
        "last_job_id": None,
        "is_overdue": False,
    }
    return Schedule(**{**values, **fields})


def registered(shop: Shop) -> None:
    """The schedules of two names, in the database."""
    scheduler = SyncCronScheduler(shop.client)
    scheduler.register("shop.add", interval=3600, name="[red]hourly\x1b[31m")
    scheduler.register("shop.add", cron="30 2 * * *", timezone="Europe/Berlin", name="nightly", overlap="skip")
    scheduler.tick()


@pytest.mark.parametrize("width", [80, 100, 200])
def test_table_fits(width: int) -> None:
    """The table fits, and says in words whether a schedule runs."""
    screen = Console(width=width, highlight=False, markup=False, no_color=True)
    schedules = [
        schedule(),
        schedule(name="paused", paused=True, cron="*/5 * * * *", timezone="America/Argentina/Buenos_Aires"),
        schedule(name="nobody runs it", is_overdue=True, next_run_at=NOW - timedelta(hours=5), last_run_at=None),
    ]
    with screen.capture() as captured:
        screen.print(drawn(schedules, width=width, now=NOW))
    lines = captured.get().splitlines()
    assert max(map(len, lines)) <= width
    for shown in (" on ", "paused", "overdue", "every 5 min", "*/5 * * * *", "in 3.0 min", "2.0 min ago", "5.0 h ago"):
        assert shown in captured.get()
    assert (width >= 100) is ("function" in lines[0])


def test_rhythm() -> None:
    """An interval is said in a unit that people use, an expression with its zone unless that is UTC."""
    assert "every 1 s" == rhythm(schedule(interval_secs=1))
    assert "every 90 s" == rhythm(schedule(interval_secs=90))
    assert "@daily" == rhythm(schedule(cron="@daily"))
    assert "0 4 * * * Asia/Tokyo" == rhythm(schedule(cron="0 4 * * *", timezone="Asia/Tokyo"))


def test_list(shop: Shop) -> None:
    """Schedules are listed in the order of their names, by default and by name; for programs with all their fields."""
    assert (0, "no schedules\n", "") == shop.run("cron", "shop:werk")
    registered(shop)
    ended = shop.run("cron", "shop:werk")
    assert (0, "") == (ended.code, ended.stderr)
    lines = ended.stdout.splitlines()
    assert 3 == len(lines)
    assert lines[1].startswith("[red]hourly\\x1b[31m every 60 min")
    assert lines[2].startswith("nightly")
    assert "30 2 * * * Europe/Berlin on" in lines[2]
    (found,) = shop.run("cron", "shop:sync_werk", "list", "nightly", "--json").json
    assert ("nightly", "30 2 * * *", False, "skip") == tuple(
        found[name] for name in ("name", "cron", "paused", "overlap")
    )
    ended = shop.run("cron", "shop:werk", "list", "nightli")
    assert (1, "", "werk: there is no schedule 'nightli': did you mean 'nightly'?\n") == ended


def test_pause_and_resume(shop: Shop) -> None:
    """Schedules are paused and resumed by their names, or all of them; one that is not there is 1."""
    registered(shop)
    assert (0, "nightly paused\n", "") == shop.run("cron", "shop:werk", "pause", "nightly")
    assert [False, True] == [each.paused for each in shop.client.list_schedules()]
    ended = shop.run("cron", "shop:werk", "resume", "nightly", "nobody")
    assert (1, "nightly resumed\nnobody not resumed: there is no such schedule\n") == ended[:2]
    found = shop.run("cron", "shop:sync_werk", "pause", "--all", "--json").json
    assert [True, True] == [each["done"] for each in found]
    assert [True, True] == [each.paused for each in shop.client.list_schedules()]
    assert (0, "nightly deleted\n", "") == shop.run("cron", "shop:werk", "delete", "nightly")
    assert 1 == len(shop.client.list_schedules())


def test_trigger(shop: Shop) -> None:
    """A run is enqueued now, and its id printed; with overlap=skip not while the last one has not finished."""
    registered(shop)
    ended = shop.run("cron", "shop:werk", "trigger", "nightly")
    assert (0, "") == (ended.code, ended.stderr)
    job = shop.client.get_job(ended.stdout.strip())
    assert ("nightly", "shop.add") == (job.cron_name, job.function)
    ended = shop.run("cron", "shop:werk", "trigger", "nightly", "nobody")
    assert 1 == ended.code
    assert ended.stdout.splitlines() == [
        "nightly not triggered: its last run has not finished, and it says overlap=skip",
        "nobody not triggered: there is no such schedule",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["shop:werk", "puse"], "'puse' is no action. Did you mean 'pause'? There are list, pause, "),
        (["shop:werk", "pause"], "pause which schedules? Give their names"),
        (["shop:werk", "delete", "--all"], "--all goes with pause and resume, without names"),
        (["shop:werk", "pause", "a", "--all"], "--all goes with pause and resume, without names"),
        (["shop:werk", "run", "nightly"], "werk cron run runs all schedulers of APP"),
        (["shop:werk", "run"], "the application has no scheduler: make one, CronScheduler(...)"),
        (["shop:sync_werk", "run"], "the application has no scheduler: make one, SyncCronScheduler(...)"),
    ],
)
def test_bad_commands(new_shop: Shop, arguments: list[str], message: str) -> None:
    """What makes no sense is refused, in one line that says what would."""
    ended = new_shop.run("cron", *arguments)
    assert (2, "") == (ended.code, ended.stdout)
    assert message in ended.stderr


@pytest.mark.parametrize(("app", "number"), [("timed:timed", signal.SIGINT), ("timed:sync_timed", signal.SIGTERM)])
def test_run(shop: Shop, app: str, number: signal.Signals) -> None:
    """The schedulers of the application run until a signal stops them, which is a success."""
    shop.write("timed.py", TIMED)
    program = shop.start("cron", app, "run")
    program.wait_for_line("ready", count=2)
    wait_until(lambda: len(shop.client.list_jobs(schedule_name="each second")) > 1)
    program.send(number)
    ended = program.wait()
    assert (0, "") == (ended.code, ended.stdout)
    assert 2 == ended.stderr.count("scheduler has stopped")
    assert "Traceback" not in ended.stderr
    assert ["each second", "nightly"] == [each.name for each in shop.client.list_schedules()]


def test_run_needs_tables(new_shop: Shop) -> None:
    """A schema that is not migrated is left as it is, and said so."""
    new_shop.write("timed.py", TIMED)
    ended = new_shop.run("cron", "timed:timed", "run")
    assert (4, "") == (ended.code, ended.stdout)
    assert "werk migrate" in ended.stderr
