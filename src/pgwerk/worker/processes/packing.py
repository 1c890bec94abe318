"""What is sent to a child to be run, and what is sent back."""

from __future__ import annotations

import pickle
from typing import NamedTuple

from pgwerk._core.claimed import Claimed
from pgwerk._core.execution import DueCallback, Work
from pgwerk._core.policy import Outcome
from pgwerk.worker.processes.errors import Carried


class Report(NamedTuple):
    """What came of a run.

    Attributes:
        outcome: What becomes of the job; None after a callback.
        error: What was raised.
        max_memory: How many bytes of memory the child had at most; None when that says nothing about this run.
    """

    outcome: Outcome | None
    error: Carried | None
    max_memory: int | None


def pack_work(work: Work) -> bytes:
    """Work, made ready to be sent to a child."""
    return pickle.dumps((tuple(work.claimed), None if work.due is None else tuple(work.due)))


def unpack_work(body: bytes) -> Work:
    """The work that was sent."""
    row, due = pickle.loads(body)  # noqa: S301 - the worker has written it
    return Work(Claimed(row), None if due is None else DueCallback(*due))


def pack_report(report: Report) -> bytes:
    """A report, made ready to be sent to the worker."""
    return pickle.dumps(report)


def unpack_report(body: bytes) -> Report:
    """The report that was sent."""
    report: Report = pickle.loads(body)  # noqa: S301 - a child of our own has written it
    return report
