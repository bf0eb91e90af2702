CREATE TABLE nexmark (
  event STRING, id BIGINT, bidder BIGINT, price BIGINT, channel STRING, url STRING, extra STRING, date_time BIGINT,
  ts AS TO_TIMESTAMP_LTZ(date_time, 3), WATERMARK FOR ts AS ts - INTERVAL '4' SECOND
) WITH (
  'connector' = 'kafka', 'topic' = '$TOPIC', 'properties.bootstrap.servers' = '$BROKERS',
  'properties.group.id' = 'flink', 'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset',
  'format' = 'json'
);
CREATE TABLE answers (bidder BIGINT, starts TIMESTAMP_LTZ(3), ends TIMESTAMP_LTZ(3), bids BIGINT)
WITH ('connector' = 'blackhole');
INSERT INTO answers
SELECT bidder, SESSION_START(ts, INTERVAL '10' SECOND), SESSION_END(ts, INTERVAL '10' SECOND), COUNT(*)
FROM nexmark
WHERE event = 'bid'
GROUP BY bidder, SESSION(ts, INTERVAL '10' SECOND)
