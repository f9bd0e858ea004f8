-- +goose Up

-- The secret under which idempotency keys are kept, for installations that do not configure one.
CREATE TABLE salesforce_key_secret (
    id     BIGINT NOT NULL PRIMARY KEY,
    secret BYTEA  NOT NULL
);
