-- Sessions of each user: clicks that follow one another in less than 30 seconds. A session starts at its first click and
-- ends 30 seconds behind its last one; a click that comes out of order may extend a session, or make one of two.
CREATE TABLE clicks (user_id text, url text, dwell_ms bigint, status integer, ts timestamptz)
WITH (topic = 'clicks', event_time = 'ts', watermark = '5 s', lateness = '1 minute');

CREATE MATERIALIZED VIEW sessions WITH (retain = '7 days') AS
SELECT user_id, window_start, window_end, count(*) AS clicks, count(DISTINCT url) AS pages
FROM session(clicks, ts, interval '30 seconds')
GROUP BY user_id, window_start, window_end;

-- The same, but a session is to be seen only when nothing can change it any more.
CREATE MATERIALIZED VIEW ended_sessions WITH (retain = '7 days', emit = 'final') AS
SELECT user_id, window_start, window_end, count(*) AS clicks, count(DISTINCT url) AS pages
FROM session(clicks, ts, interval '30 seconds')
GROUP BY user_id, window_start, window_end;
