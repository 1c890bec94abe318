"""`allowed_functions`: what a row may call, and what it may not, by whatever way it tries."""

from __future__ import annotations

import fnmatch
import os
import pickle
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from tests.core import allowed_tasks, sample_handlers

import pgwerk
from pgwerk._core.allowed import AllowedFunctions, make_allowed, resolve_allowed
from pgwerk._core.errors import FunctionNotAllowed, HandlerNotFound
from pgwerk._core.paths import path_of, resolve

HERE = "tests.core.allowed_tasks"


def allowed(*patterns: str) -> AllowedFunctions:
    made = make_allowed(list(patterns))
    assert made is not None
    return made


@pytest.mark.parametrize(
    "path",
    [
        "send",
        "send_later",
        "_private",
        "alias",
        "decorated",
        "task",
        "cached",
        "hidden",
        "Mailer",
        "Mailer.static",
        "Mailer.make",
        "Mailer.Nested.static",
        "mailer.method",
        "Inherits",
    ],
)
def test_what_is_defined_in_a_module_is_allowed(path: str) -> None:
    """A wildcard allows all functions, classes and methods that are defined where it says."""
    for pattern in (f"{HERE}.*", "tests.*", "*", "tests.core.allowed_tas?s.*", "*_tasks.*"):
        assert resolve(f"{HERE}.{path}") == resolve_allowed(f"{HERE}.{path}", allowed("unrelated.*", pattern))


ATTACKS = {
    "os.system": "posix.system",
    "system": "posix.system",
    "operating_system.system": "posix.system",
    "sys.exit": "sys.exit",
    "sys.modules.clear": "builtin_function_or_method",
    "os.environ.clear": "MutableMapping.clear",
    "os.path.join": "posixpath.join",
    "sample_handlers.plain": "sample_handlers.plain",
    "plain": "sample_handlers.plain",
    "Base": "sample_handlers.Base",
    "Base.make": "sample_handlers.Base.make",
    "Inherits.make": "sample_handlers.Base.make",
    "Inherits.static": "sample_handlers.Base.static",
    "library.method": "sample_handlers.Base.method",
    "foreign": "sample_handlers.factory.<locals>.inner",
    "Mailer.mro": "builtin_function_or_method",
    "Pair._make": "collections",
    "partial": "partial",
    "shell": "partial",
    "shell.func": "posix.system",
    "mailer": "Mailer",
    "functools.partial": "functools.partial",
}
"""What can be reached from the module without being defined in it, and what the error says that it is."""


@pytest.mark.skipif(os.name == "nt", reason="os.system has another home there")
@pytest.mark.parametrize(("path", "home"), ATTACKS.items())
def test_what_a_module_only_leads_to_is_refused(path: str, home: str) -> None:
    """What a module has imported, inherited or wrapped is not allowed by a wildcard, though the path matches."""
    resolve(f"{HERE}.{path}")  # it can be reached
    with pytest.raises(FunctionNotAllowed, match="it leads to") as caught:
        resolve_allowed(f"{HERE}.{path}", allowed(f"{HERE}.*"))
    assert f"{HERE}.{path}" == caught.value.function
    assert home in caught.value.reason


DUNDERS = [
    "__builtins__.eval",
    "__builtins__.get",
    "__loader__.get_data",
    "__loader__.exec_module",
    "__spec__.loader.load_module",
    "send.__call__",
    "send.__globals__.clear",
    "send.__globals__.get",
    "decorated.__wrapped__",
    "cached.__wrapped__",
    "Mailer.__init__",
    "Mailer.__class__",
    "Mailer.__subclasses__",
    "Mailer.method.__get__",
    "Mailer.method.__globals__.pop",
    "mailer.__class__",
    "mailer.__reduce_ex__",
    "mailer.method.__func__",
    "mailer.method.__self__.method",
    "__dict__.clear",
    "__getattribute__",
]


@pytest.mark.parametrize("path", DUNDERS)
def test_names_with_two_underscores_lead_nowhere(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No wildcard matches a name with two underscores, so it is not even looked up."""
    monkeypatch.setattr("pgwerk._core.allowed.resolve", lambda path: pytest.fail(f"looked up {path}"))
    for pattern in (f"{HERE}.*", "*", f"{HERE}?*"):
        with pytest.raises(FunctionNotAllowed) as caught:
            resolve_allowed(f"{HERE}.{path}", allowed(pattern))
        assert not caught.value.reason


@pytest.mark.parametrize("path", ["hidden", "foreign", "partial", "mailer", "library.method", "system", "plain"])
def test_a_path_without_wildcards_allows_what_it_leads_to(path: str) -> None:
    """A path that is given in full is allowed, wherever it leads, and nothing beside it."""
    assert resolve(f"{HERE}.{path}") == resolve_allowed(f"{HERE}.{path}", allowed(f"{HERE}.{path}"))
    with pytest.raises(FunctionNotAllowed):
        resolve_allowed(f"{HERE}.{path}", allowed(f"{HERE}.{path}x", f"x{HERE}.{path}"))


def test_a_home_that_another_pattern_allows() -> None:
    """What is imported from a place that is allowed, too, may go by either name."""
    for pattern in ("tests.core.sample_handlers.*", "tests.core.sample_handlers.plain"):
        assert sample_handlers.plain is resolve_allowed(f"{HERE}.plain", allowed(f"{HERE}.*", pattern))


def test_an_alias_does_not_widen_a_pattern() -> None:
    """A function that has a second name in its module is allowed by a wildcard under both names or not at all."""
    with pytest.raises(FunctionNotAllowed, match=rf"it leads to '{HERE}\.send'"):
        resolve_allowed(f"{HERE}.alias", allowed(f"{HERE}.a*"))
    assert allowed_tasks.send is resolve_allowed(f"{HERE}.alias", allowed(f"{HERE}.a*", f"{HERE}.sen?"))


def test_what_answers_for_another_is_refused() -> None:
    """An object that raises when it is asked for its name is refused like one that has none."""
    with pytest.raises(FunctionNotAllowed, match="an object of type Forward"):
        allowed("*").check_definition(f"{HERE}.forward", allowed_tasks.forward)


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("myapp.tasks.*", "myapp.tasks.send", True),
        ("myapp.tasks.*", "myapp.tasks.mail.send", True),
        ("myapp.tasks.*", "myapp.tasksx.send", False),
        ("myapp.tasks.*", "myapp.tasks", False),
        ("myapp.tasks.*", "xmyapp.tasks.send", False),
        ("myapp.tasks.*", "myapp.Tasks.send", False),
        ("myapp.tasks.*", "MYAPP.TASKS.SEND", False),
        ("myapp.tasks.*", "myappxtasks.send", False),
        ("myapp.*.send", "myapp.a.b.send", True),
        ("myapp.*.send", "myapp.send", False),
        ("*.tasks.*", "myapp.tasks.send", True),
        ("*.tasks.*", "tasks.send", False),
        ("myapp.task?.send", "myapp.tasks.send", True),
        ("myapp.task?.send", "myapp.task.send", False),
        ("myapp.tasks.?*", "myapp.tasks.__loader__", False),
        ("myapp.tasks?__loader__", "myapp.tasks.__loader__", True),
        ("myapp.__main__.*", "myapp.__main__.send", True),
        ("myapp.*", "myapp.__main__.send", False),
        ("myapp.*", "myapp._private.x__y__", True),
        ("myapp.**", "myapp.x", True),
        ("myapp.tasks.send", "myapp.tasks.send", True),
        ("myapp.tasks.send", "myapp.tasks.send\n", False),
        ("myapp.tasks.*", "myapp.tasks.send\n", True),
        ("módulo.*", "módulo.función", True),
        ("*", f"a.{'b' * 2000}", False),
    ],
)
def test_patterns(pattern: str, path: str, matches: bool) -> None:
    """`*` stands for any number of characters, dots included, `?` for one; case matters."""
    if matches:
        allowed(pattern).check_path(path)
    else:
        with pytest.raises(FunctionNotAllowed):
            allowed(pattern).check_path(path)


LETTERS = st.text("ab._", min_size=1, max_size=12)


@settings(deadline=None, max_examples=500)
@given(st.text("ab.*?", min_size=1, max_size=8), LETTERS.filter(lambda path: "__" not in path))
def test_patterns_are_those_of_the_file_system(pattern: str, path: str) -> None:
    """Where no underscores are involved, patterns match as file names would."""
    try:
        made = allowed(pattern)
    except ValueError:
        reject()
    assert fnmatch.fnmatchcase(path, pattern) == made._matches(path)


def test_no_path_takes_long() -> None:
    """A path that is made to be slow to match is not."""
    patterns = allowed("*.a.*.a.*.a.*.a.*.z", "?*?*?*?*?*?*z")
    start = time.perf_counter()
    with pytest.raises(FunctionNotAllowed):
        patterns.check_path(".a" * 500)
    assert time.perf_counter() - start < 1


@pytest.mark.parametrize(
    ("patterns", "error", "said"),
    [
        ("myapp.*", TypeError, "allowed_functions must be a list of str, not str"),
        (b"myapp.*", TypeError, r"allowed_functions\[0\] must be a str, not int"),
        (5, TypeError, "allowed_functions must be a list of str, not int"),
        ([5], TypeError, r"allowed_functions\[0\] must be a str, not int"),
        ([], ValueError, "allowed_functions must not be empty"),
        (["a.b", ""], ValueError, r"allowed_functions\[1\] must not be empty"),
        (["a.\0"], ValueError, r"allowed_functions\[0\] must not contain a NUL"),
        (["a.b" * 1000], ValueError, r"allowed_functions\[0\] must be at most 1024 bytes"),
        (["myapp:send"], ValueError, "'myapp:send' is no pattern of dotted paths, such as"),
        (["myapp.tasks."], ValueError, "is no pattern of dotted paths"),
        ([".tasks"], ValueError, "is no pattern of dotted paths"),
        (["myapp..tasks"], ValueError, "is no pattern of dotted paths"),
        (["myapp.tasks.[ab]*"], ValueError, "is no pattern of dotted paths"),
        (["my app.*"], ValueError, "is no pattern of dotted paths"),
        (["send"], ValueError, "is no pattern of dotted paths"),
    ],
)
def test_bad_patterns_are_refused(patterns: Any, error: type[Exception], said: str) -> None:
    """What allows nothing, or not what was meant, is refused by name."""
    with pytest.raises(error, match=said):
        make_allowed(patterns)


def test_none_allows_everything() -> None:
    """Without patterns there is no limit."""
    assert make_allowed(None) is None
    assert os.getcwd is resolve_allowed("os.getcwd", None)


def test_patterns_are_kept_once_and_in_order() -> None:
    """The patterns can be told, and handed to other processes."""
    made = allowed("b.*", "a.*", "b.*")
    assert ("b.*", "a.*") == made.patterns
    assert made == pickle.loads(pickle.dumps(made))  # noqa: S301 - just made


def test_the_error_names_path_and_patterns() -> None:
    """The error says what was refused, what is allowed, and where the path leads; it is a `HandlerNotFound`."""
    with pytest.raises(HandlerNotFound) as caught:
        resolve_allowed("os.getcwd", allowed("myapp.tasks.*", "lib.run"))
    assert "'os.getcwd' is not allowed (allowed_functions: 'myapp.tasks.*', 'lib.run')" == str(caught.value)
    with pytest.raises(FunctionNotAllowed) as caught_too:
        resolve_allowed(f"{HERE}.plain", allowed(f"{HERE}.*"))
    expected = f"'{HERE}.plain' is not allowed: it leads to 'tests.core.sample_handlers.plain' (allowed_functions: "
    assert str(caught_too.value).startswith(expected)


def test_what_is_not_allowed_is_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that no pattern matches is not imported, nor the package that it is in."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "pgwerk_evil").mkdir()
    for name in ("__init__", "tasks"):
        (tmp_path / "pgwerk_evil" / f"{name}.py").write_text(f"raise SystemError('{name} was imported')")
    with pytest.raises(FunctionNotAllowed):
        resolve_allowed("pgwerk_evil.tasks.send", allowed("pgwerk_good.*"))
    assert not [name for name in sys.modules if name.startswith("pgwerk_evil")]
    with pytest.raises(HandlerNotFound, match="was imported"):
        resolve_allowed("pgwerk_evil.tasks.send", allowed("pgwerk_evil.*"))


def test_what_is_allowed_and_missing_is_not_found() -> None:
    """A path that is allowed and leads nowhere is not found, as without patterns."""
    with pytest.raises(HandlerNotFound, match="is not to be found") as caught:
        resolve_allowed(f"{HERE}.missing", allowed(f"{HERE}.*"))
    assert HandlerNotFound is type(caught.value)


SCRIPT = """
from pgwerk._core.allowed import make_allowed, resolve_allowed
from pgwerk._core.paths import path_of

def send(): ...

if __name__ == "__main__":
    allowed = make_allowed(["tutorial.*"])
    print(resolve_allowed(path_of(send), allowed) is send)
    try:
        resolve_allowed("tutorial.path_of", allowed)
    except ImportError as error:
        print(error.reason)
"""


def test_what_a_script_defines_goes_by_its_importable_name(tmp_path: Path) -> None:
    """A function of the script that is run is defined where others can import it from."""
    (tmp_path / "tutorial.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "-W", "error", "tutorial.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env=os.environ | {"PYTHONPATH": str(Path(pgwerk.__file__).parent.parent), "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert ["True", "it leads to 'pgwerk._core.paths.path_of'"] == done.stdout.splitlines()


@pytest.mark.parametrize("name", ["send", "Mailer", "decorated", "task", "cached"])
def test_paths_that_pgwerk_makes_are_allowed(name: str) -> None:
    """What can be enqueued as a function is allowed by the pattern of the module that defines it."""
    function = getattr(allowed_tasks, name)
    assert function == resolve_allowed(path_of(function), allowed(f"{HERE}.*"))
