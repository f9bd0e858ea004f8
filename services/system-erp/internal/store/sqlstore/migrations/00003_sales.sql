-- +goose Up
ALTER TABLE sales_order ADD COLUMN ship_to TEXT NOT NULL DEFAULT '';
ALTER TABLE sales_order ADD COLUMN bill_to TEXT NOT NULL DEFAULT '';
ALTER TABLE sales_order ADD COLUMN payer TEXT NOT NULL DEFAULT '';
ALTER TABLE sales_order ADD COLUMN requested TEXT NOT NULL DEFAULT '';
ALTER TABLE sales_order ADD COLUMN note TEXT NOT NULL DEFAULT '';
ALTER TABLE order_item ADD COLUMN requested TEXT NOT NULL DEFAULT '';
ALTER TABLE order_item ADD COLUMN delivered BIGINT NOT NULL DEFAULT 0; -- millionths

-- The steps of an order. The first one is when it was placed.
CREATE TABLE order_event (
    order_id     TEXT   NOT NULL REFERENCES sales_order (id),
    sequence     BIGINT NOT NULL,
    taken        BIGINT NOT NULL,
    state        BIGINT NOT NULL,
    fulfilment   BIGINT NOT NULL,
    billing      BIGINT NOT NULL,
    block_reason TEXT   NOT NULL,
    PRIMARY KEY (order_id, sequence)
);
INSERT INTO order_event (order_id, sequence, taken, state, fulfilment, billing, block_reason)
    SELECT id, 1, updated, state, fulfilment, billing, block_reason FROM sales_order;

CREATE TABLE delivery (
    id       TEXT   NOT NULL PRIMARY KEY,
    order_id TEXT   NOT NULL REFERENCES sales_order (id),
    state    BIGINT NOT NULL,
    carrier  TEXT   NOT NULL,
    tracking TEXT   NOT NULL,
    shipped  BIGINT NOT NULL,
    created  BIGINT NOT NULL,
    version  BIGINT NOT NULL,
    updated  BIGINT NOT NULL
);
CREATE INDEX delivery_order ON delivery (order_id, created, id);

CREATE TABLE delivery_item (
    delivery_id TEXT   NOT NULL REFERENCES delivery (id),
    position    BIGINT NOT NULL,
    line        BIGINT NOT NULL,
    sku         TEXT   NOT NULL,
    quantity    BIGINT NOT NULL, -- millionths
    unit        TEXT   NOT NULL,
    serials     TEXT   NOT NULL, -- JSON
    PRIMARY KEY (delivery_id, position)
);

CREATE TABLE price (
    sku          TEXT   NOT NULL REFERENCES product (sku),
    customer_id  TEXT   NOT NULL, -- empty for everybody
    currency     TEXT   NOT NULL,
    min_quantity BIGINT NOT NULL, -- millionths
    valid_from   TEXT   NOT NULL,
    valid_until  TEXT   NOT NULL,
    amount       TEXT   NOT NULL,
    updated      BIGINT NOT NULL,
    PRIMARY KEY (sku, customer_id, currency, min_quantity, valid_from)
);
-- For finding candidates.
CREATE INDEX customer_email ON customer (email);
CREATE INDEX customer_name ON customer (name);
CREATE INDEX customer_tax_value ON customer_tax (scheme, value);
