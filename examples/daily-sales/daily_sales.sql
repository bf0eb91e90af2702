-- Revenue and transactions per day: of each product, region, store and campaign. Prices are exact decimals. Four
-- tables of one processor: they are swapped as one.
CREATE TABLE sales (
    product text, quantity integer, price numeric(12, 2), ts timestamptz, region text, store text, campaign text
) WITH (topic = 'sales', event_time = 'ts');

CREATE VIEW sold AS
SELECT product, region, store, campaign, date_trunc('day', ts) AS day, quantity * price AS amount FROM sales;

CREATE MATERIALIZED VIEW sales_by_product AS
SELECT product, day, sum(amount) AS revenue, count(*) AS transactions FROM sold GROUP BY product, day;

CREATE MATERIALIZED VIEW sales_by_region AS
SELECT region, day, sum(amount) AS revenue, count(*) AS transactions FROM sold GROUP BY region, day;

CREATE MATERIALIZED VIEW sales_by_store AS
SELECT store, day, sum(amount) AS revenue, count(*) AS transactions FROM sold GROUP BY store, day;

CREATE MATERIALIZED VIEW sales_by_campaign AS
SELECT campaign, day, sum(amount) AS revenue, count(*) AS transactions FROM sold WHERE campaign IS NOT NULL
GROUP BY campaign, day;
