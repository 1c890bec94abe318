"""Modules by name, and what to make of `__main__`.

Paths of handlers and of enum classes name modules. The module that is being run is called
`__main__`, which means something else in every process; where it can also be imported under a name
of its own, that name is used, and in the process that runs it the name leads back to `__main__`:
importing the file once more would run it a second time and make second copies of all it defines.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

# The second is what multiprocessing calls the main module of its parent in a spawned child.
_MAIN = ("__main__", "__mp_main__")


def is_main(module_name: str) -> bool:
    """Whether this is a name of the module that is being run."""
    return module_name in _MAIN


def main_name() -> str | None:
    """The name under which other processes can import the module that is being run.

    Returns:
        With `python -m package.module` that name; for a script the stem of its file, when importing
        that finds this very file; otherwise (a prompt, a notebook, `python -c`) `None`.
    """
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        return None if is_main(spec.name) else str(spec.name)
    file = getattr(main, "__file__", None)
    if not isinstance(file, str) or not file.endswith(".py"):
        return None
    stem = Path(file).stem
    return stem if stem.isidentifier() and _leads_to(stem, file) else None


def _leads_to(name: str, file: str) -> bool:
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError, AttributeError):
        return False
    if spec is None or not spec.origin:
        return False
    try:
        return Path(spec.origin).samefile(file)
    except OSError:
        return False


def loaded(name: str) -> ModuleType | None:
    """The module of this name if it has been imported already; `__main__` if that is its name."""
    if name == main_name():
        return sys.modules.get("__main__")
    return sys.modules.get(name)


def load(name: str) -> ModuleType:
    """The module of this name, imported when it has not been yet.

    Raises:
        Exception: Whatever the import raised.
    """
    return loaded(name) or importlib.import_module(name)


def attribute(start: object, names: Sequence[str]) -> object:
    """The attribute of an attribute ... of an object.

    Raises:
        AttributeError: There is none of that name.
    """
    for name in names:
        start = getattr(start, name)
    return start
