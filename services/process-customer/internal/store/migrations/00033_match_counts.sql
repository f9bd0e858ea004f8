-- +goose Up

-- How many units there are of each sort is counted again and again: without this every row is read, with its record.
CREATE INDEX match_unit_sort ON match_unit (live, joined);
