-- +goose Up

-- A candidate is found by its number and a key by itself: with numbers that are the places of the rows themselves, and keys that
-- are the rows, each is looked up in one tree instead of two.
CREATE TABLE match_unit_new (
    number    INTEGER NOT NULL PRIMARY KEY,
    golden_id TEXT    NOT NULL,
    live      BOOLEAN NOT NULL, -- others find it
    joined    BOOLEAN NOT NULL, -- matching has merged it into another one
    systems   TEXT    NOT NULL, -- how many records of its own each system has
    record    BYTEA   NOT NULL, -- normalised values; empty when there is nothing to compare
    keys      BYTEA   NOT NULL  -- what it is found by, eight bytes each
);
INSERT INTO match_unit_new (number, golden_id, live, joined, systems, record, keys)
    SELECT number, golden_id, live, joined, systems, record, keys FROM match_unit ORDER BY number;
DROP TABLE match_unit;
ALTER TABLE match_unit_new RENAME TO match_unit;
CREATE UNIQUE INDEX match_unit_golden ON match_unit (golden_id);
CREATE INDEX match_unit_sort ON match_unit (live, joined, number);

CREATE TABLE match_block_new (
    key  BIGINT NOT NULL,
    unit BIGINT NOT NULL,
    PRIMARY KEY (key, unit)
) WITHOUT ROWID;
INSERT INTO match_block_new (key, unit) SELECT key, unit FROM match_block ORDER BY key, unit;
DROP TABLE match_block;
ALTER TABLE match_block_new RENAME TO match_block;
