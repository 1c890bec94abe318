"""`python -m pgwerk.cli` is `werk`."""

from __future__ import annotations

import sys

from pgwerk.cli.entry import main

if __name__ == "__main__":
    sys.exit(main())
