-- +goose Up
-- When the first write was sent of those whose answer is not known: a repetition says so to an ERP that can recognise it.
ALTER TABLE remote_write ADD COLUMN first_sent BIGINT NOT NULL DEFAULT 0;
