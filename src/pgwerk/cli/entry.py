"""Where the `werk` command begins: it says what is missing when the packages of the extra `cli` are not installed."""

from __future__ import annotations

import sys
from collections.abc import Sequence

NEEDED = ("click", "rich")


def missing_package(error: ModuleNotFoundError) -> str | None:
    """What to say when one of these is what could not be imported; None for anything else."""
    package = (error.name or "").partition(".")[0]
    if package not in NEEDED:
        return None
    return f"the package {package} is not installed: pip install {' '.join(NEEDED)}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, and return the exit code."""
    try:
        from pgwerk.cli.main import run
    except ModuleNotFoundError as error:
        said = missing_package(error)
        if said is None:
            raise
        sys.stderr.write(f"werk: {said}\n")
        return 2
    except KeyboardInterrupt:
        return 130
    return run(sys.argv[1:] if arguments is None else arguments)
