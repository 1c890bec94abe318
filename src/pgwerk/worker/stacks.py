"""Where code is at this moment, as text in the form of a traceback."""

from __future__ import annotations

import sys
import traceback
from types import FrameType
from typing import Any


def of_thread(ident: int) -> str:
    """The stack of a thread, without the frames of pgwerk around the handler; empty if it has ended."""
    frame = sys._current_frames().get(ident)
    return "" if frame is None else _formatted(traceback.extract_stack(frame))


def of_coroutine(coroutine: Any) -> str:
    """Where a coroutine waits, from the outermost to the innermost `await`; empty if that cannot be known."""
    frames = []
    while coroutine is not None:
        frame = _frame(coroutine)
        if frame is not None:
            frames.append((frame, frame.f_lineno))
        coroutine = _awaited(coroutine)
    return _formatted(traceback.StackSummary.extract(iter(frames)))


def _frame(coroutine: Any) -> FrameType | None:
    for name in ("cr_frame", "gi_frame", "ag_frame"):
        frame = getattr(coroutine, name, None)
        if isinstance(frame, FrameType):
            return frame
    return None


def _awaited(coroutine: Any) -> Any:
    for name in ("cr_await", "gi_yieldfrom", "ag_await"):
        awaited = getattr(coroutine, name, None)
        if awaited is not None:
            return awaited
    return None


def _formatted(stack: traceback.StackSummary) -> str:
    places = [place for place in stack if "/pgwerk/worker/" not in place.filename.replace("\\", "/")]
    return "".join(traceback.StackSummary.from_list(places or list(stack)).format())
