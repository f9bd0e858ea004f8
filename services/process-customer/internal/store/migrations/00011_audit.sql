-- +goose Up

-- The trail says who did what, with values sealed under a key per subject, and every entry carries a hash over itself and
-- the one before.
ALTER TABLE event ADD COLUMN actor TEXT NOT NULL DEFAULT '';
ALTER TABLE event ADD COLUMN detail BYTEA;
ALTER TABLE event ADD COLUMN hash BYTEA;
ALTER TABLE sequence ADD COLUMN hash BYTEA;

-- Destroying a key makes everything sealed with it unreadable.
CREATE TABLE subject_key (
    subject    TEXT   NOT NULL PRIMARY KEY,
    key        BYTEA  NOT NULL,
    created_us BIGINT NOT NULL
);

-- Where the chain begins: the last entry that was removed, or that was written before there was a chain.
CREATE TABLE audit_beginning (
    position BIGINT NOT NULL PRIMARY KEY,
    hash     BYTEA,
    at_us    BIGINT NOT NULL
);
INSERT INTO audit_beginning (position, hash, at_us) SELECT value, NULL, 0 FROM sequence WHERE name = 'event';
