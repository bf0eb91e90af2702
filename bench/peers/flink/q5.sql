CREATE TABLE nexmark (
  event STRING, id BIGINT, bidder BIGINT, price BIGINT, channel STRING, url STRING, extra STRING, date_time BIGINT,
  ts AS TO_TIMESTAMP_LTZ(date_time, 3), WATERMARK FOR ts AS ts - INTERVAL '4' SECOND
) WITH (
  'connector' = 'kafka', 'topic' = '$TOPIC', 'properties.bootstrap.servers' = '$BROKERS',
  'properties.group.id' = 'flink', 'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset',
  'format' = 'json'
);
CREATE TABLE answers (auction BIGINT, starts TIMESTAMP(3), ends TIMESTAMP(3), num BIGINT)
WITH ('connector' = 'blackhole');
INSERT INTO answers
SELECT id, window_start, window_end, COUNT(*)
FROM TABLE(HOP(TABLE nexmark, DESCRIPTOR(ts), INTERVAL '2' SECOND, INTERVAL '10' SECOND))
WHERE event = 'bid'
GROUP BY id, window_start, window_end
