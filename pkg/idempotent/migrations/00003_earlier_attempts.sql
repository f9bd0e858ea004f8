-- +goose Up
-- An attempt before the last one may have had its effect: a release of the last one does not say that nothing happened.
ALTER TABLE idempotency ADD COLUMN earlier BOOLEAN NOT NULL DEFAULT FALSE;
