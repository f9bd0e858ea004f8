-- +goose Up
-- What was created on a day long ago: the rows of remote_document summed up, so that no licence count is lost with them.
CREATE TABLE remote_document_sum (
    object    BIGINT NOT NULL,
    day       BIGINT NOT NULL, -- microseconds of 00:00 UTC
    documents BIGINT NOT NULL,
    lines     BIGINT NOT NULL,
    PRIMARY KEY (object, day)
);
