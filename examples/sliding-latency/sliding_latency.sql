-- Latency of each service over the last 5 minutes, every minute. A minute's rows are kept once and belong to five
-- windows.
CREATE TABLE requests (service text, latency_ms double precision, ts timestamptz)
WITH (topic = 'requests', event_time = 'ts', watermark = '5 s');

CREATE MATERIALIZED VIEW latency WITH (retain = '1 day') AS
SELECT service, window_start, window_end, count(*) AS requests, avg(latency_ms) AS mean,
       approx_percentile(latency_ms, 0.99) AS p99, max(latency_ms) AS worst
FROM hop(requests, ts, interval '1 minute', interval '5 minutes')
GROUP BY service, window_start, window_end;
