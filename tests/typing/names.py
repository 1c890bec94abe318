"""Type checkers know the public names as if they were imported at once, and no others. Nothing here is run."""

from __future__ import annotations

from typing import assert_type

import pgwerk
from pgwerk import SyncWrek  # type: ignore[attr-defined]  # noqa: F401  # pyright: ignore[reportAttributeAccessIssue, reportUnknownVariableType, reportUnusedImport]


def names_of_the_package(dsn: str, app: pgwerk.Werk) -> None:
    assert_type(pgwerk.SyncWerk(dsn), pgwerk.SyncWerk)
    assert_type(pgwerk.AsyncWorker(app).concurrency, int)
    assert_type(pgwerk.WerkConfig().prefix, str)
    pgwerk.SyncWrek(dsn)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
