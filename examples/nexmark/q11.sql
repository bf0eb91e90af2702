-- Bids of each user's sessions: a session ends after 10 seconds without a bid.
CREATE MATERIALIZED VIEW q11 AS
SELECT bidder, window_start, window_end, count(*) AS bids
FROM session(bid, date_time, interval '10 s')
GROUP BY bidder, window_start, window_end;
