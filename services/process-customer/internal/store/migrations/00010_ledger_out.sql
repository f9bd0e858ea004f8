-- +goose Up

-- Deliveries are accounted for, too: what waits now was marked once.
INSERT INTO ledger_total (system, state, count) SELECT system, 'out:marked', COUNT(*) FROM pending GROUP BY system;
