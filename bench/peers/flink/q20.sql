-- A bid meets its auction also when it came before it (Kappa: as of the bid's place in the log).
CREATE TABLE answers (
  auction BIGINT, bidder BIGINT, price BIGINT, channel STRING, url STRING, date_time BIGINT, extra STRING,
  item_name STRING, description STRING, initial_bid BIGINT, reserve BIGINT, auction_date_time BIGINT, expires BIGINT,
  seller BIGINT, category BIGINT, auction_extra STRING
) WITH ('connector' = 'blackhole');
INSERT INTO answers
SELECT b.id, b.bidder, b.price, b.channel, b.url, b.date_time, b.extra, a.item_name, a.description, a.initial_bid,
       a.reserve, a.date_time, a.expires, a.seller, a.category, a.extra
FROM (SELECT id, bidder, price, channel, url, date_time, extra FROM nexmark WHERE event = 'bid') AS b
JOIN (SELECT id, item_name, description, initial_bid, reserve, date_time, expires, seller, category, extra
      FROM nexmark WHERE event = 'auction' AND category = 10) AS a
  ON a.id = b.id
