-- The first version of the tables.

-- Domains, as their checks are compiled once in a session. A check on the table is parsed by every statement that writes
-- to it, which took a tenth of the time of an insert each. So the jobs have none: that attempts stay within their budget
-- is seen to by the statements that count them.
CREATE DOMAIN {job_status} AS text
    CHECK (VALUE IN ('scheduled', 'queued', 'waiting', 'active', 'aborting', 'complete', 'failed', 'aborted'));
CREATE DOMAIN {failure_mode} AS text CHECK (VALUE IN ('hold', 'delete'));

CREATE TABLE {jobs} (
    id uuid PRIMARY KEY,
    function text NOT NULL,
    queue text NOT NULL,
    status {job_status} NOT NULL,
    priority integer NOT NULL DEFAULT 0,
    attempts integer NOT NULL DEFAULT 0,
    max_attempts integer NOT NULL DEFAULT 1,
    scheduled_at timestamptz NOT NULL,
    enqueued_at timestamptz NOT NULL,
    key text,
    group_key text,
    payload jsonb,
    result jsonb,
    error text,
    timeout_secs integer,
    heartbeat_secs integer,
    started_at timestamptz,
    completed_at timestamptz,
    touched_at timestamptz,
    expires_at timestamptz,
    worker_id uuid,
    meta jsonb,
    result_ttl integer,
    failure_ttl integer,
    ttl integer,
    on_success text,
    on_failure text,
    on_stopped text,
    retry_intervals integer[],
    repeat_remaining integer,
    repeat_interval_secs integer,
    repeat_intervals integer[],
    cron_name text,
    failure_mode {failure_mode} NOT NULL DEFAULT 'hold',

    -- What is not a field of Job.
    -- Attempts of one round; requeue_job adds them to max_attempts again.
    attempts_per_round integer NOT NULL DEFAULT 1,
    -- Somebody waits for the job: its end is notified, and its row stays long enough to be read.
    awaited boolean NOT NULL DEFAULT false,
    on_success_timeout integer,
    on_failure_timeout integer,
    on_stopped_timeout integer,
    -- The callback that is owed: the name of its option; from when on it may be taken up, which is also what tells those
    -- who have taken it up from each other; and how often it has been.
    callback text,
    callback_due timestamptz,
    callback_tries integer NOT NULL DEFAULT 0
) WITH (
    -- A queue turns over its rows: vacuum when 1,000 and 1% are dead, analyze when 1,000 and 5% have changed.
    autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_scale_factor = 0.01,
    autovacuum_analyze_threshold = 1000,
    autovacuum_analyze_scale_factor = 0.05,
    autovacuum_vacuum_cost_delay = 1
);

-- Each status change writes an entry into every index whose predicate the new row meets, so there are as few as the
-- reads need. Ready jobs are split by whether they have a group: a blocked group at the head must not be in the way.
CREATE INDEX {jobs_ready} ON {jobs} (queue, priority DESC, scheduled_at, id)
    WHERE status = 'queued' AND group_key IS NULL;
CREATE INDEX {jobs_ready_grouped} ON {jobs} (queue, priority DESC, scheduled_at, id)
    WHERE status = 'queued' AND group_key IS NOT NULL;
CREATE INDEX {jobs_ready_groups} ON {jobs} (queue, group_key, priority DESC, scheduled_at, id)
    WHERE status = 'queued' AND group_key IS NOT NULL;
CREATE INDEX {jobs_due} ON {jobs} (scheduled_at) WHERE status = 'scheduled';
CREATE INDEX {jobs_waiting} ON {jobs} (id) WHERE status = 'waiting';
CREATE INDEX {jobs_running} ON {jobs} (worker_id) WHERE status IN ('active', 'aborting');
CREATE UNIQUE INDEX {jobs_key} ON {jobs} (key) WHERE key IS NOT NULL;
-- The backstop: two running jobs of one group are impossible, whatever a claim does.
CREATE UNIQUE INDEX {jobs_running_group} ON {jobs} (group_key)
    WHERE status IN ('active', 'aborting') AND group_key IS NOT NULL;
CREATE INDEX {jobs_expiry} ON {jobs} (expires_at, id) WHERE expires_at IS NOT NULL;
CREATE INDEX {jobs_callbacks} ON {jobs} (queue, callback_due) WHERE callback_due IS NOT NULL;

-- One row for each attempt that has ended. No foreign key to the jobs: it would look up and lock the job once more for
-- every attempt, in the statement that has just locked it; each statement that deletes jobs deletes these rows with
-- them. The result is not here: only the last attempt can have one, and the job row has it.
CREATE TABLE {executions} (
    job_id uuid NOT NULL,
    attempt integer NOT NULL,
    status text NOT NULL CHECK (status IN ('complete', 'failed', 'aborted')),
    worker_id uuid,
    error text,
    started_at timestamptz,
    completed_at timestamptz NOT NULL,
    -- Bytes that the process of the attempt took up at most, where it had one of its own.
    max_memory bigint,
    PRIMARY KEY (job_id, attempt)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.05);
-- What ended lately, for statistics. Rows come in as attempts end, so pages are in the order of time, and a summary of
-- their ranges does: some kilobytes for a million rows, and next to nothing for each new one.
CREATE INDEX {executions_ended} ON {executions} USING brin (completed_at) WITH (autosummarize = on);

-- No foreign key to the parent: a row that somebody deletes by hand must not take along what its children wait for. The
-- statement that inserts a child locks its parents as a foreign key would, and the ones that delete jobs see to the rest.
CREATE TABLE {dependencies} (
    child_id uuid NOT NULL REFERENCES {jobs} (id) ON DELETE CASCADE,
    parent_id uuid NOT NULL,
    allow_failure boolean NOT NULL DEFAULT false,
    PRIMARY KEY (child_id, parent_id),
    CHECK (child_id <> parent_id)
);
CREATE INDEX {dependencies_parent} ON {dependencies} (parent_id, child_id);

-- Nothing refers to a worker by foreign key, so that this table can be unlogged and empty after a crash.
CREATE {unlogged} TABLE {workers} (
    id uuid PRIMARY KEY,
    kind text NOT NULL,
    host text NOT NULL,
    pid integer NOT NULL,
    queues text[] NOT NULL,
    concurrency integer NOT NULL,
    version text NOT NULL,
    running integer NOT NULL DEFAULT 0,
    started_at timestamptz NOT NULL,
    heartbeat_at timestamptz NOT NULL,
    lease_secs double precision NOT NULL,
    -- Whether whoever enqueues has to notify it: it is idle, or may be about to be.
    wants_news boolean NOT NULL DEFAULT false
) WITH (fillfactor = 50, autovacuum_vacuum_threshold = 200);
-- Read by whoever enqueues: without it, hundreds of workers, or what an old snapshot keeps of their heartbeats, would cost
-- more than the insert.
CREATE INDEX {workers_news} ON {workers} (id) WHERE wants_news;

-- What schedulers enqueue again and again. A tick is the job's insert and the advance of this row, in one transaction.
CREATE TABLE {schedules} (
    name text PRIMARY KEY,
    function text NOT NULL,
    queue text NOT NULL,
    priority integer NOT NULL,
    payload jsonb,
    cron text,
    interval_secs integer,
    timezone text NOT NULL,
    catch_up text NOT NULL CHECK (catch_up IN ('latest', 'all', 'skip')),
    catch_up_limit integer NOT NULL,
    overlap text NOT NULL CHECK (overlap IN ('allow', 'skip')),
    max_attempts integer NOT NULL,
    retry_intervals integer[],
    timeout_secs integer,
    result_ttl integer,
    failure_ttl integer,
    meta jsonb,
    paused boolean NOT NULL,
    -- A moment at which an interval ticks: its phase.
    anchor_at timestamptz NOT NULL,
    next_run_at timestamptz NOT NULL,
    last_run_at timestamptz,
    last_job_id uuid,
    CHECK ((cron IS NULL) <> (interval_secs IS NULL))
) WITH (fillfactor = 50, autovacuum_vacuum_threshold = 200);
