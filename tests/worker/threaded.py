"""Imported by a nursery: a module that starts a thread."""

from __future__ import annotations

import threading

threading.Thread(target=threading.Event().wait, name="a thread of a module", daemon=True).start()
