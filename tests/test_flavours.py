"""Both flavours are the same to the letter, and their seams are twins."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
from tools._unasync.twins import compare_twins

import pgwerk
from pgwerk import Enqueuer, SyncEnqueuer, SyncWerk, Werk

PACKAGE = Path(pgwerk.__file__).parent
TESTS = Path(__file__).parent


@pytest.mark.parametrize(("one", "other"), [(Werk, SyncWerk), (Enqueuer, SyncEnqueuer)])
def test_same_methods_with_the_same_signatures(one: type, other: type) -> None:
    """`Werk` and `SyncWerk` have the same methods, with the same parameters and defaults, and so have enqueuers."""

    def surface(client: type) -> dict[str, list[tuple[str, object, object]]]:
        members = inspect.getmembers(client, callable)
        return {
            name: [(each.name, each.kind, each.default) for each in inspect.signature(member).parameters.values()]
            for name, member in members
            if not name.startswith("_")
        }

    assert surface(one) == surface(other)
    assert {"enqueue", "apply", "map", "options"} <= surface(one).keys()


def test_seams_are_twins() -> None:
    """The hand-written modules in which the flavours differ have the same names and signatures."""
    for folder in (PACKAGE, TESTS):
        twins = [(folder / flavour / "_compat.py").read_text(encoding="utf-8") for flavour in ("_async", "_sync")]
        assert [] == list(compare_twins(*twins))


def test_public_names_are_all_there() -> None:
    """Whatever `__all__` promises can be imported, and nothing else is offered by accident."""
    for name in pgwerk.__all__:
        assert getattr(pgwerk, name) is not None
    assert sorted(pgwerk.__all__, key=str) == sorted(set(pgwerk.__all__), key=str)
