-- Mean temperature per sensor and minute, and every reading over 28 degrees. Lines that are not readings go to the
-- dead-letter table with their offset and the reason, and stop nothing.
CREATE TABLE sensor_readings (sensor_id text, temperature double precision, timestamp timestamptz)
WITH (topic = 'sensor_readings', event_time = 'timestamp', watermark = '5 s');

CREATE MATERIALIZED VIEW sensor_minutes AS
SELECT sensor_id, window_start, window_end, count(*) AS readings, avg(temperature) AS mean, max(temperature) AS most
FROM tumble(sensor_readings, timestamp, interval '1 minute')
GROUP BY sensor_id, window_start, window_end;

CREATE MATERIALIZED VIEW sensor_alerts AS
SELECT sensor_id, timestamp, temperature, 'sensor ' || sensor_id || ' at ' || temperature::text AS message
FROM sensor_readings
WHERE temperature > 28.0;
