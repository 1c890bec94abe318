"""The jobs that a job depends on, as a tree: what is indented below a job is what it depends on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pgwerk import JobNotFound
from pgwerk.cli.filters import many
from pgwerk.cli.output import status_text, text
from pgwerk.cli.session import Session
from pgwerk.cli.shown import in_one_line

if TYPE_CHECKING:
    from rich.text import Text

DEPTH = 8
WIDTH = 20
"""How many relatives of one job are shown by name."""

NODES = 200
"""Of how many the parents are shown."""

INDENT = "  "


class Parents:
    """The jobs that a job depends on, the jobs that those depend on, and so on: there can be no cycle.

    Args:
        session: The session.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._seen: set[str] = set()

    def lines(self, ids: Sequence[str], depth: int = 1) -> Iterator[Text]:
        """A line for each of these and, indented below it, what it depends on."""
        for job_id, line in named(self._session, ids, INDENT * depth):
            yield line
            if job_id is not None:
                yield from self._above(job_id, depth + 1)

    def _above(self, job_id: str, depth: int) -> Iterator[Text]:
        parents = dependencies(self._session, job_id)
        if not parents:
            return
        if job_id in self._seen:
            yield text(f"{INDENT * depth}(what it depends on is shown above)")
        elif depth > DEPTH or len(self._seen) >= NODES:
            yield text(f"{INDENT * depth}(not shown: {many(len(parents))} above it)")
        else:
            self._seen.add(job_id)
            yield from self.lines(parents, depth)


def named(session: Session, ids: Sequence[str], indent: str = INDENT) -> Iterator[tuple[str | None, Text]]:
    """A line for each of the first jobs, with its id, and one without that counts the others."""
    shown = ids[:WIDTH]
    found = session.call(session.app.list_jobs, ids=shown, limit=len(shown)) if shown else []
    known = {job.id: job for job in found}
    for job_id in shown:
        job = known.get(job_id)
        line = text(f"{indent}{job_id} ")
        if job is None:
            yield None, line.append("deleted")
        else:
            yield job_id, line.append_text(status_text(job.status)).append(f" {in_one_line(job.function)}")
    if len(ids) > WIDTH:
        counts = session.call(session.app.count_jobs, ids=ids[WIDTH:])
        statuses = ", ".join(f"{count:,} {status.value}" for status, count in counts.items() if count)
        yield None, text(f"{indent}and {len(ids) - WIDTH:,} more: {statuses or 'deleted'}")


def dependencies(session: Session, job_id: str) -> list[str]:
    """The ids of the jobs that a job depends on; none if it has been deleted meanwhile."""
    try:
        found: list[str] = session.call(session.app.get_job_dependencies, job_id)
    except JobNotFound:
        return []
    return found


def dependents(session: Session, job_id: str) -> list[str]:
    """The ids of the jobs that depend on a job; none if it has been deleted meanwhile."""
    try:
        found: list[str] = session.call(session.app.get_dependents, job_id)
    except JobNotFound:
        return []
    return found
