-- A bid meets its auction also when it came before it (Kappa: as of the bid's place in the log). Kappa makes the mean
-- over the auctions when the table is read.
CREATE TABLE answers (category BIGINT, average BIGINT) WITH ('connector' = 'blackhole');
INSERT INTO answers
SELECT category, AVG(final)
FROM (SELECT a.id, a.category, MAX(b.price) AS final
      FROM (SELECT id, category, date_time, expires FROM nexmark WHERE event = 'auction') AS a
      JOIN (SELECT id, price, date_time FROM nexmark WHERE event = 'bid') AS b
        ON b.id = a.id AND b.date_time BETWEEN a.date_time AND a.expires
      GROUP BY a.id, a.category)
GROUP BY category
