"""How the commands that go on until they are told to stop are stopped: each signal is one step more.

The first one asks for an orderly stop, the second one for a stop at once, the third one does not ask.
"""

from __future__ import annotations

import contextlib
import queue
import signal
import threading
from collections.abc import Callable, Iterator

STOP_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
REPORT_SIGNAL: signal.Signals | None = getattr(signal, "SIGUSR1", None)
"""Windows has neither this one nor SIGHUP, which is sent when a terminal is closed."""


class Steps:
    """The steps that lead to the end; each is taken once.

    Args:
        steps: What they do. They may be called by a handler of a signal, and from any thread.

    Attributes:
        taken: How many have been taken.
    """

    def __init__(self, *steps: Callable[[], None]) -> None:
        self._steps = steps
        self._signals = 0
        # A second signal may come in between while the first one is dealt with, in the same thread.
        self._lock = threading.RLock()
        self.taken = 0

    def on_signal(self) -> None:
        """Take as many steps as signals have come.

        One that comes together with the supervisor's order to stop is the same order, and not one step more.
        """
        self._signals += 1
        self.at_least(self._signals)

    def at_least(self, number: int) -> None:
        """Take the steps up to this one that have not been taken."""
        with self._lock:
            while self.taken < min(number, len(self._steps)):
                self.taken += 1
                self._steps[self.taken - 1]()


class LastResort:
    """Has something done when the end does not come in time.

    Its thread is there from the beginning: a handler of a signal, which may come in between while another thread is
    being started, must not start one.

    Args:
        secs: How long to wait, from the order to stop on.
        func: What to do then, in a thread.
    """

    def __init__(self, secs: float, func: Callable[[], None]) -> None:
        self._secs = secs
        self._func = func
        self._news: queue.SimpleQueue[None] = queue.SimpleQueue()
        threading.Thread(target=self._wait, name="pgwerk-last-resort", daemon=True).start()

    def begin(self) -> None:
        """The order to stop was given. May be called by a handler of a signal."""
        self._news.put(None)

    def end(self) -> None:
        """All has ended."""
        self._news.put(None)
        self._news.put(None)

    def _wait(self) -> None:
        self._news.get()
        try:
            self._news.get(timeout=self._secs)
        except queue.Empty:
            self._func()


@contextlib.contextmanager
def signals_handled(on_stop: Callable[[signal.Signals], None], on_report: Callable[[], None]) -> Iterator[None]:
    """Have functions called for the signals that stop a program, and for the one that asks for a report.

    Args:
        on_stop: Called with a signal that is to stop the program.
        on_report: Called for SIGUSR1.
    """
    handlers: dict[signal.Signals, Callable[..., None]] = {
        number: lambda received, _frame: on_stop(signal.Signals(received)) for number in STOP_SIGNALS
    }
    if REPORT_SIGNAL is not None:
        handlers[REPORT_SIGNAL] = lambda *_: on_report()
    before = {}
    for number, handler in handlers.items():
        if signal.getsignal(number) is signal.SIG_IGN:
            continue  # by nohup, or by a shell that has started it in the background
        before[number] = signal.signal(number, handler)
    try:
        yield
    finally:
        for number, old in before.items():
            # The default for a report is to kill the process, which nobody means who asks a moment too late.
            is_late_report = number == REPORT_SIGNAL and old is signal.SIG_DFL
            signal.signal(number, signal.SIG_IGN if is_late_report else old)


def how_to_go_on(number: signal.Signals) -> str:
    """What the next step is, for whoever has taken the first one."""
    return "Ctrl-C again stops at once" if number is signal.SIGINT else "a second signal stops at once"
