"""Options that are given once for many jobs: what an enqueuer is made of."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, TypedDict

from pgwerk._core import checks
from pgwerk._core.models import Callback, Dependency, EnqueueParams, Handler, Job, Repeat, Retry
from pgwerk._core.options import SPEC_OPTIONS, Preparation
from pgwerk._core.suggest import suggest

POLL_INTERVAL = 0.5
"""Seconds between looks, in case that no notification arrives, for who waits for jobs of his own."""

OPTIONS = (*SPEC_OPTIONS, "conn", "sync", "wait_timeout", "poll_interval")
"""What can be bound."""


class JobOptions(TypedDict, total=False):
    """The options of `enqueue` without the underscore; `key` is not among them, as the result's type depends on it."""

    queue: str
    priority: int
    delay: float | timedelta | None
    at: datetime | None
    retry: int | Retry
    timeout: int | None
    heartbeat: int | None
    group: str | None
    meta: dict[str, Any] | None
    result_ttl: int | None
    failure_ttl: int | None
    ttl: int | None
    on_success: Callback | Handler | None
    on_failure: Callback | Handler | None
    on_stopped: Callback | Handler | None
    repeat: Repeat | None
    depends_on: Dependency | Job | str | Sequence[Dependency | Job | str] | None
    failure_mode: str


def bind(options: Mapping[str, Any], preparation: Preparation) -> Mapping[str, Any]:
    """Check options, and keep them for many jobs.

    Returns:
        The options. They cannot be changed, nor by way of the objects that were passed.

    Raises:
        TypeError: An option is unknown or has the wrong type.
        ValueError: An option makes no sense.
        SerializationError: The metadata cannot be serialized.
    """
    for name in options:
        if name not in OPTIONS:
            raise TypeError(f"options() has no option {name!r}.{suggest(name, OPTIONS)}")
    preparation.check(options)
    checks.flag("sync", options.get("sync", False))
    if options.get("wait_timeout") is not None:
        checks.seconds("wait_timeout", options["wait_timeout"])
    checks.seconds("poll_interval", options.get("poll_interval", POLL_INTERVAL), exclusive=True)
    own = {"depends_on": tuple(options["depends_on"])} if isinstance(options.get("depends_on"), list) else {}
    return MappingProxyType({**options, **_own_meta(options), **own})


def bound_spec(
    options: Mapping[str, Any], func: Handler, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> EnqueueParams:
    """A job with the bound options."""
    chosen = {name: options[name] for name in SPEC_OPTIONS if name in options}
    return EnqueueParams(func, args, dict(kwargs), **{**chosen, **_own_meta(chosen)})


def _own_meta(options: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of the metadata, if there is any: jobs are given out with theirs, and it is a dict that can change."""
    return {} if options.get("meta") is None else {"meta": copy.deepcopy(options["meta"])}
