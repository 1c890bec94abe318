"""`werk top`: the live screen, in a real terminal, and what it is drawn from."""

from __future__ import annotations

import re
import signal
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from tests.cli.running import Shop, opened
from tests.cli.states import NASTY, add_running, add_worker, is_harmless
from tests.cli.tmux import terminal
from tests.databases import embedded_version

from pgwerk import JobStatus, Overview, Percentiles, QueueStats, RunningJob, WorkerInfo
from pgwerk.cli.apps import Target
from pgwerk.cli.frames import MOST_RUNNING, View, draw
from pgwerk.cli.session import Session
from pgwerk.cli.sparklines import BLOCKS
from pgwerk.cli.top import Watch
from pgwerk.embedded import EmbeddedPostgres

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
SLOWLY = ("top", "shop:werk", "--interval", "30s")
QUICKLY = ("top", "shop:werk", "--interval", "500ms")


# In a terminal


def is_drawn(screen: str) -> bool:
    """Whether all of a frame is there: its last line is."""
    return screen.splitlines()[-1].startswith("q quit")


@pytest.mark.posix
@pytest.mark.parametrize("size", [(80, 24), (160, 48)])
def test_screen(shop: Shop, size: tuple[int, int]) -> None:
    """Queues, workers and running jobs fill the screen; q ends it, and leaves the terminal as it was."""
    worker_id = add_worker(shop, "mail", "default", host="web-1", pid=17)
    add_worker(shop, "mail", host="web-2", pid=18, silent_secs=7000)
    job_id = add_running(shop, "shop.add", "mail", worker_id, secs=600)
    shop.client.enqueue("shop.add", _queue="mail")
    with terminal(shop.folder, *SLOWLY, size=size) as term:
        screen = term.wait_for(is_drawn)
        assert term.is_alternate
        lines = screen.splitlines()
        assert size[1] == len(lines)
        assert lines[0].startswith(f"werk top: shop:werk, {shop.schema}._pgwerk")
        assert "0 jobs/s  1 ready  1 running  1 worker " in lines[1]
        assert re.search(r"^mail +1 .* 1 +1 ", screen, re.MULTILINE)
        assert re.search(r"web-1:17 +async +mail,default +3/10 .* alive", screen)
        assert re.search(r"web-2:18 .* lapsed", screen)
        assert re.search(rf"shop\.add .*{job_id} +10m +1/1 web-1:17", screen)
        assert lines[-1].startswith("q quit")
        assert ("QUEUE" in lines[3] and "WORKER " in lines[3]) == (size[0] == 160)
        term.type("q")
        assert 0 == term.ended()


@pytest.mark.posix
def test_it_goes_on(shop: Shop) -> None:
    """What changes is shown; p stops that and starts it again, and the size of the terminal may change meanwhile."""
    with terminal(shop.folder, *QUICKLY) as term:
        term.wait_for("no queues")
        shop.client.enqueue("shop.add", _queue="mail")
        term.wait_for("1 ready")
        term.type("p")
        term.wait_for("PAUSED")
        shop.client.enqueue("shop.add", _queue="mail")
        term.resize(160, 30)
        screen = term.wait_for(lambda screen: len(screen.splitlines()) == 30 and "PAUSED" in screen.splitlines()[-1])
        assert "1 ready" in screen
        term.type("p")
        term.wait_for("2 ready")
        term.type("+")
        term.wait_for("every 1.0 s")
        term.resize(40, 10)
        term.wait_for(lambda screen: len(screen.splitlines()) == 10 and is_drawn(screen))
        term.type("q")
        term.resize(80, 24)
        assert 0 == term.ended()


@pytest.mark.posix
def test_ctrl_c(shop: Shop) -> None:
    """Ctrl-C ends it as an interrupted command, with the terminal as it was."""
    with terminal(shop.folder, *SLOWLY) as term:
        term.wait_for("no queues")
        term.type("C-c")
        assert 130 == term.ended()


@pytest.mark.posix
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signals(shop: Shop, number: signal.Signals) -> None:
    """A signal ends it, with the terminal as it was."""
    with terminal(shop.folder, *SLOWLY) as term:
        term.wait_for("no queues")
        term.send(number)
        assert 128 + number == term.ended()


BROKEN = """
from shop import sync_werk

good, looks = sync_werk.overview, []


def overview(*args, **kwargs):
    looks.append(1)
    if len(looks) > 1:
        raise RuntimeError("odd")
    return good(*args, **kwargs)


sync_werk.overview = overview
"""


@pytest.mark.posix
def test_failure(shop: Shop) -> None:
    """An error that nobody expected ends it with one line, after the terminal has been given back."""
    shop.write("broken.py", BROKEN)
    with terminal(shop.folder, "top", "broken:sync_werk", "--interval", "30s") as term:
        term.wait_for("no queues")
        term.type("Space")
        screen = term.wait_for("ended 1")
        assert not term.is_alternate
        assert term.shows_cursor
        assert "werk: RuntimeError: odd" in screen


CHATTY = """
import logging
import time
from pathlib import Path

from shop import sync_werk

logging.basicConfig()
good, looks = sync_werk.overview, []


def overview(*args, **kwargs):
    looks.append(1)
    if len(looks) > 1:
        logging.error("chatter")
        Path("said").touch()
        time.sleep(1000)
    return good(*args, **kwargs)


sync_werk.overview = overview
"""


@pytest.mark.posix
def test_log_lines_stay_off_the_screen(shop: Shop) -> None:
    """What the application logs meanwhile does not get between the frames."""
    shop.write("chatty.py", CHATTY)
    with terminal(shop.folder, "top", "chatty:sync_werk", "--interval", "500ms") as term:
        term.wait_for(lambda _: (shop.folder / "said").exists())
        assert "chatter" not in term.wait_for("no queues")
        term.type("C-c")
        assert 130 == term.ended()


@pytest.mark.posix
def test_names_are_harmless(shop: Shop) -> None:
    """Names with markup and control characters, and very long ones, do nothing to the terminal and break no line."""
    worker_id = add_worker(shop, NASTY, host=NASTY)
    add_running(shop, NASTY, NASTY, worker_id, secs=5)
    add_running(shop, "f" * 5000, "q" * 255, worker_id, secs=5)
    with terminal(shop.folder, *SLOWLY) as term:
        screen = term.wait_for(is_drawn)
        assert "a[red]b[/red]" in screen
        assert "\\x1b[" in screen
        assert 2 == sum(line.endswith(" c:4242") for line in screen.splitlines())
        term.type("q")
        assert 0 == term.ended()


@pytest.fixture
def own_server() -> Iterator[EmbeddedPostgres]:
    """A server that may be stopped."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # started by root, it runs as somebody else
        with EmbeddedPostgres(data_dir=Path(folder) / "pg", version=embedded_version()) as server:
            yield server


@pytest.mark.posix
def test_database_is_restarted(own_server: EmbeddedPostgres, tmp_path: Path) -> None:
    """While the database is away this is said, with what was known before; when it is back, it goes on."""
    with opened(tmp_path, own_server.dsn, "restarted") as shop:
        shop.client.enqueue("shop.add", _queue="mail")
        with terminal(shop.folder, *QUICKLY) as term:
            term.wait_for("1 ready")
            own_server.stop("immediate")
            screen = term.wait_for("database away for ")
            assert "mail" in screen
            assert screen.splitlines()[-1].startswith("q quit")
            own_server.start()
            term.wait_for("1 ready")
            own_server.restart()
            shop.client.enqueue("shop.add", _queue="mail")
            term.wait_for("2 ready")
            term.type("q")
            assert 0 == term.ended()


STUCK = """
import asyncio
from pathlib import Path

from shop import werk

good, looks = werk.overview, []


async def overview(*args, **kwargs):
    looks.append(1)
    if len(looks) > 1:
        Path("stuck").touch()
        await asyncio.sleep(1000)
    return await good(*args, **kwargs)


werk.overview = overview
"""


@pytest.mark.posix
def test_ctrl_c_while_the_database_does_not_answer(shop: Shop) -> None:
    """A database that takes its time does not keep Ctrl-C from ending it."""
    shop.write("stuck.py", STUCK)
    with terminal(shop.folder, "top", "stuck:werk", "--interval", "500ms") as term:
        term.wait_for(lambda _: (shop.folder / "stuck").exists())
        term.type("C-c")
        assert 130 == term.ended()


SILENT = """
import asyncio
import time

import pgwerk.cli.top
from shop import sync_werk, werk

pgwerk.cli.top.ANSWER_SECS = 0.5
looks = []


def silent(good, sleep):
    def overview(*args, **kwargs):
        looks.append(1)
        return sleep(1000) if len(looks) == 2 else good(*args, **kwargs)

    return overview


werk.overview = silent(werk.overview, asyncio.sleep)
sync_werk.overview = silent(sync_werk.overview, time.sleep)
"""


@pytest.mark.posix
@pytest.mark.parametrize("name", ["werk", "sync_werk"])
def test_database_that_does_not_answer(shop: Shop, name: str) -> None:
    """A look that gets no answer is given up after a while, which is said, and made again."""
    shop.write("silent.py", SILENT)
    with terminal(shop.folder, "top", f"silent:{name}", "--interval", "500ms") as term:
        term.wait_for("no answer within 0.5 s")
        shop.client.enqueue("shop.add", _queue="mail")
        term.wait_for("1 ready")
        term.type("q")
        assert 0 == term.ended()


# Without a terminal


def test_once(shop: Shop) -> None:
    """--once prints one frame, with all there is, for pipes."""
    worker_id = add_worker(shop, "mail")
    for number in range(40):
        add_running(shop, f"shop.task{number}", "mail", worker_id, secs=number)
    ended = shop.run("top", "shop:sync_werk", "--once")
    assert (0, "") == (ended.code, ended.stderr)
    assert "40 running  1 worker " in ended.stdout
    assert 40 == ended.stdout.count("shop.task")
    assert "\x1b" not in ended.stdout
    assert max(map(len, ended.stdout.splitlines())) <= 80


def test_pipe(shop: Shop) -> None:
    """Without a terminal and without --once, it says what to do."""
    ended = shop.run("top", "shop:werk")
    assert (2, "", 1) == (ended.code, ended.stdout, ended.stderr.count("\n"))
    assert "--once" in ended.stderr


def test_odd_interval(shop: Shop) -> None:
    """An interval that is too short or too long is refused."""
    for interval in ("0.1", "1h"):
        ended = shop.run("top", "shop:werk", "--once", "--interval", interval)
        assert (2, "") == (ended.code, ended.stdout)


def test_unreachable_database(new_shop: Shop) -> None:
    """A database that is away from the beginning is an error as with any command."""
    ended = new_shop.run("top", "--dsn", "host=127.0.0.1 port=1", "--once")
    assert (3, "", 1) == (ended.code, ended.stdout, ended.stderr.count("\n"))


# Frames

texts = st.one_of(st.text(max_size=30), st.sampled_from([NASTY, "x" * 3000, "日本語" * 9, "[bold]", ""]))

queues = st.builds(
    QueueStats,
    queue=texts,
    queued=st.integers(0, 10**9),
    active=st.integers(0, 10**4),
    oldest_secs=st.none() | st.floats(0, 10**8),
    since_secs=st.just(60.0),
    completed=st.integers(0, 10**6),
    failed=st.integers(0, 10**6),
    wait=st.just(Percentiles()),
    series=st.lists(st.integers(0, 10**6), min_size=30, max_size=30).map(tuple),
)

workers = st.builds(
    WorkerInfo,
    id=st.just("01900000-0000-7000-8000-000000000001"),
    kind=texts,
    host=texts,
    pid=st.integers(1, 10**7),
    queues=st.lists(texts, max_size=3).map(tuple),
    concurrency=st.integers(1, 10**4),
    running=st.integers(0, 10**4),
    version=texts,
    started_at=st.just(NOW - timedelta(days=3)),
    heartbeat_at=st.just(NOW),
    lease_secs=st.just(30.0),
    lease_expires_at=st.just(NOW),
    is_alive=st.booleans(),
)

running = st.builds(
    RunningJob,
    id=st.just("01900000-0000-7000-8000-000000000002"),
    function=texts,
    queue=texts,
    status=st.sampled_from([JobStatus.Active, JobStatus.Aborting]),
    attempt=st.integers(1, 10**4),
    max_attempts=st.integers(1, 10**4),
    worker_id=st.sampled_from([None, "01900000-0000-7000-8000-000000000001", "gone"]),
    started_at=st.just(NOW),
    running_secs=st.floats(0, 10**8),
)

overviews = st.builds(
    Overview,
    queues=st.lists(queues, max_size=9).map(tuple),
    workers=st.lists(workers, max_size=9).map(tuple),
    running=st.lists(running, max_size=30).map(tuple),
)


@settings(deadline=None)
@given(
    overviews,
    st.integers(1, 250),
    st.integers(1, 60),
    st.none() | texts,
    st.booleans(),
)
def test_frame_fits(overview: Overview, width: int, height: int, trouble: str | None, paused: bool) -> None:
    """Whatever goes on, a frame has exactly the lines of the terminal, none is wider, and all of it is harmless."""
    view = View(
        title="werk top",
        now=NOW,
        overview=overview,
        interval=2.0,
        pause=2.0,
        bars=BLOCKS,
        trouble=trouble,
        is_paused=paused,
    )
    lines = draw(view, width, height).plain.split("\n")
    assert height == len(lines)
    assert max(map(cell_len, lines)) <= width
    assert all(is_harmless(line) for line in lines)


def frame(overview: Overview, width: int = 80, height: int | None = 24, **options: Any) -> list[str]:
    """The lines of a frame."""
    view = View(title="werk top", now=NOW, overview=overview, interval=2.0, pause=2.0, bars=BLOCKS, **options)
    return draw(view, width, height).plain.split("\n")


def test_room_is_shared() -> None:
    """A long list does not push the others from the screen, and how much is missing is said."""
    many = tuple(QueueStats(f"queue{number:02}", queued=1, series=(0,)) for number in range(50))
    job = RunningJob("id", "shop.add", "q", JobStatus.Aborting, 1, 3, None, NOW, 5.0)
    lines = frame(Overview(many, (), (job,)))
    assert any(line.startswith("queue00") for line in lines)
    (more,) = [line for line in lines if line.startswith("and ")]
    shown = sum(line.startswith("queue") for line in lines)
    assert f"and more: {50 - shown} do not fit" == more
    assert any("no workers" in line for line in lines)
    assert any(line.startswith("…dd (aborting)") or "(aborting)" in line for line in lines)
    assert 50 == sum(line.startswith("queue") for line in frame(Overview(many, (), ()), height=None))


def test_more_than_is_looked_at() -> None:
    """Where more jobs run than are listed, how many is said."""
    jobs = tuple(RunningJob("id", "shop.add", "q", JobStatus.Active, 1, 1, None, NOW, 5.0) for _ in range(MOST_RUNNING))
    lines = frame(Overview((QueueStats("q", active=MOST_RUNNING + 5, series=(0,)),), (), jobs), height=None)
    assert "and 5 more" == lines[-1]


def test_throughput() -> None:
    """The throughput is that of the last interval, over all queues."""
    both = (QueueStats("a", series=(0, 1, 7)), QueueStats("b", series=(0, 1, 3)))
    lines = frame(Overview(both, (), ()))
    assert lines[1].startswith("5.0 jobs/s  0 ready  0 running  0 workers")
    assert lines[1].endswith("_▂█")


def test_database_away() -> None:
    """Since when the database is away, and why, takes the place of the throughput."""
    lines = frame(Overview((), (), ()), trouble="connection\nrefused", away_secs=12.0)
    assert "database away for 12 s: connection refused" == lines[1]


def test_looks_that_take_long() -> None:
    """Looking at the database takes up a tenth of the time at most."""
    watch = Watch(Session(Target()), 2.0, Overview((), (), ()))
    watch.took = 0.01
    assert 2.0 == watch.pause
    watch.took = 1.0
    assert 9.0 == watch.pause
