-- What each user did in each window of five minutes, as messages: one for each window when it is closed, with the time
-- from which it is known. In a topic, features have a history, and an order in which they became known.
CREATE TABLE user_events (user_id text, event_type text, product_id text, amount double precision, event_time timestamptz)
WITH (topic = 'user-events', event_time = 'event_time', watermark = '5 s', key = 'user_id');

CREATE TABLE user_features (user_id text, valid_from timestamptz, clicks bigint, views bigint,
                            total_amount double precision, distinct_products bigint)
WITH (topic = 'user-features', key = 'user_id');

INSERT INTO user_features
SELECT user_id, window_end,
       count(*) FILTER (WHERE event_type = 'click'),
       count(*) FILTER (WHERE event_type = 'view'),
       sum(amount) FILTER (WHERE event_type = 'purchase'),
       count(DISTINCT product_id)
FROM tumble(user_events, event_time, interval '5 minutes')
GROUP BY user_id, window_end;
