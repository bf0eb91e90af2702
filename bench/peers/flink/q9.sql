-- A bid meets its auction also when it came before it (Kappa: as of the bid's place in the log).
CREATE TABLE answers (
  id BIGINT, item_name STRING, description STRING, initial_bid BIGINT, reserve BIGINT, date_time BIGINT, expires BIGINT,
  seller BIGINT, category BIGINT, bidder BIGINT, price BIGINT, bid_date_time BIGINT, PRIMARY KEY (id) NOT ENFORCED
) WITH ('connector' = 'blackhole');
INSERT INTO answers
SELECT id, item_name, description, initial_bid, reserve, date_time, expires, seller, category, bidder, price,
       bid_date_time
FROM (SELECT a.*, b.bidder, b.price, b.date_time AS bid_date_time,
             ROW_NUMBER() OVER (PARTITION BY a.id ORDER BY b.price DESC, b.date_time) AS place
      FROM (SELECT id, item_name, description, initial_bid, reserve, date_time, expires, seller, category
            FROM nexmark WHERE event = 'auction') AS a
      JOIN (SELECT id, bidder, price, date_time FROM nexmark WHERE event = 'bid') AS b
        ON b.id = a.id AND b.date_time BETWEEN a.date_time AND a.expires)
WHERE place <= 1
