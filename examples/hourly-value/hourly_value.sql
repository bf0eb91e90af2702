-- Count and sum per hour: the speed layer's job, without a batch layer.
CREATE TABLE readings (value double precision, ts timestamptz)
WITH (topic = 'readings', event_time = 'ts', watermark = '1 minute');

CREATE MATERIALIZED VIEW hourly_value WITH (retain = '7 days') AS
SELECT window_start, window_end, count(*) AS readings, sum(value) AS total, avg(value) AS mean
FROM tumble(readings, ts, interval '1 hour')
GROUP BY window_start, window_end;
