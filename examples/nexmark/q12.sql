-- Bids per user and 10 seconds of processing time. REFUSED: a replay would give other rows. q11 is the same by
-- event time.
CREATE MATERIALIZED VIEW q12 AS
SELECT bidder, date_bin(interval '10 s', now(), timestamptz '2025-01-01') AS starts, count(*) AS bids
FROM bid
GROUP BY 1, 2;
