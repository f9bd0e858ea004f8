-- +goose Up
-- The customer that a merge put in the place of a deleted one; empty when it was not merged.
ALTER TABLE customer ADD COLUMN merged_into TEXT NOT NULL DEFAULT '';
