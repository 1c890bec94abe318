"""The migrations: numbered files, which never change once they are released."""

from __future__ import annotations

from importlib.resources import files
from typing import NamedTuple

from pgwerk._sql.names import Names
from pgwerk._sql.rendering import render


class Migration(NamedTuple):
    """One step from a version of the tables to the next.

    Attributes:
        version: The version that it leads to.
        name: The name of its file.
    """

    version: int
    name: str

    def sql(self, names: Names, *, ephemeral_tables: bool) -> bytes:
        """The statements of the migration for these names, to be sent without parameters."""
        text = files(__package__).joinpath(self.name).read_text(encoding="utf-8")
        placeholders = {**names.placeholders(), "unlogged": "UNLOGGED" if ephemeral_tables else ""}
        return render(text, placeholders).encode()


def _find() -> tuple[Migration, ...]:
    found = sorted(entry.name for entry in files(__package__).iterdir() if entry.name.endswith(".sql"))
    return tuple(Migration(version=int(name.split("_", 1)[0]), name=name) for name in found)


MIGRATIONS = _find()
