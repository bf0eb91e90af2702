-- What each user did in each window of five minutes.
CREATE TABLE user_events (
    user_id text,
    event_type text,
    product_id text,
    amount double precision,
    event_time timestamptz
) WITH (topic='user-events', format='json', event_time='event_time', watermark='5 s', timestamp_unit='ms');

CREATE MATERIALIZED VIEW user_features WITH (retain='1 h') AS
SELECT user_id, window_start, window_end,
       count(*) FILTER (WHERE event_type='click') AS clicks,
       count(*) FILTER (WHERE event_type='view') AS views,
       sum(amount) FILTER (WHERE event_type='purchase') AS total_amount,
       count(DISTINCT product_id) AS distinct_products,
       max(event_time) AS last_update
FROM tumble(user_events, event_time, interval '5 minutes')
GROUP BY user_id, window_start, window_end;
