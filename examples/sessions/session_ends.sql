-- A message for each session that has ended, once: when no click can come any more that is not late. The clicks of a
-- user are in one partition (key), whose time says that.
CREATE TABLE clicks (user_id text, url text, dwell_ms bigint, status integer, ts timestamptz)
WITH (topic = 'clicks', key = 'user_id', event_time = 'ts', watermark = '5 s', lateness = '1 minute');

CREATE TABLE session_ends (user_id text, started timestamptz, ended timestamptz, clicks bigint, pages bigint)
WITH (topic = 'session-ends', key = 'user_id');

INSERT INTO session_ends
SELECT user_id, window_start, window_end, count(*), count(DISTINCT url)
FROM session(clicks, ts, interval '30 seconds')
GROUP BY user_id, window_start, window_end;
