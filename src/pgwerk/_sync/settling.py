# Generated from src/pgwerk/_async/settling.py by `python tools/unasync_build.py`.
# Do not edit: change that file and run the command again.

"""What whoever settles has to know of the server's answers."""

from __future__ import annotations

import psycopg


def is_fault_of_a_row(error: Exception) -> bool:
    """Whether the server would take the batch without one of its rows; else it takes none, for now or for ever.

    These are data that cannot be stored (class 22 of SQLSTATE), violated constraints (23), limits of the server (54).
    """
    if isinstance(error, (UnicodeError, psycopg.DataError, psycopg.IntegrityError)):
        return True
    return isinstance(error, psycopg.Error) and (error.sqlstate or "").startswith("54")
