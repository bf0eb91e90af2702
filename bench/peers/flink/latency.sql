-- The percentile is a Java function (src/main/java/Percentile99.java): Flink SQL has none.
CREATE TEMPORARY FUNCTION percentile99 AS 'Percentile99';
CREATE TABLE answers (service STRING, starts TIMESTAMP(3), ends TIMESTAMP(3), requests BIGINT, mean DOUBLE, p99 DOUBLE,
  worst DOUBLE) WITH ('connector' = 'blackhole');
INSERT INTO answers
SELECT service, window_start, window_end, COUNT(*), AVG(latency_ms), percentile99(latency_ms), MAX(latency_ms)
FROM TABLE(HOP(TABLE requests, DESCRIPTOR(rowtime), INTERVAL '1' MINUTE, INTERVAL '5' MINUTES))
GROUP BY service, window_start, window_end
