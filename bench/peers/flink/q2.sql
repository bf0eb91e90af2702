CREATE TABLE answers (auction BIGINT, price BIGINT) WITH ('connector' = 'blackhole');
INSERT INTO answers
SELECT id, price FROM nexmark WHERE event = 'bid' AND MOD(id, 123) = 0
