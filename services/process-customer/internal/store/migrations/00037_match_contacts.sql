-- +goose Up

-- Contacts are matched like customers. Their units are numbered from 1 << 40: a number tells the kind.
INSERT INTO sequence (name, value) VALUES ('match_contact', 1099511627776);
ALTER TABLE match_common ADD COLUMN contact BOOLEAN NOT NULL DEFAULT FALSE;
DROP INDEX match_unit_sort;
CREATE INDEX match_unit_sort ON match_unit (live, joined, number);
