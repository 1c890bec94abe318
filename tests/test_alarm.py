"""What a blocking scheduler sleeps until, rung by signal handlers."""

from __future__ import annotations

import signal
import time

import pytest

from pgwerk._sync._compat import Alarm

pytestmark = pytest.mark.posix


def test_signal_handler_rings() -> None:
    """A handler that runs just when its thread falls asleep, or wakes up, finds no lock in its way."""
    alarm = Alarm()
    rings = 0

    def ring(*_: object) -> None:
        nonlocal rings
        rings += 1
        alarm.ring()

    before = signal.signal(signal.SIGVTALRM, ring)
    signal.setitimer(signal.ITIMER_VIRTUAL, 0.0001, 0.0001)
    try:
        began = time.monotonic()
        while rings < 500 and time.monotonic() < began + 3:
            alarm.sleep(0.00001)
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
    assert rings > 10


def test_ring_before_the_sleep() -> None:
    """Who rings before anybody sleeps ends the next sleep, and only that."""
    alarm = Alarm()
    alarm.ring()
    alarm.ring()
    began = time.monotonic()
    alarm.sleep(60)
    assert time.monotonic() < began + 30
    alarm.sleep(0)
    alarm.sleep(-1)
