-- +goose Up
-- To check that a state is one of a list, SQLite fills a table of its own with the list, at each insert and each update: more work
-- than to store the record. The same condition in other words costs nothing. SQLite cannot change a constraint; that its text may be
-- replaced where what is stored stays the same, and how, is in its documentation of ALTER TABLE.
PRAGMA writable_schema = ON;
UPDATE sqlite_schema SET sql = replace(sql, 'state IN (''c'', ''d'', ''r'', ''u'', ''t'')',
 'state = ''c'' OR state = ''d'' OR state = ''r'' OR state = ''u'' OR state = ''t''') WHERE type = 'table' AND name = 'idempotency';
PRAGMA writable_schema = RESET;
-- Tells every other connection that the schema is another one.
CREATE TABLE idempotency_changed (x BIGINT NOT NULL);
DROP TABLE idempotency_changed;
