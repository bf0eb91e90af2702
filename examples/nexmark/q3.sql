-- Local item suggestion: who sells in category 10, in some states. Joined when it is read.
CREATE MATERIALIZED VIEW q3_auction AS
SELECT id, seller FROM auction WHERE category = 10;

CREATE MATERIALIZED VIEW q3_person AS
SELECT id, name, city, state FROM person WHERE state IN ('OR', 'ID', 'CA');

CREATE VIEW q3 AS
SELECT p.name, p.city, p.state, a.id FROM q3_auction a JOIN q3_person p ON p.id = a.seller;
