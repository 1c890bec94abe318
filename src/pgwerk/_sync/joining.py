# Generated from src/pgwerk/_async/joining.py by `python tools/unasync_build.py`.
# Do not edit: change that file and run the command again.

"""Where the statements of a `_sync` run go: into transactions of its own, or into the caller's."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from attrs import define
from psycopg.pq import TransactionStatus

from pgwerk._sync.connections import Connection, Connections
from pgwerk._sync.transactions import nested


@define
class Part:
    """A part of a transaction.

    Attributes:
        undo: Whether it is to be rolled back in the end, and the rest to go on.
    """

    undo: bool = False


class OwnTransactions:
    """Each step of the run commits by itself."""

    is_own = True
    is_aborted = False

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    @contextlib.contextmanager
    def whole(self) -> Iterator[None]:
        """What lies around the whole run."""
        yield

    @contextlib.contextmanager
    def part(self) -> Iterator[Part]:
        """What lies around a handler or a callback."""
        yield Part()

    @contextlib.contextmanager
    def connection(self) -> Iterator[Connection]:
        """A connection for a few transactions; none is held while a handler runs."""
        with self._connections.connection() as connection:
            yield connection


class CallersTransaction:
    """The whole run is part of the caller's transaction, and each step of it a savepoint."""

    is_own = False

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @property
    def is_aborted(self) -> bool:
        """Whether an error has made the transaction useless, up to the last savepoint."""
        return self._connection.info.transaction_status is TransactionStatus.INERROR

    @contextlib.contextmanager
    def whole(self) -> Iterator[None]:
        """A savepoint for the whole run: when it raises, nothing of it is left."""
        with nested(self._connection):
            yield

    @contextlib.contextmanager
    def part(self) -> Iterator[Part]:
        """What lies around a handler or a callback: what it did on this connection can be undone."""
        part = Part()
        with self._connection.transaction() as savepoint:
            yield part
            savepoint.force_rollback = part.undo

    @contextlib.contextmanager
    def connection(self) -> Iterator[Connection]:
        """The caller's connection. Each transaction on it is a savepoint: what is refused breaks no more than that."""
        yield self._connection
