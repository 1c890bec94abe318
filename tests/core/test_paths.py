from __future__ import annotations

import functools
import json
import os.path
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.core import sample_handlers
from tests.core.sample_handlers import Base, Derived

from pgwerk._core.errors import HandlerNotFound, WerkError
from pgwerk._core.paths import path_of, resolve

HERE = "tests.core.sample_handlers"


@pytest.mark.parametrize(
    ("func", "path"),
    [
        (sample_handlers.plain, f"{HERE}.plain"),
        (sample_handlers.coroutine, f"{HERE}.coroutine"),
        (sample_handlers.decorated, f"{HERE}.decorated"),
        (sample_handlers.task, f"{HERE}.task"),
        (Base, f"{HERE}.Base"),
        (Base.static, f"{HERE}.Base.static"),
        (Base.make, f"{HERE}.Base.make"),
        (Derived.make, f"{HERE}.Derived.make"),
        (Base.Nested.static, f"{HERE}.Base.Nested.static"),
        (json.dumps, "json.dumps"),
        (len, "builtins.len"),
    ],
)
def test_a_path_leads_back(func: Any, path: str) -> None:
    """The path of a function, or of a static or class method, leads back to that very function."""
    assert path_of(func) == path
    assert resolve(path) == func


@pytest.mark.parametrize("path", [f"{HERE}.plain", "no.such.module_yet", "a.b", "módulo.función"])
def test_a_text_is_taken_as_it_is(path: str) -> None:
    """A dotted path given as text is not imported: the worker may know what the client does not."""
    assert path_of(path) == path


def local() -> Any:
    def send() -> None:
        return None

    return send


@pytest.mark.parametrize(
    ("func", "said"),
    [
        (lambda: None, "a lambda has no name .* define a function with `def`"),
        (sample_handlers.shortened, "a lambda has no name"),
        (local(), r"local\.<locals>\.send is defined inside another function.*move it"),
        (sample_handlers.inner, "inside another function"),
        (functools.partial(sample_handlers.plain, 1), r"functools\.partial .* \(plain\) and give"),
        (sample_handlers.instance.method, r"Base\.method is bound to an instance.*as a str"),
        (sample_handlers.bare, "does not know its own name.*as a str"),
        ("".join, "does not know its own name"),
        (sample_handlers.original, r"replaced is not replaced but another object \(function\)"),
        (sample_handlers.decorated.__wrapped__, r"now a decorator's wrapper around decorated"),  # type: ignore[attr-defined]
        (None, "expected a function or its dotted path, not None of type NoneType"),
        (3, "expected a function or its dotted path, not 3 of type int"),
        ("", "is not the dotted path of a function"),
        ("plain", "is not the dotted path of a function, such as 'myapp.tasks.send_mail'$"),
        ("a..b", "is not the dotted path"),
        ("a.b()", "is not the dotted path"),
        ("a.b c", "is not the dotted path"),
        (".a.b", "is not the dotted path"),
        ("myapp.tasks:send", "; write 'myapp.tasks.send'"),
    ],
)
def test_what_a_worker_could_not_import_is_refused(func: Any, said: str) -> None:
    """What importing a path would not give back is refused, with why and what to do."""
    with pytest.raises(ValueError, match=said):
        path_of(func)


def test_a_function_that_claims_a_name_it_does_not_have() -> None:
    """A function made at run time that no module holds is refused."""
    namespace: dict[str, Any] = {"__name__": HERE}
    exec("def phantom(): pass", namespace)  # noqa: S102 - a function that no module holds
    with pytest.raises(ValueError, match=rf"there is no {HERE}\.phantom, though phantom claims"):
        path_of(namespace["phantom"])


@pytest.mark.parametrize(
    "path", [f"{HERE}.bare", f"{HERE}.instance.method", "os.path.join", "importlib.util.find_spec"]
)
def test_whatever_can_be_called_resolves(path: str) -> None:
    """A path given as text may lead to a callable object or to a method of an object in a module."""
    assert callable(resolve(path))


def test_modules_known_under_another_name() -> None:
    """`os.path` is an attribute and a module of another name: its functions are found."""
    assert resolve("os.path.join") is os.path.join


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("pgwerk_nowhere.f", "'pgwerk_nowhere.f' is not to be found: there is no module"),
        (f"{HERE}.missing", "is not to be found: AttributeError: .*'missing'"),
        ("tests.core.nowhere.f", "is not to be found: AttributeError: .*'nowhere'"),
        (f"{HERE}.plain.deeper", "is not to be found: AttributeError"),
        (f"{HERE}.not_callable", "cannot be called: it is of type int"),
        ("plain", "is not the dotted path of a function"),
        ("..", "is not the dotted path of a function"),
        ("", "is not the dotted path of a function"),
    ],
)
def test_what_is_not_found(path: str, said: str) -> None:
    """A path that leads nowhere is `HandlerNotFound`, which is a `WerkError` and an `ImportError`."""
    with pytest.raises(HandlerNotFound, match=said) as caught:
        resolve(path)
    assert isinstance(caught.value, WerkError)
    assert isinstance(caught.value, ImportError)


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that writes a module below a folder that can be imported from."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)

    def write(name: str, source: str) -> None:
        file = tmp_path.joinpath(*name.split(".")).with_suffix(".py")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(source)

    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("import pgwerk_nowhere", ModuleNotFoundError),
        ("1 / 0", ZeroDivisionError),
        ("def f(:", SyntaxError),
        ("import sys; sys.exit(3)", SystemExit),
        ("from os import nothing_like_it", ImportError),
    ],
)
def test_an_error_inside_the_module_shows(modules: Any, source: str, kind: type[BaseException]) -> None:
    """An error that the module's own code raises is shown and is the cause, not "not found"."""
    modules("pgwerk_broken", source)
    with pytest.raises(HandlerNotFound, match=f"'pgwerk_broken' raised {kind.__name__}") as caught:
        resolve("pgwerk_broken.f")
    assert type(caught.value.__cause__) is kind


def test_a_failure_is_not_remembered(modules: Any) -> None:
    """A function that is not there yet is found once it is."""
    modules("pgwerk_late", "")
    with pytest.raises(HandlerNotFound):
        resolve("pgwerk_late.f")
    sys.modules["pgwerk_late"].f = len  # type: ignore[attr-defined]
    assert resolve("pgwerk_late.f") is len


def test_a_replaced_function_is_found_as_it_is_now(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that replaces a function in its module sees the replacement run."""
    assert resolve(f"{HERE}.plain") is sample_handlers.plain
    monkeypatch.setattr(sample_handlers, "plain", len)
    assert resolve(f"{HERE}.plain") is len


def test_a_function_is_not_displaced_by_a_module_of_its_name(modules: Any) -> None:
    """Looking for a function does not import a submodule that has the function's name."""
    modules("pgwerk_pack.__init__", "def send(): return 1\n")
    modules("pgwerk_pack.send", "raise SystemExit\n")
    assert resolve("pgwerk_pack.send")() == 1
    assert "pgwerk_pack.send" not in sys.modules


def test_a_function_that_hides_its_module(modules: Any) -> None:
    """A function is found in its module though the package has the function under that name."""
    modules("pgwerk_hide.__init__", "from pgwerk_hide.send import send\n")
    modules("pgwerk_hide.send", "def send(): return 1\n")
    send = resolve("pgwerk_hide.send")
    assert path_of(send) == "pgwerk_hide.send.send"
    assert resolve("pgwerk_hide.send.send") is send


def test_modules_that_are_gone_are_imported_again(modules: Any) -> None:
    """A module that was removed from `sys.modules` meanwhile is imported anew."""
    modules("pgwerk_again", "def f(): return 1\n")
    first = resolve("pgwerk_again.f")
    del sys.modules["pgwerk_again"]
    assert resolve("pgwerk_again.f") is not first
