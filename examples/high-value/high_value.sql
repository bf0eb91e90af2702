-- Transactions over 10,000 go to the topic fraud-alerts with a message, each exactly once.
CREATE TABLE transactions (user_id text, amount double precision, ts timestamptz)
WITH (topic = 'transactions', event_time = 'ts');

CREATE TABLE fraud_alerts (user_id text, amount double precision, ts timestamptz, message text)
WITH (topic = 'fraud-alerts', format = 'json', key = 'user_id');

INSERT INTO fraud_alerts
SELECT user_id, amount, ts, 'transaction of ' || amount::text || ' by ' || user_id
FROM transactions
WHERE amount > 10000;
