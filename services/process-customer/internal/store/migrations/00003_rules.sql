-- +goose Up

-- The survivorship rules: those in force, and those that wait for a person. All replicas decide by the row in force.
CREATE TABLE rule_set (
    slot     TEXT   NOT NULL PRIMARY KEY, -- active, waiting
    digest   TEXT   NOT NULL, -- of what they say
    version  BIGINT NOT NULL, -- that their author gave them
    content  TEXT   NOT NULL, -- the file as it was written
    reason   TEXT   NOT NULL, -- why they wait; empty for those in force
    since_us BIGINT NOT NULL,
    cursor   TEXT   NOT NULL, -- golden records up to this one follow them
    done     BOOLEAN NOT NULL, -- all golden records follow them
    records  BIGINT NOT NULL, -- golden records looked at
    changed  BIGINT NOT NULL  -- of these, how many change by them
);

-- Edits that a rule overruled and a person is asked about. The values stay in the claims.
CREATE TABLE question (
    system    TEXT   NOT NULL,
    object    TEXT   NOT NULL,
    record_id TEXT   NOT NULL,
    field     TEXT   NOT NULL,
    golden_id TEXT   NOT NULL,
    version   BIGINT NOT NULL, -- of the claim that was overruled
    state     TEXT   NOT NULL, -- OPEN, ACCEPTED, REJECTED, SETTLED
    asked_us  BIGINT NOT NULL,
    note      TEXT   NOT NULL,
    PRIMARY KEY (system, object, record_id, field)
);
CREATE INDEX question_golden ON question (golden_id);
CREATE INDEX question_open ON question (asked_us, system, record_id, field) WHERE state = 'OPEN';

-- Where the records of a golden record went when it was merged into another, so that it can be unmerged.
CREATE TABLE identity_move (
    from_id   TEXT   NOT NULL,
    system    TEXT   NOT NULL,
    object    TEXT   NOT NULL,
    record_id TEXT   NOT NULL,
    to_id     TEXT   NOT NULL,
    at_us     BIGINT NOT NULL,
    PRIMARY KEY (from_id, system, object, record_id)
);

-- The record of the same system that a merge there put in this one's place; empty: none.
ALTER TABLE source_record ADD COLUMN merged_into TEXT NOT NULL DEFAULT '';
CREATE INDEX source_record_merged ON source_record (system, merged_into) WHERE merged_into <> '';
CREATE INDEX identity_move_record ON identity_move (system, record_id);
