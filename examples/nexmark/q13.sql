-- Bids with a value from a side table of 10,000 rows, which is a topic of its own.
CREATE TABLE side_input (key bigint PRIMARY KEY, value text) WITH (topic = 'nexmark-side');

CREATE MATERIALIZED VIEW q13_bid AS
SELECT auction, bidder, price, date_time, auction % 10000 AS side FROM bid;

CREATE MATERIALIZED VIEW q13_side AS SELECT key, value FROM side_input;

CREATE VIEW q13 AS
SELECT b.auction, b.bidder, b.price, b.date_time, s.value FROM q13_bid b JOIN q13_side s ON s.key = b.side;
