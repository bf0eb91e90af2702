-- The side table is a map in memory. Kappa reads it from a topic and joins when the table is read.
CREATE TEMPORARY FUNCTION side_value AS 'SideInput';
CREATE TABLE answers (auction BIGINT, bidder BIGINT, price BIGINT, date_time BIGINT, side STRING) WITH ('connector' = 'blackhole');
INSERT INTO answers
SELECT id, bidder, price, date_time, side_value(MOD(id, 10000)) FROM nexmark WHERE event = 'bid'
