-- +goose Up
-- Times are microseconds since 1970 in UTC. Decimal numbers are text or whole millionths, never floats.
CREATE TABLE customer (
    id            TEXT    NOT NULL PRIMARY KEY,
    number        TEXT    NOT NULL UNIQUE,
    kind          BIGINT  NOT NULL,
    name          TEXT    NOT NULL,
    email         TEXT    NOT NULL,
    phone         TEXT    NOT NULL,
    website       TEXT    NOT NULL,
    language      TEXT    NOT NULL,
    currency      TEXT    NOT NULL,
    payment_terms TEXT    NOT NULL,
    order_block   BOOLEAN NOT NULL,
    extensions    TEXT    NOT NULL,
    version       BIGINT  NOT NULL,
    created       BIGINT  NOT NULL,
    updated       BIGINT  NOT NULL,
    deleted       BOOLEAN NOT NULL
);

CREATE TABLE customer_ref (
    system    TEXT NOT NULL,
    type      TEXT NOT NULL,
    value     TEXT NOT NULL,
    record_id TEXT NOT NULL REFERENCES customer (id),
    PRIMARY KEY (system, type, value)
);
CREATE INDEX customer_ref_record ON customer_ref (record_id);

CREATE TABLE customer_tax (
    customer_id TEXT NOT NULL REFERENCES customer (id),
    scheme      TEXT NOT NULL,
    value       TEXT NOT NULL,
    PRIMARY KEY (customer_id, scheme)
);

CREATE TABLE address (
    customer_id TEXT   NOT NULL REFERENCES customer (id),
    usage       BIGINT NOT NULL,
    street      TEXT   NOT NULL,
    city        TEXT   NOT NULL,
    postal_code TEXT   NOT NULL,
    region      TEXT   NOT NULL,
    country     TEXT   NOT NULL,
    PRIMARY KEY (customer_id, usage)
);

CREATE TABLE contact (
    id          TEXT    NOT NULL PRIMARY KEY,
    customer_id TEXT    REFERENCES customer (id),
    first_name  TEXT    NOT NULL,
    last_name   TEXT    NOT NULL,
    title       TEXT    NOT NULL,
    department  TEXT    NOT NULL,
    email       TEXT    NOT NULL,
    phone       TEXT    NOT NULL,
    mobile      TEXT    NOT NULL,
    language    TEXT    NOT NULL,
    version     BIGINT  NOT NULL,
    created     BIGINT  NOT NULL,
    updated     BIGINT  NOT NULL,
    deleted     BOOLEAN NOT NULL
);
CREATE INDEX contact_customer ON contact (customer_id);

CREATE TABLE contact_ref (
    system    TEXT NOT NULL,
    type      TEXT NOT NULL,
    value     TEXT NOT NULL,
    record_id TEXT NOT NULL REFERENCES contact (id),
    PRIMARY KEY (system, type, value)
);
CREATE INDEX contact_ref_record ON contact_ref (record_id);

CREATE TABLE product (
    sku             TEXT    NOT NULL PRIMARY KEY,
    name            TEXT    NOT NULL,
    description     TEXT    NOT NULL,
    unit            TEXT    NOT NULL,
    gtin            TEXT    NOT NULL,
    product_group   TEXT    NOT NULL,
    price           TEXT    NOT NULL,
    currency        TEXT    NOT NULL,
    serialised      BOOLEAN NOT NULL,
    active          BOOLEAN NOT NULL,
    warranty_months BIGINT  NOT NULL,
    version         BIGINT  NOT NULL,
    updated         BIGINT  NOT NULL
);

CREATE TABLE inventory (
    sku     TEXT   NOT NULL REFERENCES product (sku),
    site    TEXT   NOT NULL,
    on_hand TEXT   NOT NULL,
    updated BIGINT NOT NULL,
    PRIMARY KEY (sku, site)
);

CREATE TABLE sales_order (
    id           TEXT   NOT NULL PRIMARY KEY,
    client_ref   TEXT   UNIQUE,
    fingerprint  BYTEA  NOT NULL,
    customer_id  TEXT   NOT NULL REFERENCES customer (id),
    customer_po  TEXT   NOT NULL,
    ordered      BIGINT NOT NULL,
    state        BIGINT NOT NULL,
    fulfilment   BIGINT NOT NULL,
    billing      BIGINT NOT NULL,
    block_reason TEXT   NOT NULL,
    total        TEXT   NOT NULL,
    currency     TEXT   NOT NULL,
    version      BIGINT NOT NULL,
    updated      BIGINT NOT NULL
);
CREATE INDEX sales_order_customer ON sales_order (customer_id, ordered, id);

CREATE TABLE order_item (
    order_id TEXT   NOT NULL REFERENCES sales_order (id),
    line     BIGINT NOT NULL,
    sku      TEXT   NOT NULL REFERENCES product (sku),
    quantity BIGINT NOT NULL, -- millionths
    unit     TEXT   NOT NULL,
    price    TEXT   NOT NULL,
    currency TEXT   NOT NULL,
    name     TEXT   NOT NULL,
    PRIMARY KEY (order_id, line)
);
CREATE INDEX order_item_sku ON order_item (sku);

CREATE TABLE warranty (
    serial      TEXT   NOT NULL PRIMARY KEY,
    sku         TEXT   NOT NULL REFERENCES product (sku),
    customer_id TEXT   NOT NULL REFERENCES customer (id),
    order_id    TEXT   REFERENCES sales_order (id),
    starts      BIGINT NOT NULL,
    ends        BIGINT NOT NULL,
    terms       TEXT   NOT NULL
);
CREATE INDEX warranty_customer ON warranty (customer_id, starts, serial);

-- The one row of feed gives out positions. A writer updates it as the last thing before it commits and so holds its row
-- lock until then: positions become visible in order, and a rolled-back writer leaves no hole.
CREATE TABLE feed (
    id               BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    epoch            TEXT   NOT NULL,
    position         BIGINT NOT NULL,
    committed        BIGINT NOT NULL,
    purged           BIGINT NOT NULL,
    purged_committed BIGINT NOT NULL
);

CREATE TABLE change (
    position  BIGINT NOT NULL PRIMARY KEY,
    object    BIGINT NOT NULL,
    record_id TEXT   NOT NULL,
    kind      BIGINT NOT NULL,
    committed BIGINT NOT NULL
);
CREATE INDEX change_committed ON change (committed);

CREATE TABLE setting (
    name  TEXT  NOT NULL PRIMARY KEY,
    value BYTEA NOT NULL
);
