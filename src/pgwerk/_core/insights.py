"""What operators are told about a set of tables and those who work on it."""

from __future__ import annotations

from attrs import frozen


@frozen
class MigrationStatus:
    """What the tables of a database are, and what this release needs them to be.

    Attributes:
        version: The version of the tables; 0 when there are none.
        latest: The version that this release works with.
        pending: The names of the migrations that lead there, in their order.
    """

    version: int
    latest: int
    pending: tuple[str, ...]

    @property
    def is_current(self) -> bool:
        """Whether this release can work with the tables."""
        return self.version == self.latest

    @property
    def advice(self) -> str:
        """What to do when it cannot."""
        if self.version > self.latest:
            return "install the release of pgwerk that migrated the database"
        return "run `werk migrate`"
