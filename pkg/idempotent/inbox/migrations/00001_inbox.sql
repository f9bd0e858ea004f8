-- +goose Up
CREATE TABLE inbox_message (
  consumer TEXT   NOT NULL,
  k        BYTEA  NOT NULL,
  stream   TEXT   NOT NULL,
  position BIGINT NOT NULL,
  digest   BYTEA,
  state    TEXT   NOT NULL CHECK (state IN ('d', 'f', 'p', 'x')),
  attempts BIGINT NOT NULL,
  at       BIGINT NOT NULL,
  id       TEXT   NOT NULL,
  object   TEXT   NOT NULL,
  major    BIGINT NOT NULL,
  minor    BIGINT NOT NULL,
  body     BYTEA,
  reason   TEXT   NOT NULL,
  PRIMARY KEY (consumer, k)
);
CREATE INDEX inbox_message_at ON inbox_message (consumer, state, at);
CREATE INDEX inbox_message_position ON inbox_message (consumer, stream, position);
CREATE TABLE inbox_object (
  consumer TEXT   NOT NULL,
  object   BYTEA  NOT NULL,
  major    BIGINT NOT NULL,
  minor    BIGINT NOT NULL,
  at       BIGINT NOT NULL,
  PRIMARY KEY (consumer, object)
);
CREATE INDEX inbox_object_at ON inbox_object (consumer, at);
CREATE TABLE inbox_position (
  consumer TEXT   NOT NULL,
  stream   TEXT   NOT NULL,
  position BIGINT NOT NULL,
  token    BYTEA,
  PRIMARY KEY (consumer, stream)
);
