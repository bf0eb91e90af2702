CREATE TABLE answers (auction BIGINT, starts TIMESTAMP(3), ends TIMESTAMP(3), num BIGINT)
WITH ('connector' = 'blackhole');
INSERT INTO answers
SELECT id, window_start, window_end, COUNT(*)
FROM TABLE(HOP(TABLE nexmark, DESCRIPTOR(ts), INTERVAL '2' SECOND, INTERVAL '10' SECOND))
WHERE event = 'bid'
GROUP BY id, window_start, window_end
