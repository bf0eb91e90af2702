-- A session is given once it has ended. Kappa's table has it from its first click on.
CREATE TABLE answers (user_id STRING, starts TIMESTAMP_LTZ(3), ends TIMESTAMP_LTZ(3), clicks BIGINT, pages BIGINT)
WITH ('connector' = 'blackhole');
INSERT INTO answers
SELECT user_id, SESSION_START(rowtime, INTERVAL '30' SECOND), SESSION_END(rowtime, INTERVAL '30' SECOND), COUNT(*),
       COUNT(DISTINCT url)
FROM clicks
GROUP BY user_id, SESSION(rowtime, INTERVAL '30' SECOND)
