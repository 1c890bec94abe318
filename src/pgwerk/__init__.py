"""Background jobs for Python in the PostgreSQL that people already have.

The names below are imported when somebody asks for them (PEP 562): a process that enqueues through `SyncWerk` does not
wait for asyncio's client, nor for the workers. That they are there already is what type checkers are told.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pgwerk._async.client import Werk
    from pgwerk._async.enqueuer import Enqueuer
    from pgwerk._async.scheduler import CronScheduler
    from pgwerk._core.config import WerkConfig
    from pgwerk._core.context import Context
    from pgwerk._core.cronjobs import CronJob, Schedule
    from pgwerk._core.errors import (
        DependencyFailed,
        FunctionNotAllowed,
        HandlerNotFound,
        JobError,
        JobNotFound,
        JobTimeout,
        ScheduleNotFound,
        SchemaVersionMismatch,
        SerializationError,
        WerkError,
    )
    from pgwerk._core.insights import (
        Finding,
        MigrationStatus,
        Overview,
        Percentiles,
        QueueStats,
        RunningJob,
        ServerInfo,
        TableInfo,
        WorkerInfo,
    )
    from pgwerk._core.logs import configure_logging
    from pgwerk._core.models import (
        Callback,
        Dependency,
        DequeueStrategy,
        EnqueueParams,
        ExecutionStatus,
        FailureMode,
        Job,
        JobExecution,
        JobStatus,
        Repeat,
        Retry,
        Undecodable,
    )
    from pgwerk._core.pickles import PickleSerializer
    from pgwerk._core.serializers import JSONSerializer, Serializer
    from pgwerk._sync.client import SyncWerk
    from pgwerk._sync.enqueuer import SyncEnqueuer
    from pgwerk._sync.scheduler import SyncCronScheduler
    from pgwerk.worker import AsyncWorker, BaseWorker, ForkWorker, ProcessWorker, ThreadWorker

__all__ = [
    "AsyncWorker",
    "BaseWorker",
    "Callback",
    "Context",
    "CronJob",
    "CronScheduler",
    "Dependency",
    "DependencyFailed",
    "DequeueStrategy",
    "EnqueueParams",
    "Enqueuer",
    "ExecutionStatus",
    "FailureMode",
    "Finding",
    "ForkWorker",
    "FunctionNotAllowed",
    "HandlerNotFound",
    "JSONSerializer",
    "Job",
    "JobError",
    "JobExecution",
    "JobNotFound",
    "JobStatus",
    "JobTimeout",
    "MigrationStatus",
    "Overview",
    "Percentiles",
    "PickleSerializer",
    "ProcessWorker",
    "QueueStats",
    "Repeat",
    "Retry",
    "RunningJob",
    "Schedule",
    "ScheduleNotFound",
    "SchemaVersionMismatch",
    "SerializationError",
    "Serializer",
    "ServerInfo",
    "SyncCronScheduler",
    "SyncEnqueuer",
    "SyncWerk",
    "TableInfo",
    "ThreadWorker",
    "Undecodable",
    "Werk",
    "WerkConfig",
    "WerkError",
    "WorkerInfo",
    "configure_logging",
]

_NAMES = {
    "pgwerk._async.client": ("Werk",),
    "pgwerk._async.enqueuer": ("Enqueuer",),
    "pgwerk._async.scheduler": ("CronScheduler",),
    "pgwerk._core.config": ("WerkConfig",),
    "pgwerk._core.context": ("Context",),
    "pgwerk._core.cronjobs": ("CronJob", "Schedule"),
    "pgwerk._core.errors": (
        "DependencyFailed",
        "FunctionNotAllowed",
        "HandlerNotFound",
        "JobError",
        "JobNotFound",
        "JobTimeout",
        "ScheduleNotFound",
        "SchemaVersionMismatch",
        "SerializationError",
        "WerkError",
    ),
    "pgwerk._core.insights": (
        "Finding",
        "MigrationStatus",
        "Overview",
        "Percentiles",
        "QueueStats",
        "RunningJob",
        "ServerInfo",
        "TableInfo",
        "WorkerInfo",
    ),
    "pgwerk._core.logs": ("configure_logging",),
    "pgwerk._core.models": (
        "Callback",
        "Dependency",
        "DequeueStrategy",
        "EnqueueParams",
        "ExecutionStatus",
        "FailureMode",
        "Job",
        "JobExecution",
        "JobStatus",
        "Repeat",
        "Retry",
        "Undecodable",
    ),
    "pgwerk._core.pickles": ("PickleSerializer",),
    "pgwerk._core.serializers": ("JSONSerializer", "Serializer"),
    "pgwerk._sync.client": ("SyncWerk",),
    "pgwerk._sync.enqueuer": ("SyncEnqueuer",),
    "pgwerk._sync.scheduler": ("SyncCronScheduler",),
    "pgwerk.worker": ("AsyncWorker", "BaseWorker", "ForkWorker", "ProcessWorker", "ThreadWorker"),
}
"""Where each of them is."""

_MODULES = {name: module for module, names in _NAMES.items() for name in names}

if not TYPE_CHECKING:  # else a type checker would believe that any name is there

    def __getattr__(name: str) -> object:
        """A public name, when it is asked for the first time."""
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name, obj=sys.modules[__name__])
        # Two threads may do this at once: a module is imported once, so both find the same.
        found = globals()[name] = getattr(import_module(_MODULES[name]), name)
        return found

    def __dir__() -> list[str]:
        """What there is, whether it has been asked for or not."""
        return sorted({*globals(), *__all__})
