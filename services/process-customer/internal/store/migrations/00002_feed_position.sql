-- +goose Up

-- How far the stored position reaches, and what a feed that works waits for.
ALTER TABLE feed ADD COLUMN position_us BIGINT NOT NULL DEFAULT 0; -- up to then everything was taken in; 0: not known
ALTER TABLE feed ADD COLUMN resume_us BIGINT NOT NULL DEFAULT 0; -- when it goes on; 0: it does not wait
