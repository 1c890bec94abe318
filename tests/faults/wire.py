"""What a client of PostgreSQL says, as far as it takes to know which statement passes.

Only the client's half of the protocol is read: the start-up message, queries, and what is prepared and bound. pgwerk's
own statements are known by their text; they have the names of their files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.resources import files

from pgwerk._sql import Names, Statements, statements

_PARAMETER = re.compile(r"%\(\w+\)[sbt]|\$\d+")
_STARTUP = 196608
_PARTS = {"enqueue", "enqueue_one", "enqueue_ready"}
"""Statements of which only the parts that are needed are sent: known by how they begin."""
_BEGINNING = 64
_VARIED = ("settle_complete", "claim_from_head", "turn_over_ungrouped", "turn_over_from_head", "turn_over_best")
"""Statements that begin like others: known by all their forms."""


class Catalog:
    """Tells the names of statements.

    Args:
        names: The names of pgwerk's tables.
    """

    def __init__(self, names: Names) -> None:
        known = Statements(names)
        files_of = files(statements.__name__).iterdir()
        stems = [file.name.removesuffix(".sql") for file in files_of if file.name.endswith(".sql")]
        self._names = {_normal(known[stem].decode()): stem for stem in stems}
        self._names |= {
            _normal(known.with_parts(name, parts).decode()): name
            for name in _VARIED
            for parts in (frozenset[str](), frozenset(["groups"]))
        }
        self._beginnings = {text[:_BEGINNING]: name for text, name in self._names.items() if name in _PARTS}

    def name(self, text: str) -> str:
        """The file that a statement comes from; of others, the first word, in lower case."""
        normal = _normal(text)
        return (
            self._names.get(normal)
            or self._beginnings.get(normal[:_BEGINNING])
            or normal.partition(" ")[0].rstrip(";").lower()
        )


class Speech:
    """What one client says over one connection.

    Args:
        catalog: Knows the statements.

    Attributes:
        said: The names of all statements so far.
    """

    def __init__(self, catalog: Catalog) -> None:
        self.said: set[str] = set()
        self._last = ""
        self._catalog = catalog
        self._rest = b""
        self._started = False
        self._prepared: dict[bytes, str] = {}

    def hear(self, data: bytes) -> list[str]:
        """The names of the statements that are executed by this, and by what came before."""
        self._rest += data
        names = []
        for message in self._messages():
            name = self._executed(*message)
            if name == "commit":
                # A commit is as important as what it commits.
                name = f"commit after {self._last}"
            if name is not None:
                self._last = name
                names.append(name)
        self.said.update(names)
        return names

    def _messages(self) -> Iterator[tuple[bytes, bytes]]:
        while True:
            # All but the first message begin with a letter.
            skipped = 1 if self._started else 0
            size = int.from_bytes(self._rest[skipped : skipped + 4]) + skipped
            if len(self._rest) < skipped + 4 or len(self._rest) < size:
                return
            kind, body = self._rest[:skipped], self._rest[skipped + 4 : size]
            self._rest = self._rest[size:]
            yield kind, body

    def _executed(self, kind: bytes, body: bytes) -> str | None:
        if not kind:
            # Before it, a client may ask for encryption.
            self._started = int.from_bytes(body[:4]) == _STARTUP
        elif kind == b"Q":
            return self._catalog.name(body.rstrip(b"\0").decode())
        elif kind == b"P":
            name, text, _ = body.split(b"\0", 2)
            self._prepared[name] = self._catalog.name(text.decode())
        elif kind == b"B":
            return self._prepared.get(body.split(b"\0", 2)[1])
        return None


def _normal(text: str) -> str:
    return " ".join(_PARAMETER.sub("?", text.replace("%%", "%")).split())
