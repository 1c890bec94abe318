"""The generator of the blocking flavour: what it converts, refuses and leaves alone."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

import pytest
import unasync  # type: ignore[import-untyped] # ships no types
from tools._unasync import prose
from tools._unasync.lint import lint
from tools._unasync.rules import BUILT_IN, Pair, Prose, Rule, Tables
from tools._unasync.source import Source
from tools._unasync.twins import compare_twins
from tools.unasync_build import PAIRS, compare_seams, main

REPOSITORY = Path(__file__).parents[2]
GOLDEN = Path(__file__).with_name("golden")
SETTINGS = '[tool.ruff]\nline-length = 100\nlint.isort.known-first-party = ["pgwerk"]\n'

WERK = Rule("Werk", "SyncWerk", where="anywhere")


@dataclass
class Project:
    """A project of its own, with the trees in the usual places."""

    root: Path

    def write(self, path: str, text: str) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(dedent(text), encoding="utf-8")

    def read(self, path: str) -> str:
        return (self.root / path).read_text(encoding="utf-8")

    def files(self) -> dict[str, str]:
        paths = (path for path in self.root.rglob("*") if path.is_file())
        return {path.relative_to(self.root).as_posix(): path.read_text("utf-8") for path in paths}

    def run(self, *arguments: str, rules: tuple[Rule, ...] = (), words: tuple[Prose, ...] = ()) -> int:
        return main(arguments, root=self.root, tables=Tables(rules, words, PAIRS))


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = Project(tmp_path / "project")
    project.write("pyproject.toml", SETTINGS)
    return project


# --- what it converts ---------------------------------------------------------------------------

GOLDEN_RULES = (
    WERK,
    Rule("AsyncConnection", "Connection", where="anywhere"),
    Rule("AsyncConnectionPool", "ConnectionPool"),
    Rule("AsyncExitStack", "ExitStack"),
    Rule("_async", "_sync"),
    Rule("aclose", "close", where="anywhere"),
    Rule("enter_async_context", "enter_context", where="anywhere"),
)
GOLDEN_PROSE = (
    Prose("Werk", "SyncWerk"),
    Prose("An asyncio", "A blocking"),
    Prose("The asyncio", "The blocking"),
    Prose("async with", "with"),
    Prose("await app.", "app."),
)


def test_golden(project: Project) -> None:
    """Every construct comes out as in the golden file, on every Python that runs this test."""
    project.write("src/pgwerk/_async/client.py", (GOLDEN / "client_async.py.txt").read_text("utf-8"))

    assert project.run(rules=GOLDEN_RULES, words=GOLDEN_PROSE) == 0

    expected = (GOLDEN / "client_sync.py.txt").read_text("utf-8")
    assert expected == project.read("src/pgwerk/_sync/client.py")


def test_both_trees_are_built_recursively(project: Project) -> None:
    """Modules of both pairs are built at any depth, empty ones included."""
    project.write("src/pgwerk/_async/__init__.py", "")
    project.write("src/pgwerk/_async/deep/er/jobs.py", "async def f(): pass\n")
    project.write("tests/_async/test_jobs.py", "async def test_f(): pass\n")

    assert project.run() == 0

    assert "def f():\n    pass\n" in project.read("src/pgwerk/_sync/deep/er/jobs.py")
    assert "\ndef test_f():\n    pass\n" in project.read("tests/_sync/test_jobs.py")
    assert (project.root / "src/pgwerk/_sync/__init__.py").exists()


def test_header(project: Project) -> None:
    """A generated module begins with where it comes from and how to build it again."""
    project.write("tests/_async/conftest.py", "import os\n")

    project.run()

    assert project.read("tests/_sync/conftest.py") == (
        "# Generated from tests/_async/conftest.py by `python tools/unasync_build.py`.\n"
        "# Do not edit: change that file and run the command again.\n"
        "\n"
        "import os\n"
    )


def test_output_does_not_depend_on_the_working_directory(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Settings come from the project that is built, not from where the command was called."""
    project.write("src/helpers.py", "")  # first-party, as it lies there
    project.write("src/pgwerk/_async/jobs.py", "import helpers\nimport pgwerk\nimport psycopg\n")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "pyproject.toml").write_text('[tool.ruff]\nlint.isort.known-third-party = ["pgwerk"]\n')
    monkeypatch.chdir(elsewhere)

    assert project.run() == 0

    generated = project.read("src/pgwerk/_sync/jobs.py")
    assert generated.endswith("\nimport psycopg\n\nimport helpers\nimport pgwerk\n")


def test_prose_changes_docstrings_and_comments_only() -> None:
    """Words are replaced in docstrings and comments, whole ones only, and nowhere else."""
    text = dedent('''\
        """A Werk.

        Werkzeug, EinWerk, über Werk
        """
        x = "Werk"  # äöü Werk
        y = f"""Werk"""


        class Werk:
            r"""Werk's own."""
            z: str = """Werk"""
            "Werk, documented below"


        def f(Werk="Werk"): "äöü"; "Werk"; return "Werk"
        ''')
    converted = prose.convert(Source("m.py", text), [Prose("Werk", "SyncWerk")])

    assert converted == dedent('''\
        """A SyncWerk.

        Werkzeug, EinWerk, über SyncWerk
        """
        x = "Werk"  # äöü SyncWerk
        y = f"""Werk"""


        class Werk:
            r"""SyncWerk's own."""
            z: str = """Werk"""
            "SyncWerk, documented below"


        def f(Werk="Werk"): "äöü"; "SyncWerk"; return "Werk"
        ''')


def test_longest_phrase_wins() -> None:
    """Of two phrases that begin alike the longer one applies, and no phrase sees another's text."""
    table = [Prose("await", "call"), Prose("await app.", "app."), Prose("call", "shout")]

    source = Source("m.py", "# await app.f(), await g(), call h(), await app.\n")

    assert prose.convert(source, table) == "# app.f(), call g(), shout h(), app.\n"


def test_no_phrases() -> None:
    """Without any phrase the prose stays as it is."""
    assert prose.convert(Source("m.py", "# Werk\n"), []) == "# Werk\n"


def test_seam_is_left_alone(project: Project) -> None:
    """`_compat.py` at the top of a tree is neither linted nor built, and never an orphan."""
    project.write("src/pgwerk/_async/_compat.py", "import asyncio\n")
    project.write("src/pgwerk/_sync/_compat.py", "import threading\n")
    before = project.files()

    assert project.run() == 0
    assert project.run("--check") == 0

    assert before == project.files()


# --- what it refuses ----------------------------------------------------------------------------

LINTED = Tables(
    rules=(WERK, Rule("Pipe", "SyncPipe"), Rule("AsyncConnection", "Connection")),
    prose=(Prose("Werk", "SyncWerk"), Prose("an asyncio", "a blocking")),
)

REFUSED = {
    "syntax error": ("x = = 1", "syntax error"),
    "await without a space": ("async def f(): await(g())", "put a space"),
    "await of a value": ("async def f(task): return await task", "await the call itself"),
    "attribute of a result": ("async def f(): return (await g()).x", "bind the result"),
    "item of a result": ("async def f(): return (await g())[0]", "bind the result"),
    "call of a result": ("async def f(): return (await g())()", "bind the result"),
    "await in an f-string": ("async def f(): return f'{await g()}'", "`await` in an f-string"),
    "async for in an f-string": (
        "async def f(): return f'{[x async for x in y()]}'",
        "`async` in an f-string",
    ),
    "keyword between fields": ("x = f'{a}async{b}'", "`async` in an f-string"),
    "renamed name in an f-string": ("x = f'{Werk}'", "`Werk` in an f-string"),
    "renamed attribute in an f-string": ("x = f'{a.Werk:>8}'", "`Werk` in an f-string"),
    "renamed string in an f-string": ("x = f'{a[\"Werk\"]}'", "`Werk` in an f-string"),
    "renamed name in a format": ("x = f'{a:{Werk}}'", "`Werk` in an f-string"),
    "built-in rule in an f-string": ("x = f'{AsyncIterator}'", "`AsyncIterator` in an f-string"),
    "AsyncX in an f-string": ("x = f'{AsyncThing}'", "`AsyncThing` in an f-string"),
    "asyncio in an f-string": ("x = f'{asyncio.run}'", "`asyncio` in an f-string"),
    "AsyncX without a rule": ("from unittest.mock import AsyncMock", "becomes SyncMock"),
    "AsyncX as an attribute": ("x = mock.AsyncMock()", "becomes SyncMock"),
    "other names with async": (
        "from contextlib import AbstractAsyncContextManager",
        "needs a rule or another name",
    ),
    "pytest_asyncio": ("import pytest_asyncio", "needs a rule or another name"),
    "import asyncio": ("import asyncio", "belongs in _compat.py"),
    "import from asyncio": ("from asyncio import Lock", "belongs in _compat.py"),
    "import below asyncio": ("import asyncio.locks as locks", "belongs in _compat.py"),
    "asyncio's marker": ("@pytest.mark.asyncio\nasync def test_f(): pass", "belongs in _compat.py"),
    "task group": ("from .somewhere import TaskGroup", "belongs in _compat.py"),
    "gather": ("async def f(): await gather()", "belongs in _compat.py"),
    "create_task": ("x = loop.create_task(y)", "belongs in _compat.py"),
    "awaitable": ("from collections.abc import Awaitable", "belongs in _compat.py"),
    "__await__": ("class A:\n def __await__(self): pass", "belongs in _compat.py"),
    "aiter": ("x = aiter(y)", 'Rule("aiter", "iter", ...)'),
    "anext": ("async def f(): return await anext(y)", 'Rule("anext", "next", ...)'),
    "aclose": ("async def f(): await y.aclose()", 'Rule("aclose", "close", ...)'),
    "rule hits an attribute": ("x = y.Pipe", "would hit an attribute"),
    "rule hits a keyword argument": ("x = f(Pipe=1)", "would hit an attribute"),
    "rule hits a parameter": ("def f(Pipe): pass", "would hit an attribute"),
    "rule hits a pattern": ("match x:\n case A(Pipe=1): pass", "would hit an attribute"),
    "quoted parameter": ("def f(x: 'int'): pass", "quoted annotation"),
    "quoted keyword parameter": ("def f(*, x: 'int'): pass", "quoted annotation"),
    "quoted variadic parameter": ("def f(*x: 'int'): pass", "quoted annotation"),
    "quoted result": ("async def f() -> 'int': pass", "quoted annotation"),
    "quoted variable": ("x: 'int'", "quoted annotation"),
    "quoted in part": ("x: list['int'] | None", "quoted annotation"),
    "quoted in Annotated": ("x: Annotated['int', 1]", "quoted annotation"),
    "string that unasync would replace": ("x = getattr(y, '__aiter__')", "say in a rule by what"),
    "AsyncX as a string": ("x = 'AsyncThing'", "say in a rule by what"),
    "renamed string with a prefix": ("x = r'Werk'", "only in plain quotes"),
    "renamed string in long quotes": ("x = '''Werk'''", "only in plain quotes"),
    "renamed string in pieces": ("x = 'We' 'rk'", "only in plain quotes"),
    "dotted path": ("x = 'pgwerk.Werk'", "build it from the object"),
    "quoted type": ("x = cast('list[Werk]', y)", "build it from the object"),
    "await in a docstring": ("'''Use await.'''", "docs would say `await`"),
    "async in a comment": ("x = 1  # async", "docs would say `async`"),
    "AsyncX in a comment": ("# AsyncConnection", "docs would say `AsyncConnection`"),
    "phrase across lines": ("'''This is an\nasyncio thing.'''", "docs would say `asyncio`"),
}


@pytest.mark.parametrize(("text", "message"), REFUSED.values(), ids=REFUSED)
def test_refused(text: str, message: str) -> None:
    """What cannot be converted right is refused, with its line and what to write instead."""
    [problem] = lint(Source("m.py", "\n\n" + text), LINTED)

    assert message in problem.text
    assert 3 <= problem.line <= 3 + text.count("\n")


ACCEPTED = {
    "await as an operand": "async def f(): return await g() + await h() ** 2",
    "await in parentheses": "async def f(): return (await g())",
    "nested awaits": "async def f(): return await g(await h(), x=[await i()])",
    "connect and enter": "async def f():\n async with await g() as x, h(): pass",
    "literals": "x: Literal['a'] | typing.Literal['b'] | None",
    "metadata": "x: Annotated[int, 'metres']",
    "plain f-string": "x = f'{a.b!r:>{c}} {{Werk}} await async {d}'",
    "renamed string": "__all__ = ['Werk']",
    "sentence with a renamed name": "x = 'Werk is closed'",
    "the word asyncio in a string": "x = 'asyncio'",
    "attribute where the rule says anywhere": "x = pgwerk.Werk",
    "plain name where the rule says names": "from psycopg import AsyncConnection, Pipe",
    "built-in rules": "from collections.abc import AsyncIterator",
    "docstring like a path": "x: int\n'pgwerk.Werk'",
    "prose with a rule": "'''This is an asyncio Werk.'''",
    "wait_for and the like": "async def f(): await app.wait_for(sync=True)",
}


@pytest.mark.parametrize("text", ACCEPTED.values(), ids=ACCEPTED)
def test_accepted(text: str) -> None:
    """What is converted right is not refused."""
    assert lint(Source("m.py", text), LINTED) == []


@pytest.mark.parametrize(
    "text",
    [
        "x = (\n  a\n    .asyncio\n    .b\n)",
        "def f(\n  a,\n  Pipe=1,\n): pass",
        "'''A docstring\n\nthat says await\nsomewhere.'''",
    ],
)
def test_line_of_a_problem(text: str) -> None:
    """A problem is reported where it is, not where its statement begins."""
    assert [problem.line for problem in lint(Source("m.py", text), LINTED)] == [3]


def test_a_rule_lifts_a_refusal() -> None:
    """A name that is refused for want of a rule passes once there is one."""
    tables = Tables((Rule("anext", "next"), Rule("is_async", "is_async")))

    assert lint(Source("m.py", "async def f(): return await anext(is_async)"), tables) == []


def test_the_lists_of_built_in_replacements_agree() -> None:
    """The lint knows every name that the installed unasync replaces by itself."""
    assert unasync.Rule("/a/", "/b/").token_replacements == BUILT_IN


def test_refusals_name_file_and_line(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """All refusals of all files are printed at once, as `file:line: text`."""
    project.write("src/pgwerk/_async/a.py", "# await\nimport asyncio, asyncio\nimport anyio\n")
    project.write("tests/_async/deep/b.py", "import asyncio\n")

    assert project.run() == 1

    places = [line.partition(": ")[0] for line in capsys.readouterr().err.splitlines()]
    assert places == [
        "src/pgwerk/_async/a.py:1",
        "src/pgwerk/_async/a.py:2",
        "src/pgwerk/_async/a.py:3",
        "tests/_async/deep/b.py:1",
    ]


@pytest.mark.parametrize("arguments", [(), ("--check",)])
def test_unused_rules(project: Project, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]) -> None:
    """A rule that applies nowhere is an error; to be used in one of the pairs is enough."""
    project.write("src/pgwerk/_async/a.py", "class Werk: pass\n")
    project.write("tests/_async/b.py", "x = 'Pipe'  # an asyncio test\n")
    rules = (WERK, Rule("Pipe", "SyncPipe"), Rule("Wrk", "SyncWrk"))
    words = (Prose("an asyncio", "a blocking"), Prose("Werk", "SyncWerk"))

    assert project.run(*arguments, rules=rules, words=words) == 1

    assert capsys.readouterr().err.splitlines() == [
        f"never used: {Rule('Wrk', 'SyncWrk')}",
        f"never used: {Prose('Werk', 'SyncWerk')}",
    ]


# --- what it does to the trees ------------------------------------------------------------------


def test_no_trees_yet(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """Trees that do not exist are empty, and say nothing about the rules."""
    assert project.run("--check", rules=(WERK,)) == 0
    assert capsys.readouterr().out == "0 files up to date\n"


def test_second_build_changes_nothing(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """A build right after a build writes no file, and the check agrees."""
    project.write("src/pgwerk/_async/a.py", "async def f(): await g()\n")
    project.run()
    before = project.files()
    capsys.readouterr()

    assert project.run() == 0
    assert project.run("--check") == 0

    assert before == project.files()
    assert capsys.readouterr().out == (
        "0 of 1 files written, 0 deleted\n"  # by the build
        "1 files up to date\n"
    )


def test_check_shows_what_is_stale(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """The check fails with a unified diff of a module that is stale, and writes nothing."""
    project.write("src/pgwerk/_async/a.py", "async def f(): return 1\n")
    project.run()
    project.write("src/pgwerk/_async/a.py", "async def f(): return 2\n")
    before = project.files()

    assert project.run("--check") == 1

    assert before == project.files()
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "--- src/pgwerk/_sync/a.py"
    assert "-    return 1" in lines
    assert "+    return 2" in lines


def test_check_shows_what_is_missing(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """The check fails with the whole of a module that was never generated."""
    project.write("src/pgwerk/_async/a.py", "async def f(): return 1\n")

    assert project.run("--check") == 1

    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "--- /dev/null"
    assert "+    return 1" in lines


def test_check_sees_a_missing_line_end(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """A module that differs in nothing but its last line end is stale as well, and shown."""
    project.write("src/pgwerk/_async/a.py", "import os\n")
    project.run()
    path = "src/pgwerk/_sync/a.py"
    project.write(path, project.read(path).rstrip("\n"))

    assert project.run("--check") == 1
    assert "\n@@ " in capsys.readouterr().err


def test_orphan(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """A generated module without a source fails the check and is deleted by a build."""
    project.write("src/pgwerk/_async/a.py", "import os\n")
    project.run()
    (project.root / "src/pgwerk/_async/a.py").unlink()

    assert project.run("--check") == 1
    assert capsys.readouterr().err == "src/pgwerk/_sync/a.py: has no source any more\n"

    assert project.run() == 0
    assert not (project.root / "src/pgwerk/_sync/a.py").exists()


def test_ruff_fails(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """When ruff cannot do its part, its words are shown and nothing is written."""
    project.write("src/pgwerk/_async/a.py", "import os\n")
    project.write("pyproject.toml", "[tool.ruff]\nno-such-setting = 1\n")
    before = project.files()

    assert project.run() == 1

    assert "no-such-setting" in capsys.readouterr().err
    assert before == project.files()


@pytest.mark.parametrize("broken", ["lint", "rule", "orphan"])
def test_failed_build_writes_nothing(project: Project, broken: str) -> None:
    """Whatever makes a build fail, the trees are as they were."""
    project.write("src/pgwerk/_async/a.py", "async def f(): return 1\n")
    project.write("src/pgwerk/_async/gone.py", "")
    project.run()
    project.write("src/pgwerk/_async/a.py", "async def f(): return 2\n")
    (project.root / "src/pgwerk/_async/gone.py").unlink()
    if broken == "lint":
        project.write("tests/_async/z.py", "import asyncio\n")
    if broken == "orphan":
        project.write("tests/_sync/by_hand.py", "import os\n")
    before = project.files()

    assert project.run(rules=(WERK,) if broken == "rule" else ()) == 1

    assert before == project.files()


def test_orphan_written_by_hand(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """A module without a source and without the header is never deleted."""
    project.write("src/pgwerk/_sync/by_hand.py", "import os\n")

    assert project.run() == 1

    assert capsys.readouterr().err == (
        "src/pgwerk/_sync/by_hand.py: has no source, but was not generated either: move it elsewhere\n"
    )
    assert project.read("src/pgwerk/_sync/by_hand.py") == "import os\n"


@pytest.mark.parametrize("package", ["ruff", "unasync"])
def test_missing_package(
    project: Project,
    package: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A package that is not installed gives one line that says how to install it."""
    project.write("src/pgwerk/_async/a.py", "import os\n")
    monkeypatch.setitem(sys.modules, package, None)

    assert project.run() == 1

    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{package} is missing")
    assert line.endswith('python -m pip install -e ".[dev]"')


# --- the twins ----------------------------------------------------------------------------------


def test_equal_twins() -> None:
    """Annotations, coroutines, private names and where a name comes from make no difference."""
    ours = dedent("""\
        import asyncio
        from asyncio import Lock as Lock

        __all__ = ["Event", "Lock", "monotonic", "notifies", "sleep"]

        unlisted = 1

        class Event(asyncio.Event):
            async def wait(self, timeout: float | None = None) -> bool: ...
            async def __aenter__(self): ...
            def _helper(self): ...

        async def sleep(seconds: float, /, *, jitter: float = 0.1) -> None: ...
        async def notifies(conn: AsyncConnection, *args: int, **options: int): yield
        def monotonic(): ...
        def _private(): ...
        """)
    theirs = dedent("""\
        import threading
        from time import monotonic

        __all__ = ["Event", "Lock", "monotonic", "notifies", "sleep"]

        Lock = threading.Lock

        class Event:
            def wait(self, timeout=None): ...
            def __enter__(self): ...

        def sleep(seconds, /, *, jitter=0.1): ...
        def notifies(conn, *args, **options): yield
        """)

    assert compare_twins(ours, theirs) == []


DIFFERENT_TWINS = {
    "missing function": ("def f(): ...", "", "f: missing in the blocking twin"),
    "surplus function": ("", "def f(): ...", "f: missing in the asyncio twin"),
    "name of a parameter": (
        "async def f(a): ...",
        "def f(b): ...",
        "f: (a) in the asyncio twin, (b) in the blocking twin",
    ),
    "kind of a parameter": (
        "async def f(a, b): ...",
        "def f(a, *, b): ...",
        "f: (a, b) in the asyncio twin, (a, *, b) in the blocking twin",
    ),
    "default": (
        "async def f(a=1): ...",
        "def f(a=2): ...",
        "f: (a=1) in the asyncio twin, (a=2) in the blocking twin",
    ),
    "method": (
        "class C:\n async def f(self, a: int): ...",
        "class C:\n def f(self): ...",
        "C.f: (self, a) in the asyncio twin, (self) in the blocking twin",
    ),
    "property": (
        "class C:\n @property\n def f(self): ...",
        "class C:\n def f(self): ...",
        "C.f: @property (self) in the asyncio twin, (self) in the blocking twin",
    ),
    "missing method": (
        "class C:\n def f(self): ...",
        "class C: ...",
        "C.f: missing in the blocking twin",
    ),
    "missing class": ("class C:\n def f(self): ...", "", "C: missing in the blocking twin"),
    "class or function": (
        "class C:\n def f(self): ...",
        "def C(): ...",
        "C: a class in the asyncio twin, () in the blocking twin",
    ),
    "missing constant": ("X = 1", "", "X: missing in the blocking twin"),
    "missing annotated constant": ("X: int = 1", "", "X: missing in the blocking twin"),
    "below try": (
        "try:\n pass\nexcept ImportError:\n def f(): ...",
        "",
        "f: missing in the blocking twin",
    ),
    "missing re-export": (
        "from a import b as b",
        "from a import b",
        "b: missing in the blocking twin",
    ),
    "conditional": ("if x:\n def f(): ...", "", "f: missing in the blocking twin"),
}


@pytest.mark.parametrize(("ours", "theirs", "difference"), DIFFERENT_TWINS.values(), ids=DIFFERENT_TWINS)
def test_different_twins(ours: str, theirs: str, difference: str) -> None:
    """A public name or signature that only one twin has is named."""
    assert compare_twins(ours, theirs) == [difference]


def test_check_compares_twins(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """The check fails when the twins differ or one is missing; a build does not mind."""
    project.write("src/pgwerk/_async/_compat.py", "async def f(a): ...\n")
    project.write("src/pgwerk/_sync/_compat.py", "def f(): ...\n")
    project.write("tests/_async/_compat.py", "")

    assert project.run() == 0
    assert project.run("--check") == 1

    assert capsys.readouterr().err.splitlines() == [
        "src/pgwerk/_async/_compat.py: f: (a) in the asyncio twin, () in the blocking twin",
        "tests/_async/_compat.py: has no twin",
    ]


# --- this project -------------------------------------------------------------------------------


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.source)
def test_real_twins_agree(pair: Pair) -> None:
    """Both flavours find the same names, with the same signatures, behind their seam."""
    assert compare_seams(REPOSITORY, pair) == []


def test_real_trees_are_up_to_date(tmp_path: Path) -> None:
    """What is committed is what a build would write, wherever the command is called."""
    command = [sys.executable, str(REPOSITORY / "tools" / "unasync_build.py"), "--check"]
    check = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert check.returncode == 0, check.stdout + check.stderr
