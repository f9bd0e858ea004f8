-- +goose Up
-- To check that a state is one of a list, SQLite fills a table of its own with the list, at each insert and each update: more work
-- than to store the message. The same condition in other words costs nothing. SQLite cannot change a constraint; that its text may be
-- replaced where what is stored stays the same, and how, is in its documentation of ALTER TABLE.
PRAGMA writable_schema = ON;
UPDATE sqlite_schema SET sql = replace(sql, 'state IN (''d'', ''f'', ''p'', ''x'')',
 'state = ''d'' OR state = ''f'' OR state = ''p'' OR state = ''x''') WHERE type = 'table' AND name = 'inbox_message';
PRAGMA writable_schema = RESET;
-- Tells every other connection that the schema is another one.
CREATE TABLE inbox_changed (x BIGINT NOT NULL);
DROP TABLE inbox_changed;
