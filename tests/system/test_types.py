"""Values of every type, from the record to what a person reads: exact, by key, in every form of output."""

import json

SQL = """
CREATE TABLE sales (id uuid, day date, price numeric(12,2), total numeric, n smallint, ratio real, at timestamp,
                    took interval, raw bytea, doc jsonb, tags text[]) WITH (topic='{topic}', format='json');
CREATE MATERIALIZED VIEW by_day AS
SELECT day, count(*) AS n, sum(price) AS revenue, avg(price) AS mean, max(total) AS most, sum(took) AS took,
       max(at) AS last, count(DISTINCT price) AS prices, avg(n) AS mean_n FROM sales GROUP BY day;
CREATE MATERIALIZED VIEW by_price AS SELECT price, total, count(*) AS n FROM sales GROUP BY price, total;
CREATE MATERIALIZED VIEW by_id AS
SELECT id, doc, tags, raw, ratio, doc ->> 'a' AS a, (doc -> 'list' ->> 0)::integer AS first, tags[1] AS tag
FROM sales GROUP BY id, doc, tags, raw, ratio;
CREATE MATERIALIZED VIEW rows AS SELECT *, doc -> 'list' AS list, 'x' = ANY (tags) AS x FROM sales;
"""
ID = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"
RECORDS = [
    '{"id":"A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11","day":"2026-01-31","price":0.1,"total":12345678901234567890.10,"n":1,'
    '"ratio":0.1,"at":"2026-01-31T10:00:00","took":"1 h","raw":"\\\\x00ff","doc":{"list":[7,2.50],"a":"x"},"tags":["x",null]}',
    '{"day":"2026-01-31","price":"0.20","total":1,"n":2,"took":"1 day 23:00","at":"2026-01-31T11:00:00.5"}',
    '{"day":"2026-02-01","price":0.30,"total":1.0}',
    '{"day":"2026-02-01","price":12345678901.00}',  # out of range: dead
    '{"day":"2026-02-30","price":1}',               # no such day: dead
    '{"n":40000}',                                  # out of range: dead
]


def test_every_type(platform, topic):
    platform.topic(topic, 1)
    platform.run("produce", topic, stdin="".join(line + "\n" for line in RECORDS))
    platform.deploy("sales", SQL.format(topic=topic), "--wait")
    assert platform.version("sales", 1)["dead"] >= 3
    exact = lambda *args: json.loads(platform.run(*args, "-o", "json").stdout, parse_float=str)  # noqa: E731
    assert exact("get", "by_day", "2026-01-31")["row"] == {
        "day": "2026-01-31", "n": 2, "revenue": "0.30", "mean": "0.15000000000000000000",
        "most": "12345678901234567890.10", "took": "2 days", "last": "2026-01-31 11:00:00.5", "prices": 2,
        "mean_n": "1.5000000000000000"}
    # A key of numeric is a value: 1.0 and 1.00 are the same.
    assert exact("get", "by_price", "0.300", "1.00")["row"] == {"price": "0.30", "total": 1, "n": 1}
    assert platform.run("get", "by_price", "x", "1", code=None).returncode != 0
    row = [r for r in map(lambda line: json.loads(line, parse_float=str),
                          platform.run("scan", "by_id", "-o", "json").stdout.splitlines()) if r["id"] == ID][0]
    assert row == {"id": ID, "doc": {"a": "x", "list": [7, "2.50"]}, "tags": ["x", None], "raw": "\\x00ff",
                   "ratio": "0.1", "a": "x", "first": 7, "tag": "x"}
    rows = [json.loads(line) for line in platform.run("scan", "rows", "-o", "json").stdout.splitlines()]
    assert [r["x"] for r in rows] == [True, None, None] and rows[0]["list"] == [7, 2.5]
    # For people: the same digits.
    assert "12345678901234567890.10" in platform.run("get", "by_day", "2026-01-31").stdout
    assert "12345678901234567890.10" in platform.run("scan", "by_day").stdout
    # By way of the server, too.
    remote = ("--server", platform.server()["http"])
    assert exact("get", "by_day", "2026-01-31", *remote)["row"]["most"] == "12345678901234567890.10"
    assert "12345678901234567890.10" in platform.run("get", "by_day", "2026-01-31", *remote).stdout
    assert "12345678901234567890.10" in platform.run("scan", "by_day", *remote).stdout
    # Statements and scans too, digit for digit (documents in text come with other blanks).
    for words in [("sql", "SELECT * FROM by_day ORDER BY day"), ("scan", "rows"), ("scan", "by_id"),
                  ("sql", "SELECT 9223372036854775807, -9223372036854775807 - 1, 0.1, 1e300, 5.0, 1e15, most, "
                          "'12345678901234567890' FROM by_day ORDER BY day"), ("sql", "SELECT * FROM rows")]:
        for form in [("-o", "json"), ()]:
            here, there = (platform.run(*words, *form, *to).stdout for to in [(), remote])
            assert "".join(here.split()) == "".join(there.split()) != ""
    # In SQL a column's numbers are JSON numbers too, however long; not texts that look like them.
    query = """SELECT "most", "revenue", '12' AS t FROM by_day WHERE "day" = '2026-01-31'"""
    for place in ((), remote):
        answer = platform.run("sql", query, "-o", "json", *place).stdout
        assert "12345678901234567890.10" in answer and '"12345678901234567890.10"' not in answer
        assert json.loads(answer)["rows"][0][2] == "12", answer
        assert "12345678901234567890.10" in platform.run("sql", query, *place).stdout
        assert platform.run("sql", query, "-o", "csv", *place).stdout.splitlines()[1] == "12345678901234567890.10,0.30,12"
    answer = platform.http("POST", "/v1/sql", {"sql": query})[1]
    assert answer["rows"] == [[12345678901234567890.10, 0.3, "12"]], answer
    either = platform.run("sql", 'SELECT "most" FROM by_day UNION ALL SELECT "tag" FROM by_id', "-o", "json").stdout
    assert '"x"' in either
