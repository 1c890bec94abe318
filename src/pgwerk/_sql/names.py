"""The names of tables, types, indexes and notification channels that belong to one pair of schema and prefix."""

from __future__ import annotations

import hashlib

from psycopg import sql

from pgwerk._core import checks

IDENTIFIER_BYTES = 63
"""PostgreSQL cuts longer identifiers off without a word."""

TABLES = ("jobs", "executions", "dependencies", "workers", "schedules", "migrations")
TYPES = ("job_status", "failure_mode")
INDEXES = (
    "jobs_ready",
    "jobs_ready_grouped",
    "jobs_ready_groups",
    "jobs_due",
    "jobs_waiting",
    "jobs_running",
    "jobs_key",
    "jobs_running_group",
    "jobs_expiry",
    "jobs_callbacks",
    "executions_ended",
    "dependencies_parent",
    "workers_news",
)
CHANNELS = ("ready", "done")


class Names:
    """The names for one pair of schema and prefix.

    Args:
        schema: The schema of the tables; quoted where needed.
        prefix: What every table's name begins with.

    Raises:
        ValueError: One of the two is empty, or makes a name that PostgreSQL would cut off or refuse.
    """

    def __init__(self, schema: str, prefix: str) -> None:
        self.schema = checks.text("schema", schema, max_bytes=IDENTIFIER_BYTES)
        self.prefix = checks.text("prefix", prefix, max_bytes=IDENTIFIER_BYTES)
        if schema.startswith("pg_"):
            raise ValueError(f"schema {schema!r} is reserved: names that begin with pg_ belong to PostgreSQL itself")
        longest = max((f"{prefix}_{name}" for name in TABLES + TYPES + INDEXES), key=len)
        if (size := len(longest.encode())) > IDENTIFIER_BYTES:
            room = len(prefix.encode()) - (size - IDENTIFIER_BYTES)
            raise ValueError(
                f"prefix {prefix!r} is too long: PostgreSQL's names have {IDENTIFIER_BYTES} bytes at most, which "
                f"leaves {room} for the prefix"
            )
        # A channel's name is an identifier too, and schema and prefix together may be longer than one.
        digest = hashlib.sha256(f"{schema}\0{prefix}".encode()).hexdigest()
        self.ready_channel = f"pgwerk_ready_{digest[:16]}"
        self.done_channel = f"pgwerk_done_{digest[:16]}"
        self.lock_space = int(digest[:8], 16) - 2**31
        """First key of the advisory locks: keeps two sets of tables in one database apart."""

    def table(self, name: str) -> str:
        """The quoted, qualified name of a table or a type."""
        return sql.Identifier(self.schema, f"{self.prefix}_{name}").as_string(None)

    def placeholders(self) -> dict[str, str]:
        """What the placeholders for names in the statements stand for."""
        tables = {name: self.table(name) for name in TABLES + TYPES}
        indexes = {name: sql.Identifier(f"{self.prefix}_{name}").as_string(None) for name in INDEXES}
        channels = {f"{name}_channel": sql.quote(getattr(self, f"{name}_channel")) for name in CHANNELS}
        return {
            **tables,
            **indexes,
            **channels,
            "schema": sql.Identifier(self.schema).as_string(None),
            "schema_name": sql.quote(self.schema),
            "lock_space": str(self.lock_space),
        }
