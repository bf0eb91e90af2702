-- New people who also opened an auction in the same 10 seconds.
CREATE MATERIALIZED VIEW q8_person AS
SELECT id, name, window_start, window_end, count(*) AS n
FROM tumble(person, date_time, interval '10 s')
GROUP BY id, name, window_start, window_end;

CREATE MATERIALIZED VIEW q8_seller AS
SELECT seller, window_start, window_end, count(*) AS n
FROM tumble(auction, date_time, interval '10 s')
GROUP BY seller, window_start, window_end;

CREATE VIEW q8 AS
SELECT p.id, p.name, p.window_start
FROM q8_person p JOIN q8_seller s ON s.seller = p.id AND s.window_end = p.window_end;
