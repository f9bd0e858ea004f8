-- +goose Up

-- What an operator was shown and may act on as a whole.
CREATE TABLE selection (
    token      TEXT   NOT NULL PRIMARY KEY,
    created_us BIGINT NOT NULL,
    expires_us BIGINT NOT NULL
);
CREATE INDEX selection_expires ON selection (expires_us);

CREATE TABLE selection_letter (
    token     TEXT    NOT NULL,
    letter_id TEXT    NOT NULL,
    attempts  BIGINT  NOT NULL, -- when it was shown: a letter that was parked again since is another one
    done      BOOLEAN NOT NULL,
    PRIMARY KEY (token, letter_id)
);
