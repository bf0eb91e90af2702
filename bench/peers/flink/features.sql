CREATE TABLE events (
  user_id STRING, event_type STRING, product_id STRING, amount DOUBLE, event_time BIGINT,
  ts AS TO_TIMESTAMP_LTZ(event_time, 3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH (
  'connector' = 'kafka', 'topic' = '$TOPIC', 'properties.bootstrap.servers' = '$BROKERS',
  'properties.group.id' = 'flink', 'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset',
  'format' = 'json'
);
CREATE TABLE answers (
  user_id STRING, window_start TIMESTAMP(3), n_clicks BIGINT, n_views BIGINT, total_amount DOUBLE, products BIGINT,
  last_update BIGINT
) WITH ('connector' = 'blackhole');
INSERT INTO answers
SELECT user_id, window_start, COUNT(*) FILTER (WHERE event_type = 'click'),
       COUNT(*) FILTER (WHERE event_type = 'view'), SUM(amount) FILTER (WHERE event_type = 'purchase'),
       COUNT(DISTINCT product_id), MAX(event_time)
FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(ts), INTERVAL '5' MINUTES))
GROUP BY user_id, window_start, window_end
