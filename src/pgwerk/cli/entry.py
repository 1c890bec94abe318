"""Where the `werk` command begins: it says what is missing when the packages of the extra `cli` are not installed."""

from __future__ import annotations

import sys
from collections.abc import Sequence

NEEDED = ("click", "rich")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, and return the exit code."""
    try:
        from pgwerk.cli.main import run
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in NEEDED:
            raise
        sys.stderr.write(f"werk: the package {package} is not installed: pip install {' '.join(NEEDED)}\n")
        return 2
    except KeyboardInterrupt:
        return 130
    return run(sys.argv[1:] if arguments is None else arguments)
