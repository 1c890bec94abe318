"""The jobs that a command line names: by their ids, or by enough of the beginning of one."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable

from pgwerk.cli.failures import USAGE, Failure
from pgwerk.cli.output import ago
from pgwerk.cli.session import Session
from pgwerk.cli.shown import in_one_line

LEAST_DIGITS = 6
CANDIDATES = 5

_BEGINNING = re.compile(r"[0-9a-f]+(-[0-9a-f]*)*")


def named_jobs(session: Session, words: Iterable[str]) -> list[str]:
    """The full ids, each once, in the order given.

    A full id is taken as it is, whether there is such a job or not. The beginning of one is looked up: ids sort by
    time, and the first 12 digits are the millisecond.

    Raises:
        Failure: A word is no id; or no job, or more than one, has an id that begins so.
    """
    return list(dict.fromkeys(named_job(session, word) for word in words))


def named_job(session: Session, word: str) -> str:
    """The full id of one job; see `named_jobs`."""
    text = word.strip().lower()
    digits = text.replace("-", "")
    if not _BEGINNING.fullmatch(text) or len(digits) > 32:
        raise Failure(f"{word!r} is not the id of a job: that is a UUID, as `werk jobs` lists them", USAGE)
    if len(digits) == 32 and text.count("-") in {0, 4}:
        return str(uuid.UUID(digits))
    if len(digits) < LEAST_DIGITS:
        raise Failure(f"{word!r} is too short: give at least {LEAST_DIGITS} digits of the id", USAGE)
    try:
        found = session.call(session.app.list_jobs, id_prefix=text, limit=CANDIDATES + 1)
    except ValueError:
        raise Failure(f"{word!r} is not the beginning of an id: its hyphens are in the wrong places", USAGE) from None
    if not found:
        raise Failure(f"there is no job whose id begins with {word}")
    if len(found) > 1:
        lines = [
            f"  {job.id}  {job.status.value}, {ago(job.enqueued_at)}, {in_one_line(job.function)}" for job in found
        ]
        lines[CANDIDATES:] = ["  ..."] if len(found) > CANDIDATES else []
        raise Failure("\n".join([f"several jobs have an id that begins with {word}:", *lines]))
    return str(found[0].id)
