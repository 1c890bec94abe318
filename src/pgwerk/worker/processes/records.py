"""Log records of children: they are written down by the worker, so that logs look the same whatever runs the jobs.

A record crosses in the format of `marshal`, which knows plain values and no classes: the worker runs nobody's code when
it reads one. The message is formatted in the child, tracebacks cross as text.
"""

from __future__ import annotations

import logging
import marshal
import os
from collections.abc import Callable
from typing import Any

from pgwerk._core.logs import current_job

_FORMATTER = logging.Formatter()

_GONE = ("args", "exc_info", "stack_info")


class Forwarder(logging.Handler):
    """The child's only handler: hands records over to the worker.

    Args:
        send: Sends one.

    Attributes:
        job_id: The job that the child runs. A thread that its handler has started does not know that by itself.
    """

    def __init__(self, send: Callable[[bytes], None]) -> None:
        super().__init__()
        self._send = send
        self._pid = os.getpid()
        self.job_id: str | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record."""
        if os.getpid() != self._pid:
            # A process that the handler has forked would write into the middle of what this one writes.
            if logging.lastResort is not None and record.levelno >= logging.lastResort.level:
                logging.lastResort.handle(record)
            return
        try:
            data = _packed(record, current_job.get() or self.job_id)
        except Exception:  # the record's own objects
            self.handleError(record)
            return
        self._send(data)


def levels() -> dict[str, int]:
    """The loggers of this process that have a level of their own, by name; "" is the root."""
    found = {
        name: logger.level
        for name, logger in list(logging.root.manager.loggerDict.items())
        if isinstance(logger, logging.Logger) and logger.level != logging.NOTSET
    }
    return {"": logging.root.level, **found}


def set_levels(levels: dict[str, int]) -> None:
    """Log here at the levels that hold there."""
    for name, level in levels.items():
        logging.getLogger(name or None).setLevel(level)


def install(forwarder: Forwarder) -> None:
    """Let everything that is logged here be handled by the worker."""
    for handler in list(logging.root.handlers):
        logging.root.removeHandler(handler)
    logging.root.addHandler(forwarder)


def handle(data: bytes) -> None:
    """Handle a record of a child as if it had been logged here."""
    record = logging.makeLogRecord(marshal.loads(data))  # noqa: S302 - written by a child of our own, and no code
    logger = logging.getLogger(record.name)
    if logger.isEnabledFor(record.levelno):
        logger.handle(record)


def _packed(record: logging.LogRecord, job_id: str | None) -> bytes:
    values = {name: _plain(value) for name, value in vars(record).items() if name not in _GONE}
    values["msg"] = record.getMessage()
    values["levelno"] = int(record.levelno)
    if record.exc_info and not record.exc_text:
        values["exc_text"] = _FORMATTER.formatException(record.exc_info)
    if record.stack_info:
        values["stack_info"] = str(record.stack_info)
    values.setdefault("job_id", job_id)
    return marshal.dumps(values)


def _plain(value: Any) -> Any:
    """The value if it is made of plain values, else its text."""
    try:
        marshal.dumps(value)
    except ValueError:
        try:
            return repr(value)
        except Exception:  # the user's own method
            return f"<{type(value).__qualname__}>"
    return value
