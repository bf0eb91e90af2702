-- How engaged each user is, with the profile as it is now. Clicks are counted in the stream; the profile is looked
-- up when the table is read, so that a profile that changes later changes the answer, and users without one stay.
CREATE TABLE clicks (user_id text, url text, dwell_ms bigint, status integer, ts timestamptz)
WITH (topic = 'clicks', event_time = 'ts');

CREATE TABLE users (user_id text PRIMARY KEY, name text, segment text) WITH (topic = 'users');

CREATE MATERIALIZED VIEW user_clicks AS
SELECT user_id, count(*) AS clicks, count(DISTINCT url) AS pages, avg(dwell_ms) AS dwell_ms FROM clicks GROUP BY user_id;

CREATE MATERIALIZED VIEW profiles AS SELECT user_id, name, segment FROM users;

CREATE VIEW engagement AS
SELECT c.user_id, p.name, p.segment, c.clicks, c.pages, c.dwell_ms,
       0.3 * c.clicks + 0.5 * c.pages + 0.2 * c.dwell_ms / 1000 AS score
FROM user_clicks c LEFT JOIN profiles p ON p.user_id = c.user_id;
