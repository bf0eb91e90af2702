-- Views per URL, successful requests only. The group key is not the message key: one URL is counted in every
-- partition, and the parts are added when the row is read. A user's lines are keyed by the user; a line that is
-- not is dead, as one with a field too few.
CREATE TABLE page_views_log (ts timestamptz, "user" text, url text, status integer)
WITH (topic = 'page-views', format = 'tsv', key = 'user', event_time = 'ts');

CREATE MATERIALIZED VIEW page_views AS
SELECT url, count(*) AS views, count(DISTINCT "user") AS users, max(ts) AS last_view
FROM page_views_log
WHERE status = 200
GROUP BY url;
