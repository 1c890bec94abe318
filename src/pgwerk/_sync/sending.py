# Generated from src/pgwerk/_async/sending.py by `python tools/unasync_build.py`.
# Do not edit: change that file and run the command again.

"""Sending the statements of one set of tables."""

from __future__ import annotations

import functools
from typing import Any

from psycopg.pq import TransactionStatus

from pgwerk._sql import Statements
from pgwerk._sync.connections import Connection, WerkCursor
from pgwerk._sync.transactions import patiently


class Sender:
    """Sends statements by their name, whatever connection they go over."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    def rows(self, connection: Connection, name: str, /, **params: Any) -> list[tuple[Any, ...]]:
        """What a statement returns. One that commits by itself is tried again when it got into the way of others."""
        rows = functools.partial(self._rows, connection, name, params)
        if connection.autocommit and connection.info.transaction_status is TransactionStatus.IDLE:
            return patiently(rows)
        return rows()

    def _rows(self, connection: Connection, name: str, params: dict[str, Any]) -> list[tuple[Any, ...]]:
        cursor = WerkCursor(connection)
        cursor.execute(self._statements[name], params, binary=True)
        return cursor.fetchall()

    def first(self, connection: Connection, name: str, /, **params: Any) -> tuple[Any, ...] | None:
        """The first row of what a statement returns; None if there is none."""
        rows = self.rows(connection, name, **params)
        return rows[0] if rows else None

    def ids(self, connection: Connection, name: str, /, **params: Any) -> list[str]:
        """The first column of what a statement returns."""
        return [row[0] for row in self.rows(connection, name, **params)]

    def run(self, connection: Connection, name: str, /, **params: Any) -> None:
        """Execute what returns nothing."""
        WerkCursor(connection).execute(self._statements[name], params or None)
