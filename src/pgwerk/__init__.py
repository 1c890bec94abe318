"""Background jobs for Python in the PostgreSQL that people already have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
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

_WORKERS = frozenset({"AsyncWorker", "BaseWorker", "ForkWorker", "ProcessWorker", "ThreadWorker"})


def __getattr__(name: str) -> Any:
    """The workers, when somebody asks for them: a process that only enqueues need not load the engine."""
    if name in _WORKERS:
        from pgwerk import worker

        return getattr(worker, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
