"""Every scenario in its short form. The long one is `nox -s faults`."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.embedded.helpers import needs_wheel
from tests.faults.arena import Scale
from tests.faults.scenarios import PEACEFUL, scenarios

pytestmark = pytest.mark.posix

SCENARIOS = scenarios()
MARKS = {
    "restarted server": [needs_wheel],
    "schedulers": [needs_wheel],
}


@pytest.mark.parametrize("name", [pytest.param(name, marks=MARKS.get(name, [])) for name in SCENARIOS])
async def test_faults_do_no_harm(name: str, dsn: str, tmp_path: Path) -> None:
    """In the end every job is over, no effect is missing, and what was settled was never overwritten."""
    report = await SCENARIOS[name](name, dsn, tmp_path, Scale())
    print(report)
    assert () == report.broken
    assert (0, 0, 0) == (report.lost, report.missing, report.twice)
    assert report.attempts >= report.jobs > 0
    # A scenario that injects nothing shows nothing.
    assert (name in PEACEFUL) == (report.faults == 0)
