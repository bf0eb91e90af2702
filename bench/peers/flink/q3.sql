-- Kappa joins when the table is read: its stream only keeps both sides.
CREATE TABLE answers (name STRING, city STRING, state STRING, id BIGINT) WITH ('connector' = 'blackhole');
INSERT INTO answers
SELECT p.name, p.city, p.state, a.id
FROM (SELECT id, seller FROM nexmark WHERE event = 'auction' AND category = 10) AS a
JOIN (SELECT id, name, city, state FROM nexmark WHERE event = 'person' AND state IN ('OR', 'ID', 'CA')) AS p
  ON p.id = a.seller
