-- The processor "shop". `kappa explain processors/shop.sql` says what it will do.

-- When a new version may take over by itself (`kappa help policy`). Rows do not depend on this.
SET swap.max_dead = '1 %';

-- What the topic "orders" holds: a JSON object per record, of which these fields are read.
CREATE TABLE orders (
    order_id bigint,
    city     text,
    kind     text,               -- sale or refund
    amount   numeric(10,2),      -- exact decimals
    at       timestamptz         -- when it happened: all time comes from here, never from a clock
) WITH (
    topic = 'orders',
    key = 'city',                -- the records' key: what has one city is in one partition
    event_time = 'at',
    watermark = '10 min'         -- events may come so late (`kappa help time`)
);

-- A row per city, kept up to date: `kappa get revenue Oslo`.
-- It has a bug: refunds are added. Right is sum(CASE WHEN kind = 'refund' THEN -amount ELSE amount END).
CREATE MATERIALIZED VIEW revenue AS
    SELECT city, count(*) AS orders, sum(amount) AS total
    FROM orders
    GROUP BY city;

-- The same by the hour; hours go a week later: `kappa get per_hour Oslo --at 2026-03-01T09:30:00Z`.
CREATE MATERIALIZED VIEW per_hour WITH (retain = '7 days') AS
    SELECT city, window_start, window_end, count(*) AS orders, max(amount) AS largest
    FROM tumble(orders, at, interval '1 hour')
    GROUP BY city, window_start, window_end;

-- Computed when it is read: `kappa scan ranking`.
CREATE VIEW ranking AS
    SELECT city, total, rank() OVER (ORDER BY total DESC) AS place FROM revenue;
