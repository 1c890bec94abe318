"""Judging the tables, their indexes, and what keeps vacuum from its work."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from attrs import frozen

from pgwerk._core.diagnosis.wording import HOUR, MINUTE, number, some, span
from pgwerk._core.insights import Finding, MigrationStatus, Severity, TableInfo

DEAD_ROWS, DEAD_SHARE = 10_000, 0.2
"""The migrations have the tables vacuumed at 1,000 dead rows and 1% or 2%. A tenfold of both means that vacuum does not
get around to it, or cannot remove them."""

MANY_DEAD_ROWS = 1_000_000
"""With so many, and more dead rows than live ones, scans read mostly what is dead."""

NEVER_VACUUMED_ROWS = 100_000
"""Autovacuum looks every minute, and takes a table on at a fraction of that."""

OLD_SECS, VERY_OLD_SECS = 5 * MINUTE, 4 * HOUR
"""Requests end within seconds, and batch jobs within minutes. Backups take longer, up to hours, and then they end."""

OLD_TRANSACTIONS, VERY_OLD_TRANSACTIONS = 1_000_000, 100_000_000
"""For what has no start: a million transactions are minutes of a busy queue. At 200 million, the default of
autovacuum_freeze_max_age, the server begins to vacuum against wraparound; half of that leaves time to act."""

IDLE_SECS, VERY_IDLE_SECS = MINUTE, HOUR
"""Nobody needs a minute between two statements. Workers do not wait for such a transaction, but a migration and
delete_job do, and after an hour it is forgotten."""

LAST_AGE = 1_600_000_000
"""vacuum_failsafe_age by default: from there on the server puts vacuum before all else, and at 2 billion it stops."""

GRANT = "GRANT pg_read_all_stats lets this role see the sessions of others"


@frozen
class Holder:
    """Something that keeps vacuum from removing dead rows.

    Attributes:
        kind: "session", "prepared transaction" or "replication slot".
        name: The process id of a session, or the name of the other two.
        about: Who, what for, and in which state.
        transactions: Its age in transactions.
        secs: Its age in seconds; None where that is not known.
    """

    kind: str
    name: str
    about: str
    transactions: int | None
    secs: float | None

    @property
    def severity(self) -> Severity:
        """How bad it is."""
        if self.secs is not None:
            return _grade(self.secs, OLD_SECS, VERY_OLD_SECS)
        return _grade(self.transactions or 0, OLD_TRANSACTIONS, VERY_OLD_TRANSACTIONS)

    def __str__(self) -> str:
        age = number(self.transactions or 0, "transaction") if self.secs is None else span(self.secs)
        about = f" ({self.about})" if self.about else ""
        return f"{self.kind} {self.name}{about}, {age} old"


def no_tables(schema: str) -> Finding:
    """There is nothing to look at."""
    return Finding("schema", "problem", f"there are no tables in schema {schema}", "run `werk migrate`")


def judge_schema(status: MigrationStatus, schema: str) -> Finding:
    """Whether the tables are those that this release works with."""
    if status.is_current:
        return Finding("schema", "ok", f"the tables in schema {schema} are at version {status.version}")
    return Finding(
        "schema",
        "problem",
        f"the tables in schema {schema} are at version {status.version}, and this release works with {status.latest}",
        status.advice,
    )


def judge_indexes(expected: Collection[str], found: Mapping[str, bool]) -> list[Finding]:
    """Whether the indexes are there and can be used.

    Args:
        expected: The names that the migrations give them.
        found: The names of those that are there, and whether each can be used.
    """
    findings = []
    if missing := sorted(set(expected) - found.keys()):
        findings.append(
            Finding(
                "indexes",
                "problem",
                f"missing: {some(missing)}; without it, statements read whole tables or lose a guarantee",
                "create it again as the migrations do: see CREATE INDEX in what `werk migrate --sql` prints",
            )
        )
    # Also one that somebody has added: it is written to with each row, and read by nobody.
    if invalid := sorted(name for name, is_valid in found.items() if not is_valid):
        findings.append(
            Finding(
                "indexes",
                "problem",
                f"invalid: {some(invalid)}; written to and never used",
                "REINDEX INDEX CONCURRENTLY, or drop it if its name ends with _ccnew or _ccold",
            )
        )
    return findings or [Finding("indexes", "ok", f"all {len(expected)} are there, and valid")]


def judge_tables(tables: Sequence[TableInfo], *, prefix: str, autovacuum: bool, freeze_max_age: int) -> list[Finding]:
    """How vacuum keeps up with the tables, and whether they survive a crash."""
    return [
        *_judge_vacuum(tables, autovacuum=autovacuum),
        _judge_persistence(tables, prefix),
        _judge_age(tables, freeze_max_age),
    ]


def _judge_vacuum(tables: Sequence[TableInfo], *, autovacuum: bool) -> list[Finding]:
    findings = []
    off = [table.name for table in tables if table.without_autovacuum or not autovacuum]
    if off:
        findings.append(
            Finding(
                "vacuum",
                "problem",
                f"autovacuum is off for {some(off)}: a queue turns its rows over, and dead ones pile up",
                "turn it on: ALTER TABLE ... RESET (autovacuum_enabled), or autovacuum = on for the server",
            )
        )
    for table in tables:
        when = "never" if table.vacuumed_at is None else f"at {table.vacuumed_at:%Y-%m-%d %H:%M} UTC"
        if table.dead > max(DEAD_ROWS, DEAD_SHARE * table.live):
            is_worse = table.dead > max(MANY_DEAD_ROWS, table.live)
            findings.append(
                Finding(
                    "vacuum",
                    "problem" if is_worse else "warning",
                    f"{table.name} has {number(table.dead, 'dead row')} and {table.live:,} live ones; vacuumed {when}",
                    "if nothing holds vacuum back (see snapshots), run VACUUM, or let autovacuum work faster",
                )
            )
        elif table.vacuumed_at is None and max(table.live, table.rows) > NEVER_VACUUMED_ROWS:
            findings.append(
                Finding(
                    "vacuum",
                    "warning",
                    f"{table.name} has {max(table.live, table.rows):,} rows, and was never vacuumed, as far as the "
                    f"server remembers",
                    "run VACUUM ANALYZE once, and see whether autovacuum is kept from its work",
                )
            )
    dead = sum(table.dead for table in tables)
    return findings or [Finding("vacuum", "ok", f"vacuum keeps up: {number(dead, 'dead row')} in all tables")]


def _judge_persistence(tables: Iterable[TableInfo], prefix: str) -> Finding:
    unlogged = [table.name for table in tables if table.is_unlogged]
    # Workers write their rows anew; jobs are nowhere else.
    if lost := [name for name in unlogged if name != f"{prefix}_workers"]:
        return Finding(
            "persistence",
            "problem",
            f"unlogged: {some(lost)}; empty after a crash of the server, and missing on standbys",
            "ALTER TABLE ... SET LOGGED",
        )
    if unlogged:
        return Finding("persistence", "ok", f"{unlogged[0]} is unlogged (ephemeral_tables); workers write it anew")
    return Finding("persistence", "ok", "no table is unlogged")


def _judge_age(tables: Sequence[TableInfo], freeze_max_age: int) -> Finding:
    age, name = max(((max(table.age, table.multixact_age), table.name) for table in tables), default=(0, ""))
    # At that age vacuum is forced. Twice as old, it has been forced and has not come through.
    severity = _grade(age, 2 * freeze_max_age, LAST_AGE)
    if severity == "ok":
        return Finding("wraparound", "ok", f"the oldest row was written {age:,} transactions ago or later")
    return Finding(
        "wraparound",
        severity,
        f"{name} has rows that may be {age:,} transactions old; at 2 billion the server stops writing",
        "run VACUUM (FREEZE) on it, and see what holds vacuum back",
    )


def judge_snapshots(holders: Iterable[Holder], *, sees_all: bool) -> list[Finding]:
    """What keeps dead rows alive."""
    old = [holder for holder in holders if holder.severity != "ok"]
    if not old:
        summary = "nothing has held vacuum back for long"
        if sees_all:
            return [Finding("snapshots", "ok", summary)]
        return [Finding("snapshots", "ok", f"{summary}, among what this role is shown", GRANT)]
    return [
        Finding("snapshots", holder.severity, f"{holder} keeps dead rows alive", _ADVICE.get(holder.kind, _END))
        for holder in old
    ]


_END = "end it, or have its program commit sooner; pg_terminate_backend(pid) does it for you"
_ADVICE = {
    "prepared transaction": "COMMIT PREPARED or ROLLBACK PREPARED it: whoever prepared it has forgotten it",
    "replication slot": "see whether its consumer still exists; if not, pg_drop_replication_slot(name)",
}


def judge_idle(holders: Sequence[Sequence[Any]], *, sees_all: bool) -> list[Finding]:
    """Sessions that hold locks on the tables and do nothing.

    Args:
        holders: Rows of `find_idle_holders.sql`.
        sees_all: Whether this role is shown the sessions of others.
    """
    findings = [
        Finding(
            "idle transactions",
            severity,
            f"session {pid} ({about}) has locks on the tables, and its transaction has been idle for {span(secs)}",
            "have its program commit sooner, or set idle_in_transaction_session_timeout; migrations wait for it",
        )
        for pid, about, secs in holders
        if (severity := _grade(secs, IDLE_SECS, VERY_IDLE_SECS)) != "ok"
    ]
    if findings:
        return findings
    summary = "no transaction with locks on the tables is idle for long"
    if sees_all:
        return [Finding("idle transactions", "ok", summary)]
    return [Finding("idle transactions", "ok", f"{summary}, among what this role is shown", GRANT)]


def _grade(value: float, warning: float, problem: float) -> Severity:
    return "problem" if value >= problem else "warning" if value >= warning else "ok"
