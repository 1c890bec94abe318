"""A claimed job, as whoever runs it handles it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pgwerk._core.models import Job
from pgwerk._core.rows import JOB_COLUMNS, job_from_row
from pgwerk._core.serializers import Serializer

_INDEX = {name: index for index, name in enumerate(JOB_COLUMNS)}


def _column(name: str) -> Any:
    index = _INDEX[name]
    return property(lambda self: self.row[index])


class Claimed:
    """One attempt at a job. A view of its row: most handlers need little of it, and a `Job` costs more than a claim.

    Attributes:
        row: The job columns.
    """

    __slots__ = ("row",)

    def __init__(self, row: Sequence[Any]) -> None:
        self.row = row

    id: str = _column("id")
    function: str = _column("function")
    queue: str = _column("queue")
    attempts: int = _column("attempts")
    max_attempts: int = _column("max_attempts")
    group_key: str | None = _column("group_key")
    payload: str | None = _column("payload")
    timeout_secs: int | None = _column("timeout_secs")
    heartbeat_secs: int | None = _column("heartbeat_secs")
    worker_id: str = _column("worker_id")
    retry_intervals: Sequence[int] | None = _column("retry_intervals")
    repeat_remaining: int | None = _column("repeat_remaining")
    repeat_interval_secs: int | None = _column("repeat_interval_secs")
    repeat_intervals: Sequence[int] | None = _column("repeat_intervals")

    @property
    def order(self) -> tuple[Any, ...]:
        """Sorts claimed jobs by who comes first: a statement returns them in any order."""
        row = self.row
        return -row[_INDEX["priority"]], row[_INDEX["scheduled_at"]], row[_INDEX["id"]]

    def callback(self, option: str) -> str:
        """The path of the callback that was given with this option."""
        path: str = self.row[_INDEX[option]]
        return path

    def job(self, serializer: Serializer) -> Job:
        """The whole job."""
        return job_from_row(self.row, serializer)
