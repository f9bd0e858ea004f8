-- +goose Up

-- Contacts are matched like customers. Their units are numbered from 1 << 40: a number tells the kind.
INSERT INTO sequence (name, value) VALUES ('match_contact', 1099511627776);
ALTER TABLE match_common ADD COLUMN contact BOOLEAN NOT NULL DEFAULT FALSE;
DROP INDEX match_unit_sort;
CREATE INDEX match_unit_sort ON match_unit (live, joined, number);

-- +goose Down
DROP INDEX match_unit_sort;
CREATE INDEX match_unit_sort ON match_unit (live, joined);
DELETE FROM match_common WHERE contact;
ALTER TABLE match_common DROP COLUMN contact;
DELETE FROM match_block WHERE unit > 1099511627776;
DELETE FROM match_edge WHERE a > 1099511627776;
DELETE FROM match_verdict WHERE a > 1099511627776;
DELETE FROM match_unit WHERE number > 1099511627776;
DELETE FROM match_due WHERE golden_id LIKE 'p%';
DELETE FROM match_regroup WHERE golden_id LIKE 'p%';
DELETE FROM match_state WHERE name IN ('contact model', 'contact mode');
DELETE FROM sequence WHERE name = 'match_contact';
