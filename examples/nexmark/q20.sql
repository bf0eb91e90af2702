-- Bids with their auction, of one category. A bid that came before its auction finds none: the join is as of
-- the bid's place in the log.
CREATE MATERIALIZED VIEW q20 AS
SELECT b.auction, b.bidder, b.price, b.channel, b.url, b.date_time, b.extra,
       a.item_name, a.description, a.initial_bid, a.reserve, a.date_time AS auction_date_time, a.expires,
       a.seller, a.category, a.extra AS auction_extra
FROM bid b JOIN auction a ON a.id = b.auction
WHERE a.category = 10;
