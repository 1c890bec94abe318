"""The work of the measured jobs: none, so that what is measured is the queue."""

from __future__ import annotations


async def noop() -> None:
    """Nothing."""
