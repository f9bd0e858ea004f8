-- +goose Up

-- What is known about the allowance of one org. granted counts every call handed out, completed those whose outcome is known.
-- Of the current and the previous period of lag: high is the greatest (used - base), base what was completed when it began.
CREATE TABLE api_budget (
    org          TEXT   NOT NULL PRIMARY KEY,
    most         BIGINT NOT NULL,
    used         BIGINT NOT NULL,
    granted      BIGINT NOT NULL,
    completed    BIGINT NOT NULL,
    high         BIGINT NOT NULL,
    high_before  BIGINT NOT NULL,
    base         BIGINT NOT NULL,
    base_before  BIGINT NOT NULL,
    period_at    BIGINT NOT NULL,
    observed_at  BIGINT NOT NULL,
    closed_until BIGINT NOT NULL,
    closed_level BIGINT NOT NULL,
    refresh_at   BIGINT NOT NULL
);

-- Calls handed out to one replica whose outcome is not known. seq and block make a repeated report harmless.
CREATE TABLE api_budget_lease (
    org         TEXT   NOT NULL,
    replica     TEXT   NOT NULL,
    outstanding BIGINT NOT NULL,
    expires_at  BIGINT NOT NULL,
    seq         BIGINT NOT NULL,
    block       BIGINT NOT NULL,
    PRIMARY KEY (org, replica)
);

-- The usage at the end of each quarter of an hour, and our own calls in it.
CREATE TABLE api_usage (
    org         TEXT   NOT NULL,
    slot        BIGINT NOT NULL,
    used        BIGINT NOT NULL,
    interactive BIGINT NOT NULL,
    sync        BIGINT NOT NULL,
    bulk        BIGINT NOT NULL,
    audit       BIGINT NOT NULL,
    PRIMARY KEY (org, slot)
);

-- The other allowances of the org, as last reported.
CREATE TABLE api_allowance (
    org         TEXT   NOT NULL,
    name        TEXT   NOT NULL,
    most        BIGINT NOT NULL,
    remaining   BIGINT NOT NULL,
    observed_at BIGINT NOT NULL,
    PRIMARY KEY (org, name)
);
