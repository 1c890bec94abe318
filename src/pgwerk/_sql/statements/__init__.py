"""The statements, one in a file."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files

from psycopg import sql

from pgwerk._core.policy import ABORTED
from pgwerk._core.rows import JOB_COLUMNS, JSON_COLUMNS, SCHEDULE_COLUMNS, UUID_COLUMNS
from pgwerk._core.schedules import OVERDUE_SECS
from pgwerk._sql.names import Names
from pgwerk._sql.rendering import render

AWAITED_SECS = 60
"""The least time for which the row of a job is kept that somebody waits for: who polls must find it."""

_BEST = "merged.priority DESC, merged.scheduled_at, merged.id"
_OVERDUE = f"NOT s.paused AND s.next_run_at < statement_timestamp() - {OVERDUE_SECS} * interval '1 second'"
_PLACE = "(SELECT l.place FROM lanes l WHERE l.queue = merged.queue)"
_IN_TURNS = f"row_number() OVER (PARTITION BY merged.queue ORDER BY {_BEST}), {_PLACE}"
_VISIT_ENDED = "(SELECT max(v.group_key) FROM visited v WHERE v.queue = l.queue)"
_FOUND = "(SELECT count(*)::integer FROM tried t WHERE t.queue = l.queue)"
_FOUND_GROUPS = "(SELECT count(t.group_key)::integer FROM tried t WHERE t.queue = l.queue)"
_VARIANTS = {
    "list_newest_jobs": ("list_jobs", {"direction": "DESC"}),
    "claim_in_turns": ("claim_best", {"best_first": _IN_TURNS}),
    "turn_over_in_turns": ("turn_over_best", {"best_first": _IN_TURNS}),
    "claim_from_head": ("claim_ungrouped", {"picked_ungrouped": "{picked_from_head}"}),
    "turn_over_from_head": ("turn_over_ungrouped", {"picked_ungrouped": "{picked_from_head}"}),
}
"""Statements that share a file with another one: the name of the file, and what is different in it."""

_NOTHING: Mapping[str, str] = {}

_FRAGMENTS = (
    "any_ready",
    "job_filter",
    "orphaned",
    "plain_ends",
    "picked_ungrouped",
    "picked_from_head",
    "picked_best",
    "take_picked",
)
"""What several statements have in common: a file in `fragments/` for each, in the place of its name in braces."""


def _job_columns(alias: str) -> str:
    """The columns of `Job`, in the order of its fields, in types that need no adapter beyond text and numbers."""
    as_text = UUID_COLUMNS | JSON_COLUMNS
    return ", ".join(f"{alias}.{name}::text" if name in as_text else f"{alias}.{name}" for name in JOB_COLUMNS)


def _columns_of(**known: str) -> str:
    """The columns of `Job`, in the order of its fields, for what is no job: only these are known of it."""
    return ", ".join(known.get(name, "NULL") for name in JOB_COLUMNS)


def _schedule_columns(alias: str) -> str:
    """The columns of `Schedule`, in the order of its fields, but for the facts that are computed."""
    as_text = UUID_COLUMNS | JSON_COLUMNS
    return ", ".join(f"{alias}.{name}::text" if name in as_text else f"{alias}.{name}" for name in SCHEDULE_COLUMNS)


class Statements:
    """The statements for one pair of schema and prefix, by the name of their file, or of a variant.

    They are `bytes`: psycopg takes those as they are, and keeps what it makes of them in a cache.
    """

    def __init__(self, names: Names) -> None:
        self.names = names
        self._placeholders = {
            **names.placeholders(),
            "job_columns": _job_columns("j"),
            "settled_columns": _columns_of(id="id::text", attempts="attempt"),
            "lane_columns": _columns_of(queue="l.queue", key=_VISIT_ENDED, attempts=_FOUND, max_attempts=_FOUND_GROUPS),
            "schedule_columns": _schedule_columns("s"),
            "schedule_facts": _OVERDUE,
            "awaited_secs": str(AWAITED_SECS),
            "aborted": sql.quote(ABORTED),
            "direction": "ASC",
            "best_first": _BEST,
        }
        self._rendered: dict[str, bytes] = {}
        self._parted: dict[tuple[str, frozenset[str]], bytes] = {}

    def __getitem__(self, name: str) -> bytes:
        """The statement in the file of this name."""
        rendered = self._rendered.get(name)
        if rendered is None:
            rendered = self._rendered[name] = self._render(name, None)
        return rendered

    def with_parts(self, name: str, parts: frozenset[str]) -> bytes:
        """The statement in the file of this name, with these of its parts: what it does without the others is faster.

        Args:
            name: The name of the file.
            parts: The names that lines of the file are marked with.
        """
        rendered = self._parted.get((name, parts))
        if rendered is None:
            rendered = self._parted[name, parts] = self._render(name, parts)
        return rendered

    def _render(self, name: str, parts: frozenset[str] | None) -> bytes:
        file, different = _VARIANTS.get(name, (name, _NOTHING))
        return render(_text(file, different), {**self._placeholders, **different}, parts).encode()


def _text(name: str, different: Mapping[str, str] = _NOTHING) -> str:
    """The text of a file, with the fragments that it names, or that a variant has in their places."""
    folder = files(__package__)
    text = folder.joinpath(f"{name}.sql").read_text(encoding="utf-8")
    for fragment in _FRAGMENTS:
        place = f"{{{fragment}}}"
        if place in text:
            other = different.get(fragment, place)[1:-1]
            common = folder.joinpath("fragments", f"{other}.sql").read_text(encoding="utf-8")
            text = text.replace(place, f"\n{common}")
    return text
