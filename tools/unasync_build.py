"""Build the blocking client from the asyncio one.

    python tools/unasync_build.py            write what is stale, delete what lost its source
    python tools/unasync_build.py --check    write nothing; exit 1 with a diff when a build would

The `_async` trees are written by hand. The `_sync` trees are made from them and committed as well.
One module is on its own: `_compat.py` at the top of a tree is the seam, which holds what the two
flavours do differently. It is written by hand on both sides and only compared here.

Every other module goes through these steps:

    lint      refuse what would be converted wrong, and say what to write instead
    prose     replace PROSE in docstrings and comments, which unasync leaves alone
    unasync   the package of that name replaces whole tokens, by its own list and by RULES
    header    say where the module comes from
    ruff      sort the imports and format anew, as names have changed their length

All of it is computed before anything is written, so a build that fails leaves the trees alone.
The result does not depend on the Python that runs this: unasync looks into f-strings on 3.12 and
newer only, so the lint refuses whatever it could find there.

A new rule is a new line in RULES or PROSE. One that no module uses is an error.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

if not __package__:  # a script finds only what lies beside it; tests and mypy say `tools.…`
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tools._unasync import prose
from tools._unasync.lint import lint, used_names
from tools._unasync.rules import Pair, Prose, Rule, Tables
from tools._unasync.source import Source
from tools._unasync.twins import compare_twins

RULES = (
    Rule("_async", "_sync"),
    Rule("AbstractAsyncContextManager", "AbstractContextManager", where="anywhere"),
    Rule("AsyncConnection", "Connection", where="anywhere"),
    Rule("AsyncConnectionPool", "ConnectionPool", where="anywhere"),
    Rule("AsyncCursor", "Cursor", where="anywhere"),
    Rule("CronScheduler", "SyncCronScheduler", where="anywhere"),
    Rule("Enqueuer", "SyncEnqueuer", where="anywhere"),
    Rule("Werk", "SyncWerk", where="anywhere"),
)

PROSE = (
    Prose("CronScheduler", "SyncCronScheduler"),
    Prose("Werk", "SyncWerk"),
    # The kinds of workers have the same names for both.
    Prose('"async" for an `AsyncWorker`', '"async" for an `AsyncWorker`'),
)

PAIRS = (
    Pair("src/pgwerk/_async", "src/pgwerk/_sync"),
    Pair("tests/_async", "tests/_sync"),
    Pair("tests/typing/_async", "tests/typing/_sync"),
)

SEAM = "_compat.py"
ROOT = Path(__file__).resolve().parents[1]
COMMAND = "python tools/unasync_build.py"
GENERATED = "# Generated from"
INSTALL = 'python -m pip install -e ".[dev]"'

#: Modules by their path, which is relative to the root and has slashes.
Files = dict[str, str]


class BuildError(Exception):
    """What must be put right first, one line each."""


@dataclass(frozen=True)
class Plan:
    """The generated trees as they should be and as they are."""

    wanted: Files
    found: Files

    @property
    def stale(self) -> list[str]:
        """Modules that are missing or differ."""
        return [path for path, text in self.wanted.items() if self.found.get(path) != text]

    @property
    def orphans(self) -> list[str]:
        """Modules that have no source."""
        return [path for path in self.found if path not in self.wanted]


def main(argv: Sequence[str] | None = None, *, root: Path = ROOT, tables: Tables | None = None) -> int:
    """Run the command line on a project, by default this one, and return the exit status."""
    parser = argparse.ArgumentParser(description="Build the blocking client.")
    parser.add_argument("--check", action="store_true", help="write nothing, fail when out of date")
    options = parser.parse_args(argv)
    tables = tables or Tables(RULES, PROSE, PAIRS)
    try:
        plan = make_plan(root, tables)
        if options.check:
            check(plan, root, tables.pairs)
        else:
            build(plan, root)
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def make_plan(root: Path, tables: Tables) -> Plan:
    """Convert what is written by hand, and read what was generated before."""
    sources = {
        pair.target_of(path): Source(path, text)
        for pair in tables.pairs
        for path, text in read_tree(root, pair.source).items()
    }
    refuse(f"{source.path}:{line}: {text}" for source in sources.values() for line, text in lint(source, tables))
    refuse(unused_rules(sources.values(), tables))
    found = {path: text for pair in tables.pairs for path, text in read_tree(root, pair.target).items()}
    return Plan(generate(sources, tables, root), found)


def check(plan: Plan, root: Path, pairs: Iterable[Pair]) -> None:
    """Refuse when a build would change anything, with a diff, or when a seam has two shapes."""
    refuse(
        [
            *(f"{path}: has no source any more" for path in plan.orphans),
            *(diff(path, plan.found.get(path), plan.wanted[path]) for path in plan.stale),
            *(problem for pair in pairs for problem in compare_seams(root, pair)),
        ]
    )
    print(f"{len(plan.wanted)} files up to date")


def build(plan: Plan, root: Path) -> None:
    """Write what is stale and delete the orphans, unless one of them was written by hand."""
    refuse(
        f"{path}: has no source, but was not generated either: move it elsewhere"
        for path in plan.orphans
        if not plan.found[path].startswith(GENERATED)
    )
    write_files(root, {path: plan.wanted[path] for path in plan.stale})
    for path in plan.orphans:
        (root / path).unlink()
    print(f"{len(plan.stale)} of {len(plan.wanted)} files written, {len(plan.orphans)} deleted")


def generate(sources: Mapping[str, Source], tables: Tables, root: Path) -> Files:
    """Convert modules that passed the lint, each of them under the path where it goes."""
    if not sources:
        return {}
    files = {path: prose.convert(source, tables.prose) for path, source in sources.items()}
    files = replace_tokens(files, tables.rules)
    files = {path: header(sources[path].path) + text for path, text in files.items()}
    return format_files(files, root)


def replace_tokens(files: Files, rules: Iterable[Rule]) -> Files:
    """Run unasync, with absolute paths: with relative ones it can write over what it reads."""
    unasync = required("unasync")
    replacements = {rule.source: rule.target for rule in rules}
    with tempfile.TemporaryDirectory() as folder:
        before, after = Path(folder, "before"), Path(folder, "after")
        write_files(before, files)
        unasync.unasync_files(
            [str(before / path) for path in files],
            [unasync.Rule(f"{before}/", f"{after}/", additional_replacements=replacements)],
        )
        return read_files(after, files)


def format_files(files: Files, root: Path) -> Files:
    """Run ruff with the project's settings, once for all files, as most of the time is its start.

    It runs at the root, so what is first-party does not depend on where this tool was called.
    """
    required("ruff")
    settings = root / "pyproject.toml"
    config = ["--config", str(settings)] if settings.exists() else ["--isolated"]
    with tempfile.TemporaryDirectory() as folder:
        write_files(Path(folder), files)
        paths = [str(Path(folder, path)) for path in files]
        for command in (["check", "--select", "I", "--fix"], ["format"]):
            ruff = [sys.executable, "-m", "ruff", *command, "--quiet", "--no-cache", *config]
            done = subprocess.run([*ruff, *paths], cwd=root, capture_output=True, text=True, check=False)
            if done.returncode:
                raise BuildError(f"ruff fails on the output:\n{done.stdout}{done.stderr}")
        return read_files(Path(folder), files)


def unused_rules(sources: Collection[Source], tables: Tables) -> Iterator[str]:
    """Say which rules apply nowhere. Where there are no sources at all, that says nothing."""
    if sources:
        names = set().union(*(used_names(source, tables) for source in sources))
        phrases = set().union(*(prose.used(source, tables.prose) for source in sources))
        yield from (f"never used: {rule}" for rule in tables.rules if rule.source not in names)
        yield from (f"never used: {rule}" for rule in tables.prose if rule.source not in phrases)


def compare_seams(root: Path, pair: Pair) -> list[str]:
    """Say how the hand-written twins of a pair differ, or that there is only one."""
    twins = [root / tree / SEAM for tree in (pair.source, pair.target)]
    match [twin for twin in twins if twin.exists()]:
        case []:
            return []
        case [alone]:
            return [f"{alone.relative_to(root).as_posix()}: has no twin"]
    differences = compare_twins(*(twin.read_text(encoding="utf-8") for twin in twins))
    return [f"{pair.source}/{SEAM}: {difference}" for difference in differences]


def header(source: str) -> str:
    """Return the comment that a generated module begins with."""
    return f"{GENERATED} {source} by `{COMMAND}`.\n# Do not edit: change that file and run the command again.\n\n"


def diff(path: str, old: str | None, new: str) -> str:
    """Return a unified diff of a generated module, which may not be there yet."""
    lines = difflib.unified_diff(
        [] if old is None else old.split("\n"),
        new.split("\n"),
        fromfile="/dev/null" if old is None else path,
        tofile=f"{path} (as it should be)",
        lineterm="",
    )
    return "\n".join(lines)


def refuse(problems: Iterable[str]) -> None:
    """Raise when there are any problems."""
    if lines := list(problems):
        raise BuildError("\n".join(lines))


def required(package: str) -> ModuleType:
    """Import a package, or say how to install it."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise BuildError(f"{package} is missing ({error}): {INSTALL}") from None


def read_tree(root: Path, tree: str) -> Files:
    """Read the modules below a folder, which need not exist, but for the seam."""
    found = (path.relative_to(root).as_posix() for path in (root / tree).rglob("*.py"))
    return read_files(root, sorted(path for path in found if path != f"{tree}/{SEAM}"))


def read_files(root: Path, paths: Iterable[str]) -> Files:
    return {path: (root / path).read_text(encoding="utf-8") for path in paths}


def write_files(root: Path, files: Files) -> None:
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    sys.exit(main())
