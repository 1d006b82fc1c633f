-- Fills an empty archive with {count} tasks of two clusters, two tenants and twelve circuits, one of them rare; of 100 tasks
-- 96 are completed, 3 failed, 1 cancelled. Deterministic.
INSERT INTO archive_cursor (cluster_id, epoch, position, term, claim, coordinator) OVERRIDING SYSTEM VALUE
VALUES ('first', 1, {count} / 5, 3, gen_random_uuid(), 'coordinator-1'),
       ('second', 2, {count} - {count} / 5, 8, gen_random_uuid(), 'coordinator-2');
SELECT setval(pg_get_serial_sequence('archive_cursor', 'epoch'), 2);

INSERT INTO tasks (id, tenant, epoch, sequence, position, circuit, status, priority, created_ms, finished_ms, max_attempts,
    attempts_used, latest_attempt, input_bytes, worker, attempt, verifying_key, queued_ms, proving_ms, verifying_ms,
    failure_reason, summary, public_inputs, proof)
SELECT
    (lpad(to_hex(created), 12, '0') || '7' || substr(hash, 1, 3) || '8' || substr(hash, 4, 15))::uuid,
    CASE WHEN i % 20 = 0 THEN 1 ELSE 0 END,
    CASE WHEN i <= {count} / 5 THEN 1 ELSE 2 END,
    CASE WHEN i <= {count} / 5 THEN i ELSE i - {count} / 5 END,
    CASE WHEN i <= {count} / 5 THEN i ELSE i - {count} / 5 END,
    CASE WHEN i % 9973 = 0 THEN 'rare-circuit' ELSE 'merkle-poseidon-' || (i * 7 % 11) END,
    status, 'normal', created, created + 900, 3, 0, 1, 400,
    CASE status WHEN 'completed' THEN 'worker-' || i % 4 END,
    CASE status WHEN 'completed' THEN 1 END,
    CASE status WHEN 'completed' THEN decode(md5('key') || md5('key'), 'hex') END,
    CASE status WHEN 'completed' THEN 100 + i % 50 END,
    CASE status WHEN 'completed' THEN 700 + i % 100 END,
    CASE status WHEN 'completed' THEN 2 END,
    CASE status WHEN 'failed' THEN 'attempts_exhausted' END,
    CASE WHEN i % 3 = 0 THEN 'a summary of the task of some forty bytes' END,
    ARRAY[decode(hash || hash, 'hex')],
    CASE status WHEN 'completed' THEN decode(repeat(hash, 12), 'hex') END
FROM (
    SELECT i, md5(i::text) AS hash, 1750000000000 + i * 250 AS created,
           CASE WHEN i % 100 < 96 THEN 'completed' WHEN i % 100 < 99 THEN 'failed' ELSE 'cancelled' END AS status
    FROM generate_series(1, {count}::bigint) AS i
) AS numbered;

INSERT INTO attempts (task_id, attempt, worker, granted_ms, started_ms, ended_ms, outcome, failure_kind, failure_message)
SELECT id, 1, 'worker-' || sequence % 4, created_ms + 100, created_ms + 105, finished_ms,
       CASE status WHEN 'completed' THEN 'completed' WHEN 'failed' THEN 'failed' ELSE 'superseded' END,
       CASE status WHEN 'failed' THEN 'prover_error' END,
       CASE status WHEN 'failed' THEN 'the prover gave an error' END
FROM tasks;
