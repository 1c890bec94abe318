"""The log of pgwerk on the standard error stream, for programs that have no logging of their own.

Only the logger `pgwerk` is touched. While the handler made here is attached, that logger does not
pass its records on to the root logger: an application that has handlers there would print each line
twice. An application that wants pgwerk's records in its own log leaves `configure_logging` alone.
"""

from __future__ import annotations

import contextlib
import copy
import json
import logging
import os
import re
import sys
from collections.abc import Iterator
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, TextIO

from pgwerk._core.suggest import suggest

current_job: ContextVar[str | None] = ContextVar("pgwerk_current_job", default=None)
"""The id of the job whose handler runs in this context; records logged meanwhile carry it."""

_LOGGER = logging.getLogger("pgwerk")
_LEVELS = ("CRITICAL", "ERROR", "WARNING", "INFO", "DEBUG")
_FORMATS = ("text", "json")
_TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_COLORS = {
    logging.DEBUG: "\033[2m",
    logging.INFO: "\033[32m",
    logging.WARNING: "\033[33m",
    logging.ERROR: "\033[31m",
    logging.CRITICAL: "\033[1;31m",
}
_RESET = "\033[0m"
# Control characters but for line feed and tabulator, and what changes the direction of writing.
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_WIDTH = max(map(len, _LEVELS))

_STANDARD = frozenset({*vars(logging.makeLogRecord({})), "message", "asctime", "taskName", "job_id"})
"""The attributes of every record; what a record has beyond them was given as `extra`."""


def configure_logging(
    level: int | str | None = None,
    format: str | None = None,
    color: bool | None = None,
    fmt: str | None = None,
) -> None:
    """Print the log of pgwerk on the standard error stream. A second call replaces the first.

    Args:
        level: The least level that is printed, as a number or a name; `"INFO"` by default.
        format: `"text"` (default), or `"json"` for one object a line with the keys `time` (ISO
            8601, UTC), `level`, `logger`, `message`, `job_id`, `exception`, and what was given as
            `extra`.
        color: Whether levels are coloured in text; by default when standard error is a terminal and
            the environment variable `NO_COLOR` is not set.
        fmt: A format string of the `logging` module for text; it may use `%(job_id)s`.

    Raises:
        ValueError: The level or the format does not exist, or `fmt` is not usable.
    """
    number = _level(level)
    handler = _StderrHandler()
    handler.setFormatter(_formatter(format, color, fmt))
    handler.addFilter(_add_job_id)
    reset_logging()
    _LOGGER.addHandler(handler)
    _LOGGER.setLevel(number)
    _LOGGER.propagate = False


def reset_logging() -> None:
    """Undo `configure_logging`: records go to the root logger's handlers again."""
    for handler in [each for each in _LOGGER.handlers if isinstance(each, _StderrHandler)]:
        _LOGGER.removeHandler(handler)
        _LOGGER.setLevel(logging.NOTSET)
        _LOGGER.propagate = True


def mark_records() -> None:
    """Have every record that is logged while a handler runs carry the id of its job, as `job_id`.

    The mark is set by a filter of each handler of each logger that exists now: a record factory would make a program
    fail that passes a `job_id` of its own as `extra`, and a filter of a logger does not see what loggers below it log.
    """
    loggers = [logging.getLogger(), *logging.Logger.manager.loggerDict.values()]
    for logger in loggers:
        # In the place of a logger that nobody has asked for, there is only a placeholder.
        for handler in getattr(logger, "handlers", ()):
            handler.addFilter(_add_job_id)


@contextlib.contextmanager
def about(job_id: str) -> Iterator[None]:
    """Records that are logged meanwhile are about this job."""
    token = current_job.set(job_id)
    try:
        yield
    finally:
        current_job.reset(token)


class _StderrHandler(logging.StreamHandler[TextIO]):
    """Looks `sys.stderr` up for each record: test runners and daemons replace it."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:
        return sys.stderr

    @stream.setter
    def stream(self, _: TextIO) -> None:
        raise AttributeError("the stream is always sys.stderr")


def _add_job_id(record: logging.LogRecord) -> bool:
    if not hasattr(record, "job_id"):
        record.job_id = current_job.get()
    return True


class _TextFormatter(logging.Formatter):
    def __init__(self, fmt: str | None, *, color: bool) -> None:
        super().__init__(fmt or _TEXT)
        self._color = color
        self._own = fmt is None

    def format(self, record: logging.LogRecord) -> str:
        # A copy, because other handlers of the application get the same record.
        record = copy.copy(record)
        message = record.getMessage()
        if self._own:
            record.levelname = record.levelname.ljust(_WIDTH)
            job_id = getattr(record, "job_id", None)
            if job_id and job_id not in message:
                message = f"{message} (job {job_id})"
        record.msg, record.args = _harmless(message), None
        record.exc_text = record.exc_text and _harmless(record.exc_text)
        if self._color:
            color = _COLORS.get(record.levelno, "")
            record.levelname = f"{color}{record.levelname}{_RESET}"
        return super().format(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802
        return _harmless(super().formatException(ei))

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802
        del datefmt
        return _utc(record)


class _JSONFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {
            "time": _utc(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        job_id = getattr(record, "job_id", None)
        if job_id is not None:
            entry["job_id"] = _plain(job_id)
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        elif record.exc_text:  # it comes from another process
            entry["exception"] = record.exc_text
        if record.stack_info:
            entry["stack"] = record.stack_info
        for name, value in vars(record).items():
            if name not in _STANDARD:
                entry.setdefault(name, _plain(value))
        return json.dumps(entry)


def _harmless(text: str) -> str:
    r"""A text with what a terminal would obey written as Python does: what is logged may come from anybody."""
    return _UNSAFE.sub(lambda found: repr(found[0])[1:-1], text)


def _plain(value: object) -> object:
    """The value if JSON has it, else its text: a log line must not fail for what is in it."""
    try:
        json.dumps(value, allow_nan=False)
    except Exception:  # the user's objects
        try:
            return repr(value)
        except Exception:  # likewise
            return f"<{type(value).__qualname__}>"
    return value


def _utc(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _level(level: int | str | None) -> int:
    if level is None:
        return logging.INFO
    if isinstance(level, int) and not isinstance(level, bool) and level >= 0:
        return level
    numbers = logging.getLevelNamesMapping()
    if isinstance(level, str) and level.upper() in numbers:
        return numbers[level.upper()]
    hint = suggest(level.upper(), _LEVELS) if isinstance(level, str) else ""
    raise ValueError(f"level must be a number from 0 or one of {', '.join(_LEVELS)}, not {level!r}.{hint}")


def _formatter(format_: str | None, color: bool | None, fmt: str | None) -> logging.Formatter:
    if format_ is not None and format_ not in _FORMATS:
        hint = suggest(str(format_), _FORMATS)
        raise ValueError(f"format must be 'text' or 'json', not {format_!r}.{hint}")
    if format_ == "json":
        if fmt is not None:
            raise ValueError("fmt is for format='text'; the lines of format='json' have no pattern")
        return _JSONFormatter()
    if color is None:
        # There is no stream at all in a program without a console on Windows.
        is_terminal = getattr(sys.stderr, "isatty", bool)
        color = is_terminal() and not os.environ.get("NO_COLOR")
    return _checked(fmt, color=color)


def _checked(fmt: str | None, *, color: bool) -> logging.Formatter:
    """The formatter for text, tried out: an unknown field would else show at the first record."""
    sample = logging.makeLogRecord({"msg": "", "levelname": "INFO", "job_id": None})
    try:
        formatter = _TextFormatter(fmt, color=color)
        formatter.format(sample)
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"fmt is not a usable format: {fmt!r} ({error})") from error
    return formatter
