-- +goose Up

-- A record that we delete because a rule says so, from before the call on. It comes back when the rule no longer says so.
ALTER TABLE source_record ADD COLUMN removed BOOLEAN NOT NULL DEFAULT FALSE;
