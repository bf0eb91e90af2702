-- Bids per user and 10 seconds of processing time. REFUSED: another replay would give other rows. q11 and q7
-- show windows of event time.
CREATE MATERIALIZED VIEW q12 AS
SELECT bidder, window_start, window_end, count(*) AS bids
FROM tumble(bid, now(), interval '10 s')
GROUP BY bidder, window_start, window_end;
