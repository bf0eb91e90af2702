-- Hot items: the auctions with the most bids in the last 10 seconds, every 2 seconds.
CREATE MATERIALIZED VIEW q5_count AS
SELECT auction, window_start, window_end, count(*) AS num
FROM hop(bid, date_time, interval '2 s', interval '10 s')
GROUP BY auction, window_start, window_end;

CREATE VIEW q5 AS
SELECT c.auction, c.num, c.window_end
FROM q5_count c
JOIN (SELECT window_end, max(num) AS most FROM q5_count GROUP BY window_end) m ON m.window_end = c.window_end
WHERE c.num = m.most;
