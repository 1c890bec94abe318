"""Who may import whom: the layers of the design, checked over every import, also the lazy ones and those by name."""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from pathlib import Path

import pytest

import pgwerk
from pgwerk.cli.main import COMMANDS

_SPEC = importlib.util.find_spec("pgwerk")
assert _SPEC is not None
assert _SPEC.origin is not None
ROOT = Path(_SPEC.origin).parent

THIRD_PARTY = {
    "_core": {"attrs", "croniter"},
    "_sql": {"psycopg"},
    "_async": {"attrs", "psycopg", "psycopg_pool"},
    "_sync": {"attrs", "psycopg", "psycopg_pool"},
    "worker": {"attrs", "psycopg"},
    "cli": {"attrs", "click", "psycopg", "rich"},
}
"""What each layer may import beside the standard library."""

PUBLIC = frozenset(pgwerk.__all__)
"""What everybody may import from pgwerk itself."""

OWN: Mapping[str, Set[str]] = {
    "__init__": {"_core", "_async", "_sync", "worker"},
    "_core": {"_core"},
    "_sql": {"_core", "_sql"},
    "_async": {"_core", "_sql", "_async"},
    "_sync": {"_core", "_sql", "_sync"},
    "worker": {"_core", "_sql", "_async", "worker"},
    # The command line uses what the package offers to everybody: names that do not begin with an underscore.
    "cli": {"cli", "worker", "embedded"} | PUBLIC,
    "embedded": {"_embedded"},
    "_embedded": {"_embedded"},
}
"""What each layer may import of pgwerk."""

EXCEPTIONS = {
    # A plain function runs in a thread and enqueues through the blocking client.
    ("worker", "pgwerk._sync.client", "SyncWerk"),
    # It runs in a thread, beside the worker.
    ("worker", "pgwerk._sync.scheduler", "SyncCronScheduler"),
    # `run()` runs a worker, and imports it when it is called.
    ("_async", "pgwerk.worker", "worker_class"),
    ("_sync", "pgwerk.worker", "worker_class"),
}

NO_IO = {"asyncio", "socket", "subprocess", "threading", "urllib", "http", "selectors", "multiprocessing"}
ALLOWED_IN_CORE = {
    # Ids are made by any thread, one after the other.
    ("_core/ids.py", "threading"),
}


BY_NAME: Mapping[str, Callable[[], Iterable[tuple[str, str]]]] = {
    "__init__.py": lambda: ((module, name) for module, names in pgwerk._NAMES.items() for name in names),
    "cli/main.py": lambda: ((command.module, command.name or "") for command in COMMANDS),
}
"""Modules and names that a file imports without a statement, from a table of it."""

FROM_TABLES = {"__init__.py", "cli/lazy.py"}
"""What imports them."""

USERS = {"_core/modules.py", "_core/paths.py", "cli/apps.py", "cli/handlers.py", "worker/processes/nursery.py"}
"""What imports a module that a user has named."""


def imports() -> Iterator[tuple[str, str, str, str]]:
    """File, layer, module and name of each import."""
    for file in sorted(ROOT.rglob("*.py")):
        path = file.relative_to(ROOT).as_posix()
        layer = path.split("/")[0].removesuffix(".py")
        tree = ast.parse(file.read_text(encoding="utf-8"))
        if path in BY_NAME:
            yield from ((path, layer, module, name) for module, name in BY_NAME[path]())
        typing_only = {
            id(child)
            for node in ast.walk(tree)
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
            for child in ast.walk(node)
        }
        for node in ast.walk(tree):
            if id(node) in typing_only:
                continue
            if isinstance(node, ast.Import):
                yield from ((path, layer, alias.name, "") for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}: relative import"
                yield from ((path, layer, node.module or "", alias.name) for alias in node.names)


IMPORTS = list(imports())


def test_there_is_something_to_check() -> None:
    """The walk finds the layers that there are."""
    assert {"_core", "_sql", "_async", "_sync", "worker", "embedded"} <= {layer for _, layer, _, _ in IMPORTS}


@pytest.mark.parametrize("layer", sorted(OWN))
def test_layer_imports_only_what_it_may(layer: str) -> None:
    """No module of a layer imports another layer than those below it."""
    wrong = []
    for path, found, module, name in IMPORTS:
        if found != layer or module.split(".")[0] != "pgwerk":
            continue
        target = [*module.split("."), name][1]
        if target not in OWN[layer] and (layer, module, name) not in EXCEPTIONS:
            wrong.append(f"{path}: {module} {name}")
    assert [] == wrong


@pytest.mark.parametrize("layer", sorted(THIRD_PARTY))
def test_layer_imports_only_known_packages(layer: str) -> None:
    """No module of a layer imports a package that the layer has no business with."""
    known = THIRD_PARTY[layer] | {"pgwerk", "__future__", "annotationlib"} | set(sys.stdlib_module_names)
    wrong = [
        f"{path}: {module}"
        for path, found, module, _ in IMPORTS
        if found == layer and module.split(".")[0] not in known
    ]
    assert [] == wrong


def test_only_tables_and_users_name_modules() -> None:
    """No module is imported by a name that this walk does not see: a table is read here, and users name their own."""
    callers = {
        file.relative_to(ROOT).as_posix()
        for file in ROOT.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Name | ast.Attribute)
        and ast.unparse(node).split(".")[-1] in {"import_module", "__import__"}
    }
    assert FROM_TABLES | USERS == callers
    assert {"cli/main.py"} == {path for path, _, _, name in IMPORTS if name == "Announced"}


def test_core_does_no_io() -> None:
    """The core imports nothing that talks to the world outside."""
    wrong = {
        (path, module.split(".")[0])
        for path, layer, module, _ in IMPORTS
        if layer == "_core" and module.split(".")[0] in NO_IO
    }
    assert wrong <= ALLOWED_IN_CORE


def test_only_the_seam_mentions_asyncio() -> None:
    """Of the asyncio client, only the seam imports asyncio."""
    assert {"_async/_compat.py"} == {
        path for path, layer, module, _ in IMPORTS if layer == "_async" and "asyncio" in module
    }


def test_exceptions_are_needed() -> None:
    """An exception that nothing needs any more is taken off the list."""
    found = {(layer, module, name) for _, layer, module, name in IMPORTS}
    assert found >= EXCEPTIONS
    assert {(path, module) for path, _, module, _ in IMPORTS} >= ALLOWED_IN_CORE


def test_sql_is_in_its_layer() -> None:
    """Statements are files of the SQL layer: no other module sends a SELECT, INSERT, UPDATE or DELETE of its own."""
    allowed = {"SELECT pg_backend_pid()"}
    wrong = []
    for file in sorted(ROOT.rglob("*.py")):
        path = file.relative_to(ROOT).as_posix()
        if path.startswith(("_embedded/", "_sync/")) or path == "embedded.py":
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
                text = node.value.decode() if isinstance(node.value, bytes) else node.value
                if text.startswith(("SELECT ", "INSERT ", "UPDATE ", "DELETE ")) and text not in allowed:
                    wrong.append(f"{path}: {text[:40]}")
    assert [] == wrong
