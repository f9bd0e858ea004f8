-- +goose Up

-- Comparisons that read every record; they are deep ones, too.
ALTER TABLE reconcile_run ADD COLUMN by_value BOOLEAN NOT NULL DEFAULT FALSE;
