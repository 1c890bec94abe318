"""Which jobs are meant: the filters of `list_jobs` and its like, checked, as parameters of their statements."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

from pgwerk._core import checks
from pgwerk._core.arrays import plain
from pgwerk._core.ids import id_range, normalize_id
from pgwerk._core.models import JobStatus


def job_filter(
    *,
    queue: str | None = None,
    status: JobStatus | str | Sequence[JobStatus | str] | None = None,
    worker_id: str | None = None,
    search: str | None = None,
    schedule_name: str | None = None,
    retried: bool | None = None,
    function: str | None = None,
    group: str | None = None,
    older_than: float | timedelta | None = None,
    ids: Iterable[str] | None = None,
    id_prefix: str | None = None,
) -> dict[str, Any] | None:
    """Check the filters.

    Returns:
        The parameters of the statements; None if no job can be meant.

    Raises:
        TypeError: A filter has the wrong type.
        ValueError: A filter has a value that makes no sense.
    """
    search = checks.optional_text("search", search or None)
    worker = None if worker_id is None else normalize_id(worker_id)
    first, last = (None, None) if id_prefix is None else id_range(id_prefix)
    params = {
        "queue": checks.optional_text("queue", queue),
        "statuses": checked_statuses(status),
        "worker_id": worker,
        "search": search and f"%{_escape_like(search)}%",
        # As text inside of JSON is written: with escapes.
        "search_in_json": search and f"%{_escape_like(json.dumps(search, ensure_ascii=False)[1:-1])}%",
        "schedule_name": checks.optional_text("schedule_name", schedule_name),
        "retried": None if retried is None else checks.flag("retried", retried),
        "function": checks.optional_text("function", function),
        "group_key": checks.optional_text("group", group),
        "older_than": None if older_than is None else checks.seconds("older_than", older_than),
        "ids": None if ids is None else plain(checked_ids("ids", ids)),
        "first_id": first,
        "last_id": last,
    }
    return None if worker_id is not None and worker is None else params


def checked_ids(name: str, value: Iterable[str]) -> list[str]:
    """The ids of jobs in their canonical form and order, each once.

    Raises:
        TypeError: It is no list.
        ValueError: One of them is no id.
    """
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise TypeError(f"{name} must be a list of ids, not {type(value).__name__} ({value!r})")
    return sorted({checked_id(f"{name}[{index}]", item) for index, item in enumerate(value)})


def checked_id(name: str, value: object) -> str:
    """The id of a job in its canonical form.

    Raises:
        ValueError: It is none.
    """
    identifier = normalize_id(value)
    if identifier is None:
        raise ValueError(f"{name} must be the id of a job, a UUID, not {value!r}")
    return identifier


def checked_statuses(status: object) -> list[str] | None:
    """The statuses that are meant; None for all.

    Raises:
        TypeError: It is neither a status nor a list of them.
        ValueError: One of them is unknown.
    """
    if status is None:
        return None
    if not isinstance(status, (str, Iterable)):
        raise TypeError(f"status must be a JobStatus or a list of them, not {type(status).__name__} ({status!r})")
    wanted = [status] if isinstance(status, str) else list(status)
    valid = [member.value for member in JobStatus]
    return [JobStatus(checks.one_of("status", item, valid)).value for item in wanted]


def _escape_like(text: str) -> str:
    """The text as a pattern of LIKE that matches nothing but itself."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
