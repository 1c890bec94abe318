"""`werk enqueue`."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.cli.running import Shop
from tests.cli.working import wait_until, working

from pgwerk import JobStatus

HANDLERS = "tests.handlers"


def test_job_is_enqueued(shop: Shop) -> None:
    """The id is printed, and every option arrives; no name of an argument clashes with one."""
    parent = shop.client.enqueue(f"{HANDLERS}.echo", _delay=1000)
    assert parent is not None
    arguments = {"func": 1, "self": 2, "_queue": 3, "queue": [4.5, None, "ü"]}
    ended = shop.run(
        *("enqueue", "shop:werk", f"{HANDLERS}.echo", "--args", '[1, {"a": true}]', "--kwargs", json.dumps(arguments)),
        *(
            "--queue",
            "mail",
            "--priority",
            "-3",
            "--delay",
            "2h",
            "--retry",
            "4",
            "--timeout",
            "90",
            "--heartbeat",
            "1m",
        ),
        *("--key", "the key", "--group", "g", "--meta", '{"m": 1}', "--result-ttl", "7d", "--failure-ttl", "0"),
        *("--ttl", "1h", "--failure-mode", "delete", "--depends-on", parent.id[:-1], "--allow-failure"),
    )
    assert (0, "") == (ended.code, ended.stderr)
    job = shop.client.get_job(ended.stdout.strip())
    expected: dict[str, Any] = {
        "function": f"{HANDLERS}.echo",
        "payload": {"args": [1, {"a": True}], "kwargs": arguments},
        "status": JobStatus.Waiting,
        "queue": "mail",
        "priority": -3,
        "max_attempts": 4,
        "timeout_secs": 90,
        "heartbeat_secs": 60,
        "key": "the key",
        "group_key": "g",
        "meta": {"m": 1},
        "result_ttl": 604800,
        "failure_ttl": 0,
        "ttl": 3600,
        "failure_mode": "delete",
    }
    assert expected == {name: getattr(job, name) for name in expected}
    assert timedelta(hours=2) == job.scheduled_at - job.enqueued_at
    assert [parent.id] == shop.client.get_job_dependencies(job.id)


def test_key_that_exists(shop: Shop) -> None:
    """A job whose key exists already is not enqueued: exit code 1, and nothing on the standard output."""
    first = shop.run("enqueue", "shop:sync_werk", "shop.add", "--key", "k", "--json")
    assert ("queued", "k") == (first.json["status"], first.json["key"])
    ended = shop.run("enqueue", "shop:werk", "shop.add", "--key", "k")
    assert (1, "", "werk: a job with the key 'k' exists already: nothing was enqueued\n") == ended
    assert 1 == len(shop.client.list_jobs())


def test_time(shop: Shop) -> None:
    """A time without a zone is in UTC, wherever this runs."""
    ended = shop.run("enqueue", "shop:werk", "shop.add", "--at", "2040-01-02T03:04", "--json", env={"TZ": "Asia/Tokyo"})
    assert datetime(2040, 1, 2, 3, 4, tzinfo=UTC) == datetime.fromisoformat(ended.json["scheduled_at"])
    assert "scheduled" == ended.json["status"]


def test_wait(shop: Shop) -> None:
    """`--wait` prints the result, and nothing else on the standard output; a failure is its last line, and 1."""
    with working(shop):
        ended = shop.run("enqueue", "shop:werk", f"{HANDLERS}.echo", "--args", '[{"a": [1, "ü"]}]', "--wait")
        assert (0, {"a": [1, "ü"]}) == (ended.code, ended.json)
        ended = shop.run("enqueue", "shop:sync_werk", f"{HANDLERS}.fail", "--args", '["[red]no\\u001b[0m"]', "--wait")
        assert (1, "") == (ended.code, ended.stdout)
        assert ended.stderr.endswith(" failed: ValueError: [red]no\\x1b[0m\n")
        ended = shop.run("enqueue", "shop:werk", f"{HANDLERS}.fail", "--wait", "--json")
        assert (1, "failed") == (ended.code, ended.json["status"])


def test_wait_that_ends_early(shop: Shop) -> None:
    """When the time is over, or on Ctrl-C, the job goes on, and its id is said."""
    ended = shop.run("enqueue", "shop:werk", "shop.add", "--wait", "--wait-timeout", "200ms")
    (job,) = shop.client.list_jobs()
    assert (1, "") == (ended.code, ended.stdout)
    assert f"werk: job {job.id} has not ended after 200 ms, and goes on" == ended.stderr.splitlines()[-1]
    for app in ("shop:werk", "shop:sync_werk"):
        program = shop.start("enqueue", app, "shop.add", "--wait")
        line = program.wait_for_line("job ")
        job_id = line.split()[1]
        wait_until(lambda job_id=job_id: shop.client.get_job(job_id))  # type: ignore[misc]
        program.press_ctrl_c()
        ended = program.wait()
        assert (130, "") == (ended.code, ended.stdout)
        assert f"job {job_id} goes on: `werk job {job_id}` shows it" in ended.stderr
        assert "Traceback" not in ended.stderr
        assert JobStatus.Queued is shop.client.get_job(job_id).status


def test_function_that_is_not_here(shop: Shop) -> None:
    """A function that cannot be imported is refused, unless somebody says that the workers have it."""
    ended = shop.run("enqueue", "shop:werk", "elsewhere.tasks.send")
    assert (2, "") == (ended.code, ended.stdout)
    assert "werk: there is no module 'elsewhere' here. --no-check enqueues it nevertheless" in ended.stderr
    assert [] == shop.client.list_jobs()
    assert 0 == shop.run("enqueue", "shop:werk", "elsewhere.tasks.send", "--no-check").code
    assert ["elsewhere.tasks.send"] == [job.function for job in shop.client.list_jobs()]


def test_code_that_cannot_be_imported(shop: Shop) -> None:
    """What goes wrong while the module is imported is said in one line."""
    shop.write("broken.py", "import no_such_module")
    shop.write("leaving.py", "raise SystemExit(5)")
    ended = shop.run("enqueue", "shop:werk", "broken.f")
    assert "broken raised ModuleNotFoundError: No module named 'no_such_module'" in ended.stderr
    ended = shop.run("enqueue", "shop:werk", "leaving.f")
    assert (2, True) == (ended.code, "leaving raised SystemExit: 5" in ended.stderr)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["shop.ad"], 2, "shop has no 'ad'. Did you mean 'add'?"),
        (["shop.no_client"], 2, "shop.no_client is of type int, and cannot be called"),
        (["shop"], 2, "'shop' is not the dotted path of a function"),
        (["a b", "--no-check"], 2, "is not the dotted path of a function"),
        (["shop.add", "--args", '{"a": 1}'], 2, "'--args': must be an array"),
        (["shop.add", "--kwargs", '{"a": 1,}'], 2, "'--kwargs': this is not JSON: "),
        (["shop.add", "--kwargs", ""], 2, "'--kwargs': this is not JSON: Expecting value at character 1;"),
        (["shop.add", "--args", "[NaN]"], 2, "'--args': this is not JSON: NaN is no number of JSON"),
        (["shop.add", "--args", "[" * 100_000], 2, "'--args': this is not JSON: "),
        (["shop.add", "--timeout", "0.5s"], 2, "'--timeout': '0.5s' is too short: at least 1 s"),
        (["shop.add", "--delay", "1m", "--at", "2040-01-01"], 2, "--delay and --at cannot be given together"),
        (["shop.add", "--at", "tomorrow"], 2, "'--at': 'tomorrow' is no time: write 2"),
        (["shop.add", "--queue", ""], 2, "--queue must not be empty"),
        (["shop.add", "--result-ttl", "100000d"], 2, "'--result-ttl': '100000d' is more than a hundred years"),
        (["shop.add", "--failure-ttl", "30000d"], 2, "--failure-ttl must be at most"),
        (["shop.add", "--wait-timeout", "5s"], 2, "--wait-timeout goes with --wait"),
        (["shop.add", "--allow-failure"], 2, "--allow-failure goes with --depends-on"),
        (["shop.add", "--depends-on", "01900000-0000-7000-8000-000000000000"], 1, "--depends-on: there is no job"),
        ([], 2, "missing: FUNCTION"),
    ],
)
def test_bad_commands(shop: Shop, arguments: list[str], code: int, message: str) -> None:
    """What makes no sense is refused with the name of the option, and nothing is enqueued."""
    ended = shop.run("enqueue", "shop:werk", *arguments)
    assert (code, "") == (ended.code, ended.stdout)
    assert message in " ".join(ended.stderr.split())
    assert "Traceback" not in ended.stderr
    assert [] == shop.client.list_jobs()
