-- +goose Up

-- Whether a golden record is known to have every key that its values make: then an edit of other values needs no look at them.
ALTER TABLE golden ADD COLUMN keyed BOOLEAN NOT NULL DEFAULT FALSE;

-- +goose Down
ALTER TABLE golden DROP COLUMN keyed;
