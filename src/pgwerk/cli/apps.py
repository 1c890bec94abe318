"""The application that a command is for: `module:attribute`, a connection string, or the environment."""

from __future__ import annotations

import importlib
import os
import re
import sys
from typing import TYPE_CHECKING, TypeAlias, TypeGuard

from attrs import frozen

from pgwerk.cli.failures import USAGE, Failure

if TYPE_CHECKING:
    from pgwerk import SyncWerk, Werk

    App: TypeAlias = Werk | SyncWerk

_NAMED = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
HOW = "name it as module:attribute, or pass --dsn, or set PGWERK_APP or PGWERK_DSN"


@frozen
class Target:
    """How the application was given.

    Attributes:
        name: `module:attribute`; None for a connection string.
        dsn: The connection string; None for a name.
        schema: The schema of the tables, with a connection string.
        prefix: The prefix of the tables, with a connection string.
    """

    name: str | None = None
    dsn: str | None = None
    schema: str | None = None
    prefix: str | None = None

    @classmethod
    def choose(cls, name: str | None, dsn: str | None, schema: str | None, prefix: str | None) -> Target:
        """What was said on the command line, or else in the environment.

        Raises:
            Failure: Nothing was said, or two things.
        """
        environ = os.environ
        if name is not None and dsn is not None:
            raise Failure(f"give either the application, {name}, or --dsn, and not both", USAGE)
        if name is None and dsn is None:
            name, dsn = environ.get("PGWERK_APP") or None, environ.get("PGWERK_DSN") or None
            if name is not None:
                dsn = None
                if not looks_like_app(name):
                    raise Failure(f"PGWERK_APP must be module:attribute, not {name!r}", USAGE)
        if name is not None:
            if schema is not None or prefix is not None:
                raise Failure(f"--schema and --prefix go with --dsn: {name} has its own", USAGE)
            return cls(name=name)
        if dsn is None:
            raise Failure(f"which application? {HOW[0].upper()}{HOW[1:]}", USAGE)
        return cls(
            dsn=dsn,
            schema=schema or environ.get("PGWERK_SCHEMA") or None,
            prefix=prefix or environ.get("PGWERK_PREFIX") or None,
        )

    def load(self) -> App:
        """Import or make the application. The current directory can be imported from, by handlers as well.

        Raises:
            Failure: There is no such application.
        """
        let_import_from_here()
        if self.name is None:
            # Nothing is known about it, so nothing is changed unasked: `werk migrate` makes the tables.
            from pgwerk import SyncWerk

            return SyncWerk(self.dsn or "", schema=self.schema, prefix=self.prefix, auto_migrate=False)
        return load_app(self.name)


def looks_like_app(word: str) -> bool:
    """Whether a word of the command line is `module:attribute`."""
    return _NAMED.fullmatch(word) is not None


def is_client(value: object) -> TypeGuard[App]:
    """Whether it is a Werk or a SyncWerk. A flavour that nothing here belongs to is not imported to find that out."""
    names = {base.__name__ for base in value.__class__.__mro__}  # and not type(value): it may be a proxy
    if "Werk" in names:
        from pgwerk import Werk

        return isinstance(value, Werk)
    if "SyncWerk" in names:
        from pgwerk import SyncWerk

        return isinstance(value, SyncWerk)
    return False


def let_import_from_here() -> None:
    """Let the current directory be imported from, which an installed script does not do by itself."""
    if "" not in sys.path and (here := os.getcwd()) not in sys.path:
        sys.path.insert(0, here)


def load_app(name: str) -> App:
    """Import `module:attribute`.

    Raises:
        Failure: The module or the attribute does not exist, or is no client.
    """
    found = load(name)
    if not is_client(found):
        raise Failure(f"{name} must be a Werk or a SyncWerk, and is {_described(found)}", USAGE)
    return found


def load(name: str) -> object:
    """Import what `module:attribute` names.

    Raises:
        Failure: The module or the attribute does not exist.
    """
    module_name, _, path = name.partition(":")
    try:
        found: object = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise Failure(f"{module_name} cannot be imported: {error} (--debug shows where)", USAGE) from error
        raise Failure(f"there is no module {error.name!r} here: werk looks in {os.getcwd()} first", USAGE) from error
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise Failure(f"{module_name} cannot be imported: {reason} (--debug shows where)", USAGE) from error
    for part in path.split("."):
        if not hasattr(found, part):
            raise Failure(f"{_described(found)} has no {part!r}: {_clients(found)}", USAGE)
        found = getattr(found, part)
    return found


def _clients(found: object) -> str:
    """What could have been meant."""
    clients = sorted(name for name, value in vars(found).items() if is_client(value))
    return f"its clients are {', '.join(clients)}" if clients else "there is no Werk or SyncWerk in it"


def _described(found: object) -> str:
    name = getattr(found, "__name__", None)
    return f"the {type(found).__name__} {name}" if name else f"a {type(found).__name__}"
