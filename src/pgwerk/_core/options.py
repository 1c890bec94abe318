"""From the arguments of `enqueue` to a job that is ready to be inserted: every check happens here, before any SQL."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from operator import attrgetter, is_
from typing import Any, TypeAlias
from uuid import UUID

from attrs import fields

from pgwerk._core import checks
from pgwerk._core.allowed import AllowedFunctions
from pgwerk._core.config import WerkConfig
from pgwerk._core.envelope import pack_limited
from pgwerk._core.errors import FunctionNotAllowed, SerializationError
from pgwerk._core.ids import new_id, new_ids, normalize_id
from pgwerk._core.models import (
    Callback,
    Dependency,
    EnqueueParams,
    FailureMode,
    Handler,
    Job,
    Repeat,
    Retry,
)
from pgwerk._core.new_jobs import NO_OPTIONS, NewJob, Options, Parent
from pgwerk._core.paths import path_of
from pgwerk._core.policy import backoff_intervals
from pgwerk._core.rows import META_SERIALIZER
from pgwerk._core.serializers import JSONSerializer, Serializer, dumps_payload
from pgwerk._core.suggest import suggest

SPEC_OPTIONS = tuple(
    attribute.name for attribute in fields(EnqueueParams) if attribute.name not in {"func", "args", "kwargs"}
)
"""The options that a spec has, as `EnqueueParams` names them."""

OPTIONS = (*(f"_{name}" for name in SPEC_OPTIONS), "_conn", "_sync")
"""The options of `enqueue`."""


_options_of = attrgetter(*SPEC_OPTIONS)
_DEFAULTS = _options_of(EnqueueParams("any.handler"))
_META = SPEC_OPTIONS.index("meta")

_NO_KWARGS: Mapping[str, Any] = {}

Columns: TypeAlias = dict[str, Any]
"""What an option comes to, by the columns of the table."""


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
                f"options; for a handler's argument of that name use options().enqueue() or EnqueueParams(kwargs=...)"
            )
    return options, kwargs


def each_kwargs(items: Iterable[object], *, any_name: bool) -> list[dict[str, Any]]:
    """The handler's keyword arguments for each job of a `map()`.

    Args:
        items: What was passed as `iter_kwargs`.
        any_name: Whether the name of an argument may begin with an underscore.

    Raises:
        TypeError: An item is no mapping, or one of its keys cannot be the name of an argument.
    """
    return [_item_kwargs(item, f"iter_kwargs[{place}]", any_name=any_name) for place, item in enumerate(items)]


def _item_kwargs(item: object, what: str, *, any_name: bool) -> dict[str, Any]:
    if not isinstance(item, Mapping):
        raise TypeError(f"{what} must be a mapping of keyword arguments, not {type(item).__name__} ({item!r})")
    for name in item:
        if not isinstance(name, str):
            raise TypeError(f"{what} has the key {name!r}, which cannot be the name of an argument")
        if name.startswith("_") and not any_name:
            raise TypeError(
                f"{what} has the key {name!r}: names that begin with an underscore are options, and those are shared "
                f"by all jobs of a map(). Where each job has its own, use enqueue_many(); for a handler's argument of "
                f"that name use options().map()"
            )
    return dict(item)


def refuse_to_wait(options: Mapping[str, Any], *, jobs: int, prefix: str = "_") -> None:
    """Refuse the options of a call that enqueues jobs and waits for them, when the wait could never end.

    Args:
        options: The options of the call.
        jobs: How many jobs it enqueues.
        prefix: What the names of the options begin with.

    Raises:
        TypeError: An option has the wrong type.
        ValueError: The wait could never end, or there would be less to wait for than jobs were asked for.
    """
    if checks.flag(f"{prefix}sync", options.get(f"{prefix}sync", False)):
        raise ValueError(f"{prefix}sync cannot be given here: this waits for a worker to run the job")
    if options.get(f"{prefix}conn") is not None:
        raise ValueError(
            f"{prefix}conn cannot be given here: the job starts when its transaction has ended, and this waits before "
            f"that; use enqueue() with {prefix}conn, commit, then wait_for()"
        )
    if jobs > 1 and options.get(f"{prefix}key") is not None:
        raise ValueError(
            f"{prefix}key cannot be given to map() for more than one job: only the first would be enqueued"
        )


class Preparation:
    """Turns specs into jobs, with the settings of one client.

    Args:
        config: The client's configuration.
        serializer: What the arguments are serialized with.
        rng: Source of the jitter in the back-off.
        allowed: The functions that may be enqueued, or be callbacks; None allows everything.
    """

    def __init__(
        self,
        config: WerkConfig,
        serializer: Serializer,
        rng: random.Random | None = None,
        allowed: AllowedFunctions | None = None,
    ) -> None:
        self._config = config
        self._serializer = serializer
        self._allowed = allowed
        self._rng = rng or random.Random()
        # A serializer of the application's may give something else each time: encrypted, or signed with the time.
        self._no_arguments = self._pack((), {}, "") if type(serializer) is JSONSerializer else None
        callback = partial(_callback, allowed=allowed)
        self._readers: dict[str, Callable[[str, Any], Columns]] = {
            **_READERS,
            "retry": self._retry,
            "on_success": partial(callback, "on_success"),
            "on_failure": partial(callback, "on_failure"),
            "on_stopped": partial(callback, "on_stopped"),
        }

    def one(self, spec: EnqueueParams, now: datetime) -> NewJob:
        """Prepare the job of `enqueue`, whose options begin with an underscore.

        Raises:
            TypeError: An option has the wrong type.
            ValueError: An option has a value that makes no sense, or the handler cannot be imported.
            SerializationError: An argument or the metadata cannot be serialized.
        """
        function = _path("func", spec.func, self._allowed)
        return self._prepare(spec, function, new_id(), now, ids={}, place="_")

    def many(self, specs: Sequence[EnqueueParams], now: datetime) -> list[NewJob]:
        """Prepare the jobs of `enqueue_many`, which may depend on each other.

        Raises:
            TypeError: A spec is no `EnqueueParams`, or as for `one`.
            ValueError: As for `one`; or a spec depends on one that does not come before it in the call.
            SerializationError: As for `one`.
        """
        ids: dict[int, str] = {}
        # Not remembered for longer than the call: whether a function is still what its path leads to can change.
        paths: dict[int, str] = {}
        prepared: list[NewJob] = []
        for position, (spec, identifier) in enumerate(zip(specs, new_ids(len(specs)), strict=True)):
            if not isinstance(spec, EnqueueParams):
                raise TypeError(f"specs[{position}] must be an EnqueueParams, not {type(spec).__name__} ({spec!r})")
            function = paths.get(id(spec.func))
            if function is None:
                function = paths[id(spec.func)] = _path(f"specs[{position}].func", spec.func, self._allowed)
            prepared.append(self._prepare(spec, function, identifier, now, ids=ids, place=position))
            # Known only from here on: a spec can wait for earlier ones alone, so there can be no cycle.
            ids[id(spec)] = identifier
        return prepared

    def scheduled(self, spec: EnqueueParams, now: datetime, *, name: str | None = None) -> NewJob:
        """Prepare a job of a schedule; the errors name the fields of `CronJob`.

        Args:
            spec: The job.
            now: The time.
            name: The name of the schedule, if the job is going to be inserted.

        Raises:
            TypeError, ValueError, SerializationError: As for `one`.
        """
        function = _path("func", spec.func, self._allowed)
        new = self._prepare(spec, function, new_id(), now, ids={}, place="")
        return new if name is None else new._replace(options=new.options.with_cron_name(name))

    def check(self, options: Mapping[str, Any]) -> None:
        """Refuse the options that `one` and `many` would refuse. They are named as `EnqueueParams` names them.

        Raises:
            TypeError, ValueError, SerializationError: As for `one`.
        """
        self._read([options.get(name, default) for name, default in zip(SPEC_OPTIONS, _DEFAULTS, strict=True)], "")
        _parents(options.get("depends_on"), {}, "depends_on")

    def _prepare(
        self,
        spec: EnqueueParams,
        function: str,
        identifier: str,
        now: datetime,
        *,
        ids: Mapping[int, str],
        place: str | int,
    ) -> NewJob:
        """Prepare the job of a spec, of whose call the earlier ones have these ids.

        Its place is a number where it is one of many, or else what the names of its options begin with in errors.
        """
        options = NO_OPTIONS
        parents: Sequence[Parent] = ()
        given = _options_of(spec)
        # Told by identity: False equals 0, and is to be refused.
        if not all(map(is_, given, _DEFAULTS)):
            prefix = _prefix(place)
            options = self._read(given, prefix)
            parents = _parents(spec.depends_on, ids, f"{prefix}depends_on")
        if self._no_arguments is not None and _is_empty(spec.args, tuple) and _is_empty(spec.kwargs, dict):
            return NewJob(identifier, function, (), _NO_KWARGS, self._no_arguments, options, parents, now)
        args, kwargs = _arguments(spec, "" if place == "_" else _prefix(place))
        payload = None if args or kwargs else self._no_arguments
        if payload is None:
            payload = self._pack(args, kwargs, function)
        return NewJob(identifier, function, args, kwargs, payload, options, parents, now)

    def _read(self, given: Sequence[Any], prefix: str) -> Options:
        """Check the options that are not left at their default."""
        columns: Columns = {}
        for name, value, default in zip(SPEC_OPTIONS, given, _DEFAULTS, strict=True):
            if value is not default and name in self._readers:
                columns.update(self._readers[name](f"{prefix}{name}", value))
        if "delay" in columns and "at" in columns:
            raise ValueError(f"{prefix}delay and {prefix}at cannot be given together: both say when the job may run")
        return Options.of(columns, meta=given[_META])

    def _pack(self, args: Sequence[Any], kwargs: Mapping[str, Any], function: str) -> str:
        data = dumps_payload(self._serializer, args, kwargs, function=function)
        return pack_limited(data, f"the arguments of {function}()")

    def _retry(self, name: str, value: object) -> Columns:
        """The number of attempts, and the seconds before each retry."""
        if isinstance(value, Retry):
            uniform = [value.intervals] if value.intervals and value.max > 1 else None
            intervals = uniform if isinstance(value.intervals, int) else list(value.intervals)
            return {"max_attempts": value.max, "retry_intervals": intervals}
        if not isinstance(value, int) or isinstance(value, bool):
            raise TypeError(f"{name} must be an int or a Retry, not {type(value).__name__} ({value!r})")
        attempts = checks.whole(name, value, minimum=1)
        backoff = backoff_intervals(attempts, self._rng) if self._config.default_retry_backoff else None
        return {"max_attempts": attempts, "retry_intervals": backoff}


def _prefix(place: str | int) -> str:
    """What the names of a job's options begin with in errors."""
    return place if isinstance(place, str) else f"specs[{place}]."


def _is_empty(value: object, kind: type) -> bool:
    """Whether it is an empty one of just this type."""
    return type(value) is kind and not value


def _arguments(spec: EnqueueParams, prefix: str) -> tuple[list[Any], dict[str, Any]]:
    args, kwargs = spec.args, spec.kwargs
    if isinstance(args, (str, bytes, Mapping)) or not isinstance(args, Iterable):
        raise TypeError(f"{prefix}args must be a tuple or a list, not {type(args).__name__} ({args!r})")
    if not isinstance(kwargs, Mapping):
        raise TypeError(f"{prefix}kwargs must be a dict, not {type(kwargs).__name__} ({kwargs!r})")
    for name in kwargs:
        if not isinstance(name, str):
            raise TypeError(f"{prefix}kwargs has the key {name!r}, which cannot be the name of an argument")
    return list(args), dict(kwargs)


def _path(name: str, func: Handler, allowed: AllowedFunctions | None) -> str:
    if not callable(func) and not isinstance(func, str):
        raise ValueError(f"{name} must be a function or its dotted path, not {type(func).__name__} ({func!r})")
    path = checks.text(name, path_of(func), max_bytes=checks.KEY_BYTES)
    if allowed is not None:
        _refuse_not_allowed(name, path, func, allowed)
    return path


def _refuse_not_allowed(name: str, path: str, func: Handler, allowed: AllowedFunctions) -> None:
    try:
        allowed.check_path(path)
        if not isinstance(func, str):
            allowed.check_definition(path, func)
    except FunctionNotAllowed as error:
        raise ValueError(f"{name}: {error}") from None


def _field(column: str, check: Callable[..., Any], **bounds: int) -> Callable[[str, Any], Columns]:
    """A reader for an option that goes into one column as it is."""

    def read(name: str, value: Any) -> Columns:
        return {column: check(name, value, **bounds)}

    return read


def _repeat(name: str, value: object) -> Columns:
    if not isinstance(value, Repeat):
        raise TypeError(f"{name} must be a Repeat, not {type(value).__name__} ({value!r})")
    return {
        "repeat_remaining": value.times,
        "repeat_interval_secs": value.interval,
        "repeat_intervals": value.intervals,
    }


def _callback(column: str, name: str, value: Callback | Handler, allowed: AllowedFunctions | None) -> Columns:
    if isinstance(value, Callback):
        return {column: _path(f"{name}.func", value.func, allowed), f"{column}_timeout": value.timeout}
    return {column: _path(name, value, allowed)}


def _failure_mode(name: str, value: object) -> Columns:
    valid = [mode.value for mode in FailureMode]
    return {"failure_mode": FailureMode(checks.one_of(name, value, valid)).value}


def _meta(name: str, value: object) -> Columns:
    if not isinstance(value, dict):
        raise TypeError(f"{name} must be a dict, not {type(value).__name__} ({value!r})")
    try:
        data = META_SERIALIZER.dumps(value)
    except SerializationError as error:
        raise SerializationError(f"{name}: {error}") from None
    return {"meta": pack_limited(data, name)}


_READERS: dict[str, Callable[[str, Any], Columns]] = {
    "queue": _field("queue", checks.text, max_bytes=checks.QUEUE_BYTES),
    "priority": _field("priority", checks.whole, minimum=checks.INT4_MIN),
    "delay": _field("delay", checks.seconds),
    "at": _field("at", checks.moment),
    "timeout": _field("timeout_secs", checks.whole, minimum=1),
    "heartbeat": _field("heartbeat_secs", checks.whole, minimum=1),
    "key": _field("key", checks.text, max_bytes=checks.KEY_BYTES),
    "group": _field("group_key", checks.text, max_bytes=checks.KEY_BYTES),
    "meta": _meta,
    "result_ttl": _field("result_ttl", checks.whole),
    "failure_ttl": _field("failure_ttl", checks.whole),
    "ttl": _field("ttl", checks.whole, minimum=1),
    "repeat": _repeat,
    "failure_mode": _failure_mode,
}
"""How each option is checked, and what it comes to."""


def _parents(value: object, ids: Mapping[int, str], name: str) -> Sequence[Parent]:
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
    if isinstance(job, (str, UUID)):
        if (identifier := normalize_id(job)) is None:
            raise ValueError(f"{name}: there is no job {job!r}: that is not a UUID")
        return identifier
    raise TypeError(f"{name} must be a Job, an id, a Dependency or a list of them, not {type(job).__name__} ({job!r})")
