"""The environments of the peers: made once for each version, beside those of nox."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from attrs import frozen

ROOT = Path(__file__).parent.parent.parent
FOLDER = ROOT / ".nox" / "peers"


@frozen(kw_only=True)
class Peer:
    """Another queue.

    Attributes:
        name: Its name.
        module: The module that measures it.
        requirement: What is installed, pinned.
        jobs: How many jobs a drain is of, if nothing else is asked for.
    """

    name: str
    module: str
    requirement: str
    jobs: int


PEERS = {
    peer.name: peer
    for peer in (
        Peer(
            name="PgQueuer",
            module="with_pgqueuer",
            requirement="pgqueuer[asyncpg]==1.6.0",
            jobs=20_000,
        ),
        Peer(
            name="Procrastinate",
            module="with_procrastinate",
            requirement="procrastinate==3.10.0",
            jobs=5_000,
        ),
    )
}


def python_of(peer: Peer) -> Path:
    """The interpreter of its environment, which is made if it is missing."""
    folder = FOLDER / peer.requirement
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    mark = folder / "complete"
    if not mark.exists():
        subprocess.run([sys.executable, "-m", "virtualenv", "--quiet", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", peer.requirement], check=True)
        mark.touch()
    return python
