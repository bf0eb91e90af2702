CREATE TABLE answers (
  channel STRING, day_of_bid STRING, minute_of_bid STRING, total_bids BIGINT, rank1_bids BIGINT, rank2_bids BIGINT, rank3_bids BIGINT,
  total_bidders BIGINT, rank1_bidders BIGINT, rank2_bidders BIGINT, rank3_bidders BIGINT,
  total_auctions BIGINT, rank1_auctions BIGINT, rank2_auctions BIGINT, rank3_auctions BIGINT
) WITH ('connector' = 'blackhole');
INSERT INTO answers
SELECT channel, DATE_FORMAT(ts, 'yyyy-MM-dd'), MAX(DATE_FORMAT(ts, 'HH:mm')),
       COUNT(*), COUNT(*) FILTER (WHERE price < 10000),
       COUNT(*) FILTER (WHERE price >= 10000 AND price < 1000000), COUNT(*) FILTER (WHERE price >= 1000000),
       COUNT(DISTINCT bidder), COUNT(DISTINCT bidder) FILTER (WHERE price < 10000),
       COUNT(DISTINCT bidder) FILTER (WHERE price >= 10000 AND price < 1000000), COUNT(DISTINCT bidder) FILTER (WHERE price >= 1000000),
       COUNT(DISTINCT id), COUNT(DISTINCT id) FILTER (WHERE price < 10000),
       COUNT(DISTINCT id) FILTER (WHERE price >= 10000 AND price < 1000000), COUNT(DISTINCT id) FILTER (WHERE price >= 1000000)
FROM nexmark
WHERE event = 'bid'
GROUP BY channel, DATE_FORMAT(ts, 'yyyy-MM-dd')
