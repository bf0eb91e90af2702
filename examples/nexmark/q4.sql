-- Average winning price of each category. A bid meets its auction in the order of the log (both have the
-- same key, so they share a partition); the mean over auctions is made when it is read.
CREATE MATERIALIZED VIEW q4_winning AS
SELECT a.id, a.category, max(b.price) AS final
FROM bid b JOIN auction a ON a.id = b.auction
WHERE b.date_time BETWEEN a.date_time AND a.expires
GROUP BY a.id, a.category;

CREATE VIEW q4 AS
SELECT category, avg(final) AS average FROM q4_winning GROUP BY category;
