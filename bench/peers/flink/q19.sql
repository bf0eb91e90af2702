CREATE TABLE answers (auction BIGINT, bidder BIGINT, price BIGINT, channel STRING, url STRING, date_time BIGINT,
  extra STRING, place BIGINT, PRIMARY KEY (auction, place) NOT ENFORCED) WITH ('connector' = 'blackhole');
INSERT INTO answers
SELECT id, bidder, price, channel, url, date_time, extra, place
FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY id ORDER BY price DESC) AS place FROM nexmark WHERE event = 'bid')
WHERE place <= 10
