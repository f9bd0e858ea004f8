-- +goose Up

-- A deletion that is not carried out before a person confirms it: since when it waits, and whether somebody has.
ALTER TABLE pending ADD COLUMN held_us BIGINT NOT NULL DEFAULT 0;
ALTER TABLE pending ADD COLUMN confirmed BOOLEAN NOT NULL DEFAULT FALSE;
CREATE INDEX pending_held ON pending (held_us, system, golden_id) WHERE held_us > 0;

-- What was deleted in a system without a confirmation, for as long as that counts.
CREATE TABLE removal (
    system    TEXT   NOT NULL,
    golden_id TEXT   NOT NULL,
    at_us     BIGINT NOT NULL,
    PRIMARY KEY (system, golden_id)
);
CREATE INDEX removal_at ON removal (system, at_us);
CREATE INDEX removal_golden ON removal (golden_id);
