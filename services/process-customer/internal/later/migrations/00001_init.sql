-- +goose Up

-- One row per order that was taken although the ERP could not take it then.
CREATE TABLE queued_operation (
    id             TEXT    NOT NULL PRIMARY KEY,
    owner          TEXT    NOT NULL,
    customer_id    TEXT    NOT NULL,
    ref            TEXT    NOT NULL, -- the order's reference in the ERP
    request        BYTEA   NOT NULL,
    done           BOOLEAN NOT NULL,
    response       BYTEA   NOT NULL, -- empty until there is an order
    reason         TEXT    NOT NULL,
    message        TEXT    NOT NULL,
    created_us     BIGINT  NOT NULL,
    updated_us     BIGINT  NOT NULL,
    due_us         BIGINT  NOT NULL,
    attempt        BIGINT  NOT NULL,
    lease_until_us BIGINT  NOT NULL,
    fence          BIGINT  NOT NULL -- grows with every claim
);
CREATE INDEX queued_operation_due ON queued_operation (due_us) WHERE NOT done;
CREATE INDEX queued_operation_age ON queued_operation (updated_us) WHERE done;
