"""Members of enums as text, and back: `myapp.models:Order.Status.PAID`.

Members go by name, so that a value may change between releases and an alias leads to its member.
What has no name that is an identifier (combinations of flags, members of functional enums with odd
names) is a pair of the class and the flag's value, or of the class and the odd name.
"""

from __future__ import annotations

import enum
import re
from functools import lru_cache

from pgwerk._core.errors import SerializationError
from pgwerk._core.modules import attribute, is_main, load, loaded, main_name

_PATH = re.compile(r"\w+(?:\.\w+)*:\w+(?:\.\w+)*")


def enum_payload(member: enum.Enum) -> str | list[object]:
    """What identifies a member.

    Raises:
        SerializationError: Its class cannot be found again by its name.
    """
    path = _class_path(type(member))
    name = member.name
    if type(member).__members__.get(name) is member:
        return f"{path}.{name}" if name.isidentifier() else [path, name]
    return [path, int(member.value)]


def enum_member(payload: object, *, import_modules: bool) -> enum.Enum:
    """The member that `enum_payload` identified.

    Args:
        payload: What `enum_payload` gave.
        import_modules: Whether a module that is not loaded yet may be imported.

    Raises:
        SerializationError: There is no such enum, or it has no such member.
    """
    if isinstance(payload, str):
        path, _, key = payload.rpartition(".")
        return _member(_class_at(path, import_modules), key)
    if isinstance(payload, list) and len(payload) == 2 and isinstance(payload[0], str):
        return _member(_class_at(payload[0], import_modules), payload[1])
    raise SerializationError(f"{payload!r} is neither the name of an enum's member nor a pair")


def _member(cls: type[enum.Enum], key: object) -> enum.Enum:
    try:
        return cls[key] if isinstance(key, str) else cls(key)
    except (KeyError, ValueError, TypeError):
        raise SerializationError(f"the enum {cls.__qualname__} has no member {key!r}") from None


@lru_cache(maxsize=1024)
def _class_path(cls: type[enum.Enum]) -> str:
    module, qualname = cls.__module__, cls.__qualname__
    if "<locals>" in qualname:
        raise SerializationError(
            f"the enum {qualname} is defined inside a function, where no other process can find "
            "it; define it at the top level of a module"
        )
    name = main_name() if is_main(module) else module
    if name is None:
        raise SerializationError(
            f"the enum {qualname} is defined in the program that is being run, which no other "
            "process can import; define it in a module"
        )
    path = f"{name}:{qualname}"
    if _lookup(path, import_modules=False) is not cls:
        raise SerializationError(
            f"the enum {qualname} is not what is found under its name, {path}; pass the member's value"
        )
    return path


@lru_cache(maxsize=1024)
def _class_at(path: str, import_modules: bool) -> type[enum.Enum]:
    if not _PATH.fullmatch(path):
        raise SerializationError(f"{path!r} is not the name of an enum, such as 'myapp.models:Color'")
    cls = _lookup(path, import_modules=import_modules)
    # A row is input: whatever it names, nothing but the members of an enum is handed out.
    if not (isinstance(cls, type) and issubclass(cls, enum.Enum)):
        raise SerializationError(f"{path!r} is not an enum that can be found here")
    return cls


def _lookup(path: str, *, import_modules: bool) -> object | None:
    module_name, _, qualname = path.partition(":")
    try:
        module = load(module_name) if import_modules else loaded(module_name)
        return attribute(module, qualname.split("."))
    except AttributeError:
        return None
    except Exception as error:
        raise SerializationError(
            f"importing {module_name!r} for the enum {qualname} raised {type(error).__name__}: {error}"
        ) from error
