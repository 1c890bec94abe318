# Generated from src/pgwerk/_async/transactions.py by `python tools/unasync_build.py`.
# Do not edit: change that file and run the command again.

"""Transactions: our own, tried again when they get into the way of others, and the caller's, which are not."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from typing import TypeVar

import psycopg
from psycopg.pq import TransactionStatus

from pgwerk._sync import _compat
from pgwerk._sync.connections import Connection

TRIES = 10
PAUSE_SECS = 0.01
CONFLICTS = (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure)
"""What a transaction can run into without anybody being at fault."""

T = TypeVar("T")


@contextlib.contextmanager
def nested(connection: Connection) -> Iterator[None]:
    """All or nothing: a savepoint in the connection's transaction; a transaction if it has none and commits by itself.

    A connection without autocommit begins its transaction with the first statement, and commits when the caller says
    so. The driver's own `transaction()` does not wait for that: it would begin one before, and commit it at its end. So
    the first statement is an empty one.
    """
    if not connection.autocommit and connection.info.transaction_status is TransactionStatus.IDLE:
        connection.execute(b"")
    with connection.transaction():
        yield


def patiently(work: Callable[[], _compat.Eventually[T]]) -> T:
    """Do work of our own in a transaction of its own, and once more when it got into the way of somebody else's.

    Never to be used for work in the caller's transaction, which is over then.
    """
    for number in range(1, TRIES):
        try:
            return work()
        except CONFLICTS:
            pass
        _compat.sleep(random.uniform(0, number * PAUSE_SECS))
    return work()
