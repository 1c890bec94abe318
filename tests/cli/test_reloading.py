"""`werk worker --reload`: a worker that is started again when its source changes."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest
from tests.cli.running import Program, Shop

from pgwerk import JobStatus
from pgwerk.cli.reloading import Sources, difference

NEW_ADD = "\n\ndef add(a=1, b=2):\n    return f'{a} and {b}'\n"


def started(shop: Shop, *options: str, env: dict[str, str] | None = None, app: str = "shop:werk") -> Program:
    """A worker with --reload that is at work."""
    program = shop.start("worker", app, "--reload", "--poll-interval", "0.2", *options, env=env)
    program.wait_for_line("is ready")
    return program


@pytest.mark.posix
def test_changed_source_is_run(shop: Shop) -> None:
    """A change is told with the file's name; running jobs end first, and later ones run the new source."""
    program = started(shop)
    running = shop.enqueue("nap", 1)
    shop.until_status(running, "active")
    source = (shop.folder / "shop.py").read_text()
    shop.write("shop.py", source + NEW_ADD)
    program.wait_for_line("shop.py changed: starting again")
    program.wait_for_line("is ready", count=2)
    assert JobStatus.Complete is shop.client.get_job(running).status
    assert "1 and 2" == shop.until_status(shop.enqueue("add"), "complete").result
    program.press_ctrl_c()
    ended = program.wait()
    assert 0 == ended.code
    assert "started in" not in ended.stderr


@pytest.mark.posix
def test_syntax_error(shop: Shop) -> None:
    """A syntax error is shown, and the next change tried; that may be in a file that is new."""
    shop.write("broken.py", "from shop import werk")
    program = started(shop, app="broken:werk")
    shop.write("broken.py", "import shop\nwerk = = shop.werk\n")
    assert "SyntaxError" in program.wait_for_line("broken cannot be imported")
    program.wait_for_line("has ended with exit code 2; waiting for a source file to change")
    shop.write("broken.py", "import parts\nwerk = parts.werk\n")
    program.wait_for_line("No module named 'parts'")
    shop.write("parts.py", "from shop import werk\n")
    program.wait_for_line("is ready", count=2)


@pytest.mark.posix
def test_application_that_is_broken_from_the_start(shop: Shop) -> None:
    """A worker that cannot start waits for the change that lets it."""
    shop.write("later.py", "no python")
    program = shop.start("worker", "later:werk", "--reload")
    program.wait_for_line("waiting for a source file to change")
    shop.write("later.py", "from shop import werk")
    program.wait_for_line("is ready")
    program.send(signal.SIGTERM)
    assert 0 == program.wait().code


@pytest.mark.posix
def test_application_elsewhere(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The folder that the application is in is looked at, wherever that is."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    package = elsewhere / "far" / "away"
    package.mkdir(parents=True)
    (elsewhere / "far" / "__init__.py").touch()
    (package / "__init__.py").write_text("from shop import werk")
    path = os.pathsep.join(filter(None, [str(elsewhere), *os.sys.path]))  # type: ignore[attr-defined]
    program = started(shop, app="far.away:werk", env={"PYTHONPATH": path})
    (package / "more.py").touch()
    assert re.search(r"far/away/more\.py changed", program.wait_for_line("changed: starting again"))
    program.wait_for_line("is ready", count=2)


def test_what_is_looked_at(tmp_path: Path) -> None:
    """Python files are looked at, but for those in hidden folders, virtual environments and the like."""
    sources = Sources(tmp_path)
    for name in ("a.py", "b/c.py", ".git/x.py", "env/x.py", "node_modules/x.py", "__pycache__/x.py", "b/text.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "env" / "pyvenv.cfg").touch()
    (tmp_path / "dangling.py").symlink_to("nowhere")
    assert ["a.py", "b/c.py"] == [os.path.relpath(path, tmp_path) for path in map(os.path.abspath, sources.changed())]
    assert [] == sources.changed()
    (tmp_path / "a.py").unlink()
    (tmp_path / "b" / "c.py").write_text("1")
    assert 2 == len(sources.changed())


def test_folder_that_is_added_has_not_changed(tmp_path: Path) -> None:
    """Files of a folder that is looked at from now on are no changes; a folder within another one is known."""
    (tmp_path / "one").mkdir()
    (tmp_path / "two" / "deep").mkdir(parents=True)
    (tmp_path / "two" / "deep" / "a.py").touch()
    sources = Sources(tmp_path / "one")
    sources.add(tmp_path / "two")
    sources.add(tmp_path / "two" / "deep")
    assert [] == sources.changed()
    (tmp_path / "two" / "deep" / "a.py").write_text("1")
    assert 1 == len(sources.changed())


def test_difference() -> None:
    """Files that are new, gone, or have another stamp are different."""
    assert ["b", "c", "d"] == difference(
        {"a": (1, 1), "b": (1, 1), "c": (1, 1)}, {"a": (1, 1), "b": (1, 2), "d": (1, 1)}
    )
