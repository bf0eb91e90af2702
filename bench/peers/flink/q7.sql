-- Kappa finds the bids of the highest price when the table is read: its stream keeps the bids and the maxima.
CREATE TABLE answers (auction BIGINT, price BIGINT, bidder BIGINT, date_time BIGINT) WITH ('connector' = 'blackhole');
INSERT INTO answers
SELECT b.id, b.price, b.bidder, b.date_time
FROM (SELECT id, price, bidder, date_time, window_start, window_end
      FROM TABLE(TUMBLE(TABLE nexmark, DESCRIPTOR(ts), INTERVAL '10' SECOND)) WHERE event = 'bid') AS b
JOIN (SELECT MAX(price) AS price, window_start, window_end
      FROM TABLE(TUMBLE(TABLE nexmark, DESCRIPTOR(ts), INTERVAL '10' SECOND)) WHERE event = 'bid'
      GROUP BY window_start, window_end) AS m
  ON m.window_start = b.window_start AND m.window_end = b.window_end AND m.price = b.price
