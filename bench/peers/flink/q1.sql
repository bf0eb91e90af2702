CREATE TABLE answers (auction BIGINT, bidder BIGINT, price DECIMAL(23, 3), date_time BIGINT, extra STRING)
WITH ('connector' = 'blackhole');
INSERT INTO answers
SELECT id, bidder, 0.908 * price, date_time, extra FROM nexmark WHERE event = 'bid'
