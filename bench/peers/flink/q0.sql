CREATE TABLE answers (auction BIGINT, bidder BIGINT, price BIGINT, date_time BIGINT, extra STRING)
WITH ('connector' = 'blackhole');
INSERT INTO answers
SELECT id, bidder, price, date_time, extra FROM nexmark WHERE event = 'bid'
