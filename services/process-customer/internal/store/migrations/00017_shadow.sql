-- +goose Up

-- In shadow mode what would be written is noted and not written.
ALTER TABLE flow_control ADD COLUMN shadow BOOLEAN NOT NULL DEFAULT FALSE;

-- One row per field that would have been written.
CREATE TABLE shadow_write (
    system    TEXT   NOT NULL,
    golden_id TEXT   NOT NULL,
    record_id TEXT   NOT NULL, -- empty: it would have been created
    field     TEXT   NOT NULL, -- empty: the record as a whole
    object    TEXT   NOT NULL,
    kind      TEXT   NOT NULL, -- create, update, delete, link
    detail    BYTEA,           -- the values, sealed like those of the audit trail
    since_us  BIGINT NOT NULL,
    PRIMARY KEY (system, golden_id, record_id, field)
);
CREATE INDEX shadow_write_golden ON shadow_write (golden_id);
