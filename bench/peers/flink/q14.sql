CREATE TABLE answers (auction BIGINT, bidder BIGINT, price DECIMAL(23, 3), bid_time_type STRING, date_time BIGINT,
  extra STRING, c_counts INT) WITH ('connector' = 'blackhole');
INSERT INTO answers
SELECT id, bidder, 0.908 * price,
       CASE WHEN HOUR(ts) BETWEEN 8 AND 18 THEN 'dayTime'
            WHEN HOUR(ts) <= 6 OR HOUR(ts) >= 20 THEN 'nightTime'
            ELSE 'otherTime' END,
       date_time, extra, CHAR_LENGTH(extra) - CHAR_LENGTH(REPLACE(extra, 'c', ''))
FROM nexmark
WHERE event = 'bid' AND 0.908 * price > 1000000 AND 0.908 * price < 50000000
