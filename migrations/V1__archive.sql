-- The archive of finished tasks. What is true is decided by the cluster's ledger; nothing here is read back into it.
--
-- Numbers: the ledger counts with 64 bits without a sign, PostgreSQL with one. A number is stored by its bits, so that every
-- number comes back as it was; those that occur are far below 2^63 and look here as they are. Times are milliseconds since
-- 1970-01-01 UTC in columns that end in `_ms`, so that they come back exactly; `created_at` and `finished_at` show the same to people.
-- Texts: the two characters that PostgreSQL cannot hold, or that mark them, are escaped (U+F0000 and a letter).
--
-- Never stored: sealed inputs, request fingerprints, idempotency keys.

-- How far each cluster has been archived. A batch moves `position` from what the writer believed it to be, in the transaction that
-- writes the batch, and only while `claim` is the writer's own: what a deposed leader still writes changes nothing.
CREATE TABLE archive_cursor (
    cluster_id  text PRIMARY KEY,
    epoch       bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    position    bigint NOT NULL DEFAULT 0,
    term        bigint NOT NULL,
    claim       uuid NOT NULL,
    coordinator text NOT NULL,
    claimed_at  timestamptz NOT NULL DEFAULT now(),
    written_at  timestamptz
);
COMMENT ON TABLE archive_cursor IS 'one row per cluster: how far its outbox is archived, and who may write on';
COMMENT ON COLUMN archive_cursor.epoch IS 'names the cluster in the other tables; later clusters have larger ones';
COMMENT ON COLUMN archive_cursor.position IS 'the last outbox position that is archived';
COMMENT ON COLUMN archive_cursor.term IS 'the Raft term of the leader that claimed the row';
COMMENT ON COLUMN archive_cursor.claim IS 'drawn with every claim; a batch of an earlier claim changes nothing';

CREATE TABLE tasks (
    id              uuid PRIMARY KEY,
    tenant          bigint NOT NULL,
    epoch           bigint NOT NULL,
    sequence        bigint NOT NULL,
    position        bigint NOT NULL,
    circuit         text NOT NULL,
    status          text NOT NULL CHECK (status IN ('completed', 'failed', 'cancelled')),
    priority        text NOT NULL CHECK (priority IN ('low', 'normal', 'high')),
    created_ms      bigint NOT NULL,
    finished_ms     bigint NOT NULL,
    deadline_ms     bigint,
    max_attempts    bigint NOT NULL,
    attempts_used   bigint NOT NULL,
    latest_attempt  bigint NOT NULL,
    input_bytes     bigint NOT NULL,
    -- Of a completed task.
    worker          text,
    attempt         bigint,
    verifying_key   bytea,
    queued_ms       bigint,
    proving_ms      bigint,
    verifying_ms    bigint,
    -- Of a failed one; kind and message when the reason is 'permanent'.
    failure_reason  text CHECK (failure_reason IN ('attempts_exhausted', 'deadline_passed', 'permanent')),
    failure_kind    text,
    failure_message text,
    summary         text,
    public_inputs   bytea[] NOT NULL,
    proof           bytea,
    created_at      timestamptz GENERATED ALWAYS AS (
        CASE WHEN created_ms BETWEEN 0 AND 253402300799999 THEN to_timestamp(created_ms / 1000.0) END) STORED,
    finished_at     timestamptz GENERATED ALWAYS AS (
        CASE WHEN finished_ms BETWEEN 0 AND 253402300799999 THEN to_timestamp(finished_ms / 1000.0) END) STORED,
    CHECK (status <> 'completed' OR (worker IS NOT NULL AND attempt IS NOT NULL AND verifying_key IS NOT NULL
        AND queued_ms IS NOT NULL AND proving_ms IS NOT NULL AND verifying_ms IS NOT NULL)),
    CHECK (status <> 'failed' OR failure_reason IS NOT NULL)
);
COMMENT ON TABLE tasks IS 'finished tasks, one row each';
COMMENT ON COLUMN tasks.epoch IS 'the cluster, see archive_cursor; lists go by (epoch, sequence), newest first';
COMMENT ON COLUMN tasks.sequence IS 'the order of submission within the cluster';
COMMENT ON COLUMN tasks.position IS 'the outbox position that wrote the row last';
COMMENT ON COLUMN tasks.proof IS 'compressed encoding; NULL unless completed';

-- One index for each way to list, in the order of the list, so that a page costs what it shows. Each has an expression of its own for
-- the sequence number, which the store's statement repeats: a planner that takes another way's index because most rows would fit
-- anyway reads everything when the newest do not fit. `since` needs none beside tasks_by_creation: the ledger's clock never goes
-- back, so within an epoch it is a smallest sequence number.
CREATE INDEX tasks_by_place ON tasks (tenant, epoch, sequence);
CREATE INDEX tasks_by_status ON tasks (tenant, status, epoch, (sequence + 0::bigint));
CREATE INDEX tasks_by_circuit ON tasks (tenant, circuit, epoch, (sequence - 0::bigint));
CREATE INDEX tasks_by_status_and_circuit ON tasks (tenant, status, circuit, epoch, (sequence * 1::bigint));
CREATE INDEX tasks_by_creation ON tasks (tenant, epoch, created_ms, sequence);
-- For retention.
CREATE INDEX tasks_by_finish ON tasks (status, finished_ms);

-- The audit trail: every lease that the ledger still knew of when the task was archived.
CREATE TABLE attempts (
    task_id         uuid NOT NULL REFERENCES tasks (id) ON DELETE CASCADE,
    attempt         bigint NOT NULL,
    worker          text NOT NULL,
    granted_ms      bigint NOT NULL,
    started_ms      bigint,
    ended_ms        bigint,
    outcome         text CHECK (outcome IN
        ('completed', 'failed', 'worker_lost', 'lease_expired', 'returned', 'superseded', 'worker_restarted')),
    failure_kind    text,
    failure_message text,
    PRIMARY KEY (task_id, attempt),
    CHECK ((ended_ms IS NULL) = (outcome IS NULL))
);
COMMENT ON TABLE attempts IS 'who was given which task, when, and how it ended';
CREATE INDEX attempts_by_worker ON attempts (worker, granted_ms);

CREATE TABLE workers (
    epoch         bigint NOT NULL,
    id            text NOT NULL,
    incarnation   bigint NOT NULL,
    session       bigint NOT NULL,
    capacity      bigint NOT NULL,
    circuits      text[] NOT NULL,
    version       text NOT NULL,
    state         text NOT NULL CHECK (state IN ('active', 'draining', 'lost')),
    registered_ms bigint NOT NULL,
    lost_ms       bigint,
    position      bigint NOT NULL,
    PRIMARY KEY (epoch, id)
);
COMMENT ON TABLE workers IS 'the workers of each cluster, in their latest life';

CREATE TABLE circuits (
    epoch               bigint NOT NULL,
    id                  text NOT NULL,
    constraint_digest   bytea NOT NULL,
    proving_key         bytea NOT NULL,
    verifying_key       bytea NOT NULL,
    verifying_key_bytes bytea NOT NULL,
    public_inputs       bigint NOT NULL,
    key_origin          text NOT NULL,
    position            bigint NOT NULL,
    PRIMARY KEY (epoch, id)
);
COMMENT ON TABLE circuits IS 'the circuits of each cluster and the keys that their proofs are checked with';

CREATE TABLE coordinators (
    cluster_id   text NOT NULL,
    node         bigint NOT NULL,
    name         text NOT NULL,
    raft_address text NOT NULL,
    http_address text NOT NULL,
    version      text NOT NULL,
    role         text NOT NULL,
    is_leader    boolean NOT NULL,
    term         bigint NOT NULL,
    seen_at      timestamptz NOT NULL DEFAULT now(),
    left_at      timestamptz,
    PRIMARY KEY (cluster_id, node)
);
COMMENT ON TABLE coordinators IS 'the members of each cluster as a leader last saw them; left_at is set when one is no member any more';

-- Running totals of `tasks`, kept by triggers so that they cost nothing to read and are right whoever writes.
CREATE TABLE task_counts (
    tenant        bigint NOT NULL,
    circuit       text NOT NULL,
    status        text NOT NULL,
    tasks         bigint NOT NULL,
    attempts_used numeric NOT NULL,
    queued_ms     numeric NOT NULL,
    proving_ms    numeric NOT NULL,
    verifying_ms  numeric NOT NULL,
    PRIMARY KEY (tenant, circuit, status)
) WITH (fillfactor = 50);
COMMENT ON TABLE task_counts IS 'totals of tasks, kept by triggers; read task_stats';

CREATE FUNCTION task_counts_add() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    -- In one order, so that two writers cannot wait for each other.
    INSERT INTO task_counts AS c (tenant, circuit, status, tasks, attempts_used, queued_ms, proving_ms, verifying_ms)
    SELECT tenant, circuit, status, count(*), sum(attempts_used),
           coalesce(sum(queued_ms), 0), coalesce(sum(proving_ms), 0), coalesce(sum(verifying_ms), 0)
    FROM added GROUP BY tenant, circuit, status ORDER BY tenant, circuit, status
    ON CONFLICT (tenant, circuit, status) DO UPDATE SET
        tasks = c.tasks + excluded.tasks, attempts_used = c.attempts_used + excluded.attempts_used,
        queued_ms = c.queued_ms + excluded.queued_ms, proving_ms = c.proving_ms + excluded.proving_ms,
        verifying_ms = c.verifying_ms + excluded.verifying_ms;
    RETURN NULL;
END $$;

CREATE FUNCTION task_counts_remove() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO task_counts AS c (tenant, circuit, status, tasks, attempts_used, queued_ms, proving_ms, verifying_ms)
    SELECT tenant, circuit, status, -count(*), -sum(attempts_used),
           -coalesce(sum(queued_ms), 0), -coalesce(sum(proving_ms), 0), -coalesce(sum(verifying_ms), 0)
    FROM removed GROUP BY tenant, circuit, status ORDER BY tenant, circuit, status
    ON CONFLICT (tenant, circuit, status) DO UPDATE SET
        tasks = c.tasks + excluded.tasks, attempts_used = c.attempts_used + excluded.attempts_used,
        queued_ms = c.queued_ms + excluded.queued_ms, proving_ms = c.proving_ms + excluded.proving_ms,
        verifying_ms = c.verifying_ms + excluded.verifying_ms;
    RETURN NULL;
END $$;

CREATE FUNCTION task_counts_clear() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    DELETE FROM task_counts;
    RETURN NULL;
END $$;

CREATE TRIGGER tasks_added AFTER INSERT ON tasks
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION task_counts_add();
CREATE TRIGGER tasks_removed AFTER DELETE ON tasks
    REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION task_counts_remove();
CREATE TRIGGER tasks_changed_from AFTER UPDATE ON tasks
    REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION task_counts_remove();
CREATE TRIGGER tasks_changed_to AFTER UPDATE ON tasks
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION task_counts_add();
CREATE TRIGGER tasks_cleared AFTER TRUNCATE ON tasks
    FOR EACH STATEMENT EXECUTE FUNCTION task_counts_clear();

-- How many tasks of each tenant, circuit and status the archive holds, and what they took on average. Times are of completed
-- tasks; from `task_counts`, so that it may be asked often.
CREATE VIEW task_stats AS
SELECT tenant, circuit, status, tasks,
       attempts_used / nullif(tasks, 0) AS attempts_used_mean,
       CASE WHEN status = 'completed' THEN queued_ms / nullif(tasks, 0) END AS queued_ms_mean,
       CASE WHEN status = 'completed' THEN proving_ms / nullif(tasks, 0) END AS proving_ms_mean,
       CASE WHEN status = 'completed' THEN verifying_ms / nullif(tasks, 0) END AS verifying_ms_mean
FROM task_counts
WHERE tasks > 0;

-- What became of the leases that each worker held, over everything that is archived. `silent` are those that ended because nothing
-- more was heard: the worker was lost or kept silent past its lease. `success_ratio` leaves out leases that say nothing of the
-- worker: given back unharmed, superseded by the task's end, or lost to a restart. Reads all of a worker's attempts: for people,
-- not for a monitor that asks every second. A worker that never held a lease of an archived task is not shown; see `workers`.
CREATE VIEW worker_performance AS
SELECT worker,
       count(*) AS attempts,
       count(*) FILTER (WHERE outcome = 'completed') AS completed,
       count(*) FILTER (WHERE outcome = 'failed') AS failed,
       count(*) FILTER (WHERE outcome IN ('worker_lost', 'lease_expired')) AS silent,
       count(*) FILTER (WHERE outcome = 'returned') AS returned,
       count(*) FILTER (WHERE outcome = 'superseded') AS superseded,
       count(*) FILTER (WHERE outcome = 'worker_restarted') AS restarted,
       round(count(*) FILTER (WHERE outcome = 'completed')::numeric / nullif(count(*) FILTER (WHERE outcome IN
           ('completed', 'failed', 'worker_lost', 'lease_expired')), 0), 4) AS success_ratio,
       avg(ended_ms - started_ms) FILTER (WHERE outcome = 'completed') AS run_ms_mean,
       percentile_cont(0.95) WITHIN GROUP (ORDER BY ended_ms - started_ms)
           FILTER (WHERE outcome = 'completed') AS run_ms_p95,
       to_timestamp(least(max(granted_ms), 253402300799999) / 1000.0) AS last_lease_at
FROM attempts
GROUP BY worker;

-- Finished tasks that stood still on their way. The archive has no open tasks (ask the cluster for those that stand still now), so
-- this tells where time went that nobody worked: a worker that held the task fell silent (`silent_ms`: how long its leases kept the task
-- until they were taken away), the task waited more than a minute for its first lease, or its deadline passed. Sort or restrict by
-- `finished_at`; like `worker_performance` it reads much when it is not restricted.
CREATE VIEW stale_tasks AS
SELECT t.id, t.tenant, t.circuit, t.status, t.created_at, t.finished_at,
       coalesce(a.first_granted_ms, t.finished_ms) - t.created_ms AS first_wait_ms,
       coalesce(a.silent_leases, 0) AS silent_leases,
       coalesce(a.silent_ms, 0) AS silent_ms,
       a.silent_workers,
       t.failure_reason IS NOT DISTINCT FROM 'deadline_passed' AS deadline_passed
FROM tasks t
LEFT JOIN LATERAL (
    SELECT min(granted_ms) AS first_granted_ms,
           count(*) FILTER (WHERE outcome IN ('worker_lost', 'lease_expired')) AS silent_leases,
           sum(ended_ms - granted_ms) FILTER (WHERE outcome IN ('worker_lost', 'lease_expired')) AS silent_ms,
           array_agg(DISTINCT worker) FILTER (WHERE outcome IN ('worker_lost', 'lease_expired')) AS silent_workers
    FROM attempts WHERE task_id = t.id
) a ON true
WHERE a.silent_leases > 0
   OR coalesce(a.first_granted_ms, t.finished_ms) - t.created_ms > 60000
   OR t.failure_reason = 'deadline_passed';
