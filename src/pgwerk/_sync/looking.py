# Generated from src/pgwerk/_async/looking.py by `python tools/unasync_build.py`.
# Do not edit: change that file and run the command again.

"""Looking whether jobs have ended: one look at a time, for everybody in one scope who wants to know.

A waiter does not look by itself. A thousand of them would send a thousand queries, without a pool over as many
connections. It asks, and waits for the answer. The looks are made in the background, one after the other: each is for
all that has been asked by then, over one connection, and when nothing more is asked the background ends. What is asked
while a look is under way waits for the next one, because a look may see less than the asker has been notified of.

So a waiter waits for nothing but a signal. It gives up at the very moment when its time is over, even if the look hangs
because the table is locked, and when it is cancelled the look goes on for the others. A look that nobody waits for any
more ends when the database answers.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Collection, Iterable, Sequence
from typing import Any, TypeAlias

from pgwerk._core.arrays import plain
from pgwerk._sql import Statements
from pgwerk._sync import _compat, forking
from pgwerk._sync.connections import Connections, WerkCursor

LONGEST_WAIT_SECS = 86_400.0
"""What a signal is waited for at once: the system has a limit."""

Row: TypeAlias = Sequence[Any]
Answer: TypeAlias = dict[str, Row | None]
"""The rows of those jobs that have ended, by id; None for one that is not there."""


class _Question:
    """What one waiter wants to know, and the answer."""

    def __init__(self, ids: Collection[str], mark: bool) -> None:
        self.ids = ids
        self.mark = mark
        self.signal = _compat.Signal()
        self.answer: Answer | Exception | None = None

    def settle(self, answer: Answer | Exception) -> None:
        """Answer it."""
        self.answer = answer
        self.signal.set()


class _Desk:
    """Where the waiters of one scope ask."""

    def __init__(self, looks: Looks) -> None:
        self._looks = looks
        self._asked: dict[_Question, None] = {}
        self._lock = _compat.Lock()
        self._background: _compat.Background | None = None

    def put(self, question: _Question) -> None:
        """Have it answered by the next look."""
        with self._lock:
            question.signal.clear()
            self._asked[question] = None
            if self._background is None:
                self._background = _compat.Background(self._work, "pgwerk-look")

    def withdraw(self, question: _Question) -> None:
        """Nobody waits for the answer any more."""
        with self._lock:
            self._asked.pop(question, None)

    def _take(self) -> list[_Question]:
        """What has been asked; if that is nothing, whoever asks next starts the work anew."""
        with self._lock:
            taken = list(self._asked)
            self._asked.clear()
            if not taken:
                self._background = None
            return taken

    def _work(self) -> None:
        questions: list[_Question] = []
        try:
            while questions := self._take():
                self._answer(questions)
        except BaseException:
            # The event loop ends, or something is broken: who still waits asks again.
            self._background = None
            for question in (*questions, *self._asked):
                question.signal.set()
            raise

    def _answer(self, questions: Sequence[_Question]) -> None:
        wanted = _union(questions)
        marked = _union([question for question in questions if question.mark])
        try:
            found = self._looks.look(wanted, marked)
        except Exception as error:  # whatever it is, each of them must hear of it
            for question in questions:
                question.settle(error)
        else:
            for question in questions:
                question.settle({job_id: found[job_id] for job_id in question.ids if job_id in found})


class Looks:
    """The looks of one client at its jobs.

    Args:
        connections: Where they get their connections from.
        statements: The statements.
    """

    def __init__(self, connections: Connections, statements: Statements) -> None:
        self._connections = connections
        self._statements = statements
        self._desks: dict[object, _Desk] = {}
        forking.register(self)

    def ended(self, ids: Collection[str], *, mark: bool, deadline: float = math.inf) -> Answer:
        """Which of these jobs have ended, as seen by a look that begins after this call.

        Args:
            ids: The jobs.
            mark: Whether to mark them before as awaited, so that their end is notified.
            deadline: When to give up, by the monotonic clock.

        Returns:
            Their rows by id, None for a job that is not there. Nothing, when it became too late.

        Raises:
            psycopg.Error: What the database said to whoever looked.
        """
        if not ids:
            return {}
        question = _Question(ids, mark)
        desk = self._desk()
        try:
            desk.put(question)
            while question.answer is None:
                left = deadline - time.monotonic()
                if left <= 0:
                    return {}
                if question.signal.wait(min(left, LONGEST_WAIT_SECS)) and question.answer is None:
                    desk.put(question)
        finally:
            desk.withdraw(question)
        if isinstance(question.answer, Exception):
            # To each waiter its own: the traceback of what is raised grows on the way.
            raise copy.copy(question.answer).with_traceback(question.answer.__traceback__)
        return question.answer

    def look(self, ids: Collection[str], unmarked: Collection[str]) -> Answer:
        """Look, over a connection of its own."""
        with self._connections.connection() as connection:
            cursor = WerkCursor(connection)
            if unmarked:
                cursor.execute(self._statements["await_jobs"], {"ids": plain(unmarked)})
            cursor.execute(self._statements["get_ended"], {"ids": plain(ids)}, binary=True)
            rows = cursor.fetchall()
        return {wanted_id: None if row[0] is None else row for wanted_id, *row in rows}

    def _desk(self) -> _Desk:
        for over in [known for known in list(self._desks) if _compat.scope_is_over(known)]:
            self._desks.pop(over, None)
        return self._desks.setdefault(_compat.scope(), _Desk(self))

    def after_fork(self) -> None:
        """What was asked in the parent is answered there."""
        forking.abandon(self._desks)
        self._desks = {}


def _union(questions: Iterable[_Question]) -> Collection[str]:
    return dict.fromkeys(job_id for question in questions for job_id in question.ids)
