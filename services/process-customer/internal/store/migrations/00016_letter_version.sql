-- +goose Up

-- The version of the record that could not be taken in: an older reading says nothing about it. 0: not known.
ALTER TABLE dead_letter ADD COLUMN version BIGINT NOT NULL DEFAULT 0;
