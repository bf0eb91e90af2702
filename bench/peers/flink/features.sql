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
