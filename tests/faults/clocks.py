"""A clock that is wrong, for the Python code of one process.

`shift` replaces what Python programs read the time of day from: the functions of `time`, and `now`, `utcnow` and
`today` of `datetime`. It has to come before anything else is imported: a name that was imported earlier still means the
right clock. The monotonic clock goes on as it is, as it does on a machine whose clock is wrong. What C libraries read
for themselves (libpq, OpenSSL) is not touched; none of pgwerk's times comes from there.
"""

from __future__ import annotations

import copyreg
import datetime
import time
from datetime import date as right_date
from datetime import datetime as right_datetime
from functools import partial
from typing import Any

OFF_BY = "PGWERK_FAULTS_CLOCK_OFF_BY"
"""The variable of the environment that tells a process by how many seconds its clock is off."""

_READERS = {"time": 1, "time_ns": 1_000_000_000}
_CONVERTERS = ("gmtime", "localtime", "ctime")


def shift(secs: float) -> None:
    """Have this process believe that it is so many seconds later than it is; earlier, if negative."""
    right_time = time.time
    for name, unit in _READERS.items():
        setattr(time, name, _shifted(getattr(time, name), int(secs * unit) if unit > 1 else secs))
    for name in _CONVERTERS:
        setattr(time, name, _told(getattr(time, name)))
    right_gettime = time.clock_gettime
    time.clock_gettime = lambda clock: right_gettime(clock) + (secs if clock == time.CLOCK_REALTIME else 0)
    _replace_datetime(datetime.timedelta(seconds=secs))
    assert abs(time.time() - right_time() - secs) < 1


def _shifted(read: Any, by: float) -> Any:
    return lambda: read() + by


def _told(convert: Any) -> Any:
    return lambda secs=None: convert(time.time() if secs is None else secs)


def _replace_datetime(by: datetime.timedelta) -> None:
    class Meta(type):
        # Times that the driver has read are of the class that was there before.
        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, right_datetime)

        def __subclasscheck__(cls, subclass: type) -> bool:
            return issubclass(subclass, right_datetime)

    class ShiftedDatetime(right_datetime, metaclass=Meta):
        # Of the same size: compiled modules look at that.
        __slots__ = ()

        def __new__(cls, *args: Any, **kwargs: Any) -> Any:
            return right_datetime(*args, **kwargs)  # noqa: DTZ001 - the caller decides

        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Any:
            return right_datetime.now(tz) + by

        @classmethod
        def utcnow(cls) -> Any:
            return right_datetime.now(datetime.UTC).replace(tzinfo=None) + by

        @classmethod
        def today(cls) -> Any:
            return _local_now() + by

    class DateMeta(type):
        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, right_date)

        def __subclasscheck__(cls, subclass: type) -> bool:
            return issubclass(subclass, right_date)

    class ShiftedDate(right_date, metaclass=DateMeta):
        __slots__ = ()

        def __new__(cls, *args: Any, **kwargs: Any) -> Any:
            return right_date(*args, **kwargs)

        @classmethod
        def today(cls) -> Any:
            return (_local_now() + by).date()

    for shifted, right in ((ShiftedDatetime, right_datetime), (ShiftedDate, right_date)):
        # Pickles name the class that is found under its name.
        shifted.__module__, shifted.__qualname__ = right.__module__, right.__qualname__
        copyreg.pickle(right, partial(_reduce, shifted))
    setattr(datetime, "datetime", ShiftedDatetime)  # noqa: B010 - a type checker takes it for a type
    setattr(datetime, "date", ShiftedDate)  # noqa: B010 - likewise


def _reduce(shifted: Any, value: Any) -> Any:
    return shifted, value.__reduce__()[1]


def _local_now() -> right_datetime:
    return right_datetime.now(datetime.UTC).astimezone().replace(tzinfo=None)
