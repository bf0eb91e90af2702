-- What each user did in the last 7, 30 and 90 days, every day; spend percentile and product popularity are ranks
-- over a whole table, made when it is read, at one cut.
CREATE TABLE transactions (
    user_id text, amount double precision, merchant text, category text, product text, ts timestamptz
) WITH (topic = 'transactions', event_time = 'ts', watermark = '1 day');

CREATE MATERIALIZED VIEW history_7 AS
SELECT user_id, window_start, window_end, count(*) AS transactions
FROM hop(transactions, ts, interval '1 day', interval '7 days')
GROUP BY user_id, window_start, window_end;

CREATE MATERIALIZED VIEW history_30 AS
SELECT user_id, window_start, window_end, count(*) AS transactions
FROM hop(transactions, ts, interval '1 day', interval '30 days')
GROUP BY user_id, window_start, window_end;

CREATE MATERIALIZED VIEW history_90 AS
SELECT user_id, window_start, window_end, count(*) AS transactions, sum(amount) AS total, avg(amount) AS mean,
       max(amount) AS most, stddev(amount) AS deviation, count(DISTINCT merchant) AS merchants,
       count(DISTINCT category) AS categories, avg(extract(hour FROM ts)) AS mean_hour,
       count(*) FILTER (WHERE extract(isodow FROM ts) >= 6) AS weekend,
       extract(epoch FROM window_end - max(ts)) / 86400 AS days_since_last
FROM hop(transactions, ts, interval '1 day', interval '90 days')
GROUP BY user_id, window_start, window_end;

CREATE MATERIALIZED VIEW product_sales AS
SELECT product, count(*) AS sold FROM transactions GROUP BY product;

CREATE VIEW user_history AS
SELECT h.user_id, h.window_end, coalesce(w.transactions, 0) AS transactions_7, coalesce(m.transactions, 0) AS transactions_30,
       h.transactions AS transactions_90, h.total, h.mean, h.most, h.deviation, h.merchants, h.categories, h.mean_hour,
       h.weekend, h.days_since_last,
       percent_rank() OVER (PARTITION BY h.window_end ORDER BY h.total) AS spend_percentile
FROM history_90 h
LEFT JOIN history_30 m ON m.user_id = h.user_id AND m.window_end = h.window_end
LEFT JOIN history_7 w ON w.user_id = h.user_id AND w.window_end = h.window_end;

CREATE VIEW product_popularity AS
SELECT product, sold, rank() OVER (ORDER BY sold DESC) AS place FROM product_sales;
