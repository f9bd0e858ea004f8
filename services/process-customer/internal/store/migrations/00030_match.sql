-- +goose Up

-- Who takes part in matching: a golden record with the records that are its own, as it would be without what matching
-- has joined.
CREATE TABLE match_unit (
    number    BIGINT  NOT NULL PRIMARY KEY,
    golden_id TEXT    NOT NULL,
    live      BOOLEAN NOT NULL, -- others find it
    joined    BOOLEAN NOT NULL, -- matching has merged it into another one
    systems   TEXT    NOT NULL, -- how many records of its own each system has
    record    BYTEA   NOT NULL, -- normalised values; empty when there is nothing to compare
    keys      BYTEA   NOT NULL  -- what it is found by, eight bytes each
);
CREATE UNIQUE INDEX match_unit_golden ON match_unit (golden_id);

-- Who has a key. A key that too many have is in match_common instead and finds nobody.
CREATE TABLE match_block (
    key  BIGINT NOT NULL,
    unit BIGINT NOT NULL,
    PRIMARY KEY (key, unit)
);
CREATE TABLE match_common (
    key BIGINT NOT NULL PRIMARY KEY
);

-- Pairs that may be one; a < b.
CREATE TABLE match_edge (
    a        BIGINT           NOT NULL,
    b        BIGINT           NOT NULL,
    bits     DOUBLE PRECISION NOT NULL,
    asked    BOOLEAN          NOT NULL, -- a person has to say
    asked_us BIGINT           NOT NULL,
    PRIMARY KEY (a, b)
);
CREATE INDEX match_edge_b ON match_edge (b);
CREATE INDEX match_edge_asked ON match_edge (bits, a, b) WHERE asked;

-- What people have said about pairs; a < b. It outranks every score.
CREATE TABLE match_verdict (
    a     BIGINT  NOT NULL,
    b     BIGINT  NOT NULL,
    same  BOOLEAN NOT NULL,
    actor TEXT    NOT NULL,
    note  TEXT    NOT NULL,
    at_us BIGINT  NOT NULL,
    PRIMARY KEY (a, b)
);
CREATE INDEX match_verdict_b ON match_verdict (b);

-- Golden records that have changed and were not matched since.
CREATE TABLE match_due (
    golden_id TEXT   NOT NULL PRIMARY KEY,
    due_us    BIGINT NOT NULL
);
CREATE INDEX match_due_at ON match_due (due_us, golden_id);

-- What matching has joined and parted on its own.
CREATE TABLE match_regroup (
    number    BIGINT  NOT NULL PRIMARY KEY,
    at_us     BIGINT  NOT NULL,
    golden_id TEXT    NOT NULL,
    into_id   TEXT    NOT NULL,
    parted    BOOLEAN NOT NULL,
    late      BOOLEAN NOT NULL -- both were known before
);
CREATE INDEX match_regroup_at ON match_regroup (at_us);

CREATE TABLE match_state (
    name  TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);

CREATE INDEX golden_merged ON golden (merged_into) WHERE merged_into <> '';
INSERT INTO sequence (name, value) VALUES ('match_unit', 0), ('match_regroup', 0);
