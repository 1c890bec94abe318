"""What becomes of the jobs that run when a worker stops, and what is said about it.

A job either ends in the time that it is given, or it is stopped and given back, or it cannot be stopped: a plain
function in a thread, or a coroutine that swallows its cancellation. Such a job goes on for as long as the process
lives, so nobody may start it before that is over. By default the worker waits for it, and if it is told not to, leaves
it to those who rescue it when the lease is over.

A worker that `exits_hard` does not wait: whoever runs it has promised to end the process as soon as the worker has
ended. It gives the job back with a delay, for which the process should be gone. A job of a group is the exception: to
give it back lets the next job of its group start at once. It is left to be rescued.
"""

from __future__ import annotations

import enum
import logging
from collections.abc import Collection, Iterable, Sequence

from pgwerk._core.claimed import Claimed
from pgwerk._core.execution import Attempts
from pgwerk._core.inserts import Settlement
from pgwerk._core.models import JobStatus
from pgwerk._core.policy import Outcome, given_back
from pgwerk.worker.execution import Interruption, RunKey, Running

logger = logging.getLogger("pgwerk.worker")

EXIT_SECS = 10.0
"""What the process may take to end, once the worker has given back what still runs."""


class Fate(enum.Enum):
    """What has become of a job."""

    Ended = enum.auto()
    GivenBack = enum.auto()
    Postponed = enum.auto()
    """It still runs, and was given back with a delay."""
    Left = enum.auto()
    """It still runs, and will be rescued when the lease is over."""


_SUMMARY = {
    Fate.Ended: "ended",
    Fate.GivenBack: "given back",
    Fate.Postponed: "could not be stopped",
    Fate.Left: "could not be stopped",
}


class Departure:
    """The end of one worker.

    Args:
        attempts: Ends attempts.
        exits_hard: Whether the process ends at once when the worker has ended.

    Attributes:
        leaves_something: Whether handlers still run that nobody waits for any more.
    """

    def __init__(self, attempts: Attempts, *, exits_hard: bool) -> None:
        self.leaves_something = False
        self._attempts = attempts
        self._exits_hard = exits_hard
        self._has_begun = False
        self._fates: dict[RunKey, tuple[Claimed, Fate]] = {}

    @property
    def needs_lease(self) -> bool:
        """Whether something that still runs is not given back."""
        return any(fate is Fate.Left for _, fate in self._fates.values())

    def begin(self) -> None:
        """From here on, count what becomes of jobs."""
        self._has_begun = True

    def announce(self, runs: Iterable[Running], patience_secs: float) -> None:
        """Say that the worker stops; how long it waits for what runs."""
        callbacks = [running.key.is_callback for running in runs]
        if not callbacks:
            logger.info("stopping: no job runs")
        elif patience_secs:
            logger.info("stopping: %s, and may take %g s to end", _what_runs(callbacks), patience_secs)
        else:
            logger.info("stopping at once: %s", _what_runs(callbacks))

    def ended(self, running: Running, outcome: Outcome) -> None:
        """The attempt at a job came to this."""
        if self._has_begun:
            fate = Fate.GivenBack if outcome.execution is None else Fate.Ended
            self._fates[running.key] = running.claimed, fate

    def left(self, running: Running) -> Settlement | None:
        """A handler is not waited for any more. How its job is to be settled, if it is to be given back."""
        self.leaves_something = True
        claimed = running.claimed
        if running.interruption is Interruption.Lost:
            return None
        if not self._exits_hard or claimed.group_key is not None:
            self._fates[running.key] = claimed, Fate.Left
            return None
        outcome = self._outcome(running)
        self._fates[running.key] = claimed, Fate.Postponed if outcome.execution is None else Fate.Ended
        return Settlement(claimed.id, claimed.worker_id, claimed.attempts, outcome)

    def _outcome(self, running: Running) -> Outcome:
        """What becomes of a job whose handler ends with the process."""
        if running.interruption is not Interruption.Timeout:
            return given_back(EXIT_SECS)
        outcome = self._attempts.timed_out(running.claimed, None).outcome
        if outcome.status is JobStatus.Failed:
            return outcome
        return outcome._replace(status=JobStatus.Scheduled, delay=max(outcome.delay, EXIT_SECS))

    def sum_up(self, unsettled: Collection[tuple[str, int]]) -> None:
        """Say what has become of the jobs that ran.

        Args:
            unsettled: The attempts whose ends the database does not know of.
        """
        settled = [
            (claimed, fate) for claimed, fate in self._fates.values() if (claimed.id, claimed.attempts) not in unsettled
        ]
        for claimed, fate in settled:
            _tell(claimed, fate)
        if self._fates:
            logger.info("%s", _summary([fate for _, fate in settled], len(self._fates) - len(settled)))


def _summary(fates: Collection[Fate], unsettled: int) -> str:
    counts = {text: sum(_SUMMARY[fate] == text for fate in fates) for text in _SUMMARY.values()}
    counts["could not be settled"] = unsettled
    total = len(fates) + unsettled
    told = ", ".join(f"{count} {text}" for text, count in counts.items() if count)
    return f"{total} {'job' if total == 1 else 'jobs'} ran: {told}"


def _what_runs(callbacks: Sequence[bool]) -> str:
    counts = {"job": callbacks.count(False), "callback": callbacks.count(True)}
    told = [f"{count} {what}{'s' * (count > 1)}" for what, count in counts.items() if count]
    return f"{' and '.join(told)} {'runs' if len(callbacks) == 1 else 'run'}"


def _tell(claimed: Claimed, fate: Fate) -> None:
    what = claimed.id, claimed.function
    if fate is Fate.GivenBack:
        logger.info("job %s (%s) was given back, and may start at once", *what)
    elif fate is Fate.Postponed:
        logger.warning(
            "job %s (%s) could not be stopped: it was given back, and may start in %g s, when this process is gone",
            *what,
            EXIT_SECS,
        )
    elif fate is Fate.Left:
        logger.warning("job %s (%s) could not be stopped: it is rescued when the worker's lease is over", *what)
