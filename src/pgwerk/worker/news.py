"""Whether a worker wants to be told of new jobs.

A commit that notifies takes a lock that there is one of in a database cluster, and waits for the disk while it holds
it. So whoever enqueues a job notifies only if a worker of its queue wants news, which its row in the workers table
says. A worker that has something to claim whenever it looks need not be told of more.

Nothing is missed by that:

- A worker says that it wants news before it goes to sleep, and looks once more then. What was committed before that, it
  finds. What is inserted after that is notified, as the statement that inserts sees what the worker wants.
- In between are statements that began before the worker's wish was committed, and are committed after it has looked.
  For them it looks again, soon and then later, as often as `LOOK_AGAIN_SECS` says, and from then on with each poll.
- The row may be gone: workers that were not heard of for long are removed, the table can be truncated, and an unlogged
  one is empty after a crash. A heartbeat makes a new one, in which nothing is wanted. So each heartbeat reads what the
  row says. A worker that does not find its wish there looks for work, and wishes again.

It stops wanting news when it has been busy for a while, not at once: one that is idle most of the time has nothing to
say for each job that comes, and no statement stands between a notification and the claim.
"""

from __future__ import annotations

BUSY_SECS = 0.5
"""After how many seconds in which every claim found all it asked for a worker is busy."""

LOOK_AGAIN_SECS = 0.05, 0.25, 1.0
"""How many seconds after it has said that it wants news a worker looks for jobs whose commits took that long."""


class News:
    """What one worker wants, and what is known of it. All times by the monotonic clock."""

    def __init__(self) -> None:
        self._is_wanted = False
        self._busy_since: float | None = None
        self._look_again_at: list[float] = []

    def change(self, now: float, *, finds_work: bool, is_hearing: bool) -> bool | None:
        """What the worker has to say from now on: that it wants news, or does not; None if it need not say anything.

        Args:
            now: The time.
            finds_work: Whether the last claim found all it asked for.
            is_hearing: Whether it would hear of news.
        """
        if not finds_work:
            self._busy_since = None
            return True if is_hearing and not self._is_wanted else None
        if self._busy_since is None:
            self._busy_since = now
        return False if self._is_wanted and now - self._busy_since >= BUSY_SECS else None

    def is_going_to_change(self, wants_news: bool) -> None:
        """The worker is about to say so. Until it has, it must not rely on being told."""
        if not wants_news:
            self._is_wanted = False
            self._look_again_at = []

    def has_changed(self, now: float, wants_news: bool) -> None:
        """The worker has said so."""
        self._is_wanted = wants_news
        if wants_news:
            self._look_again_at = [now + secs for secs in LOOK_AGAIN_SECS]

    def is_forgotten(self, wants_news: bool) -> bool:
        """Whether the worker's row does not say what the worker has said: something may have happened unnoticed.

        Args:
            wants_news: What the row says.
        """
        is_forgotten = self._is_wanted and not wants_news
        if is_forgotten:
            self._is_wanted = False
        return is_forgotten

    @property
    def look_again_at(self) -> float:
        """When to look again, whatever is heard."""
        return self._look_again_at[0] if self._look_again_at else float("inf")

    def has_to_look_again(self, now: float) -> bool:
        """Whether it is time to look again. That is not said twice."""
        left = [moment for moment in self._look_again_at if moment > now]
        has_to = len(left) < len(self._look_again_at)
        self._look_again_at = left
        return has_to
