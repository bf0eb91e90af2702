-- Payments that look like fraud:
--   rapid     a 6th payment of the user within 60 seconds
--   jump      more than 5,000 km from the payment before, less than an hour later
--   unusual   more than 10 times the user's mean so far, this payment not counted
--   volume    more than 10 payments and 50,000 in all within the last hour
CREATE TABLE transactions (
    user_id text, amount double precision, lat double precision, lon double precision, ts timestamptz
) WITH (topic = 'transactions', key = 'user_id', event_time = 'ts', watermark = '5 s');

-- What was before each payment, in the order of event time.
CREATE VIEW sequence AS
SELECT user_id, ts, amount,
       count(*) OVER minute AS minute_count,
       haversine_km(lag(lat) OVER by_user, lag(lon) OVER by_user, lat, lon) AS km,
       lag(ts) OVER by_user AS before_ts,
       avg(amount) OVER before AS mean_before,
       count(*) OVER hour AS hour_count,
       sum(amount) OVER hour AS hour_total
FROM transactions
WINDOW by_user AS (PARTITION BY user_id ORDER BY ts),
       before AS (PARTITION BY user_id ORDER BY ts ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING),
       minute AS (PARTITION BY user_id ORDER BY ts RANGE BETWEEN interval '60 s' PRECEDING AND CURRENT ROW),
       hour AS (PARTITION BY user_id ORDER BY ts RANGE BETWEEN interval '1 hour' PRECEDING AND CURRENT ROW);

CREATE VIEW suspicious AS
SELECT user_id, ts, amount, minute_count, km, mean_before, hour_count, hour_total,
       minute_count >= 6 AS rapid,
       coalesce(km > 5000 AND ts < before_ts + interval '1 hour', false) AS jump,
       coalesce(amount > 10 * mean_before, false) AS unusual,
       hour_count > 10 AND hour_total > 50000 AS volume
FROM sequence;

CREATE MATERIALIZED VIEW fraud AS
SELECT user_id, ts, amount, minute_count, km, mean_before, hour_count, hour_total, rapid, jump, unusual, volume
FROM suspicious
WHERE rapid OR jump OR unusual OR volume;

-- The alerts as a topic: each is sent exactly once, whatever is replayed or crashes.
CREATE TABLE fraud_alerts (user_id text, ts timestamptz, amount double precision, message text)
WITH (topic = 'fraud-alerts', format = 'json', key = 'user_id');

INSERT INTO fraud_alerts
SELECT user_id, ts, amount,
       concat_ws(', ', CASE WHEN rapid THEN 'rapid' END, CASE WHEN jump THEN 'jump' END,
                 CASE WHEN unusual THEN 'unusual' END, CASE WHEN volume THEN 'volume' END)
FROM suspicious
WHERE rapid OR jump OR unusual OR volume;
