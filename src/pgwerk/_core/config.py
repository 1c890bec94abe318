"""`WerkConfig`: what a client and its workers can be told, checked when it is made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import evolve, field, fields, frozen

from pgwerk._core.checks import field_of, flag, seconds, whole
from pgwerk._core.suggest import suggest


@frozen(kw_only=True)
class WerkConfig:
    """Centralised configuration. Keyword arguments of `Werk` take precedence over it.

    Attributes:
        schema: PostgreSQL schema of the tables.
        prefix: Prefix of every table's name.
        max_active_secs: Seconds after which an active job that nothing was heard of counts as stuck.
        heartbeat_interval: Seconds between a worker's heartbeats; its lease is three times as long.
        poll_interval: Seconds between looks for work of an idle worker that nothing woke.
        abort_interval: Seconds between looks for abort requests.
        sweep_interval: Seconds between sweeps.
        shutdown_timeout: Seconds a worker that is asked to stop waits for what it runs.
        sigterm_grace: Seconds between SIGTERM and SIGKILL for a child process.
        ephemeral_tables: Keep the workers table UNLOGGED. Fixed when the tables are created.
        default_retry_backoff: Give an integer `_retry` an exponential back-off.
        allow_truncate: Allow `truncate()`, which deletes everything.
    """

    schema: str = "pgwerk"
    prefix: str = "_pgwerk"
    max_active_secs: int = field(default=3600, validator=field_of("config", whole, minimum=1))
    heartbeat_interval: float = field(default=10, validator=field_of("config", seconds, exclusive=True))
    poll_interval: float = field(default=5.0, validator=field_of("config", seconds, exclusive=True))
    abort_interval: float = field(default=1.0, validator=field_of("config", seconds, exclusive=True))
    sweep_interval: float = field(default=60.0, validator=field_of("config", seconds, exclusive=True))
    shutdown_timeout: float = field(default=30.0, validator=field_of("config", seconds))
    sigterm_grace: float = field(default=5, validator=field_of("config", seconds))
    ephemeral_tables: bool = field(default=False, validator=field_of("config", flag))
    default_retry_backoff: bool = field(default=True, validator=field_of("config", flag))
    allow_truncate: bool = field(default=False, validator=field_of("config", flag))

    @property
    def lease_secs(self) -> float:
        """Seconds after a worker's last heartbeat when its jobs count as orphaned."""
        return 3 * self.heartbeat_interval


def make_config(config: WerkConfig | Mapping[str, Any] | None, **overrides: Any) -> WerkConfig:
    """The configuration that results from a base and the keyword arguments that take precedence.

    Args:
        config: A `WerkConfig`, or a mapping of its attributes.
        overrides: Values that take precedence, where they are not None.

    Raises:
        TypeError: A key is not an attribute of `WerkConfig`, or a value has the wrong type.
        ValueError: A value makes no sense.
    """
    overrides = {name: value for name, value in overrides.items() if value is not None}
    if config is None:
        return WerkConfig(**overrides)
    if isinstance(config, WerkConfig):
        return evolve(config, **overrides)
    if not isinstance(config, Mapping):
        raise TypeError(f"config must be a WerkConfig or a dict, not {type(config).__name__}")
    valid = [attribute.name for attribute in fields(WerkConfig)]
    for name in config:
        if name not in valid:
            raise TypeError(f"config has no setting {name!r}.{suggest(str(name), valid)}")
    return WerkConfig(**{**config, **overrides})
