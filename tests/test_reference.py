"""The API that was asked for, word for word: every name, parameter, default and field is there, in both flavours.

The tables below are that reference, written down. Where pgwerk offers more (further parameters, wider types), that does
not matter here; where it cannot follow the letter, a comment beside the entry says why. These places are:

- `schema`, `prefix`, `serializer`, `max_active_secs` and `config` are None in the signature: only then can
  keyword arguments take precedence over a `WerkConfig`. What counts is the value in effect, and that is tested.
- `func` of `enqueue`, `apply` and `map` is positional only: by that, a handler may have an argument of this name.
- `SyncWerk` has the same methods without `async`, takes blocking connections, and gives values, not coroutines.
- `Context.app` is typed as Any, because it is a `Werk` or a `SyncWerk`, by the flavour of the handler; `Context.worker`
  likewise, because the values know no workers.
"""

from __future__ import annotations

import enum
import inspect
import types
import typing
from collections.abc import Callable
from datetime import datetime
from typing import Any, get_args, get_origin

import pytest
from attrs import NOTHING, fields

import pgwerk
from pgwerk import (
    AsyncWorker,
    BaseWorker,
    Callback,
    Context,
    CronJob,
    Dependency,
    EnqueueParams,
    ExecutionStatus,
    FailureMode,
    Job,
    JobExecution,
    JobStatus,
    JSONSerializer,
    Repeat,
    Retry,
    SyncWerk,
    Werk,
    WerkConfig,
)

REQUIRED = inspect.Parameter.empty
"""There is no default."""

ANY_DEFAULT = object()
"""The reference names the parameter and not its default, but calls work without it."""

CLIENTS = [Werk, SyncWerk]
DSN = "postgresql://localhost/never_connected"

# The client

CONSTRUCTOR = {
    "dsn": REQUIRED,
    "config": None,
    "schema": None,
    "prefix": None,
    "serializer": None,
    "max_active_secs": None,
    "log_level": None,
    "log_format": None,
    "log_color": None,
    "log_fmt": None,
    "auto_migrate": True,
}
"""The constructor's signature."""

IN_EFFECT: dict[str, Callable[[Any], Any]] = {
    "schema": lambda app: app.config.schema == "pgwerk",
    "prefix": lambda app: app.config.prefix == "_pgwerk",
    "serializer": lambda app: isinstance(app.serializer, JSONSerializer),
    "max_active_secs": lambda app: app.config.max_active_secs == 3600,
    "config": lambda app: app.config == WerkConfig(),
}
"""The constructor's defaults in effect."""

ENQUEUE_OPTIONS = {
    "_queue": "default",
    "_priority": 0,
    "_delay": None,
    "_at": None,
    "_retry": 1,
    "_timeout": None,
    "_heartbeat": None,
    "_key": None,
    "_group": None,
    "_conn": None,
    "_meta": None,
    "_result_ttl": None,
    "_failure_ttl": None,
    "_ttl": None,
    "_on_success": None,
    "_on_failure": None,
    "_on_stopped": None,
    "_repeat": None,
    "_depends_on": None,
    "_failure_mode": "hold",
    "_sync": False,
}


class Method(typing.NamedTuple):
    """What the reference says of a method.

    Attributes:
        parameters: Each with its default, in the order given.
        returns: What it returns, or what the coroutine does; None where it is no plain type.
        keyword_only: Those that come after the star.
        plain: Whether it is a plain function in both flavours.
    """

    parameters: dict[str, Any]
    returns: Any
    keyword_only: tuple[str, ...] = ()
    plain: bool = False


METHODS = {
    "connect": Method({}, type(None)),
    "disconnect": Method({}, type(None)),
    "on_startup": Method({"func": REQUIRED}, None, plain=True),
    "on_shutdown": Method({"func": REQUIRED}, None, plain=True),
    "enqueue": Method({"func": REQUIRED, **ENQUEUE_OPTIONS}, Job | None),
    "enqueue_many": Method({"specs": REQUIRED, "_conn": None}, list[Job | None], ("_conn",)),
    "apply": Method({"func": REQUIRED, "timeout": None, "poll_interval": 0.5}, Any, ("timeout", "poll_interval")),
    "map": Method(
        {"func": REQUIRED, "iter_kwargs": REQUIRED, "timeout": None, "poll_interval": 0.5, "return_exceptions": False},
        list[Any],
        ("timeout", "poll_interval", "return_exceptions"),
    ),
    "wait_for": Method({"job_id": REQUIRED, "timeout": None, "poll_interval": 2.0}, Job, ("timeout", "poll_interval")),
    "get_job": Method({"job_id": REQUIRED}, Job),
    "list_jobs": Method(
        dict.fromkeys(
            ["queue", "status", "worker_id", "search", "schedule_name", "retried", "limit", "offset"], ANY_DEFAULT
        ),
        list[Job],
    ),
    "cancel_job": Method({"job_id": REQUIRED}, bool),
    "requeue_job": Method({"job_id": REQUIRED}, bool),
    "abort_job": Method({"job_id": REQUIRED}, bool),
    "delete_job": Method({"job_id": REQUIRED}, type(None)),
    "touch_job": Method({"job_id": REQUIRED}, type(None)),
    "get_executions": Method({"job_id": REQUIRED}, list[JobExecution]),
    "get_job_dependencies": Method({"job_id": REQUIRED}, list[str]),
    "sweep": Method({}, list[str]),
    "bulk_requeue_jobs": Method({"queue": None, "function_name": None}, int),
    "bulk_cancel_jobs": Method({"queue": None}, int),
    "purge_jobs": Method({"statuses": REQUIRED, "older_than_days": REQUIRED}, int),
    "vacuum": Method({}, type(None)),
    "truncate": Method({}, type(None)),
    "register_before_enqueue": Method({"callback": REQUIRED}, type(None), plain=True),
    "unregister_before_enqueue": Method({"callback": REQUIRED}, type(None), plain=True),
}

CONFIG = {
    "schema": "pgwerk",
    "prefix": "_pgwerk",
    "max_active_secs": 3600,
    "heartbeat_interval": 10,
    "poll_interval": 5.0,
    "abort_interval": 1.0,
    "sweep_interval": 60.0,
    "shutdown_timeout": 30.0,
    "sigterm_grace": 5,
    "ephemeral_tables": False,
    "default_retry_backoff": True,
    "allow_truncate": False,
}

# The models: fields with their types, and defaults where the reference gives them

FIELDS: dict[type, dict[str, Any]] = {
    Job: {
        "id": str,
        "function": str,
        "queue": str,
        "status": JobStatus,
        "priority": int,
        "attempts": int,
        "max_attempts": int,
        "scheduled_at": datetime,
        "enqueued_at": datetime,
        "key": str | None,
        "group_key": str | None,
        "payload": dict | None,
        "result": Any,
        "error": str | None,
        "timeout_secs": int | None,
        "heartbeat_secs": int | None,
        "started_at": datetime | None,
        "completed_at": datetime | None,
        "touched_at": datetime | None,
        "expires_at": datetime | None,
        "worker_id": str | None,
        "meta": dict | None,
        "result_ttl": int | None,
        "failure_ttl": int | None,
        "ttl": int | None,
        "on_success": str | None,
        "on_failure": str | None,
        "on_stopped": str | None,
        "retry_intervals": list[int] | None,
        "repeat_remaining": int | None,
        "repeat_interval_secs": int | None,
        "repeat_intervals": list[int] | None,
        "cron_name": str | None,
        "failure_mode": str,
    },
    JobExecution: {
        "id": str,
        "job_id": str,
        "attempt": int,
        "status": ExecutionStatus,
        "worker_id": str | None,
        "error": str | None,
        "result": Any,
        "started_at": datetime | None,
        "completed_at": datetime | None,
    },
    Retry: {"max": int, "intervals": int | list[int]},
    Repeat: {"times": int, "interval": int, "intervals": list[int] | None},
    # Also the spec of the same `enqueue_many`.
    Dependency: {"job": str | Job | EnqueueParams, "allow_failure": bool},
    Callback: {"func": Callable | str, "timeout": int | None},
    Context: {"app": Any, "worker": Any, "job": Job, "exception": Exception | None},
    CronJob: {
        # Also its path.
        "func": Callable | str,
        "queue": str,
        "args": tuple,
        "kwargs": dict,
        "interval": int | None,
        "cron": str | None,
        "timeout": int | None,
        "result_ttl": int | None,
        "failure_ttl": int | None,
        "meta": dict | None,
        "name": str,
        "paused": bool,
    },
}

DEFAULTS: dict[type, dict[str, Any]] = {
    WerkConfig: CONFIG,
    EnqueueParams: {
        "func": REQUIRED,
        "args": (),
        "kwargs": {},
        "queue": "default",
        "priority": 0,
        "delay": None,
        "at": None,
        "retry": 1,
        "timeout": None,
        "heartbeat": None,
        "key": None,
        "group": None,
        "meta": None,
        "result_ttl": None,
        "failure_ttl": None,
        "ttl": None,
        "on_success": None,
        "on_failure": None,
        "on_stopped": None,
        "repeat": None,
        "depends_on": None,
        "failure_mode": "hold",
    },
    Retry: {"max": REQUIRED},
    Repeat: {"times": REQUIRED, "interval": 0, "intervals": None},
    Dependency: {"job": REQUIRED, "allow_failure": False},
    Callback: {"func": REQUIRED, "timeout": None},
    Context: {"exception": None},
    CronJob: {
        "func": REQUIRED,
        "queue": "default",
        "args": (),
        "kwargs": {},
        "interval": None,
        "cron": None,
        "timeout": None,
        "result_ttl": None,
        "failure_ttl": None,
        "meta": None,
        "paused": False,
    },
}

ENUMS: dict[type[enum.Enum], dict[str, str]] = {
    JobStatus: {
        "Scheduled": "scheduled",
        "Queued": "queued",
        "Waiting": "waiting",
        "Active": "active",
        "Aborting": "aborting",
        "Complete": "complete",
        "Failed": "failed",
        "Aborted": "aborted",
    },
    ExecutionStatus: {"Running": "running", "Complete": "complete", "Failed": "failed", "Aborted": "aborted"},
    FailureMode: {"Hold": "hold", "Delete": "delete"},
}

TERMINAL = {JobStatus.Complete, JobStatus.Failed, JobStatus.Aborted}


def parameters(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    found = dict(inspect.signature(function).parameters)
    found.pop("self", None)
    return found


@pytest.mark.parametrize("client", CLIENTS)
def test_constructor(client: type) -> None:
    """The constructor has the parameters of the reference, in that order; all but `dsn` are keywords."""
    found = parameters(client)
    assert CONSTRUCTOR == {name: found[name].default for name in CONSTRUCTOR}
    assert list(CONSTRUCTOR) == list(found)[: len(CONSTRUCTOR)]
    assert inspect.Parameter.POSITIONAL_OR_KEYWORD is found["dsn"].kind
    assert {inspect.Parameter.KEYWORD_ONLY} == {found[name].kind for name in found if name != "dsn"}
    assert [] == [name for name, each in found.items() if name != "dsn" and each.default is REQUIRED]


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("name", IN_EFFECT)
def test_defaults_in_effect(client: type, name: str) -> None:
    """Without an argument, the value of the reference is in effect."""
    assert IN_EFFECT[name](client(DSN))


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("name", ["schema", "prefix", "max_active_secs"])
def test_arguments_take_precedence(client: type, name: str) -> None:
    """Keyword arguments take precedence over a `WerkConfig` or a dict, which take precedence over the defaults."""
    given: Any
    given, other = (7, 8) if name == "max_active_secs" else ("seven", "eight")
    for config in (WerkConfig(**{name: given}), {name: given}):
        assert given == getattr(client(DSN, config=config).config, name)
        assert other == getattr(client(DSN, config=config, **{name: other}).config, name)


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("name", METHODS)
def test_method(client: type, name: str) -> None:
    """Each method has its parameters, in that order, with their defaults."""
    method, found = METHODS[name], parameters(getattr(client, name))
    assert list(method.parameters) == [each for each in found if each in method.parameters]
    for each, default in method.parameters.items():
        if default is ANY_DEFAULT:
            assert found[each].default is not REQUIRED
        else:
            assert (each, default) == (each, found[each].default)
    required = {each.name for each in found.values() if each.default is REQUIRED and each.kind not in VARIADIC}
    assert required == {each for each, default in method.parameters.items() if default is REQUIRED}


VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("name", METHODS)
def test_ways_to_pass_arguments(client: type, name: str) -> None:
    """What comes after the star is a keyword; the rest can be given by position."""
    method, found = METHODS[name], parameters(getattr(client, name))
    for each in method.parameters:
        by_keyword = each in method.keyword_only or each in ENQUEUE_OPTIONS
        assert (each, by_keyword) == (each, found[each].kind is inspect.Parameter.KEYWORD_ONLY)


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("name", METHODS)
def test_flavour_and_return_type(client: type, name: str) -> None:
    """Methods of `Werk` are coroutine functions, those of `SyncWerk` are not; both return what the reference says."""
    method, found = METHODS[name], getattr(client, name)
    assert inspect.iscoroutinefunction(found) is (client is Werk and not method.plain)
    returns = typing.get_type_hints(found)["return"]
    if method.returns is not None:
        assert method.returns == returns


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("name", ["on_startup", "on_shutdown"])
def test_hooks_are_decorators(client: type, name: str) -> None:
    """`on_startup` and `on_shutdown` return the function that they are given."""

    def hook() -> None: ...

    assert getattr(client(DSN), name)(hook) is hook


@pytest.mark.parametrize(
    ("client", "names"), [(Werk, ("__aenter__", "__aexit__")), (SyncWerk, ("__enter__", "__exit__"))]
)
def test_context_manager(client: type, names: tuple[str, str]) -> None:
    """The client is a context manager of its flavour, and of that only."""
    others = {"__aenter__", "__aexit__", "__enter__", "__exit__"} - set(names)
    assert all(hasattr(client, name) for name in names)
    assert not any(hasattr(client, name) for name in others)


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("name", ["enqueue", "apply", "map"])
def test_arguments_for_the_handler(client: type, name: str) -> None:
    """All other keyword arguments are forwarded, and so are, but for `map`, all other positional ones."""
    kinds = [each.kind for each in parameters(getattr(client, name)).values()]
    assert inspect.Parameter.VAR_KEYWORD in kinds
    assert (inspect.Parameter.VAR_POSITIONAL in kinds) is (name != "map")


def plain(hint: Any) -> Any:
    """A type without the parameters that the reference does not give: `dict[str, Any]` as `dict`."""
    if get_origin(hint) in (typing.Union, types.UnionType):
        args = tuple(plain(arg) for arg in get_args(hint))
        return typing.Union[args]  # noqa: UP007 - of how many is not known here
    if get_origin(hint) is list:
        return hint
    return Callable if get_origin(hint) is Callable or hint is Callable else get_origin(hint) or hint


BESIDE: dict[type, tuple[str, ...]] = {
    JobExecution: ("max_memory",),
    CronJob: ("timezone", "catch_up", "catch_up_limit", "overlap", "priority", "retry"),
}
"""Fields that the reference does not list."""


@pytest.mark.parametrize(("model", "field"), [(model, field) for model, table in FIELDS.items() for field in table])
def test_field(model: type, field: str) -> None:
    """Each field of a model is there, with its type."""
    assert plain(FIELDS[model][field]) == plain(typing.get_type_hints(model)[field])


@pytest.mark.parametrize("model", FIELDS)
def test_fields_in_their_order(model: type) -> None:
    """The fields are in the order of the reference; what is there beside them comes last, and has a default."""
    names = [each.name for each in fields(model)]
    assert [*FIELDS[model], *BESIDE.get(model, ())] == names


@pytest.mark.parametrize(("model", "field"), [(model, field) for model, table in DEFAULTS.items() for field in table])
def test_default(model: type, field: str) -> None:
    """Each field has the default of the reference, or none."""
    expected, default = DEFAULTS[model][field], getattr(fields(model), field).default
    if hasattr(default, "factory"):
        default = default.factory()
    found = REQUIRED if default is NOTHING else default
    assert (expected, type(expected)) == (found, type(found)) or (field in FLOATS and expected == found)


FLOATS = {"heartbeat_interval", "sigterm_grace"}
"""Seconds that need not be whole, though their defaults are."""


@pytest.mark.parametrize("model", [WerkConfig, EnqueueParams])
def test_no_other_settings_are_required(model: type) -> None:
    """All fields of the reference are there, in their order, and whatever else there is has a default."""
    names = [each.name for each in fields(model)]
    assert list(DEFAULTS[model]) == names[: len(DEFAULTS[model])]
    assert all(each.default is not NOTHING for each in fields(model)[len(DEFAULTS[model]) :])


def test_options_are_the_fields_of_a_spec() -> None:
    """Each option of `enqueue` but `_conn` and `_sync` is a field of `EnqueueParams`, with the same default."""
    spec = {f"_{name}": default for name, default in DEFAULTS[EnqueueParams].items()}
    for option, default in ENQUEUE_OPTIONS.items():
        if option not in {"_conn", "_sync"}:
            assert (option, default) == (option, spec.pop(option))
    assert {"_func", "_args", "_kwargs"} == set(spec)


def test_optional_fields_of_a_job_are_none_by_default() -> None:
    """What a job may not have is None, unless the reference says what it is."""
    for each in fields(Job):
        if type(None) in get_args(FIELDS[Job][each.name]):
            assert (each.name, None) == (each.name, each.default)
    assert "hold" == fields(Job).failure_mode.default


@pytest.mark.parametrize("kind", ENUMS)
def test_enum(kind: type[enum.Enum]) -> None:
    """Each enum has its members, in their order, with their values, and they are texts."""
    assert ENUMS[kind] == {member.name: member.value for member in kind}
    assert list(ENUMS[kind]) == [member.name for member in kind]
    assert (str, enum.Enum) == kind.__bases__


def test_terminal_statuses() -> None:
    """A job that is complete, failed or aborted is over; all others are not."""
    assert TERMINAL == {status for status in JobStatus if status.is_terminal}


def test_examples_of_the_reference() -> None:
    """What the examples write can be written."""
    assert [10, 60, 300] == Retry(max=4, intervals=[10, 60, 300]).intervals
    assert 30 == Retry(max=3, intervals=30).intervals
    assert 3600 == Repeat(times=5, interval=3600).interval
    assert [60, 300, 3600] == Repeat(times=3, intervals=[60, 300, 3600]).intervals
    assert Dependency("an id", allow_failure=True).allow_failure
    assert 10 == Callback(func=print, timeout=10).timeout
    assert {"id": 1} == EnqueueParams(func=print, kwargs={"id": 1}, queue="bulk").kwargs
    assert ("_jobs", 30.0) == (WerkConfig(prefix="_jobs", sweep_interval=30.0).prefix, 30.0)
    assert "_jobs" == Werk(DSN, config=WerkConfig(prefix="_jobs", sweep_interval=30.0)).config.prefix


@pytest.mark.parametrize(
    ("make", "field"), [(lambda: Retry(max=0), "Retry.max"), (lambda: Repeat(times=0), "Repeat.times")]
)
def test_bounds_of_the_reference(make: Callable[[], object], field: str) -> None:
    """`Retry.max` and `Repeat.times` must be at least 1."""
    with pytest.raises(ValueError, match=f"{field} must be at least 1"):
        make()


def test_name_of_a_cron_job() -> None:
    """A `CronJob` is named after its function's module and qualified name."""
    assert f"{__name__}.test_name_of_a_cron_job" == CronJob(test_name_of_a_cron_job, interval=60).name


@pytest.mark.parametrize(
    "name",
    [
        "Werk",
        "WerkConfig",
        "JSONSerializer",
        "Serializer",
        "BaseWorker",
        "JobError",
        "JobNotFound",
        "configure_logging",
        *(model.__name__ for model in dict.fromkeys([*FIELDS, *DEFAULTS, *ENUMS])),
    ],
)
def test_name_can_be_imported(name: str) -> None:
    """Every class and function that the reference mentions can be imported from `pgwerk`."""
    assert name in pgwerk.__all__
    assert getattr(pgwerk, name).__name__ == name


def test_workers() -> None:
    """The workers that are there have the base that `Context.worker` is promised to have."""
    assert issubclass(AsyncWorker, BaseWorker)
