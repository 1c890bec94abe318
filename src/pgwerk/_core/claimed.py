"""A claimed job, as whoever runs it handles it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from operator import itemgetter
from typing import Any

from pgwerk._core.models import Job
from pgwerk._core.rows import JOB_COLUMNS, job_from_row
from pgwerk._core.serializers import Serializer

_INDEX = {name: index for index, name in enumerate(JOB_COLUMNS)}


def _column(name: str) -> Any:
    return property(itemgetter(_INDEX[name]))


class Claimed(tuple[Any, ...]):
    """One attempt at a job: the row of its columns. Most handlers need little of it, and a `Job` is dear."""

    __slots__ = ()

    id: str = _column("id")
    function: str = _column("function")
    queue: str = _column("queue")
    priority: int = _column("priority")
    scheduled_at: datetime = _column("scheduled_at")
    attempts: int = _column("attempts")
    max_attempts: int = _column("max_attempts")
    key: str | None = _column("key")
    group_key: str | None = _column("group_key")
    payload: str | None = _column("payload")
    timeout_secs: int | None = _column("timeout_secs")
    heartbeat_secs: int | None = _column("heartbeat_secs")
    worker_id: str = _column("worker_id")
    retry_intervals: Sequence[int] | None = _column("retry_intervals")
    repeat_remaining: int | None = _column("repeat_remaining")
    repeat_interval_secs: int | None = _column("repeat_interval_secs")
    repeat_intervals: Sequence[int] | None = _column("repeat_intervals")
    on_success: str | None = _column("on_success")

    def callback(self, option: str) -> str:
        """The path of the callback that was given with this option."""
        path: str = self[_INDEX[option]]
        return path

    def job(self, serializer: Serializer) -> Job:
        """The whole job."""
        return job_from_row(self, serializer)


def best_first(claimed: Iterable[Claimed]) -> list[Claimed]:
    """Claimed jobs, in the order in which they should start: a statement returns them in any order."""
    ordered = sorted(claimed, key=itemgetter(_INDEX["scheduled_at"], _INDEX["id"]))
    ordered.sort(key=itemgetter(_INDEX["priority"]), reverse=True)  # equals stay in their order
    return ordered
