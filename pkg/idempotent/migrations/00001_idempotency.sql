-- +goose Up
CREATE TABLE idempotency (
  k           BYTEA   NOT NULL PRIMARY KEY,
  fp          BYTEA   NOT NULL,
  state       TEXT    NOT NULL CHECK (state IN ('c', 'd', 'r', 'u', 't')),
  fence       BIGINT  NOT NULL CHECK (fence > 0),
  owner       BYTEA   NOT NULL,
  recoverable BOOLEAN NOT NULL,
  lease_until BIGINT  NOT NULL,
  expires_at  BIGINT  NOT NULL,
  answer_ok   BOOLEAN NOT NULL,
  answer      BYTEA,
  resource    TEXT    NOT NULL,
  trace       TEXT    NOT NULL,
  CHECK (answer IS NULL OR state = 'd')
);
CREATE INDEX idempotency_expires ON idempotency (expires_at);
