"""Functions and enums of the program that is being run, tried out in programs of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import pgwerk
from pgwerk._core.modules import is_main

SCRIPT = """
import enum, sys
from pgwerk._core.paths import path_of, resolve
from pgwerk._core.serializers import JSONSerializer

print("runs as", __name__)

def send():
    return 1

class Color(enum.Enum):
    RED = 1

if __name__ == "__main__":
    for what in (lambda: path_of(send), lambda: path_of("__main__.send"),
                 lambda: resolve(path_of(send)) is send,
                 lambda: JSONSerializer().dumps(Color.RED),
                 lambda: JSONSerializer().loads(JSONSerializer().dumps(Color.RED)) is Color.RED):
        try:
            print(what())
        except ValueError as error:
            print(type(error).__name__, error)
"""


def run(*command: str, cwd: Path, stdin: str = "") -> list[str]:
    source = str(Path(pgwerk.__file__).parent.parent)
    done = subprocess.run(
        [sys.executable, "-W", "error", *command],
        cwd=cwd,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ | {"PYTHONPATH": source, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


def expected(name: str) -> list[str]:
    return [
        "runs as __main__",
        f"{name}.send",
        f"{name}.send",
        "True",
        f'{{"$enum":"{name}:Color.RED"}}',
        "True",
    ]


def test_a_script_goes_by_its_stem(tmp_path: Path) -> None:
    """What a script defines goes by the script's name, and leads back without a second import."""
    (tmp_path / "tutorial.py").write_text(SCRIPT)
    assert run("tutorial.py", cwd=tmp_path) == expected("tutorial")
    assert run(str(tmp_path / "tutorial.py"), cwd=Path.cwd()) == expected("tutorial")


def test_a_module_goes_by_its_name(tmp_path: Path) -> None:
    """With `python -m` the module's full name is used."""
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "__init__.py").touch()
    (tmp_path / "pack" / "mod.py").write_text(SCRIPT)
    (tmp_path / "pack" / "__main__.py").write_text(SCRIPT)
    assert run("-m", "pack.mod", cwd=tmp_path) == expected("pack.mod")
    assert run("-m", "pack", cwd=tmp_path) == expected("pack.__main__")


def refused(lines: list[str]) -> None:
    assert lines[0] == "runs as __main__"
    assert lines[1].startswith("ValueError send is defined in the program that is being run")
    assert lines[2:4] == lines[1:2] * 2
    assert lines[4].startswith("SerializationError cannot serialize a value of type Color")
    assert "define it in a module" in lines[4]


def test_what_nobody_can_import_is_refused(tmp_path: Path) -> None:
    """At a prompt, in `python -c`, or in a file that is no module, the error says what to do."""
    (tmp_path / "not-a-name.py").write_text(SCRIPT)
    (tmp_path / "no_suffix").write_text(SCRIPT)
    refused(run("not-a-name.py", cwd=tmp_path))
    refused(run("no_suffix", cwd=tmp_path))
    refused(run("-c", SCRIPT, cwd=tmp_path))
    refused(run("-", cwd=tmp_path, stdin=SCRIPT))


def test_a_script_that_another_module_shadows(tmp_path: Path) -> None:
    """A script whose name leads to another module does not go by it."""
    (tmp_path / "start.py").write_text("import runpy; runpy.run_path('copy/string.py', run_name='__main__')")
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "string.py").write_text(SCRIPT)
    refused(run("start.py", cwd=tmp_path))


SPAWN = """
import multiprocessing
from pgwerk._core.paths import path_of, resolve

def send():
    print(path_of(send), resolve("spawning.send") is send)

if __name__ == "__main__":
    process = multiprocessing.get_context("spawn").Process(target=send)
    process.start()
    process.join()
"""


def test_the_main_module_in_a_spawned_child(tmp_path: Path) -> None:
    """A spawned child finds what its parent's script defines in its own copy of the script."""
    (tmp_path / "spawning.py").write_text(SPAWN)
    assert run("spawning.py", cwd=tmp_path) == ["spawning.send True"]


@pytest.mark.parametrize(("name", "main"), [("__main__", True), ("__mp_main__", True), ("m", False)])
def test_names_of_the_main_module(name: str, main: bool) -> None:
    """Two names stand for the module that is being run."""
    assert is_main(name) is main
