-- For each label the features as they were at its time, never later: of the windows that were closed then, and known
-- when the label came, the newest one. A label before a user's first features has nulls.
CREATE TABLE training (
    user_id text,
    valid_from timestamptz, clicks bigint, views bigint, total_amount double precision, distinct_products bigint,
    label text, label_time timestamptz
) WITH (topic = 'training', key = 'user_id');

CREATE VIEW features AS
SELECT user_id, valid_from, clicks, views, total_amount, distinct_products
FROM training WHERE record_header('kappa-from') = 'user-features';

CREATE VIEW labels AS
SELECT user_id, label, label_time FROM training WHERE record_header('kappa-from') = 'labels';

CREATE MATERIALIZED VIEW training_set AS
SELECT l.user_id, l.label_time, l.label,
       f.valid_from, f.clicks, f.views, f.total_amount, f.distinct_products
FROM labels l LEFT JOIN features f ON f.user_id = l.user_id AND f.valid_from <= l.label_time;

CREATE MATERIALIZED VIEW by_label AS
SELECT l.label, count(*) AS n, avg(f.total_amount) AS mean_amount, max(f.clicks) AS most_clicks
FROM labels l LEFT JOIN features f ON f.user_id = l.user_id AND f.valid_from <= l.label_time
GROUP BY l.label;
