CREATE TABLE answers (bidder BIGINT, starts TIMESTAMP_LTZ(3), ends TIMESTAMP_LTZ(3), bids BIGINT)
WITH ('connector' = 'blackhole');
INSERT INTO answers
SELECT bidder, SESSION_START(ts, INTERVAL '10' SECOND), SESSION_END(ts, INTERVAL '10' SECOND), COUNT(*)
FROM nexmark
WHERE event = 'bid'
GROUP BY bidder, SESSION(ts, INTERVAL '10' SECOND)
