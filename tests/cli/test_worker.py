"""`werk worker` in one process: what it runs, what it says, and how it stops."""

from __future__ import annotations

import json
import signal
import time

import psycopg
import pytest
from psycopg import conninfo
from tests.cli.running import Program, Shop

from pgwerk import JobStatus
from pgwerk.cli.entry import main
from pgwerk.cli.worker import with_app

KINDS = ["async", "thread", "process", "fork"]

OWN_LOGGING = """
import logging
logging.basicConfig(level=logging.WARNING, format="mine: %(message)s")
from shop import werk
"""

OWN_LEVEL = """
from pgwerk import Werk
from shop import DSN, werk as shops
werk = Werk(DSN, schema=shops.config.schema, log_level="WARNING")
"""

SHORT = """
import pgwerk.cli.serving, shop
pgwerk.cli.serving.LAST_SECS = 0.2
werk = shop.Werk(shop.DSN, schema=shop.werk.config.schema, config={"sigterm_grace": 0.4})
"""

HOOKS = """
import shop
werk = shop.werk
werk.on_startup(lambda: print("opened"))
werk.on_shutdown(lambda: print("closed"))
"""


def started(shop: Shop, *options: str, app: str = "shop:werk") -> Program:
    """A worker that is at work."""
    program = shop.start("worker", app, "--poll-interval", "0.2", *options)
    program.wait_for_line("is ready")
    return program


@pytest.mark.posix
@pytest.mark.parametrize("kind", KINDS)
def test_burst(shop: Shop, kind: str) -> None:
    """A burst of each kind runs what there is, with the application of either flavour, and ends with 0."""
    job_id = shop.enqueue("add", 20, b=22)
    ended = shop.run("worker", "shop:werk" if kind != "thread" else "shop:sync_werk", "--burst", "--kind", kind)
    assert (0, "") == (ended.code, ended.stdout)
    assert 42 == shop.client.get_job(job_id).result


def test_it_says_what_runs(shop: Shop) -> None:
    """The first line says what runs and where, without the password."""
    parts = conninfo.conninfo_to_dict(shop.dsn)
    # A server that asks for a password has one already; another one lets everybody in, whatever he says.
    password = parts.get("password") or "secret"
    dsn = conninfo.make_conninfo(shop.dsn, password=password)
    ended = shop.run(
        "worker", "--dsn", dsn, "--schema", shop.schema, "--burst", "--queues", "mail, default,mail", "-c", "7"
    )
    first = ended.stderr.splitlines()[0]
    assert "async worker (pid " in first
    assert "queues mail, default; concurrency 7;" in first
    assert f"dbname={parts['dbname']}" in first
    assert first.endswith(f"schema {shop.schema}")
    assert str(password) not in ended.stderr


def test_queues(shop: Shop) -> None:
    """Jobs are taken from the named queues, and from no other."""
    ids = [shop.enqueue("add", _queue=queue) for queue in ("mail", "reports", "default")]
    assert 0 == shop.run("worker", "shop:werk", "--burst", "--queues", "mail, reports").code
    statuses = [shop.client.get_job(job_id).status for job_id in ids]
    assert [JobStatus.Complete, JobStatus.Complete, JobStatus.Queued] == statuses


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["shop:wrok"], "the module shop has no 'wrok'"),
        (["shop:no_client"], "must be a Werk or a SyncWerk"),
        (["nowhere:werk"], "there is no module 'nowhere'"),
        (["shop:werk", "--log-level", "loud"], "level must be"),
    ],
)
def test_application_that_is_not_there(new_shop: Shop, arguments: list[str], message: str) -> None:
    """A wrong APP is one line that names it; the exit code is 2, and nothing is changed."""
    ended = new_shop.run("worker", *arguments)
    assert (2, "", 1) == (ended.code, ended.stdout, ended.stderr.count("\n"))
    assert message in ended.stderr
    assert 0 == new_shop.client.migration_status().version


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["shop"], "'shop' is no application"),
        ([], "which application?"),
        (["shop:werk", "--queues", "a,,b"], "--queues takes names separated by commas, not 'a,,b'"),
        (["shop:werk", "--queues", ""], "--queues takes names separated by commas, not ''"),
        (["shop:werk", "--concurrency", "0"], "'--concurrency'"),
        (["shop:werk", "--kind", "threads"], "'--kind'"),
        (["shop:werk", "--processes", "0"], "'--processes'"),
        (["shop:werk", "--reload", "--burst"], "--reload and --burst cannot be given together"),
        (["shop:werk", "--max-jobs-per-child", "5"], "--max-jobs-per-child is for --kind process"),
        (["shop:werk", "--preload", "shop"], "--preload is for --kind process or fork"),
    ],
)
def test_command_line_that_makes_no_sense(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    """A wrong option is refused by its name, before the application is loaded; the exit code is 2."""
    for name in ("PGWERK_APP", "PGWERK_DSN"):
        monkeypatch.delenv(name, raising=False)
    assert 2 == main(["worker", *arguments])
    said = capsys.readouterr()
    assert "" == said.out
    assert message in said.err


def test_unreachable_database(new_shop: Shop) -> None:
    """A database that is away at the start is one line, and the exit code 3; --debug shows the traceback."""
    dsn = "postgresql://me:secret@127.0.0.1:1/shop?connect_timeout=2"
    ended = new_shop.run("worker", "--dsn", dsn)
    assert (3, "", 1) == (ended.code, ended.stdout, ended.stderr.count("\n"))
    assert ended.stderr.startswith("werk: connection failed")
    assert "Traceback" in new_shop.run("worker", "--debug", "--dsn", dsn).stderr


def test_tables_that_are_not_migrated(new_shop: Shop) -> None:
    """Only an application that migrates by itself is migrated; else it is one line, and the exit code 4."""
    for arguments in (["--dsn", new_shop.dsn, "--schema", new_shop.schema], ["shop:careful"]):
        ended = new_shop.run("worker", "--burst", *arguments)
        assert (4, 1) == (ended.code, ended.stderr.count("\n"))
        assert "run `werk migrate`" in ended.stderr
    assert 0 == new_shop.run("worker", "--burst", "shop:werk").code
    assert new_shop.client.migration_status().is_current


@pytest.mark.posix
@pytest.mark.parametrize("kind", KINDS)
def test_ctrl_c_in_the_middle_of_work(shop: Shop, kind: str) -> None:
    """Ctrl-C, which a terminal sends to all processes, lets jobs end that do in time, and gives the others back."""
    program = started(shop, "--kind", kind, "--shutdown-timeout", "1")
    short, long = shop.enqueue("nap", 0.7), shop.enqueue("nap", 60)
    shop.until_status(short, "active")
    shop.until_status(long, "active")
    program.press_ctrl_c()
    ended = program.wait()
    assert (0, "") == (ended.code, ended.stdout)
    assert "SIGINT: stopping; Ctrl-C again stops at once" in ended.stderr
    assert "stopping: 2 jobs run, and may take 1 s to end" in ended.stderr
    assert f"job {long} (shop.nap) was given back" in ended.stderr
    assert "2 jobs ran: 1 ended, 1 given back" in ended.stderr
    assert JobStatus.Complete is shop.client.get_job(short).status
    given_back = shop.client.get_job(long)
    assert (JobStatus.Queued, 0) == (given_back.status, given_back.attempts)
    assert [] == shop.client.get_executions(long)


@pytest.mark.posix
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signal_of_a_service_manager(shop: Shop, number: int) -> None:
    """SIGTERM, and SIGHUP of a terminal that is closed, stop it in order; the exit code is 0."""
    program = started(shop)
    job_id = shop.enqueue("nap", 1)
    shop.until_status(job_id, "active")
    program.send(number)
    ended = program.wait()
    assert 0 == ended.code
    assert f"{signal.Signals(number).name}: stopping; a second signal stops at once" in ended.stderr
    assert "1 job ran: 1 ended" in ended.stderr


@pytest.mark.posix
def test_nothing_to_stop(shop: Shop) -> None:
    """A worker that has nothing to do ends at once."""
    program = started(shop)
    program.send(signal.SIGTERM)
    ended = program.wait(5)
    assert 0 == ended.code
    assert "stopping: no job runs" in ended.stderr


@pytest.mark.posix
@pytest.mark.parametrize("kind", ["async", "process"])
def test_ctrl_c_twice(shop: Shop, kind: str) -> None:
    """The second Ctrl-C gives back at once what still runs."""
    program = started(shop, "--kind", kind, "--shutdown-timeout", "600")
    job_id = shop.enqueue("nap", 60)
    shop.until_status(job_id, "active")
    program.press_ctrl_c()
    program.wait_for_line("and may take 600 s to end")
    program.press_ctrl_c()
    ended = program.wait(15)
    assert 0 == ended.code
    assert "stopping at once: 1 job runs" in ended.stderr
    assert JobStatus.Queued is shop.client.get_job(job_id).status


@pytest.mark.posix
@pytest.mark.parametrize("kind", ["async", "thread"])
def test_thread_that_cannot_be_stopped(shop: Shop, kind: str) -> None:
    """The process does not wait for a thread: it gives the job back and is gone, and another worker completes it."""
    program = started(shop, "--kind", kind, "--shutdown-timeout", "1")
    job_id = shop.enqueue("sleep_the_first_time", "mark")
    shop.until_status(job_id, "active")
    program.send(signal.SIGTERM)
    ended = program.wait(10)
    assert 0 == ended.code
    assert f"job {job_id} (shop.sleep_the_first_time) could not be stopped: it was given back" in ended.stderr
    job = shop.client.get_job(job_id)
    assert (JobStatus.Scheduled, 0) == (job.status, job.attempts)
    with psycopg.connect(shop.dsn) as connection:
        connection.execute(f'UPDATE {shop.schema}."_pgwerk_jobs" SET scheduled_at = now()'.encode())
    assert 0 == shop.run("worker", "shop:werk", "--burst").code
    done = shop.client.get_job(job_id)
    assert ("awake", 1) == (done.result, done.attempts)


@pytest.mark.posix
def test_blocked_event_loop(shop: Shop) -> None:
    """A worker whose event loop is blocked does not hear the first two signals; the third one ends it."""
    program = started(shop)
    shop.enqueue("block")
    program.wait_for_line("the event loop has been blocked")
    for _ in range(3):
        program.send(signal.SIGTERM)
        time.sleep(0.1)  # signals of one kind that come at once are one
    assert 130 == program.wait(5).code


@pytest.mark.posix
def test_last_resort(shop: Shop) -> None:
    """A worker that does not stop, because its event loop is blocked for good, is ended after a while."""
    shop.write("short.py", SHORT)
    program = started(shop, "--shutdown-timeout", "0.1", app="short:werk")
    job_id = shop.enqueue("block")
    program.wait_for_line("the event loop has been blocked")
    program.send(signal.SIGTERM)
    ended = program.wait(10)
    assert 1 == ended.code
    assert "has not ended 1.2 s after it was told to, and is ended" in ended.stderr
    assert JobStatus.Active is shop.client.get_job(job_id).status


@pytest.mark.posix
def test_ignored_signal_stays_ignored(shop: Shop) -> None:
    """A worker that was started with nohup goes on when its terminal is closed."""
    shop.write("deaf.py", "import signal\nsignal.signal(signal.SIGHUP, signal.SIG_IGN)\nfrom shop import werk")
    program = started(shop, app="deaf:werk")
    program.send(signal.SIGHUP)
    assert 3 == shop.until_status(shop.enqueue("add"), "complete").result
    program.send(signal.SIGTERM)
    ended = program.wait()
    assert (0, False) == (ended.code, "SIGHUP" in ended.stderr)


@pytest.mark.posix
def test_report(shop: Shop) -> None:
    """SIGUSR1 has it log what runs."""
    program = started(shop)
    job_id = shop.enqueue("nap")
    shop.until_status(job_id, "active")
    program.send(signal.SIGUSR1)
    assert f"job {job_id} (shop.nap)" in program.wait_for_line("running for")


@pytest.mark.posix
@pytest.mark.parametrize("handler", ["nap", "sleep"])
def test_hooks_of_the_application(shop: Shop, handler: str) -> None:
    """The application's start-up and shutdown hooks run, also when the process has to end with a thread in it."""
    shop.write("hooked.py", HOOKS)
    program = started(shop, "--shutdown-timeout", "0", app="hooked:werk")
    shop.until_status(shop.enqueue(handler), "active")
    program.send(signal.SIGTERM)
    assert (0, "opened\nclosed\n") == program.wait()[:2]


def test_log_options(shop: Shop) -> None:
    """The log is text or JSON, from the level on that is asked for."""
    ended = shop.run("worker", "shop:werk", "--burst", "--log-format", "json")
    records = [json.loads(line) for line in ended.stderr.splitlines()]
    assert "pgwerk.cli" == records[0]["logger"]
    shop.enqueue("fail")
    ended = shop.run("worker", "shop:werk", "--burst", "--log-level", "warning", "--log-color")
    assert 1 == ended.stderr.count("\n")
    assert "\033[33mWARNING" in ended.stderr


def test_logging_of_the_application(shop: Shop) -> None:
    """Logging that the application has set up is left alone, unless an option asks for something else."""
    shop.write("own.py", OWN_LOGGING)
    shop.write("level.py", OWN_LEVEL)
    shop.enqueue("fail")
    ended = shop.run("worker", "own:werk", "--burst")
    assert ended.stderr.startswith("mine: attempt 1 of 1 at job ")
    assert 1 == ended.stderr.count("\n")
    assert "" == shop.run("worker", "level:werk", "--burst").stderr
    for app in ("own:werk", "level:werk"):
        assert "is ready" in shop.run("worker", app, "--burst", "--log-level", "info").stderr


def test_failing_preload(shop: Shop) -> None:
    """A module that is not there, or cannot be imported, is an error of one line that names it."""
    command = ["worker", "shop:werk", "--burst", "--log-level", "error", "--kind", "fork", "--preload"]
    assert (2, "", "werk: --preload: there is no module 'nowhere'\n") == shop.run(*command, "shop,nowhere")
    shop.write("broken.py", "import nowhere")
    ended = shop.run(*command, "broken")
    assert (1, 1) == (ended.code, ended.stderr.count("\n"))
    assert "No module named 'nowhere'" in ended.stderr


def test_cron_without_a_scheduler(shop: Shop) -> None:
    """--cron for an application that has no scheduler says how to make one."""
    for app, kind in (("shop:werk", "CronScheduler"), ("shop:sync_werk", "SyncCronScheduler")):
        ended = shop.run("worker", "--cron", app)
        assert (2, 1) == (ended.code, ended.stderr.count("\n"))
        assert f"make one, {kind}(...)" in ended.stderr


@pytest.mark.parametrize(
    ("given", "understood"),
    [
        (["--cron", "a:b"], ["--cron=", "a:b"]),
        (["a:b", "--cron"], ["a:b", "--cron"]),
        (["a:b", "--cron", "c:d"], ["a:b", "--cron", "c:d"]),
        (["--cron", "c:d", "a:b"], ["--cron", "c:d", "a:b"]),
        (["--cron=c:d", "a:b"], ["--cron=c:d", "a:b"]),
        (["--cron", "--burst", "a:b"], ["--cron", "--burst", "a:b"]),
        (["--dsn", "x", "--cron", "c:d"], ["--dsn", "x", "--cron", "c:d"]),
        (["--cron", "c:d", "--dsn=x"], ["--cron", "c:d", "--dsn=x"]),
    ],
)
def test_word_after_cron(monkeypatch: pytest.MonkeyPatch, given: list[str], understood: list[str]) -> None:
    """The word after --cron is the application when there is no other one."""
    monkeypatch.delenv("PGWERK_APP", raising=False)
    assert understood == with_app(given)
