"""`werk jobs`."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from rich.console import Console
from tests import handlers
from tests.cli.running import Shop
from tests.cli.terminal import in_terminal
from tests.cli.working import enqueued

from pgwerk import Job, JobStatus
from pgwerk.cli.jobs import drawn, when
from pgwerk.cli.output import IN_A_PIPE
from pgwerk.cli.watching import with_interval

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def job(number: int = 0, **fields: Any) -> Job:
    values: dict[str, Any] = {
        "id": f"01926c1e-8f2a-7cc3-b27c-{number:012x}",
        "function": "shop.tasks.send_welcome_mail",
        "queue": "default",
        "status": JobStatus.Complete,
        "priority": 0,
        "attempts": 1,
        "max_attempts": 3,
        "scheduled_at": NOW - timedelta(minutes=119),
        "enqueued_at": NOW - timedelta(minutes=119),
        "started_at": NOW - timedelta(seconds=7140),
        "completed_at": NOW - timedelta(seconds=7139),
    }
    return Job(**{**values, **fields})


def printed(jobs: list[Job], width: int, counts: dict[JobStatus, int] | None = None) -> list[str]:
    screen = Console(width=width, highlight=False, markup=False, no_color=True)
    with screen.capture() as captured:
        screen.print(drawn(jobs, counts, width=width, now=NOW))
    return captured.get().splitlines()


@pytest.mark.parametrize("width", [80, 81, 90, 99, 100, 120, 160, 300])
def test_table_fits(width: int) -> None:
    """Whatever is in it, each job is one line that fits into the terminal, with its id in full."""
    jobs = [
        job(1),
        job(2, queue="a_queue_with_a_long_name", function="f" * 300, attempts=10, max_attempts=25),
        job(3, queue="漢字漢字漢字漢字", function="[red]mod\x1b[31m.f", error="E: " + "x" * 500, key="k" * 100),
        job(4, status=JobStatus.Scheduled, scheduled_at=NOW + timedelta(minutes=119), completed_at=None),
    ]
    lines = printed(jobs, width)
    assert 5 == len(lines)
    assert all(line.startswith(each.id) for line, each in zip(lines[1:], jobs, strict=True))
    assert all(Console().measure(line).maximum <= width for line in lines)
    assert not any("\x1b" in line for line in lines)


def test_end_of_the_function_is_kept() -> None:
    """In a narrow terminal the end of a function's path is what is seen, and the queue."""
    narrow = printed([job(1)], 80)[1]
    assert narrow.rstrip().endswith("welcome_mail")
    assert " default " in narrow
    assert "shop.tasks.send_welcome_mail" in printed([job(1)], 120)[1]


def test_wide_terminals_show_more() -> None:
    """Columns that are not empty are added while there is room; without a terminal nothing is cut."""
    jobs = [job(1, key="the key", error="Traceback\nValueError: " + "no " * 40, worker_id="the worker")]
    assert "the key" not in printed(jobs, 100)[1]
    assert "the key" in printed(jobs, 130)[1]
    everything = printed(jobs, IN_A_PIPE)
    assert all(text in everything[1] for text in ("the key", "the worker", "no no no", "1.0 s"))
    assert "group" not in everything[0]


def test_counts() -> None:
    """The last line counts, and says which part is shown."""
    counts = {**dict.fromkeys(JobStatus, 0), JobStatus.Complete: 1200, JobStatus.Failed: 1}
    assert "1,201 jobs: 1,200 complete, 1 failed (1 to 1 are shown)" == printed([job()], 80, counts)[-1]
    assert ["no jobs"] == printed([], 80, dict.fromkeys(JobStatus, 0))
    assert ["no jobs"] == printed([], 80)


def test_moment_of_a_job() -> None:
    """`when` is about the status: when it ended, started, was due or will be."""
    assert "119 min ago" == when(job(), NOW)
    assert "119m" == when(job(), NOW, short=True)
    running = job(status=JobStatus.Active, completed_at=None, started_at=NOW - timedelta(seconds=5))
    assert "5.0 s ago" == when(running, NOW)
    later = job(status=JobStatus.Scheduled, scheduled_at=NOW + timedelta(hours=5), completed_at=None)
    assert "in 5.0h" == when(later, NOW, short=True)


def test_watch_needs_no_value() -> None:
    """`--watch` takes the word behind it only if that is a duration, and never APP."""
    assert ["--watch=2s", "shop:werk"] == with_interval(["--watch", "shop:werk"])
    assert ["--watch", "5", "shop:werk"] == with_interval(["--watch", "5", "shop:werk"])
    assert ["shop:werk", "--watch=2s"] == with_interval(["shop:werk", "--watch"])


def test_list(shop: Shop) -> None:
    """The newest job comes first, filters are obeyed, and the counts are those of the filters."""
    good = enqueued(shop, handlers.echo, 1, _sync=True)
    bad = enqueued(shop, handlers.fail, _queue="mail", _sync=True)
    later = enqueued(shop, handlers.echo, _queue="mail", _delay=1000, _group="g")
    ended = shop.run("jobs", "shop:werk")
    assert (0, "") == (ended.code, ended.stderr)
    lines = ended.stdout.splitlines()
    assert [later.id, bad.id, good.id] == [line.split(" ")[0] for line in lines[1:4]]
    assert "3 jobs: 1 scheduled, 1 complete, 1 failed" == lines[-1]
    assert max(map(len, lines)) <= 80
    ended = shop.run("jobs", "shop:sync_werk", "--queue", "mail", "--status", "failed,complete", "--status", "active")
    assert [bad.id, "", "1 job: 1 failed"] == [
        line.split(" ")[0] if line[:1] == "0" else line for line in ended.stdout.splitlines()[1:]
    ]
    found = shop.run("jobs", "shop:werk", "--json", "--oldest-first", "--limit", "2", "--offset", "1").json
    assert [bad.id, later.id] == [each["id"] for each in found]
    assert ("g", "scheduled", {"args": [], "kwargs": {}}) == tuple(
        found[1][name] for name in ("group_key", "status", "payload")
    )


def test_watch(shop: Shop) -> None:
    """`--watch` draws jobs as they come, and Ctrl-C ends it with 0."""
    with in_terminal(shop, "jobs", "shop:werk", "--watch", "100ms", "--limit", "1000") as terminal:
        terminal.wait_for("no jobs")
        job = [enqueued(shop, "a.handler") for _ in range(30)][-1]
        terminal.wait_for("30 jobs: 30 queued (1 to 20 are shown)")
        assert job.id in terminal.shown
        terminal.press_ctrl_c()
        assert 0 == terminal.wait()


def test_watch_outlives_the_database(shop: Shop) -> None:
    """While the database does not answer, what was drawn last stays, and it goes on when it is back."""
    name = psycopg.conninfo.conninfo_to_dict(shop.dsn)["dbname"]
    with in_terminal(shop, "jobs", "shop:werk", "--watch", "100ms") as terminal:
        terminal.wait_for("no jobs")
        server = psycopg.conninfo.make_conninfo(shop.dsn, dbname="postgres")
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false'.encode())
            try:
                terminal.wait_for("no answer from the database")
            finally:
                connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true'.encode())
        shop.client.enqueue("a.handler")
        terminal.wait_for("1 job: 1 queued")


def test_empty_database(shop: Shop) -> None:
    """Where there are no jobs, that is said, and is no error."""
    assert (0, "no jobs\n") == shop.run("jobs", "shop:werk")[:2]
    assert [] == shop.run("jobs", "shop:werk", "--json").json


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--status", "complet"], "'complet' is no status. Did you mean 'complete'? There are scheduled, queued, "),
        (["--limit", "-1"], "-1 is not in the range"),
        (["--worker", "me"], "'me' is not the id of a worker"),
        (["--older-than", "soon"], "'soon' is no duration"),
        (["--watch"], "--watch draws on a terminal, and this is none"),
        (["--json", "--watch", "1s"], "--json and --watch cannot be given together"),
    ],
)
def test_bad_options(new_shop: Shop, arguments: list[str], message: str) -> None:
    """An option that makes no sense is named, with what would."""
    ended = new_shop.run("jobs", "shop:werk", *arguments)
    assert (2, "") == (ended.code, ended.stdout)
    assert message in " ".join(ended.stderr.split())


def test_hostile_rows(shop: Shop) -> None:
    """Rows with escape sequences, markup, or a payload that cannot be read are shown, harmlessly, in any encoding."""
    shop.client.enqueue("a.b", _queue="[red]q[/red]\x1b[2J", _key="\x1b]0;title\x07")
    shop.client.enqueue("unreadable." + "x" * 40, _queue="ünï")
    spoil = f"""UPDATE {shop.schema}."_pgwerk_jobs" SET payload = '{{"$new": 1}}'"""
    with psycopg.connect(shop.dsn) as connection:
        connection.execute(spoil.encode())
    for env in ({"COLUMNS": "200"}, {"PYTHONIOENCODING": "ascii", "LC_ALL": "C"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}):
        ended = shop.run("jobs", "shop:werk", env=env)
        assert (0, "") == (ended.code, ended.stderr)
        assert "\x1b" not in ended.stdout
        assert "[red]q" in ended.stdout
    ended = shop.run("jobs", "shop:werk", "--json", env={"PYTHONIOENCODING": "ascii"})
    assert "ünï" == json.loads(ended.stdout)[0]["queue"]
    assert "$new" in ended.json[0]["payload"]["stored"]
