-- +goose Up
ALTER TABLE idempotency ADD COLUMN method TEXT NOT NULL DEFAULT '';
ALTER TABLE idempotency ADD COLUMN claimed_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE idempotency ADD COLUMN subject BYTEA;
CREATE INDEX idempotency_subject ON idempotency (subject) WHERE subject IS NOT NULL;
CREATE INDEX idempotency_open ON idempotency (state, lease_until) WHERE state IN ('c', 'u');
CREATE TABLE idempotency_steps (
  k      BYTEA  NOT NULL,
  step   TEXT   NOT NULL,
  fence  BIGINT NOT NULL,
  result BYTEA  NOT NULL,
  PRIMARY KEY (k, step)
);
