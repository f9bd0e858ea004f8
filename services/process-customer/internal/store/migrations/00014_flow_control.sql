-- +goose Up

-- What operators have stopped or slowed down.
CREATE TABLE flow_control (
    system     TEXT    NOT NULL,
    direction  TEXT    NOT NULL, -- intake, deliver
    paused     BOOLEAN NOT NULL,
    per_minute BIGINT  NOT NULL, -- records written per minute at most; 0: as fast as possible
    reason     TEXT    NOT NULL,
    actor      TEXT    NOT NULL,
    since_us   BIGINT  NOT NULL,
    free_us    BIGINT  NOT NULL, -- until then the allowance is used up
    PRIMARY KEY (system, direction)
);
