-- +goose Up
CREATE TABLE idempotency_intervention (
  id       TEXT    NOT NULL PRIMARY KEY,
  k        BYTEA   NOT NULL,
  at       BIGINT  NOT NULL,
  action   TEXT    NOT NULL,
  operator TEXT    NOT NULL,
  caller   TEXT    NOT NULL,
  reason   TEXT    NOT NULL,
  attempt  BIGINT  NOT NULL,
  done     BOOLEAN NOT NULL
);
CREATE INDEX idempotency_intervention_k ON idempotency_intervention (k, at);
CREATE INDEX idempotency_intervention_at ON idempotency_intervention (at);
