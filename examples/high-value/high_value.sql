-- Transactions over 10,000, one row a record. No GROUP BY: rows are keyed by (partition, offset).
CREATE TABLE transactions (user_id text, amount double precision, ts timestamptz)
WITH (topic = 'transactions', event_time = 'ts');

CREATE MATERIALIZED VIEW high_value AS
SELECT user_id, amount, ts, 'transaction of ' || amount::text || ' by ' || user_id AS message
FROM transactions
WHERE amount > 10000;
