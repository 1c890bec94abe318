"""Every statement that pgwerk sends, and the names of the tables it works on.

A statement is a file in `statements/`, with a comment that says what it does, what it locks and which index carries it.
`Statements` fills in the names of one pair of schema and prefix, once, and hands out text that is ready to be executed.
"""

from __future__ import annotations

from pgwerk._sql.migrations import MIGRATIONS, Migration
from pgwerk._sql.names import Names
from pgwerk._sql.statements import Statements

__all__ = ["MIGRATIONS", "Migration", "Names", "Statements"]
