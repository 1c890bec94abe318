"""From the arguments of `enqueue` to a job that is ready to be inserted: every check happens here, before any SQL."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from attrs import fields, frozen

from pgwerk._core import checks
from pgwerk._core.config import WerkConfig
from pgwerk._core.envelope import pack
from pgwerk._core.errors import SerializationError
from pgwerk._core.ids import new_id, new_ids, normalize_id
from pgwerk._core.models import (
    Callback,
    Dependency,
    EnqueueParams,
    FailureMode,
    Handler,
    Job,
    JobStatus,
    Repeat,
    Retry,
)
from pgwerk._core.paths import path_of
from pgwerk._core.policy import backoff_intervals
from pgwerk._core.rows import META_SERIALIZER
from pgwerk._core.serializers import Serializer, dumps_payload
from pgwerk._core.suggest import suggest

SPEC_OPTIONS = tuple(
    attribute.name for attribute in fields(EnqueueParams) if attribute.name not in {"func", "args", "kwargs"}
)
"""The options that a spec has, as `EnqueueParams` names them."""

OPTIONS = (*(f"_{name}" for name in SPEC_OPTIONS), "_conn", "_sync")
"""The options of `enqueue`."""


@frozen(kw_only=True)
class Parent:
    """A dependency whose job is known by its id."""

    id: str
    allow_failure: bool


@frozen(kw_only=True)
class NewJob:
    """A job that has passed every check.

    Attributes:
        job: The job as it will be; its times are an estimate by the client's clock until the database has spoken.
        payload: The packed arguments, JSON text.
        meta: The packed metadata, JSON text.
        delay: Seconds until it may run, counted by the database from the insert.
        at: The time from which it may run, if it was given as one.
        parents: The jobs it waits for.
        callback_timeouts: Seconds for the callbacks after success, failure and stop.
    """

    job: Job
    payload: str
    meta: str | None
    delay: float | None
    at: datetime | None
    parents: tuple[Parent, ...]
    callback_timeouts: tuple[int | None, int | None, int | None]


def split_call(arguments: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Tell the options of a call from the arguments for the handler.

    Returns:
        The options, as `enqueue` names them, and the handler's keyword arguments.

    Raises:
        TypeError: A name begins with an underscore and is no option.
    """
    options: dict[str, Any] = {}
    kwargs: dict[str, Any] = {}
    for name, value in arguments.items():
        if not name.startswith("_"):
            kwargs[name] = value
        elif name in OPTIONS:
            options[name] = value
        else:
            raise TypeError(
                f"enqueue() has no option {name!r}.{suggest(name, OPTIONS)} Names that begin with an underscore are "
                f"options; for a handler's argument of that name use EnqueueParams(kwargs=...) with enqueue_many()"
            )
    return options, kwargs


class Preparation:
    """Turns specs into jobs, with the settings of one client.

    Args:
        config: The client's configuration.
        serializer: What the arguments are serialized with.
        rng: Source of the jitter in the back-off.
    """

    def __init__(self, config: WerkConfig, serializer: Serializer, rng: random.Random | None = None) -> None:
        self._config = config
        self._serializer = serializer
        self._rng = rng or random.Random()

    def one(self, spec: EnqueueParams, now: datetime) -> NewJob:
        """Prepare the job of `enqueue`, whose options begin with an underscore.

        Raises:
            TypeError: An option has the wrong type.
            ValueError: An option has a value that makes no sense, or the handler cannot be imported.
            SerializationError: An argument or the metadata cannot be serialized.
        """
        return self._prepare(spec, now, new_id(), {}, "_")

    def many(self, specs: Sequence[EnqueueParams], now: datetime) -> list[NewJob]:
        """Prepare the jobs of `enqueue_many`, which may depend on each other.

        Raises:
            TypeError: A spec is no `EnqueueParams`, or as for `one`.
            ValueError: As for `one`; or a spec depends on one that does not come before it in the call.
            SerializationError: As for `one`.
        """
        ids: dict[int, str] = {}
        prepared: list[NewJob] = []
        for position, (spec, identifier) in enumerate(zip(specs, new_ids(len(specs)), strict=True)):
            if not isinstance(spec, EnqueueParams):
                raise TypeError(f"specs[{position}] must be an EnqueueParams, not {type(spec).__name__} ({spec!r})")
            prepared.append(self._prepare(spec, now, identifier, ids, f"specs[{position}]."))
            # Known only from here on: a spec can wait for earlier ones alone, so there can be no cycle.
            ids[id(spec)] = identifier
        return prepared

    def _prepare(
        self, spec: EnqueueParams, now: datetime, identifier: str, ids: Mapping[int, str], prefix: str
    ) -> NewJob:
        function = _path(f"{prefix}func" if prefix != "_" else "func", spec.func)
        delay, at = _due(spec, prefix)
        max_attempts, retry_intervals = self._retry(spec.retry, f"{prefix}retry")
        remaining, interval, intervals = _repeat(spec.repeat, f"{prefix}repeat")
        callbacks = [
            _callback(f"{prefix}{name}", getattr(spec, name)) for name in ("on_success", "on_failure", "on_stopped")
        ]
        parents = tuple(_parents(spec.depends_on, ids, f"{prefix}depends_on"))
        payload = pack(dumps_payload(self._serializer, spec.args, spec.kwargs, function=function))
        estimate = at or now + timedelta(seconds=delay or 0)
        job = Job(
            id=identifier,
            function=function,
            queue=checks.text(f"{prefix}queue", spec.queue, max_bytes=checks.QUEUE_BYTES),
            status=_first_status(parents, estimate, now),
            priority=checks.whole(f"{prefix}priority", spec.priority, minimum=checks.INT4_MIN),
            attempts=0,
            max_attempts=max_attempts,
            scheduled_at=estimate,
            enqueued_at=now,
            key=_optional(checks.text, f"{prefix}key", spec.key, max_bytes=checks.KEY_BYTES),
            group_key=_optional(checks.text, f"{prefix}group", spec.group, max_bytes=checks.KEY_BYTES),
            payload={"args": list(spec.args), "kwargs": dict(spec.kwargs)},
            timeout_secs=_optional(checks.whole, f"{prefix}timeout", spec.timeout, minimum=1),
            heartbeat_secs=_optional(checks.whole, f"{prefix}heartbeat", spec.heartbeat, minimum=1),
            meta=spec.meta,
            result_ttl=_optional(checks.whole, f"{prefix}result_ttl", spec.result_ttl),
            failure_ttl=_optional(checks.whole, f"{prefix}failure_ttl", spec.failure_ttl),
            ttl=_optional(checks.whole, f"{prefix}ttl", spec.ttl, minimum=1),
            on_success=callbacks[0][0],
            on_failure=callbacks[1][0],
            on_stopped=callbacks[2][0],
            retry_intervals=retry_intervals,
            repeat_remaining=remaining,
            repeat_interval_secs=interval,
            repeat_intervals=intervals,
            failure_mode=_failure_mode(f"{prefix}failure_mode", spec.failure_mode),
        )
        return NewJob(
            job=job,
            payload=payload,
            meta=_meta(f"{prefix}meta", spec.meta),
            delay=delay,
            at=at,
            parents=parents,
            callback_timeouts=(callbacks[0][1], callbacks[1][1], callbacks[2][1]),
        )

    def _retry(self, value: object, name: str) -> tuple[int, list[int] | None]:
        """The number of attempts, and the seconds before each retry."""
        if isinstance(value, Retry):
            if isinstance(value.intervals, int):
                return value.max, [value.intervals] if value.intervals and value.max > 1 else None
            return value.max, list(value.intervals)
        if not isinstance(value, int) or isinstance(value, bool):
            raise TypeError(f"{name} must be an int or a Retry, not {type(value).__name__} ({value!r})")
        attempts = checks.whole(name, value, minimum=1)
        return attempts, backoff_intervals(attempts, self._rng) if self._config.default_retry_backoff else None


def _optional(check: Callable[..., Any], name: str, value: Any, **bounds: int) -> Any:
    return None if value is None else check(name, value, **bounds)


def _path(name: str, func: Handler) -> str:
    if not callable(func) and not isinstance(func, str):
        raise ValueError(f"{name} must be a function or its dotted path, not {type(func).__name__} ({func!r})")
    return checks.text(name, path_of(func), max_bytes=checks.KEY_BYTES)


def _due(spec: EnqueueParams, prefix: str) -> tuple[float | None, datetime | None]:
    if spec.delay is not None and spec.at is not None:
        raise ValueError(f"{prefix}delay and {prefix}at cannot be given together: both say when the job may run")
    delay = None if spec.delay is None else checks.seconds(f"{prefix}delay", spec.delay)
    return delay, _optional(checks.moment, f"{prefix}at", spec.at)


def _first_status(parents: Sequence[Parent], due: datetime, now: datetime) -> JobStatus:
    if parents:
        return JobStatus.Waiting
    return JobStatus.Scheduled if due > now else JobStatus.Queued


def _repeat(value: object, name: str) -> tuple[int | None, int | None, list[int] | None]:
    if value is None:
        return None, None, None
    if not isinstance(value, Repeat):
        raise TypeError(f"{name} must be a Repeat, not {type(value).__name__} ({value!r})")
    return value.times, value.interval, value.intervals


def _callback(name: str, value: Callback | Handler | None) -> tuple[str | None, int | None]:
    if value is None:
        return None, None
    if isinstance(value, Callback):
        return _path(f"{name}.func", value.func), value.timeout
    return _path(name, value), None


def _failure_mode(name: str, value: object) -> str:
    valid = [mode.value for mode in FailureMode]
    return FailureMode(checks.one_of(name, value, valid)).value


def _meta(name: str, value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise TypeError(f"{name} must be a dict, not {type(value).__name__} ({value!r})")
    try:
        return pack(META_SERIALIZER.dumps(value))
    except SerializationError as error:
        raise SerializationError(f"{name}: {error}") from None


def _parents(value: object, ids: Mapping[int, str], name: str) -> Iterable[Parent]:
    """The jobs to wait for, each once: the stricter of two statements about one job counts."""
    found: dict[str, bool] = {}
    for item in value if isinstance(value, (list, tuple)) else [] if value is None else [value]:
        job, allow_failure = (item.job, item.allow_failure) if isinstance(item, Dependency) else (item, False)
        identifier = _parent_id(job, ids, name)
        found[identifier] = found.get(identifier, True) and allow_failure
    return [Parent(id=identifier, allow_failure=allowed) for identifier, allowed in found.items()]


def _parent_id(job: object, ids: Mapping[int, str], name: str) -> str:
    if isinstance(job, Job):
        return job.id
    if isinstance(job, EnqueueParams):
        if id(job) not in ids:
            raise ValueError(f"{name} names a spec that does not come before this one in the same enqueue_many() call")
        return ids[id(job)]
    if isinstance(job, str):
        if (identifier := normalize_id(job)) is None:
            raise ValueError(f"{name}: there is no job {job!r}: that is not a UUID")
        return identifier
    raise TypeError(f"{name} must be a Job, an id, a Dependency or a list of them, not {type(job).__name__} ({job!r})")
