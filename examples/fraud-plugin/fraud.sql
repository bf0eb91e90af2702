-- The payments of examples/fraud, judged by a plugin in C (fraud.c) instead of window functions.
CREATE TABLE transactions (
    user_id text, amount double precision, lat double precision, lon double precision, ts timestamptz
) WITH (topic = 'transactions', key = 'user_id', event_time = 'ts', watermark = '5 s');

CREATE VIEW suspicious AS
SELECT * FROM plugin('fraud.so', transactions)
    AS f(user_id text, ts timestamptz, amount double precision, rapid boolean, jump boolean, unusual boolean,
         volume boolean);

CREATE MATERIALIZED VIEW judged AS
SELECT user_id, ts, amount, rapid, jump, unusual, volume FROM suspicious;

CREATE TABLE plugin_alerts (user_id text, ts timestamptz, amount double precision, message text)
WITH (topic = 'plugin-alerts', format = 'json', key = 'user_id');

INSERT INTO plugin_alerts
SELECT user_id, ts, amount,
       concat_ws(', ', CASE WHEN rapid THEN 'rapid' END, CASE WHEN jump THEN 'jump' END,
                 CASE WHEN unusual THEN 'unusual' END, CASE WHEN volume THEN 'volume' END)
FROM suspicious;
