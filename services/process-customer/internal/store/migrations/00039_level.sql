-- +goose Up

-- How urgent a delivery is: 0 what somebody has changed, 1 what belongs to a large piece of work. Marks of a release that does not know
-- of it are 0, and it claims both alike.
ALTER TABLE pending ADD COLUMN level BIGINT NOT NULL DEFAULT 0;
DROP INDEX pending_due;
CREATE INDEX pending_due ON pending (system, object, level, due_us);
