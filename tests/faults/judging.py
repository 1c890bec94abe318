"""What is written down while faults happen, and what it proves afterwards.

Triggers on pgwerk's own tables write down what must never happen: that a job which has ended is changed or deleted, or
a line of its history is; and that a job is completed or given back by another worker than the one that runs it, whom
the server knows by the name of the session. Handlers write effects (handlers.py). Nothing here reads what a worker says
of itself.
"""

from __future__ import annotations

from attrs import frozen
from tests.worker.conftest import Tables

SETUP = (
    # One row for each run of a handler that got as far as its work.
    "CREATE TABLE {schema}.effects (number bigserial, token uuid PRIMARY KEY, job_id uuid NOT NULL, "
    "attempt integer NOT NULL, worker_id uuid, pid integer NOT NULL, "
    "noted_at timestamptz NOT NULL DEFAULT clock_timestamp())",
    "CREATE INDEX ON {schema}.effects (job_id, attempt)",
    # The groups of which a job is at work, and the jobs that came in beside another one.
    "CREATE TABLE {schema}.inside (group_key text PRIMARY KEY, token uuid NOT NULL UNIQUE)",
    "CREATE TABLE {schema}.overlaps (group_key text NOT NULL, job_id uuid NOT NULL)",
    # What was changed after it was settled.
    "CREATE TABLE {schema}.overwritten (job_id uuid NOT NULL, what text NOT NULL, before jsonb, after jsonb)",
    "CREATE FUNCTION {schema}.write_down_job() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
    "INSERT INTO {schema}.overwritten VALUES (OLD.id, TG_OP || ' of a job', to_jsonb(OLD), to_jsonb(NEW)); "
    "RETURN NULL; END $$",
    "CREATE FUNCTION {schema}.write_down_execution() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
    "INSERT INTO {schema}.overwritten VALUES (OLD.job_id, TG_OP || ' of its history', to_jsonb(OLD), to_jsonb(NEW)); "
    "RETURN NULL; END $$",
    "CREATE TRIGGER overwritten AFTER UPDATE ON {jobs} FOR EACH ROW WHEN (OLD.completed_at IS NOT NULL AND "
    "(OLD.status, OLD.attempts, OLD.result, OLD.error, OLD.worker_id, OLD.started_at, OLD.completed_at) IS DISTINCT "
    "FROM (NEW.status, NEW.attempts, NEW.result, NEW.error, NEW.worker_id, NEW.started_at, NEW.completed_at)) "
    "EXECUTE FUNCTION {schema}.write_down_job()",
    "CREATE TRIGGER deleted AFTER DELETE ON {jobs} FOR EACH ROW EXECUTE FUNCTION {schema}.write_down_job()",
    "CREATE TRIGGER overwritten AFTER UPDATE OR DELETE ON {executions} FOR EACH ROW "
    "EXECUTE FUNCTION {schema}.write_down_execution()",
    # What was settled by somebody who does not run it. A rescue is done by others, and never completes or gives back.
    "CREATE TABLE {schema}.sessions (worker_id uuid PRIMARY KEY, name text NOT NULL)",
    "CREATE FUNCTION {schema}.write_down_worker() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
    "INSERT INTO {schema}.sessions VALUES (NEW.id, current_setting('application_name')) ON CONFLICT DO NOTHING; "
    "RETURN NULL; END $$",
    "CREATE TRIGGER named AFTER INSERT ON {workers} FOR EACH ROW EXECUTE FUNCTION {schema}.write_down_worker()",
    "CREATE FUNCTION {schema}.write_down_stranger() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
    "INSERT INTO {schema}.overwritten SELECT OLD.id, 'settled by ' || current_setting('application_name'), "
    "to_jsonb(OLD), to_jsonb(NEW) FROM {schema}.sessions s "
    "WHERE s.worker_id = OLD.worker_id AND s.name <> current_setting('application_name'); "
    "RETURN NULL; END $$",
    "CREATE TRIGGER settled AFTER UPDATE ON {jobs} FOR EACH ROW WHEN (OLD.status IN ('active', 'aborting') "
    "AND (NEW.status = 'complete' OR NEW.attempts < OLD.attempts)) EXECUTE FUNCTION {schema}.write_down_stranger()",
)

JOBS = "SELECT count(*) FROM {jobs}"
ATTEMPTS = "SELECT count(*) FROM {executions}"

LOST = (
    # What has not come to an end, and what was enqueued and is not there.
    "SELECT (SELECT count(*) FROM {jobs} WHERE completed_at IS NULL OR "
    "status NOT IN ('complete', 'failed', 'aborted')) + "
    "(SELECT count(*) FROM unnest(%s::uuid[]) AS accepted (id) WHERE NOT EXISTS "
    "(SELECT FROM {jobs} j WHERE j.id = accepted.id))"
)
MISSING = (
    "SELECT count(*) FROM {jobs} j WHERE j.status = 'complete' AND NOT EXISTS "
    "(SELECT FROM {schema}.effects e WHERE e.job_id = j.id AND e.attempt = j.attempts)"
)
OVERWRITTEN = "SELECT count(DISTINCT job_id) FROM {schema}.overwritten"
STOLEN = (
    # The result comes from another attempt than the one that the row says, or from another worker's.
    "SELECT count(*) FROM {jobs} j WHERE j.status = 'complete' AND NOT EXISTS "
    "(SELECT FROM {schema}.effects e WHERE e.token::text = j.result #>> '{{}}' AND e.job_id = j.id "
    "AND e.attempt = j.attempts AND e.worker_id = j.worker_id)"
)
UNTOLD = (
    # The history shows each attempt once, and the last one as the row does.
    "SELECT count(*) FROM {jobs} j LEFT JOIN (SELECT job_id, count(*) AS n, max(attempt) AS last, "
    "count(*) FILTER (WHERE status = 'complete') AS complete FROM {executions} GROUP BY job_id) e ON e.job_id = j.id "
    "WHERE coalesce(e.n, 0) <> j.attempts OR coalesce(e.last, 0) <> j.attempts "
    "OR coalesce(e.complete, 0) <> (j.status = 'complete')::integer"
)


@frozen(kw_only=True)
class Report:
    """What came of a scenario.

    Attributes:
        scenario: Its name.
        faults: How many faults were injected.
        jobs: How many jobs there are.
        attempts: How many attempts at them are on record.
        lost: Jobs that have not ended, and jobs whose enqueue had returned and that are not there.
        missing: Complete jobs whose last attempt has left no effect.
        twice: Jobs that were changed after they had been settled, or settled by an attempt that had lost them.
        broken: Other promises that were broken, one sentence each.
        notes: What was measured.
        secs: How long it took.
    """

    scenario: str
    faults: int = 0
    jobs: int = 0
    attempts: int = 0
    lost: int = 0
    missing: int = 0
    twice: int = 0
    broken: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    secs: float = 0.0

    @property
    def is_good(self) -> bool:
        """Whether all promises were kept."""
        return not (self.lost or self.missing or self.twice or self.broken)

    def and_then(self, other: Report) -> Report:
        """Both together."""
        return Report(
            scenario=self.scenario,
            faults=self.faults + other.faults,
            jobs=self.jobs + other.jobs,
            attempts=self.attempts + other.attempts,
            lost=self.lost + other.lost,
            missing=self.missing + other.missing,
            twice=self.twice + other.twice,
            broken=self.broken + other.broken,
            notes=self.notes + other.notes,
            secs=self.secs + other.secs,
        )


async def judge(tables: Tables, accepted: list[str], report: Report) -> Report:
    """Complete a report with what the tables say.

    Args:
        tables: The tables of the scenario.
        accepted: The ids of all jobs whose enqueue has returned.
        report: The rest.
    """
    missing = await tables.value(MISSING)
    untold = await tables.value(UNTOLD)
    told = (f"the history of {untold} jobs does not show each attempt once",) if untold else ()
    # A job without an effect cannot have been settled by the right attempt either: it is counted once.
    stolen = await tables.value(STOLEN) - missing
    return report.and_then(
        Report(
            scenario=report.scenario,
            jobs=await tables.value(JOBS),
            attempts=await tables.value(ATTEMPTS),
            lost=await tables.value(LOST, accepted),
            missing=missing,
            twice=await tables.value(OVERWRITTEN) + max(stolen, 0),
            broken=told,
        )
    )
