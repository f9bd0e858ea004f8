-- +goose Up

-- Which records came to a golden record by a merge.
CREATE INDEX identity_move_to ON identity_move (to_id);
