-- +goose Up

-- The version as of which a golden record is known to have every key that its values make, zero when that is not known: while it
-- is the record's version, an edit of other values needs no look at keys. A release before this one that runs beside counts the
-- version on and leaves this.
ALTER TABLE golden ADD COLUMN keyed BIGINT NOT NULL DEFAULT 0;
