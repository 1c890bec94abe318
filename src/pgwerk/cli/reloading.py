"""Which source files have changed: what `werk worker --reload` looks at.

The times and sizes of all `*.py` files below some folders are compared now and then. Hidden folders, virtual
environments, `node_modules` and caches are left out.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeAlias

SKIPPED = frozenset({"__pycache__", "node_modules", "site-packages"})

Stamp: TypeAlias = tuple[int, int]
"""When a file was changed, in nanoseconds, and its size."""


class Sources:
    """The source files below some folders.

    Args:
        folder: The first of the folders.
    """

    def __init__(self, folder: Path) -> None:
        self._folders: list[Path] = []
        self._seen: dict[str, Stamp] = {}
        self.add(folder)

    def add(self, folder: Path) -> None:
        """Look at one more folder, as it is now."""
        folder = folder.resolve()
        if not any(folder.is_relative_to(known) for known in self._folders):
            self._folders.append(folder)
            self._seen.update(_stamps(folder))

    def changed(self) -> list[str]:
        """The files that have been changed, made or deleted since the last look, as seen from the current directory."""
        now = {path: stamp for folder in list(self._folders) for path, stamp in _stamps(folder)}
        before, self._seen = self._seen, now
        return [os.path.relpath(path) for path in difference(before, now)]


def difference(before: Mapping[str, Stamp], now: Mapping[str, Stamp]) -> list[str]:
    """The files whose stamps are not the same."""
    return sorted(path for path in before.keys() | now.keys() if before.get(path) != now.get(path))


def source_folder(name: str) -> Path | None:
    """The folder that a loaded module or the package around it is in; None if nobody changes files there."""
    module = sys.modules.get(name.partition(".")[0])
    file = getattr(module, "__file__", None)
    if file is None:
        # A package without __init__.py
        paths = list(getattr(module, "__path__", ()))
        folder = Path(paths[0]) if paths else None
    else:
        folder = Path(file).parent
    if folder is None or any(folder.is_relative_to(path) for path in _installed()):
        return None
    return folder.resolve()


def _installed() -> set[str]:
    return {sysconfig.get_path(name) for name in ("purelib", "platlib", "stdlib", "platstdlib")}


def _stamps(folder: Path) -> Iterator[tuple[str, Stamp]]:
    for path, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if _is_looked_at(path, name)]
        for name in files:
            if name.endswith(".py"):
                file = os.path.join(path, name)
                try:
                    status = os.stat(file)
                except OSError:  # deleted in this moment, or a link that leads nowhere
                    continue
                yield file, (status.st_mtime_ns, status.st_size)


def _is_looked_at(path: str, name: str) -> bool:
    if name in SKIPPED or name.startswith("."):
        return False
    return not os.path.exists(os.path.join(path, name, "pyvenv.cfg"))
