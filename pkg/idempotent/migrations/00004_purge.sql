-- +goose Up
-- What Purge looks for is found without what it does not look for: of a million answers past their retention none stands
-- before a tombstone past its. Both conditions are spelled out because SQLite uses a partial index for no other spelling.
DROP INDEX idempotency_expires;
DROP INDEX idempotency_open;
CREATE INDEX idempotency_ended ON idempotency (state, expires_at) WHERE state = 'd' OR state = 't' OR state = 'r';
CREATE INDEX idempotency_open ON idempotency (state, lease_until) WHERE state = 'c' OR state = 'u';
