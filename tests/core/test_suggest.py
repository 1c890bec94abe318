from __future__ import annotations

import pytest

from pgwerk._core.suggest import suggest


@pytest.mark.parametrize("given", ["_quue", "queue", "_Queue", "queu"])
def test_near_name(given: str) -> None:
    """A name that was mistyped, or lost its underscore or its case, brings up the right one."""
    assert suggest(given, ["_retry", "_queue", "_key"]) == " Did you mean '_queue'?"


def test_nothing_near() -> None:
    """Nothing is proposed when nothing is near, or when there is nothing."""
    assert suggest("banana", ["_retry", "_queue"]) == ""
    assert suggest("banana", []) == ""
