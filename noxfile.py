"""Everything that is run on this repository, by hand and in CI: `nox --list` shows it."""

from __future__ import annotations

import re
import sys

import nox

PYTHONS = ("3.11", "3.12", "3.13", "3.14")
PROJECT = nox.project.load_toml("pyproject.toml")["project"]
# Pinned: a new release finds new things. It runs on Node.js, which this extra of its own brings along, so that nothing
# is downloaded later. Not in our extra `dev`, which the tests install as well: it takes 250 MB.
PYRIGHT = "pyright[nodejs]==1.1.414"

nox.needs_version = ">=2024.10.9"
nox.options.sessions = ["codegen", "lint", "types", "docs", "tests"]
nox.options.reuse_venv = "yes"
nox.options.default_venv_backend = "virtualenv"  # also where the system's Python has no ensurepip
nox.options.error_on_missing_interpreters = False  # nox says which one is missing, and goes on


def tools(*names: str) -> list[str]:
    """The requirements of the extra `dev` with these names: pyproject.toml pins them, once."""
    extra = PROJECT["optional-dependencies"]["dev"]
    found = {re.split(r"[^\w-]", requirement)[0]: requirement for requirement in extra}
    return [found[name] for name in names]


def run_tests(session: nox.Session) -> None:
    # Not editable: the tests see what a user gets, and not what lies around in src.
    session.install(".[cli,dev,embedded]")
    # Side by side, as much of the time they wait; each process has a database of its own, or even a server.
    session.run("pytest", "-n", "auto", "--maxprocesses", "4", *session.posargs)


@nox.session
def demo(session: nox.Session) -> None:
    """Watch real jobs run; nothing is left afterwards."""
    session.install(".[cli,embedded]")
    session.run("python", "examples/demo.py", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests on the interpreter that runs nox; `-- ARGUMENTS` go to pytest."""
    run_tests(session)


@nox.session
def faults(session: nox.Session) -> None:
    """Inject faults while jobs run, for 10 minutes; `-- ARGUMENTS` go to the suite. Its short form is in the tests."""
    session.install(".[cli,dev,embedded]")
    session.run("python", "-m", "tests.faults", *session.posargs)


for version in PYTHONS:

    @nox.session(name=f"tests-{version}", python=version)
    def tests_on_version(session: nox.Session) -> None:
        """Run the tests on this version of Python, if it is there."""
        run_tests(session)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and formatting; `-- --fix` mends what can be mended."""
    session.install(*tools("ruff"))
    if "--fix" in session.posargs:
        session.run("ruff", "check", "--fix", ".")
        session.run("ruff", "format", ".")
    else:
        session.run("ruff", "check", ".")
        session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Check the types, strictly, in both flavours: mypy everything, pyright what users write."""
    # Not editable: pyright sees what a user gets.
    session.install(".[cli,dev]", PYRIGHT)
    session.run("mypy", *session.posargs)
    session.run("pyright", env={"PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"})  # else it asks for the newest release


@nox.session
def codegen(session: nox.Session) -> None:
    """Build the blocking flavour from the asyncio one; `-- --check` only compares."""
    session.install(*tools("ruff", "unasync"))
    session.run("python", "tools/unasync_build.py", *session.posargs)


@nox.session(python=False)
def docs(session: nox.Session) -> None:
    """Check the documents: links lead somewhere, examples compile."""
    session.run(sys.executable, "tools/check_docs.py")


@nox.session
def bench(session: nox.Session) -> None:
    """Measure; `-- ARGUMENTS` go to the benchmarks; `-- --peers` measures other queues beside ours."""
    session.install(".[bench,cli,embedded]")
    session.run("python", "-m", "benchmarks", *session.posargs)


@nox.session(python=False)
def ci(session: nox.Session) -> None:
    """Run all that CI runs."""
    session.notify("codegen", posargs=["--check"])
    for name in ("lint", "types", "docs", "tests"):
        session.notify(name, posargs=[])
