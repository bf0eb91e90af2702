CREATE TABLE answers (auction BIGINT, bidder BIGINT, price BIGINT, channel STRING, channel_id STRING)
WITH ('connector' = 'blackhole');
INSERT INTO answers
SELECT id, bidder, price, channel,
       CASE LOWER(channel) WHEN 'apple' THEN '0' WHEN 'google' THEN '1' WHEN 'facebook' THEN '2' WHEN 'baidu' THEN '3'
                           ELSE REGEXP_EXTRACT(url, '[&]channel_id=([^&]*)', 1) END
FROM nexmark
WHERE event = 'bid' AND (REGEXP_EXTRACT(url, '[&]channel_id=([^&]*)', 1) IS NOT NULL
                         OR LOWER(channel) IN ('apple', 'google', 'facebook', 'baidu'))
