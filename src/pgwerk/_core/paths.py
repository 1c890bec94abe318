"""Dotted paths of handlers: from a function to its path, and from a path to the function.

A path is the name of a module and of what is in it, `myapp.tasks.send_mail`. It is made by the
process that enqueues and resolved by the one that works, so a path is given out only when importing
it leads back to the very same object. What is defined in the script that is being run goes by the
name under which others can import that script (see `modules`).
"""

from __future__ import annotations

import functools
import importlib
import inspect
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

from pgwerk._core.errors import HandlerNotFound
from pgwerk._core.modules import attribute, is_main, load, main_name


def path_of(func: Callable[..., Any] | str) -> str:
    """The dotted path under which a worker can import a function.

    Args:
        func: A function or class at the top level of a module, a static method or class method of
            such a class, or a dotted path, which is checked for its form only.

    Raises:
        ValueError: Importing the path would not give the function back, the text is no path, or it
            is neither; the error says why and what to do.
    """
    if isinstance(func, str):
        return _checked_path(func)
    if not callable(func):
        raise ValueError(f"expected a function or its dotted path, not {func!r} of type {type(func).__name__}")
    module_name, qualname = _names(func)
    if not is_main(module_name) and getattr(sys.modules.get(module_name), qualname, None) is func:
        # What most functions are, and found by no name that would be refused: `<lambda>` is not one, nor is `a.b`.
        return f"{module_name}.{qualname}"
    _refuse_unreachable(func, qualname)
    importable = _importable(module_name, qualname)
    _refuse_replaced(func, module_name, qualname)
    return f"{importable}.{qualname}"


def resolve(path: str) -> Callable[..., Any]:
    """The function at a dotted path; its module is imported when it has not been yet.

    The way from a path to its module is remembered, the function is not: one that has been replaced
    in its module, by a test's mock for instance, is found as it is now.

    Raises:
        HandlerNotFound: No such module, an error while it was imported (the cause), no such name in
            it, or what is there cannot be called.
    """
    module_name, names = _located(path)
    try:
        found = attribute(sys.modules.get(module_name) or load(module_name), names)
    except Exception as error:
        raise _not_found(path, error) from error
    if not callable(found):
        raise HandlerNotFound(f"{path!r} cannot be called: it is of type {type(found).__name__}")
    return found


def _checked_path(path: str) -> str:
    parts = path.split(".")
    if not _well_formed(parts):
        hint = f"; write {path.replace(':', '.')!r}" if path.count(":") == 1 else ""
        raise ValueError(f"{path!r} is not the dotted path of a function, such as 'myapp.tasks.send_mail'{hint}")
    if is_main(parts[0]):
        return f"{_importable(parts[0], '.'.join(parts[1:]))}.{'.'.join(parts[1:])}"
    return path


def _names(func: Callable[..., Any]) -> tuple[str, str]:
    """The module and the qualified name that a callable claims to have."""
    if isinstance(func, functools.partial):
        raise ValueError(
            "a functools.partial has no name that a worker could import; pass the function itself "
            f"({_label(func.func)}) and give its arguments to enqueue"
        )
    owner = getattr(func, "__self__", None)
    if owner is not None and inspect.ismethod(func):
        if not isinstance(owner, type):
            raise ValueError(
                f"{_label(func)} is bound to an instance, which does not exist in the worker; pass "
                "a function that makes or finds the instance, or, when the instance is at the top "
                "level of a module, the dotted path as a str: 'myapp.tasks.instance.method'"
            )
        # A class method that is inherited goes by the class that it was taken from.
        return owner.__module__, f"{owner.__qualname__}.{getattr(func, '__name__', '')}"
    module_name, qualname = getattr(func, "__module__", None), getattr(func, "__qualname__", None)
    if not isinstance(module_name, str) or not isinstance(qualname, str):
        raise ValueError(
            f"{_label(func)} does not know its own name (__module__ and __qualname__); when it is "
            "at the top level of a module, pass its dotted path as a str: 'myapp.tasks.name'"
        )
    return module_name, qualname


def _refuse_unreachable(func: Callable[..., Any], qualname: str) -> None:
    if "<lambda>" in qualname:
        raise ValueError(
            "a lambda has no name that a worker could import; define a function with `def` at the top level of a module"
        )
    if "<locals>" in qualname:
        raise ValueError(
            f"{_label(func)} is defined inside another function, where no worker can find it; "
            "move it to the top level of its module"
        )


def _importable(module_name: str, qualname: str) -> str:
    if not is_main(module_name):
        return module_name
    name = main_name()
    if name is None:
        raise ValueError(
            f"{qualname} is defined in the program that is being run (__main__), which a worker "
            "cannot import; move it to a module and import it from there"
        )
    return name


def _refuse_replaced(func: Callable[..., Any], module_name: str, qualname: str) -> None:
    path = f"{module_name}.{qualname}"
    try:
        found = attribute(sys.modules.get(module_name), qualname.split("."))
    except AttributeError:
        raise ValueError(
            f"there is no {path}, though {_label(func)} claims to be it, so a worker could not "
            "import it; assign it to that name in its module"
        ) from None
    # Bound class methods are made anew on each access: they are equal, not identical.
    if found is func or (inspect.ismethod(func) and found == func):
        return
    if getattr(found, "__wrapped__", None) is func:
        raise ValueError(
            f"{path} is now a decorator's wrapper around {_label(func)}, so a worker would run the "
            f"wrapper; pass what {path} is"
        )
    raise ValueError(
        f"{path} is not {_label(func)} but another object ({type(found).__name__}), so a worker "
        "would run that; give it a name of its own at the top level of its module"
    )


@functools.lru_cache(maxsize=4096)
def _located(path: str) -> tuple[str, tuple[str, ...]]:
    """The module of a path, by its name in `sys.modules`, and the names below it, once found there.

    Failures are not remembered (an exception is not cached): the next attempt may have more luck.
    """
    parts = tuple(path.split("."))
    if not _well_formed(parts):
        raise HandlerNotFound(f"{path!r} is not the dotted path of a function")
    main = main_name()
    if main is not None and path.startswith(f"{main}."):
        module_name, names = "__main__", tuple(path.removeprefix(f"{main}.").split("."))
    else:
        module_name, names = _split(path, parts)
    try:
        attribute(sys.modules[module_name], names)
    except Exception as error:
        raise _not_found(path, error) from error
    return module_name, names


def _split(path: str, parts: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """Import the longest prefix of a path that is a module, and give the rest.

    The last part is never imported: it is the function, and importing a submodule of the same name
    would put the submodule in the function's place.
    """
    module = _imported(path, parts[0])
    if module is None:
        raise HandlerNotFound(f"{path!r} is not to be found: there is no module {parts[0]!r} here")
    for length in range(2, len(parts)):
        below = None
        if hasattr(module, "__path__"):
            below = _imported(path, ".".join(parts[:length]))
        if below is None:
            return ".".join(parts[: length - 1]), parts[length - 1 :]
        module = below
    return ".".join(parts[:-1]), parts[-1:]


def _imported(path: str, module_name: str) -> ModuleType | None:
    """The module, or `None` when there is none; an error inside of it is another thing."""
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name == module_name:
            return None
        raise _import_failed(path, module_name, error) from error
    # A script without a `__main__` guard may call `sys.exit`, which must not end the worker.
    except (Exception, SystemExit) as error:
        raise _import_failed(path, module_name, error) from error


def _import_failed(path: str, module_name: str, error: BaseException) -> HandlerNotFound:
    return HandlerNotFound(f"{path!r} cannot be imported: {module_name!r} raised {type(error).__name__}: {error}")


def _not_found(path: str, error: Exception) -> HandlerNotFound:
    return HandlerNotFound(f"{path!r} is not to be found: {type(error).__name__}: {error}")


def _well_formed(parts: Sequence[str]) -> bool:
    return len(parts) > 1 and all(part.isidentifier() for part in parts)


def _label(func: Any) -> str:
    name = getattr(func, "__qualname__", None)
    return name if isinstance(name, str) else repr(func)
