"""`werk worker --processes N`: processes that are started again, and none that stays behind."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable

import pytest
from psycopg import conninfo
from tests.cli.running import PATIENCE_SECS, Program, Shop

from pgwerk import JobStatus
from pgwerk.cli.children import ending
from pgwerk.cli.supervising import LONGEST_PAUSE_SECS, pause

SHORT = """
import pgwerk.cli.serving, shop
pgwerk.cli.serving.LAST_SECS = 0.5
werk = shop.Werk(shop.DSN, schema=shop.werk.config.schema, config={"sigterm_grace": 0.5})
"""

pytestmark = pytest.mark.posix


def until(condition: Callable[[], bool], secs: float = PATIENCE_SECS) -> None:
    """Wait for something to come true."""
    deadline = time.monotonic() + secs
    while not condition():
        assert time.monotonic() < deadline, f"not true within {secs} s"
        time.sleep(0.02)


def pids(program: Program) -> list[int]:
    """The processes that have been started up to now."""
    return [int(pid) for pid in re.findall(r"worker \(pid (\d+)\)", program.stderr)]


def is_alive(pid: int) -> bool:
    """Whether there is such a process, and it is no zombie: who started it has died, and init may take its time."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return not os.path.exists("/proc/self")


def started(shop: Shop, count: int, *options: str, app: str = "shop:werk") -> Program:
    """A supervisor whose processes are at work."""
    hurried = "--poll-interval", "0.2", "--shutdown-timeout", "1"
    program = shop.start("worker", app, "--processes", str(count), *hurried, *options)
    program.wait_for_line("is ready", count=count)
    return program


def test_several_processes(shop: Shop) -> None:
    """So many processes run jobs, at one time; Ctrl-C stops them all in order, and the exit code is 0."""
    program = started(shop, 2, "--concurrency", "1")
    assert 2 == len(set(pids(program)))
    ids = [shop.enqueue("nap", secs) for secs in (0.7, 60)]
    for job_id in ids:
        shop.until_status(job_id, "active")
    program.press_ctrl_c()
    ended = program.wait()
    assert (0, "") == (ended.code, ended.stdout)
    assert "SIGINT: stopping 2 worker processes; Ctrl-C again stops at once" in ended.stderr
    assert "1 job ran: 1 ended" in ended.stderr
    assert "1 job ran: 1 given back" in ended.stderr
    statuses = [shop.client.get_job(job_id).status for job_id in ids]
    assert [JobStatus.Complete, JobStatus.Queued] == statuses
    assert not any(map(is_alive, pids(program)))


def test_signal_that_reaches_all(shop: Shop) -> None:
    """A service manager sends SIGTERM to every process: that is one order to stop, and not two."""
    program = started(shop, 1, "--reload", "--shutdown-timeout", "10")
    job_id = shop.enqueue("nap", 1)
    shop.until_status(job_id, "active")
    for pid in (program.pid, *pids(program)):
        os.kill(pid, signal.SIGTERM)
    ended = program.wait()
    assert 0 == ended.code
    assert JobStatus.Complete is shop.client.get_job(job_id).status


def test_ctrl_c_twice(shop: Shop) -> None:
    """The second Ctrl-C gives back at once what the processes run."""
    program = started(shop, 2, "--shutdown-timeout", "600")
    job_id = shop.enqueue("nap")
    shop.until_status(job_id, "active")
    program.press_ctrl_c()
    program.wait_for_line("may take 600 s to end")
    program.press_ctrl_c()
    assert 0 == program.wait(15).code
    assert JobStatus.Queued is shop.client.get_job(job_id).status


def test_ctrl_c_three_times(shop: Shop) -> None:
    """The third Ctrl-C kills what does not hear."""
    program = started(shop, 1, "--reload", "--shutdown-timeout", "600")
    shop.enqueue("block")
    program.wait_for_line("the event loop has been blocked")
    for _ in range(3):
        program.press_ctrl_c()
        time.sleep(0.1)  # signals of one kind that come at once are one
    assert 130 == program.wait(5).code
    assert not any(map(is_alive, pids(program)))


def test_dead_process_is_started_again(shop: Shop) -> None:
    """A process that was killed is told with its signal, and another one takes its place."""
    program = started(shop, 2)
    victim = pids(program)[0]
    os.kill(victim, signal.SIGKILL)
    said = program.wait_for_line("was killed by SIGKILL")
    assert f"(pid {victim}) was killed by SIGKILL; the next one is started in " in said
    program.wait_for_line("is ready", count=3)
    assert 2 == sum(map(is_alive, pids(program)))
    program.send(signal.SIGTERM)
    assert 0 == program.wait().code


def test_process_that_was_told_to_stop_is_replaced(shop: Shop) -> None:
    """A process that an operator stops ends in order, and another one takes its place."""
    program = started(shop, 2)
    os.kill(pids(program)[0], signal.SIGTERM)
    program.wait_for_line("has ended with exit code 0; the next one is started in")
    program.wait_for_line("is ready", count=3)


def test_report(shop: Shop) -> None:
    """SIGUSR1 is passed on."""
    program = started(shop, 2)
    job_id = shop.enqueue("nap")
    shop.until_status(job_id, "active")
    program.send(signal.SIGUSR1)
    assert f"job {job_id} (shop.nap)" in program.wait_for_line("running for")


@pytest.mark.parametrize("handler", ["nap", "block"])
def test_no_process_outlives_the_supervisor(shop: Shop, handler: str) -> None:
    """When the supervisor is killed, the processes stop in order; one that cannot be stopped ends all the same."""
    shop.write("short.py", SHORT)
    program = started(shop, 2, app="short:werk")
    job_id = shop.enqueue(handler)
    shop.until_status(job_id, "active")
    program.send(signal.SIGKILL)
    program.wait_for_line("the supervisor is gone: stopping", count=2)
    until(lambda: not any(map(is_alive, pids(program))), 15)
    if handler == "nap":
        assert JobStatus.Queued is shop.client.get_job(job_id).status


def test_burst(shop: Shop) -> None:
    """In a burst, processes that have ended are not replaced, and the supervisor ends with the last one."""
    ids = [shop.enqueue("add", number) for number in range(20)]
    ended = shop.run("worker", "shop:werk", "--processes", "3", "--burst")
    assert (0, "") == (ended.code, ended.stdout)
    assert {JobStatus.Complete} == {shop.client.get_job(job_id).status for job_id in ids}


@pytest.mark.parametrize("burst", [(), ("--burst",)])
@pytest.mark.parametrize(("app", "code"), [("shop:wrok", 2), ("shop:careful", 4)])
def test_what_no_process_can_do_is_said_once(new_shop: Shop, app: str, code: int, burst: tuple[str, ...]) -> None:
    """A wrong APP, or tables that are not migrated, end the supervisor with the exit code of the first process."""
    ended = new_shop.run("worker", app, "--processes", "3", *burst)
    assert code == ended.code
    assert 1 == ended.stderr.count("werk: ")


def test_database_that_comes_later(shop: Shop) -> None:
    """While the database is away, it is tried again and again."""
    missing = conninfo.make_conninfo(shop.dsn, dbname="pgwerk_test_nowhere")
    program = shop.start("worker", "--dsn", missing, "--processes", "2")
    program.wait_for_line("has ended with exit code 3; the next one is started in", count=2)
    program.send(signal.SIGTERM)
    assert 0 == program.wait().code


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_supervisor_that_ends_while_processes_start(new_shop: Shop, number: int) -> None:
    """A process that is still loading the application does not stay behind, however the supervisor ends."""
    new_shop.write("slow.py", "import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(60)")
    program = new_shop.start("worker", "slow:werk", "--processes", "2")
    program.wait_for_line("", stream="stdout")
    pid = int(program.stdout)
    program.send(number)
    assert number == signal.SIGKILL or 0 == program.wait(10).code
    until(lambda: not is_alive(pid), 10)
    assert 1 == program.stdout.count("\n")


def test_handlers_do_not_hear_the_orders(shop: Shop) -> None:
    """The line to the supervisor is closed to handlers: their standard input is empty, and so is their environment."""
    shop.write(
        "curious.py",
        "import os, subprocess\ndef ask():\n"
        "    told = [name for name in os.environ if name.startswith('PGWERK_')]\n"
        "    return [subprocess.run(['cat'], capture_output=True).stdout.decode(), told]\n",
    )
    program = started(shop, 2, "--shutdown-timeout", "5")
    job = shop.client.enqueue("curious.ask")
    assert job is not None
    assert ["", []] == shop.until_status(job.id, "complete").result
    program.send(signal.SIGTERM)
    assert 0 == program.wait().code


def test_process_that_has_lost_its_line(new_shop: Shop) -> None:
    """A process that should have a supervisor, and has no line to it, does not become one, and so on for ever."""
    ended = new_shop.run("worker", "shop:werk", "--processes", "2", env={"PGWERK_SUPERVISED": "1"})
    assert (2, 1) == (ended.code, ended.stderr.count("\n"))
    assert "PGWERK_SUPERVISED is set" in ended.stderr


def test_pause_doubles_up_to_a_limit() -> None:
    """The pause before a process is started again doubles, half of it by chance, and does not pass its limit."""
    assert [(0.5, 1.0), (1.0, 2.0), (2.0, 4.0)] == [(pause(number, 0), pause(number, 1)) for number in (1, 2, 3)]
    assert LONGEST_PAUSE_SECS == pause(10_000, 1)


def test_words_for_an_end() -> None:
    """An end is told by exit code or by signal."""
    assert "has ended with exit code 3" == ending(3)
    assert "was killed by SIGSEGV" == ending(-signal.SIGSEGV)
    assert "was killed by signal 250" == ending(-250)
