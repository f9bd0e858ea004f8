-- +goose Up
-- For comparing copies by the time of the last change.
CREATE INDEX customer_updated ON customer (updated, id);
CREATE INDEX contact_updated ON contact (updated, id);
