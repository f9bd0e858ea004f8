-- +goose Up

-- Requests to erase what is known of a customer or contact.
CREATE TABLE erasure (
    id           TEXT    NOT NULL PRIMARY KEY,
    golden_id    TEXT    NOT NULL,
    object       TEXT    NOT NULL,
    systems      TEXT    NOT NULL, -- joined by commas; empty: all, and the golden record
    state        TEXT    NOT NULL, -- ERASING, DONE
    actor        TEXT    NOT NULL,
    requested_us BIGINT  NOT NULL,
    done_us      BIGINT  NOT NULL,
    answered     BOOLEAN NOT NULL, -- stored answers are erased
    answers      BIGINT  NOT NULL, -- how many there were
    refused      BIGINT  NOT NULL, -- changes that came in later
    receipt      TEXT    NOT NULL,
    signature    BYTEA
);
CREATE UNIQUE INDEX erasure_golden ON erasure (golden_id, systems);
CREATE INDEX erasure_page ON erasure (requested_us, id);
CREATE INDEX erasure_open ON erasure (requested_us) WHERE state = 'ERASING';

-- The records that have to go. Their ids are forgotten once they are gone.
CREATE TABLE erasure_step (
    erasure_id     TEXT   NOT NULL,
    hash           BYTEA  NOT NULL, -- keyed, of what the step is about
    system         TEXT   NOT NULL,
    object         TEXT   NOT NULL,
    record_id      TEXT   NOT NULL,
    external_id    TEXT   NOT NULL, -- instead of record_id: whatever carries it
    state          TEXT   NOT NULL, -- WAITING, DONE, REFUSED
    reason         TEXT   NOT NULL,
    attempts       BIGINT NOT NULL,
    due_us         BIGINT NOT NULL,
    lease_until_us BIGINT NOT NULL,
    done_us        BIGINT NOT NULL,
    PRIMARY KEY (erasure_id, hash)
);
CREATE INDEX erasure_step_due ON erasure_step (due_us) WHERE state <> 'DONE';

-- Keyed hashes of what was erased; what comes in about it later is refused.
CREATE TABLE tombstone (
    hash       BYTEA  NOT NULL PRIMARY KEY,
    erasure_id TEXT   NOT NULL,
    at_us      BIGINT NOT NULL
);
