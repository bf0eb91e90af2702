-- The winning bid of each auction: the highest, of equal ones the earliest.
CREATE MATERIALIZED VIEW q9 AS
SELECT id, item_name, description, initial_bid, reserve, date_time, expires, seller, category,
       bidder, price, bid_date_time
FROM (SELECT a.id, a.item_name, a.description, a.initial_bid, a.reserve, a.date_time, a.expires, a.seller,
             a.category, b.bidder, b.price, b.date_time AS bid_date_time,
             row_number() OVER (PARTITION BY a.id ORDER BY b.price DESC, b.date_time) AS place
      FROM bid b JOIN auction a ON a.id = b.auction
      WHERE b.date_time BETWEEN a.date_time AND a.expires) ranked
WHERE place <= 1;
