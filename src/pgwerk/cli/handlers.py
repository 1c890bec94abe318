"""Looking for the function of a job, as a worker that runs in this folder would."""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from types import ModuleType

from pgwerk.cli.failures import USAGE, Failure

UNCHECKED = "--no-check enqueues it nevertheless, for workers that have the code"


def check_handler(path: str) -> None:
    """Check that a worker in this folder could import a function.

    Raises:
        Failure: The path is none, or leads to no function; the line says how far it leads.
    """
    parts = path.split(".")
    if len(parts) < 2 or not all(part.isidentifier() for part in parts):
        raise Failure(f"{path!r} is not the dotted path of a function, such as shop.tasks.send_mail", USAGE)
    if "" not in sys.path and (here := os.getcwd()) not in sys.path:
        sys.path.insert(0, here)
    found, names = _module_of(path, parts)
    for name in names:
        if not hasattr(found, name):
            known = [each for each in dir(found) if callable(getattr(found, each, None))]
            near = difflib.get_close_matches(name, known, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            where = getattr(found, "__name__", type(found).__name__)
            raise Failure(f"{where} has no {name!r}.{hint} {UNCHECKED}", USAGE)
        found = getattr(found, name)
    if not callable(found):
        raise Failure(f"{path} is of type {type(found).__name__}, and cannot be called", USAGE)


def _module_of(path: str, parts: list[str]) -> tuple[object, list[str]]:
    """The innermost module of a path, and the names below it. The last part is never imported: it is the function."""
    found = _imported(path, parts[0])
    if found is None:
        raise Failure(f"there is no module {parts[0]!r} here. {UNCHECKED}", USAGE)
    for length in range(2, len(parts)):
        below = _imported(path, ".".join(parts[:length])) if hasattr(found, "__path__") else None
        if below is None:
            return found, parts[length - 1 :]
        found = below
    return found, parts[-1:]


def _imported(path: str, name: str) -> ModuleType | None:
    """The module; None if there is none."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name == name:
            return None
        raise _unimportable(path, name, error) from error
    except (Exception, SystemExit) as error:
        raise _unimportable(path, name, error) from error


def _unimportable(path: str, name: str, error: BaseException) -> Failure:
    return Failure(f"{path} cannot be imported: {name} raised {type(error).__name__}: {error}. {UNCHECKED}", USAGE)
