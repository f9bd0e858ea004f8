-- +goose Up

-- One row per comparison of a system with what is known of it.
CREATE TABLE reconcile_run (
    id             TEXT    NOT NULL PRIMARY KEY,
    system         TEXT    NOT NULL,
    deep           BOOLEAN NOT NULL,
    repair         BOOLEAN NOT NULL,
    state          TEXT    NOT NULL, -- QUEUED, RUNNING, DONE, FAILED
    reason         TEXT    NOT NULL, -- stable reason of a failure
    requested_us   BIGINT  NOT NULL,
    started_us     BIGINT  NOT NULL,
    ended_us       BIGINT  NOT NULL,
    lease_until_us BIGINT  NOT NULL,
    fence          BIGINT  NOT NULL,
    compared       BIGINT  NOT NULL, -- records covered
    calls          BIGINT  NOT NULL, -- calls made
    read_calls     BIGINT  NOT NULL, -- calls that reading everything would have taken
    repaired       BIGINT  NOT NULL  -- findings fed to intake or marked
);
-- One run of a system at a time.
CREATE UNIQUE INDEX reconcile_run_open ON reconcile_run (system) WHERE state IN ('QUEUED', 'RUNNING');
CREATE INDEX reconcile_run_page ON reconcile_run (requested_us, id);

-- How far a system is known to have been equal, by the stamps of its records.
CREATE TABLE reconcile_mark (
    system  TEXT   NOT NULL,
    object  TEXT   NOT NULL,
    stamp   BIGINT NOT NULL, -- everything before is known to have been compared
    newest  BIGINT NOT NULL, -- the newest stamp ever seen
    seen_us BIGINT NOT NULL, -- when it was seen first, by our clock
    PRIMARY KEY (system, object)
);

-- What does not agree; a row stays until a run no longer finds it.
CREATE TABLE finding (
    system    TEXT   NOT NULL,
    object    TEXT   NOT NULL,
    record_id TEXT   NOT NULL, -- of the system; that of the golden record when the system has none
    kind      TEXT   NOT NULL,
    golden_id TEXT   NOT NULL,
    state     TEXT   NOT NULL, -- OPEN, IN_FLIGHT, PARKED, IGNORED, REPAIRED
    fields    TEXT   NOT NULL,
    detail    BYTEA,           -- values, sealed like those of the audit trail
    since_us  BIGINT NOT NULL, -- when the difference arose, as far as known
    seen_us   BIGINT NOT NULL,
    run_id    TEXT   NOT NULL,
    PRIMARY KEY (system, object, record_id, kind)
);
CREATE INDEX finding_run ON finding (system, run_id);

-- What is known and accepted, for a time.
CREATE TABLE ignore_rule (
    id         TEXT   NOT NULL PRIMARY KEY,
    system     TEXT   NOT NULL,
    object     TEXT   NOT NULL, -- empty: any
    record_id  TEXT   NOT NULL, -- empty: any
    field      TEXT   NOT NULL, -- empty: any
    reason     TEXT   NOT NULL,
    actor      TEXT   NOT NULL,
    created_us BIGINT NOT NULL,
    until_us   BIGINT NOT NULL
);
