"""Every error that pgwerk raises of its own accord, with `WerkError` at the root.

Bad arguments are the built-in `ValueError` and `TypeError`, errors of the database are psycopg's: both are what
a caller already knows how to catch. All classes here survive pickling, because they cross process borders.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgwerk._core.failures import exception_line

if TYPE_CHECKING:
    from pgwerk._core.models import Job


class WerkError(Exception):
    """The root of all errors of pgwerk."""


class JobNotFound(WerkError, LookupError):
    """There is no job with this id: it never existed, or its row has been deleted."""

    def __init__(self, job_id: str) -> None:
        super().__init__(job_id)
        self.job_id = job_id

    def __str__(self) -> str:
        return f"there is no job {self.job_id!r}"


class ScheduleNotFound(WerkError, LookupError):
    """There is no schedule with this name."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return f"there is no schedule {self.name!r}"


class JobError(WerkError):
    """A job that somebody waited for ended as failed or aborted.

    Attributes:
        job: The job in its terminal state; `job.error` holds the whole traceback.
    """

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self.job = job

    def __str__(self) -> str:
        line = exception_line(self.job.error or "").strip()
        reason = f": {line}" if line else ""
        return f"job {self.job.id} ({self.job.function}) {self.job.status.value}{reason}"


class JobTimeout(WerkError, TimeoutError):
    """A job ran for longer than its time-out and was stopped."""


class DependencyFailed(JobError):
    """A job that somebody waited for could not start, because a job that it depends on failed."""


class SerializationError(WerkError, ValueError):
    """A value cannot be stored, or stored data cannot be read back."""


class HandlerNotFound(WerkError, ImportError):
    """The dotted path of a job does not lead to a function."""


class FunctionNotAllowed(HandlerNotFound):
    """The dotted path of a job leads to what `allowed_functions` does not allow.

    Attributes:
        function: The path.
        patterns: What is allowed.
        reason: What keeps the path from being allowed, when it matches one of the patterns; else empty.
    """

    def __init__(self, function: str, patterns: tuple[str, ...], reason: str = "") -> None:
        super().__init__(function, patterns, reason)
        self.function = function
        self.patterns = patterns
        self.reason = reason

    def __str__(self) -> str:
        allowed = ", ".join(map(repr, self.patterns))
        because = f": {self.reason}" if self.reason else ""
        return f"{self.function!r} is not allowed{because} (allowed_functions: {allowed})"


class SchemaVersionMismatch(WerkError):
    """The tables in the database are older or newer than this release of pgwerk works with.

    Attributes:
        found: The version of the tables in the database; 0 when there are none.
        expected: The version that this release works with.
    """

    def __init__(self, found: int, expected: int, advice: str) -> None:
        super().__init__(found, expected, advice)
        self.found = found
        self.expected = expected
        self.advice = advice

    def __str__(self) -> str:
        return (
            f"the database has version {self.found} of pgwerk's tables and this release needs "
            f"version {self.expected}: {self.advice}"
        )
