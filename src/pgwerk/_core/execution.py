"""What surrounds the run of a handler: from a claimed row to a call, and from what came of it to an outcome.

Nothing here runs a handler or waits for one. The workers and `_sync` do, each in its own way; what they call, and what
an attempt comes to, is decided here for all of them:

    work ──begin──> call ──(somebody calls it)──> ending ──end──> what came of it
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from pgwerk._core.allowed import AllowedFunctions, resolve_allowed
from pgwerk._core.calls import accepts, traits
from pgwerk._core.claimed import Claimed
from pgwerk._core.context import Context
from pgwerk._core.envelope import pack_limited, unpack
from pgwerk._core.errors import JobTimeout, SerializationError
from pgwerk._core.failures import describe, exception_line
from pgwerk._core.models import ExecutionStatus, Job, JobStatus
from pgwerk._core.paths import resolve
from pgwerk._core.policy import Outcome, after_failure, after_success, stopped
from pgwerk._core.serializers import Serializer, dumps_value, loads_payload

logger = logging.getLogger("pgwerk.jobs")

CALLBACKS = ("on_success", "on_failure", "on_stopped")
"""The options that callbacks are given with."""


class Work(NamedTuple):
    """What is to be run for a job.

    Attributes:
        claimed: The job.
        due: The callback to be called; None for the handler.
    """

    claimed: Claimed
    due: DueCallback | None = None

    @property
    def function(self) -> str:
        """The path of what is called."""
        return self.claimed.function if self.due is None else self.due.function

    @property
    def timeout_secs(self) -> int | None:
        """Seconds it may take."""
        return self.claimed.timeout_secs if self.due is None else self.due.timeout_secs


class Call(NamedTuple):
    """A handler or callback, and what it is called with."""

    func: Callable[..., Any]
    args: Sequence[Any]
    kwargs: dict[str, Any]
    is_coroutine: bool


class Ending(NamedTuple):
    """What came of a call.

    Attributes:
        result: What it returned.
        error: What it raised.
        timed_out: Whether it took longer than it may, whatever it returned or raised then.
    """

    result: Any = None
    error: BaseException | None = None
    timed_out: bool = False


class Attempted(NamedTuple):
    """What an attempt has come to.

    Attributes:
        outcome: What becomes of the job.
        error: What it failed with.
        max_memory: Bytes that its process took up at most, if it had one of its own.
    """

    outcome: Outcome
    error: BaseException | None = None
    max_memory: int | None = None


class Attempts:
    """Begins and ends attempts at jobs, with the settings of one client.

    Args:
        serializer: What payloads and results are serialized with.
        context: Makes the `Context` of a job; told whether the function that gets it is a coroutine function.
        allowed: The functions that may be called, as handlers and as callbacks; None allows everything.
    """

    def __init__(
        self, serializer: Serializer, context: Callable[[Job, bool], Context], allowed: AllowedFunctions | None = None
    ) -> None:
        self.serializer = serializer
        self._context = context
        # Workers do this for every job, most of them without limits.
        self._resolve = resolve if allowed is None else functools.partial(resolve_allowed, allowed=allowed)

    def begin(self, work: Work) -> Call:
        """Find what is to be called, and read its arguments.

        Raises:
            BaseException: Anything: a module may raise what it likes while it is imported.
        """
        if work.due is None:
            return self.prepare(work.claimed)
        return self.callback(work.due, work.claimed.job(self.serializer))

    def not_begun(self, work: Work, error: BaseException) -> Attempted | Ending:
        """What comes of work that `begin` has refused; as `end`."""
        return self.unprepared(work.claimed, error) if work.due is None else Ending(error=error)

    def end(self, work: Work, call: Call, ending: Ending) -> Attempted | Ending:
        """What came of it: an attempt at the job, or just the end of a callback."""
        return self.ended(work.claimed, call, ending) if work.due is None else ending

    def prepare(self, claimed: Claimed) -> Call:
        """Find the handler of a job, and read its arguments.

        Raises:
            BaseException: As `begin`.
        """
        handler = self._resolve(claimed.function)
        args: Sequence[Any] = ()
        kwargs: dict[str, Any] = {}
        payload = claimed.payload
        if payload is not None:
            args, kwargs = loads_payload(self.serializer, unpack(payload))
        is_coroutine, wants_context = traits(handler)
        if wants_context:
            args = (self._context(claimed.job(self.serializer), is_coroutine), *args)
        return Call(handler, args, kwargs, is_coroutine)

    def unprepared(self, claimed: Claimed, error: BaseException) -> Attempted:
        """The handler could not be called at all."""
        # A worker of another release may know the function; nobody will be able to read the payload.
        retry = not isinstance(error, SerializationError)
        return Attempted(after_failure(claimed, describe(error), retry=retry), error)

    def returned(self, claimed: Claimed, result: Any) -> Attempted:
        """The handler returned."""
        try:
            what = f"the result of {claimed.function}()"
            packed = pack_limited(dumps_value(self.serializer, result, what), what)
        except SerializationError as error:
            # It has run, and would give the same again.
            return Attempted(after_failure(claimed, describe(error), retry=False), error)
        return Attempted(after_success(claimed, packed))

    def raised(self, claimed: Claimed, call: Call, error: BaseException) -> Attempted:
        """The handler raised."""
        # Arguments that do not fit will not fit the next time either.
        misfit = isinstance(error, TypeError) and accepts(call.func, call.args, call.kwargs, False) is not None
        return Attempted(after_failure(claimed, describe(error), retry=not misfit), error)

    def timed_out(self, claimed: Claimed, error: BaseException | None) -> Attempted:
        """The handler took longer than it may; `error` is what it raised when it was told."""
        timeout = JobTimeout(f"the job ran for longer than its time-out of {claimed.timeout_secs} s")
        timeout.__cause__ = error
        return Attempted(after_failure(claimed, describe(timeout)), timeout)

    def ended(self, claimed: Claimed, call: Call, ending: Ending) -> Attempted:
        """The handler came to this end."""
        if ending.timed_out:
            return self.timed_out(claimed, ending.error)
        if ending.error is not None:
            return self.raised(claimed, call, ending.error)
        return self.returned(claimed, ending.result)

    def interrupted(self, claimed: Claimed, error: BaseException) -> Outcome:
        """Whoever ran the handler was stopped, by a signal or a cancellation, and the handler with it."""
        logger.warning("job %s (%s) was stopped by %s", claimed.id, claimed.function, type(error).__name__)
        return stopped(f"{describe(error)}stopped: {type(error).__name__} ended the call that ran the job\n")

    def callback(self, due: DueCallback, job: Job) -> Call:
        """Find a callback. It gets the `Context` by the same rule as a handler does, else the job.

        Raises:
            BaseException: As `prepare`.
        """
        func = self._resolve(due.function)
        is_coroutine, wants_context = traits(func)
        argument = self._context(job, is_coroutine) if wants_context else job
        return Call(func, (argument,), {}, is_coroutine)


def log_failure(claimed: Claimed, outcome: Outcome) -> None:
    """Say that an attempt has failed, if it has."""
    if outcome.execution is ExecutionStatus.Failed:
        logger.warning(
            "attempt %d of %d at job %s (%s) failed%s: %s",
            claimed.attempts,
            claimed.max_attempts,
            claimed.id,
            claimed.function,
            ", and the job with it" if outcome.status is JobStatus.Failed else ", and another one follows",
            exception_line(outcome.error or ""),
        )


class DueCallback(NamedTuple):
    """A callback that is to be called.

    Attributes:
        option: The option that it was given with.
        function: Its path.
        timeout_secs: Seconds it may take.
    """

    option: str
    function: str
    timeout_secs: int | None

    def has_failed(self, job_id: str, ending: Ending) -> bool:
        """Whether it came to a bad end. That is logged, and changes nothing about the job."""
        if ending.timed_out:
            reason = f"ran for longer than its time-out of {self.timeout_secs} s"
        elif ending.error is not None:
            reason = f"failed with {type(ending.error).__name__}"
        else:
            return False
        logger.error("%s of job %s (%s) %s", self.option, job_id, self.function, reason, exc_info=ending.error)
        return True


def due_callback(job: Job, columns: Mapping[str, Any]) -> DueCallback | None:
    """The callback that fits the end of a job, if it has one.

    Args:
        job: The job in its terminal state.
        columns: The columns with the time-outs of its callbacks, which are no fields of a `Job`.
    """
    option, function = {
        JobStatus.Complete: ("on_success", job.on_success),
        JobStatus.Failed: ("on_failure", job.on_failure),
        JobStatus.Aborted: ("on_stopped", job.on_stopped),
    }[job.status]
    return None if function is None else DueCallback(option, function, columns.get(f"{option}_timeout"))
