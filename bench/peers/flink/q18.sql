CREATE TABLE answers (auction BIGINT, bidder BIGINT, price BIGINT, channel STRING, url STRING, date_time BIGINT,
  extra STRING, PRIMARY KEY (auction, bidder) NOT ENFORCED) WITH ('connector' = 'blackhole');
INSERT INTO answers
SELECT id, bidder, price, channel, url, date_time, extra
FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY bidder, id ORDER BY date_time DESC) AS place
      FROM nexmark WHERE event = 'bid')
WHERE place <= 1
