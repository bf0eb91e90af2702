-- Highest bid of every 10 seconds, with all bids that tie.
CREATE MATERIALIZED VIEW q7_most AS
SELECT window_start, window_end, max(price) AS price
FROM tumble(bid, date_time, interval '10 s')
GROUP BY window_start, window_end;

CREATE MATERIALIZED VIEW q7_bid AS
SELECT auction, price, bidder, date_time FROM bid;

CREATE VIEW q7 AS
SELECT b.auction, b.price, b.bidder, b.date_time
FROM q7_most m JOIN q7_bid b
  ON b.price = m.price AND b.date_time >= m.window_start AND b.date_time < m.window_end;
