"""The version of this package."""

from __future__ import annotations

import functools
from importlib import metadata


@functools.cache
def pgwerk_version() -> str:
    """The version that is installed; "unknown" in a source tree that is not."""
    try:
        return metadata.version("pgwerk")
    except metadata.PackageNotFoundError:
        return "unknown"
