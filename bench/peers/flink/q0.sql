CREATE TABLE nexmark (
  event STRING, id BIGINT, bidder BIGINT, price BIGINT, channel STRING, url STRING, extra STRING, date_time BIGINT,
  ts AS TO_TIMESTAMP_LTZ(date_time, 3), WATERMARK FOR ts AS ts - INTERVAL '4' SECOND
) WITH (
  'connector' = 'kafka', 'topic' = '$TOPIC', 'properties.bootstrap.servers' = '$BROKERS',
  'properties.group.id' = 'flink', 'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset',
  'format' = 'json'
);
CREATE TABLE answers (auction BIGINT, bidder BIGINT, price BIGINT, date_time BIGINT, extra STRING)
WITH ('connector' = 'blackhole');
INSERT INTO answers
SELECT id, bidder, price, date_time, extra FROM nexmark WHERE event = 'bid'
