"""What is imported when: nothing before it is needed, and all of it as if it had been there from the beginning."""

from __future__ import annotations

import ast
import pydoc
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import pgwerk
from pgwerk.cli.main import COMMANDS

PACKAGE = Path(pgwerk.__file__)
CRON = {"croniter", "dateutil", "pytz"}


def run(code: str) -> list[str]:
    """The words that a program of its own prints."""
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()


def brought_in(code: str) -> set[str]:
    """The modules that a program imports and that an interpreter does not have by itself."""
    loaded = "print(*sys.modules)"
    return {*run(f"import sys\n{code}\n{loaded}")} - {*run(f"import sys\n{loaded}")}


def packages(modules: set[str]) -> set[str]:
    """The top-level packages that are not of the standard library."""
    found = {module.partition(".")[0] for module in modules} - set(sys.stdlib_module_names)
    return {name for name in found if not name.startswith("_")}


def told_to_type_checkers() -> Iterator[tuple[str, str]]:
    """Modules and names in the block of `__init__.py` that is never executed."""
    for block in ast.parse(PACKAGE.read_text(encoding="utf-8")).body:
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING":
            for node in block.body:
                assert isinstance(node, ast.ImportFrom)
                yield from ((node.module or "", alias.name) for alias in node.names)


def test_one_set_of_names() -> None:
    """What is imported when it is asked for is what type checkers are told, and what the package promises."""
    table = [(module, name) for module, names in pgwerk._NAMES.items() for name in names]
    assert sorted(told_to_type_checkers()) == sorted(table)
    assert sorted(name for _, name in table) == sorted(pgwerk.__all__)


def test_the_package_alone() -> None:
    """`import pgwerk` imports no other package, no asyncio, and nothing of itself."""
    found = brought_in("import pgwerk")
    assert {"pgwerk"} == packages(found)
    assert {"pgwerk"} == {module for module in found if module.startswith("pgwerk")}
    assert "asyncio" not in found


@pytest.mark.parametrize(("client", "other"), [("SyncWerk", "pgwerk._async"), ("Werk", "pgwerk._sync")])
def test_one_client(client: str, other: str) -> None:
    """A client brings in neither the other flavour, nor the workers, nor what only schedules need."""
    found = brought_in(f"from pgwerk import {client}; {client}('postgresql://localhost/never_connected')")
    assert not {module for module in found if module.startswith((other, "pgwerk.worker", "pgwerk.cli"))}
    assert not packages(found) & CRON


def test_values_and_errors() -> None:
    """A model, an error or the serializer does not bring in the driver."""
    found = brought_in(
        "from pgwerk import Context, CronJob, EnqueueParams, JobError, JSONSerializer, Retry, WerkConfig"
    )
    assert {"pgwerk", "attr", "attrs"} >= packages(found)
    assert "asyncio" not in found


def test_cron_expressions() -> None:
    """croniter comes with the first expression, and not with an interval."""
    times = "from pgwerk._core.cron import CronTimes, Interval; from datetime import UTC, datetime; {}"
    assert not packages(brought_in(times.format("Interval(60, datetime.now(UTC))"))) & CRON
    assert "croniter" in packages(brought_in(times.format("CronTimes('0 4 * * *', UTC)")))


def test_every_module_can_be_the_first() -> None:
    """None of the modules that names come from relies on another one having been there before."""
    assert ["ok"] == run(
        "import importlib, sys, psycopg, pgwerk\n"
        "for module, (name, *_) in pgwerk._NAMES.items():\n"
        "    for other in [other for other in sys.modules if other.startswith('pgwerk')]:\n"
        "        del sys.modules[other]\n"
        "    getattr(importlib.import_module('pgwerk'), name)\n"
        "print('ok')"
    )


def test_import_of_everything() -> None:
    """`from pgwerk import *` gives all public names."""
    assert sorted(pgwerk.__all__) == sorted(
        run("from pgwerk import *; print(*(name for name in dir() if name[0] != '_'))")
    )


def test_names_that_were_not_asked_for_are_listed() -> None:
    """`dir` and `help` know all names from the beginning."""
    assert {*pgwerk.__all__} <= {*run("import pgwerk; print(*dir(pgwerk))")}
    assert "class SyncWerk" in pydoc.plain(pydoc.render_doc(pgwerk))


def test_a_name_is_looked_up_once() -> None:
    """What has been asked for is an attribute like any other."""
    assert ["False", "True"] == run(
        "import pgwerk; print('Job' in vars(pgwerk)); pgwerk.Job; print('Job' in vars(pgwerk))"
    )


def test_misspelled_name() -> None:
    """A name that is not there is an error of the usual kind, which names it and lets Python suggest another one."""
    with pytest.raises(AttributeError, match=r"module 'pgwerk' has no attribute 'SyncWrek'") as caught:
        getattr(pgwerk, "SyncWrek")  # noqa: B009 - type checkers know that it is not there
    assert ("SyncWrek", pgwerk) == (caught.value.name, caught.value.obj)
    with pytest.raises(ImportError, match="cannot import name 'SyncWrek' from 'pgwerk'"):
        exec("from pgwerk import SyncWrek")  # noqa: S102 - likewise
    assert not hasattr(pgwerk, "__path_of_nothing__")


def test_modules_of_the_package() -> None:
    """Modules are imported by their own names, whatever has been imported before them."""
    assert ["AsyncWorker"] == run("import pgwerk.worker; print(pgwerk.worker.AsyncWorker.__name__)")
    assert ["EmbeddedPostgres"] == run("from pgwerk.embedded import EmbeddedPostgres as E; print(E.__name__)")


def test_pickles() -> None:
    """A model that was pickled elsewhere is read by a process that has imported nothing of pgwerk."""
    code = "import pickle, pgwerk; print(pickle.dumps(pgwerk.{}).hex())"
    for made, shown in (("Retry(max=3)", "Retry"), ("JobNotFound('an id')", "JobNotFound")):
        (pickled,) = run(code.format(made))
        assert [shown] == run(f"import pickle; print(type(pickle.loads(bytes.fromhex('{pickled}'))).__name__)")


def test_threads() -> None:
    """Threads that ask for names at the same time get the same things, and wait for none for ever."""
    assert ["1"] * len(pgwerk.__all__) == run(
        "import threading, pgwerk\n"
        "names, count = pgwerk.__all__, 4\n"
        "found, start = {name: set() for name in names}, threading.Barrier(count)\n"
        "def ask(turn):\n"
        "    start.wait()\n"
        "    for name in [*names[turn * 13:], *names[:turn * 13]]:\n"
        "        found[name].add(id(getattr(pgwerk, name)))\n"
        "threads = [threading.Thread(target=ask, args=(turn,)) for turn in range(count)]\n"
        "for thread in threads: thread.start()\n"
        "for thread in threads: thread.join()\n"
        "print(*map(len, found.values()))\n"
    )


HELP = """
import contextlib, io
from pgwerk.cli.entry import main
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    main({!r})
"""


def test_help_of_the_command_line() -> None:
    """`werk --help` imports click, and no command, no client, and nothing to draw with."""
    found = brought_in(HELP.format(["--help"]))
    assert {"pgwerk", "click"} >= packages(found) - {"colorama"}  # that is Windows'
    assert "asyncio" not in found
    assert {"entry", "failures", "lazy", "main", "shown"} == {
        module.removeprefix("pgwerk.cli.") for module in found if module.startswith("pgwerk.cli.")
    }


@pytest.mark.parametrize("command", [command.name for command in COMMANDS if command.name != "top"])
def test_help_of_a_command(command: str) -> None:
    """The help of a command does not wait for the driver either; only `top` is nothing without what it draws with."""
    found = brought_in(HELP.format([command, "--help"]))
    assert not packages(found) & {"rich", "psycopg", "psycopg_pool", *CRON}
    assert "asyncio" not in found


@pytest.mark.parametrize("command", ["jobs", "job", "enqueue", "cancel", "cron", "stats", "info"])
def test_commands_for_programs(command: str) -> None:
    """A command that prints no table does not import what draws them; with a connection string, it is a SyncWerk."""
    words = {"job": ["01926c1e-8f2a-7cc3-b27c-0f2d3c0a9e11"], "enqueue": ["json.dumps"], "cancel": ["--all", "--yes"]}
    nowhere = ["--dsn", "host=127.0.0.1 port=1", "--json", *words.get(command, [])]
    found = brought_in(HELP.format([command, *nowhere]))
    assert "psycopg" in packages(found)
    assert not packages(found) & {"rich", *CRON}
    assert not {module for module in found if module.startswith(("pgwerk._async", "pgwerk.worker"))}
