"""`werk job`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from tests import handlers
from tests.cli.running import Shop
from tests.cli.working import enqueued

from pgwerk import Callback, Dependency, Repeat, Retry

UNKNOWN = "01900000-0000-7000-8000-000000000000"


def values(stdout: str) -> dict[str, str]:
    """The names and values at the top."""
    lines = stdout.split("\n\n", maxsplit=1)[0].splitlines()
    return {line.split("  ")[0]: line.split("  ", 1)[1].strip() for line in lines}


def test_everything_of_a_job(shop: Shop) -> None:
    """All that is set is shown: options, arguments, metadata, attempts with their errors, and the last traceback."""
    job = enqueued(
        shop,
        handlers.fail,
        "no luck",
        _sync=True,
        _queue="mail",
        _retry=Retry(2, intervals=[0]),
        _timeout=90,
        _heartbeat=7200,
        _key="the key",
        _group="the group",
        _meta={"ticket": 17},
        _failure_ttl=86400,
        _on_failure=Callback(handlers.echo, timeout=5),
        _repeat=Repeat(3, interval=60),
    )
    ended = shop.run("job", "shop:werk", job.id)
    assert (0, "") == (ended.code, ended.stderr)
    shown = values(ended.stdout)
    expected = {
        "id": job.id,
        "function": "tests.handlers.fail",
        "status": "failed",
        "queue": "mail",
        "attempts": "2 of 2",
        "timeout": "90 s",
        "heartbeat": "2.0 h (7,200 s)",
        "key": "the key",
        "group": "the group",
        "failure ttl": "24 h (86,400 s)",
        "retries after": "0 ms",
        "runs to follow": "3",
        "repeats after": "60 s",
        "on failure": "tests.handlers.echo",
    }
    assert expected == {name: shown.get(name) for name in expected}
    assert "UTC" in shown["enqueued"]
    assert {"took", "started", "completed"} <= shown.keys()
    assert not {"ttl", "result ttl", "schedule", "on success"} & shown.keys()
    for text in (
        '"no luck"',
        '"ticket": 17',
        "Traceback (most recent call last)",
        "  1: ValueError: no luck",
        "2 failed",
    ):
        assert text in ended.stdout
    assert max(map(len, ended.stdout.splitlines())) <= 80


def test_json(shop: Shop) -> None:
    """For programs, it is one object: the fields of the job, its attempts, and its relatives."""
    parent = enqueued(shop, handlers.echo, {"a": 1}, _sync=True)
    child = enqueued(shop, handlers.echo, _depends_on=parent)
    found = shop.run("job", "shop:sync_werk", parent.id, "--json").json
    assert ("complete", {"a": 1}, [], [child.id]) == tuple(
        found[name] for name in ("status", "result", "dependencies", "dependents")
    )
    assert [("complete", 1)] == [(each["status"], each["attempt"]) for each in found["executions"]]
    assert [parent.id] == shop.run("job", "shop:werk", child.id.upper(), "--json").json["dependencies"]


def test_dependencies_are_a_tree(shop: Shop) -> None:
    """What a job depends on is shown with what that depends on, as far as it goes; and who depends on it."""
    root = enqueued(shop, handlers.fail, _sync=True)
    left = enqueued(shop, handlers.echo, _depends_on=Dependency(root, allow_failure=True))
    right = enqueued(shop, handlers.echo, _depends_on=Dependency(root, allow_failure=True))
    last = enqueued(shop, handlers.echo, _depends_on=[left, right])
    shown = shop.run("job", "shop:werk", last.id).stdout.split("depends on\n")[1]
    assert shown.splitlines() == [
        f"  {left.id} queued tests.handlers.echo",
        f"    {root.id} failed tests.handlers.fail",
        f"  {right.id} queued tests.handlers.echo",
        f"    {root.id} failed tests.handlers.fail",
    ]
    shown = shop.run("job", "shop:werk", root.id).stdout.split("these depend on it\n")[1]
    assert [left.id, right.id] == [line.split()[0] for line in shown.splitlines()]


def test_large_families_are_cut(shop: Shop) -> None:
    """Of many relatives the first are named and the others counted; a long chain ends with a note."""
    root = enqueued(shop, handlers.echo)
    chain = root
    for _ in range(12):
        chain = enqueued(shop, handlers.echo, _depends_on=chain)
    for _ in range(24):
        enqueued(shop, handlers.echo, _depends_on=root)
    shown = shop.run("job", "shop:werk", root.id).stdout
    assert "  and 5 more: 5 waiting\n" in shown
    shown = shop.run("job", "shop:werk", chain.id).stdout
    assert shown.endswith("(not shown: 1 job above it)\n")
    assert root.id not in shown


def test_long_values_are_cut(shop: Shop) -> None:
    """Large arguments and long errors are cut, with a note of how much is missing; `--full` cuts nothing."""
    job = enqueued(shop, handlers.fail, "start " + "x" * 9000 + " end", _sync=True)
    short = shop.run("job", "shop:werk", job.id).stdout
    assert len(short) < 9000
    assert short.count("--full shows all") == 2
    assert " end\n" in short
    full = shop.run("job", "shop:werk", job.id, "--full").stdout
    assert full.count("x" * 9000) >= 3
    assert "--full" not in full


def test_beginning_of_an_id(shop: Shop) -> None:
    """The beginning of an id will do, if no other job has it; else the candidates are listed."""
    first, second = enqueued(shop, "a.first"), enqueued(shop, "a.second")
    ended = shop.run("job", "shop:werk", first.id[:-1].upper())
    assert (0, "a.first") == (ended.code, values(ended.stdout)["function"])
    ended = shop.run("job", "shop:werk", first.id[:6])
    assert (1, "") == (ended.code, ended.stdout)
    assert all(job.id in ended.stderr for job in (first, second))
    assert ended.stderr.startswith(f"werk: several jobs have an id that begins with {first.id[:6]}")


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ([UNKNOWN], 1, f"there is no job '{UNKNOWN}'"),
        (["ffffffff"], 1, "there is no job whose id begins with ffffffff"),
        (["0192"], 2, "'0192' is too short: give at least 6 digits of the id"),
        (["\x1b[31m"], 2, "'\\x1b[31m' is not the id of a job"),
        (["01-92-6c1e"], 2, "its hyphens are in the wrong places"),
        ([f"{UNKNOWN}0"], 2, "is not the id of a job"),
        ([], 2, "missing: ID"),
        ([UNKNOWN, UNKNOWN], 2, "one too many"),
    ],
)
def test_bad_ids(shop: Shop, words: list[str], code: int, message: str) -> None:
    """What is no id, or the id of no job, is one line that says so."""
    ended = shop.run("job", "shop:werk", *words)
    assert (code, "") == (ended.code, ended.stdout)
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr


def test_hostile_job(shop: Shop) -> None:
    """Escape sequences and markup are shown as what they are, and a payload that cannot be read as it is stored."""
    job = enqueued(shop, handlers.fail, "\x1b[31m[bold]\0\u202e", _sync=True, _meta={"\x1b": "[/red]"}, _key="[x]\x1b")
    ended = shop.run("job", "shop:werk", job.id)
    assert 0 == ended.code
    assert not {"\x1b", "\0", "\u202e"} & set(ended.stdout)
    assert "ValueError: \\x1b[31m[bold]\\x00\\u202e" in ended.stdout
    assert "[x]\\x1b" == values(ended.stdout)["key"]
    with psycopg.connect(shop.dsn) as connection:
        connection.execute(f"""UPDATE {shop.schema}."_pgwerk_jobs" SET payload = '{{"$new": 1}}'""".encode())
    ended = shop.run("job", "shop:werk", job.id, env={"PYTHONIOENCODING": "latin-1", "LC_ALL": "C"})
    assert (0, True) == (ended.code, "cannot be read: " in ended.stdout)


def test_attempts_of_several_workers(shop: Shop) -> None:
    """Who ran an attempt is said where it is not the worker of the job, and what it took of memory if that is known."""
    job = enqueued(shop, handlers.fail, _sync=True)
    other = "01900000-0000-7000-8000-00000000beef"
    with psycopg.connect(shop.dsn) as connection:
        forged = f"""UPDATE {shop.schema}."_pgwerk_executions" SET worker_id = '{other}', max_memory = 734003200"""
        connection.execute(forged.encode())
    shown = shop.run("job", "shop:werk", job.id).stdout
    (line,) = (line for line in shown.splitlines() if other in line)
    assert "  1 failed " in line
    assert " 700 MiB " in line
    assert max(map(len, shown.splitlines())) <= 80


def test_running_job(shop: Shop) -> None:
    """Of a job that runs, the attempt and its time up to now are shown."""
    job = enqueued(shop, handlers.echo)
    started = datetime.now(UTC) - timedelta(hours=3)
    with psycopg.connect(shop.dsn) as connection:
        forged = f"""UPDATE {shop.schema}."_pgwerk_jobs" SET status = 'active', attempts = 1, started_at = %s"""
        connection.execute(forged.encode(), [started])
    shown = shop.run("job", "shop:werk", job.id).stdout
    assert "3.0 h" in values(shown)["runs for"]
    assert "1 running" in shown
