-- +goose Up
-- A name that is being written under: a reference, a number, a client reference. It serialises the writers of one record
-- across processes and remembers that something was sent whose answer is not known. The row of an order stays for ever: it
-- alone knows which content its client reference stands for. Times are microseconds.
CREATE TABLE remote_write (
    object      BIGINT NOT NULL,
    name        TEXT   NOT NULL, -- hash
    mark        TEXT   NOT NULL,
    state       BIGINT NOT NULL, -- 0 free, 1 claimed, 2 sent, 3 uncertain, 4 made, 5 done
    owner       TEXT   NOT NULL,
    fence       BIGINT NOT NULL,
    lease       BIGINT NOT NULL, -- until when the owner is believed to be alive
    sent        BIGINT NOT NULL, -- when the last write was sent whose answer is not known
    record_id   TEXT   NOT NULL,
    fingerprint BYTEA  NOT NULL,
    updated     BIGINT NOT NULL,
    PRIMARY KEY (object, name)
);
CREATE INDEX remote_write_state ON remote_write (state, updated);

-- How far the changes of a kind of record have been read, by the clock of the other system.
CREATE TABLE remote_cursor (
    object   BIGINT NOT NULL PRIMARY KEY,
    since    BIGINT NOT NULL,
    compared BIGINT NOT NULL
);

-- What was created there by this service; some licences charge for each.
CREATE TABLE remote_document (
    object    BIGINT NOT NULL,
    record_id TEXT   NOT NULL,
    day       BIGINT NOT NULL, -- microseconds of 00:00 UTC
    lines     BIGINT NOT NULL,
    PRIMARY KEY (object, record_id)
);
CREATE INDEX remote_document_day ON remote_document (day);

-- The steps of orders as they were seen; the other system keeps no history that could be read.
CREATE TABLE remote_step (
    order_id     TEXT   NOT NULL,
    sequence     BIGINT NOT NULL,
    seen         BIGINT NOT NULL,
    state        BIGINT NOT NULL,
    fulfilment   BIGINT NOT NULL,
    billing      BIGINT NOT NULL,
    block_reason TEXT   NOT NULL,
    PRIMARY KEY (order_id, sequence)
);
