-- Kappa joins the people and the sellers of a window when the table is read.
CREATE TABLE answers (id BIGINT, name STRING, starts TIMESTAMP(3)) WITH ('connector' = 'blackhole');
INSERT INTO answers
SELECT p.id, p.name, p.window_start
FROM (SELECT id, name, window_start, window_end
      FROM TABLE(TUMBLE(TABLE nexmark, DESCRIPTOR(ts), INTERVAL '10' SECOND)) WHERE event = 'person'
      GROUP BY id, name, window_start, window_end) AS p
JOIN (SELECT seller, window_start, window_end
      FROM TABLE(TUMBLE(TABLE nexmark, DESCRIPTOR(ts), INTERVAL '10' SECOND)) WHERE event = 'auction'
      GROUP BY seller, window_start, window_end) AS s
  ON s.seller = p.id AND s.window_start = p.window_start AND s.window_end = p.window_end
