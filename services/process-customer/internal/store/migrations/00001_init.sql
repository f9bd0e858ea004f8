-- +goose Up

-- One row per configured system: where its feed stands and who reads it.
CREATE TABLE feed (
    system          TEXT    NOT NULL PRIMARY KEY,
    token           TEXT    NOT NULL, -- resume token; empty: none yet
    state           TEXT    NOT NULL, -- CONNECTING, SCANNING, LIVE, FAILING
    reason          TEXT    NOT NULL, -- stable reason of the last failure
    scan            TEXT    NOT NULL, -- needed, running, done
    scan_phase      TEXT    NOT NULL, -- which part of the scan is under way
    scan_cursor     TEXT    NOT NULL, -- page token or record id inside the phase
    scan_epoch      BIGINT  NOT NULL, -- number of the scan
    scanned         BIGINT  NOT NULL, -- records read by this scan
    complete        BOOLEAN NOT NULL, -- a scan has ended at least once
    last_message_us BIGINT  NOT NULL,
    last_commit_us  BIGINT  NOT NULL,
    lease_owner     TEXT    NOT NULL,
    lease_until_us  BIGINT  NOT NULL,
    fence           BIGINT  NOT NULL
);

-- One row per change that came in.
CREATE TABLE inbox (
    system      TEXT    NOT NULL,
    change_id   TEXT    NOT NULL,
    object      TEXT    NOT NULL,
    record_id   TEXT    NOT NULL,
    golden_id   TEXT    NOT NULL,
    state       TEXT    NOT NULL,
    echo        BOOLEAN NOT NULL,
    received_us BIGINT  NOT NULL,
    traceparent TEXT    NOT NULL,
    PRIMARY KEY (system, change_id)
);
CREATE INDEX inbox_open ON inbox (golden_id) WHERE state IN ('retrying', 'parked');
CREATE INDEX inbox_parked ON inbox (system, record_id) WHERE state = 'parked';
CREATE INDEX inbox_age ON inbox (received_us);

-- One row per record of a system: what the system is known to hold and what it claims.
CREATE TABLE source_record (
    system         TEXT    NOT NULL,
    object         TEXT    NOT NULL,
    record_id      TEXT    NOT NULL,
    golden_id      TEXT    NOT NULL,
    parent_id      TEXT    NOT NULL, -- record id of a contact's customer in the same system
    parent_open    BOOLEAN NOT NULL, -- the parent is not known yet
    external_id    TEXT    NOT NULL,
    version        BIGINT  NOT NULL,
    event_us       BIGINT  NOT NULL,
    deleted        BOOLEAN NOT NULL,
    shadow         TEXT    NOT NULL, -- values the system is known to hold
    claims         TEXT    NOT NULL, -- claims by field
    rewritten      TEXT    NOT NULL, -- fields in which the system changes what is written
    scan_epoch     BIGINT  NOT NULL, -- last scan that met the record
    last_change_id TEXT    NOT NULL,
    PRIMARY KEY (system, object, record_id)
);
CREATE INDEX source_record_golden ON source_record (golden_id);
CREATE INDEX source_record_orphan ON source_record (system, parent_id) WHERE parent_open;

-- Values that were sent to a system and have not been seen in its feed yet.
CREATE TABLE intent (
    system    TEXT   NOT NULL,
    golden_id TEXT   NOT NULL,
    record_id TEXT   NOT NULL, -- empty: the record is being created
    sent      TEXT   NOT NULL,
    at_us     BIGINT NOT NULL,
    PRIMARY KEY (system, golden_id, record_id)
);

CREATE TABLE golden (
    id          TEXT    NOT NULL PRIMARY KEY,
    object      TEXT    NOT NULL,
    parent_id   TEXT    NOT NULL,
    body        TEXT    NOT NULL, -- values
    version     BIGINT  NOT NULL,
    deleted     BOOLEAN NOT NULL,
    merged_into TEXT    NOT NULL,
    name_key    BYTEA   NOT NULL, -- bytes, so that both engines order it alike
    created_us  BIGINT  NOT NULL,
    updated_us  BIGINT  NOT NULL
);
CREATE INDEX golden_name ON golden (object, name_key);
CREATE INDEX golden_parent ON golden (parent_id, id);

-- What a new record is recognised by; the first owner keeps a key.
CREATE TABLE match_key (
    object    TEXT NOT NULL,
    kind      TEXT NOT NULL,
    value     TEXT NOT NULL,
    golden_id TEXT NOT NULL,
    PRIMARY KEY (object, kind, value)
);
CREATE INDEX match_key_golden ON match_key (golden_id);

-- One row per golden record and system that may have to be written.
CREATE TABLE pending (
    system         TEXT    NOT NULL,
    golden_id      TEXT    NOT NULL,
    object         TEXT    NOT NULL,
    gen            BIGINT  NOT NULL, -- grows with every new mark; a delivery removes only the generation it read
    due_us         BIGINT  NOT NULL,
    attempt        BIGINT  NOT NULL,
    first_us       BIGINT  NOT NULL,
    lease_until_us BIGINT  NOT NULL,
    fence          BIGINT  NOT NULL, -- grows with every claim
    reason         TEXT    NOT NULL,
    traceparent    TEXT    NOT NULL,
    postponed      BOOLEAN NOT NULL, -- waits for the parent
    PRIMARY KEY (system, golden_id)
);
CREATE INDEX pending_due ON pending (system, object, due_us);
CREATE INDEX pending_golden ON pending (golden_id);

CREATE TABLE dead_letter (
    id         TEXT   NOT NULL PRIMARY KEY,
    direction  TEXT   NOT NULL, -- intake, deliver
    system     TEXT   NOT NULL,
    object     TEXT   NOT NULL,
    golden_id  TEXT   NOT NULL,
    record_id  TEXT   NOT NULL,
    change_id  TEXT   NOT NULL,
    reason     TEXT   NOT NULL,
    field      TEXT   NOT NULL,
    message    TEXT   NOT NULL,
    attempts   BIGINT NOT NULL,
    parked_us  BIGINT NOT NULL,
    state      TEXT   NOT NULL, -- OPEN, RETRIED, DISCARDED, RESOLVED
    settled_us BIGINT NOT NULL,
    note       TEXT   NOT NULL  -- why it was discarded
);
CREATE UNIQUE INDEX dead_letter_deliver ON dead_letter (system, golden_id) WHERE state = 'OPEN' AND direction = 'deliver';
CREATE UNIQUE INDEX dead_letter_intake ON dead_letter (system, object, record_id) WHERE state = 'OPEN' AND direction = 'intake';
CREATE INDEX dead_letter_page ON dead_letter (parked_us, id);
CREATE INDEX dead_letter_golden ON dead_letter (golden_id) WHERE state = 'OPEN';

CREATE TABLE event (
    position    BIGINT NOT NULL PRIMARY KEY,
    at_us       BIGINT NOT NULL,
    golden_id   TEXT   NOT NULL,
    kind        TEXT   NOT NULL,
    system      TEXT   NOT NULL,
    record_id   TEXT   NOT NULL,
    change_id   TEXT   NOT NULL,
    fields      TEXT   NOT NULL,
    reason      TEXT   NOT NULL,
    traceparent TEXT   NOT NULL
);
CREATE INDEX event_golden ON event (golden_id, position);

CREATE TABLE sequence (
    name  TEXT   NOT NULL PRIMARY KEY,
    value BIGINT NOT NULL
);
INSERT INTO sequence (name, value) VALUES ('event', 0);

CREATE TABLE secret (
    name  TEXT  NOT NULL PRIMARY KEY,
    value BYTEA NOT NULL
);

-- What has come in, counted on its own, and what has left the inbox, by its last state.
CREATE TABLE ledger_total (
    system TEXT   NOT NULL,
    state  TEXT   NOT NULL,
    count  BIGINT NOT NULL,
    PRIMARY KEY (system, state)
);
