"""Numerics in read-time SQL beside a PostgreSQL over the same rows: random values of few digits and of many, values
that agree in their first fifteen digits, whole ones of 16 to 38 digits, tiny ones, null; compared by value, and what a
column of one scale gives out letter by letter. What differs by design: docs/CONCEPTS.md."""

import csv
import io
import json
import urllib.request
from decimal import Decimal, InvalidOperation

import pytest
from support import seed_for

KNOWN = ["0.3", "0.30000000000000000001", "0.29999999999999999999", "0.30000000000000000002", "1.5", "-1.5", "0", "7",
         "1.50", "100", "1000000000000000", "999999999999999", "1500000000000000000", "15000000000000000000",
         "9223372036854775807", "9223372036854775808", "12345678901234567890.1", "-12345678901234567890.10", "1e-20",
         "0.00000000000000000012345", "3.3333333333333333333", "1234567890123456789012345678.9", "1.005", "2.675", "-2.5"]

TABLE = """CREATE TABLE e (k text, m numeric(12,2), n numeric, b bigint) WITH (topic='%s');
CREATE MATERIALIZED VIEW t AS SELECT k, max(m) AS m, max(n) AS n, max(b) AS b, sum(m) AS total FROM e GROUP BY k;
CREATE VIEW v AS SELECT k, m AS money, n FROM t WHERE m > 0;"""

# Letter by letter.
SAME = ["SELECT k, m FROM t ORDER BY k", "SELECT k, m FROM t ORDER BY m DESC NULLS LAST, k", "SELECT total, k FROM t ORDER BY k",
        "SELECT DISTINCT m FROM t ORDER BY m NULLS FIRST", "SELECT m, count(*) FROM t GROUP BY m ORDER BY m NULLS FIRST",
        "SELECT * FROM (SELECT k, m AS x FROM t WHERE m > 5) s ORDER BY x, k", "SELECT money FROM v ORDER BY money",
        "SELECT a.m FROM t a JOIN t b ON a.m = b.m AND a.k = b.k ORDER BY a.k",
        "WITH c AS (SELECT m FROM t WHERE m IS NOT NULL) SELECT m FROM c ORDER BY m"]

# By value.
EQUAL = ["SELECT k, n FROM t ORDER BY k", "SELECT n FROM t ORDER BY n NULLS FIRST", "SELECT DISTINCT n FROM t ORDER BY n NULLS FIRST",
         "SELECT n, count(*) FROM t GROUP BY n ORDER BY n NULLS FIRST", "SELECT count(DISTINCT n), count(DISTINCT m) FROM t",
         "SELECT max(n), min(n), max(m), min(m) FROM t", "SELECT sum(m), count(m) FROM t",
         "SELECT sum(n) FROM t WHERE abs(n) < 100", "SELECT sum(n) FROM t WHERE n BETWEEN 0 AND 1",
         "SELECT b, sum(m) FROM t GROUP BY b HAVING sum(m) > 100 ORDER BY b NULLS FIRST",
         "SELECT k, sum(m) OVER (ORDER BY k ROWS 3 PRECEDING) FROM t ORDER BY k",
         "SELECT k FROM t WHERE n = 0.3 ORDER BY k", "SELECT k FROM t WHERE n = 0.30000000000000000001 ORDER BY k",
         "SELECT k FROM t WHERE n > 0.3 AND n <= 0.30000000000000000001 ORDER BY k", "SELECT k FROM t WHERE n < 0.3 ORDER BY k",
         "SELECT k FROM t WHERE n IN (0.3, 7, 9223372036854775808, 9223372036854775807) ORDER BY k",
         "SELECT k FROM t WHERE n >= 9223372036854775807 ORDER BY k", "SELECT k FROM t WHERE n = b ORDER BY k",
         "SELECT k FROM t WHERE n > b ORDER BY k", "SELECT a.k, b.k FROM t a JOIN t b ON a.n = b.n ORDER BY 1, 2",
         "SELECT a.k, b.k FROM t a JOIN t b ON a.n = b.m ORDER BY 1, 2", "SELECT k FROM t WHERE n > (SELECT avg(m) FROM t) ORDER BY k",
         "SELECT k, round(m, 1), round(m), round(m, -2) FROM t ORDER BY k", "SELECT k, round(n, 2), round(n) FROM t ORDER BY k",
         "SELECT k, m::numeric(12,1), CAST(n AS numeric(38, 3)) FROM t WHERE abs(n) < 1000000 ORDER BY k",
         "SELECT k, n::text FROM t ORDER BY k", "SELECT k, concat(n, '') FROM t ORDER BY k",
         "SELECT k, coalesce(n, 0), CASE WHEN n > 0 THEN n ELSE -1 END FROM t ORDER BY k",
         "SELECT k FROM t WHERE CASE WHEN n > 0 THEN n ELSE 0 END > 100 ORDER BY k",
         "SELECT k FROM t ORDER BY CASE WHEN n > 0 THEN n ELSE 0 END DESC, k", "SELECT k, greatest(m, 3), least(n, 3) FROM t ORDER BY k",
         "SELECT k, lag(n) OVER (ORDER BY k) FROM t ORDER BY k", "SELECT n FROM t UNION SELECT m FROM t ORDER BY 1 NULLS FIRST",
         "SELECT k, -m, abs(m), -n, abs(n) FROM t ORDER BY k",
         "SELECT '0.30000000000000000001'::numeric, 0.30000000000000000001, 12345678901234567890123, 7::numeric / 2, 2.50"]

# Of doubles: to 15 digits of the larger operand.
NEARLY = ["SELECT k, m / 4, m * 2, m + 1, m - 1, m / 7, avg(m) OVER () FROM t ORDER BY k", "SELECT k, n / 2, n * 3 FROM t ORDER BY k",
          "SELECT 1, avg(m) FROM t", "SELECT k, n::double precision FROM t ORDER BY k"]


def pools(rng):
    near = rng.randrange(1, 10**15)
    return [lambda: rng.choice(KNOWN), lambda: rng.choice(KNOWN),
            lambda: str(Decimal(rng.randrange(-10**15 + 1, 10**15)).scaleb(-rng.randrange(20))),
            lambda: str(Decimal(rng.randrange(-10**18, 10**18)).scaleb(-18)),
            lambda: str(Decimal(rng.randrange(-10**24, 10**24)).scaleb(-18)),
            lambda: str(Decimal(near * 10**5 + rng.choice([-1, 0, 0, 1, 2])).scaleb(-12)),
            lambda: str(rng.randrange(-10**rng.randrange(15, 38), 10**rng.randrange(15, 38))), lambda: None]


def rows_of(rng, count):
    makers = pools(rng)
    rows = [("known%02d" % i, None, n, None) for i, n in enumerate(KNOWN)]
    for i in range(count):
        money = rng.choice([None, "%.2f" % rng.uniform(-50, 50), "%d.%02d" % (rng.randrange(10**9), rng.randrange(100)), "7.00",
                            "265.50"])
        rows.append(("k%03d" % i, money, rng.choice(makers)(), rng.choice([None, 7, 0, 100, rng.randrange(-2**63, 2**63),
                                                                          1500000000000000000, 9223372036854775807])))
    return rows


def quoted(value):
    return "NULL" if value is None else f"'{value}'"


def value(cell):
    try:
        return Decimal(cell)
    except InvalidOperation:
        return {"t": Decimal(1), "f": Decimal(0)}.get(cell, cell)


def test_numerics_equal_postgres(embedded, topic, postgres):
    rng, _ = seed_for("test_numerics_equal_postgres")
    rows = rows_of(rng, 250)
    embedded.topic(topic, 2)
    embedded.produce(topic, [{"k": k, "m": m, "n": n, "b": b} for k, m, n, b in rows])
    embedded.deploy("p", TABLE % topic, "--wait")
    postgres.sql("DROP TABLE IF EXISTS t CASCADE; CREATE TABLE t (k text, m numeric(12,2), n numeric, b bigint, total numeric(12,2));"
                 "CREATE VIEW v AS SELECT k, m AS money, n FROM t WHERE m > 0; INSERT INTO t VALUES "
                 + ",".join(f"({', '.join(map(quoted, row))}, {quoted(row[1])})" for row in rows))

    body = json.dumps({"sql": "SELECT m, n FROM t WHERE m = 265.5 LIMIT 1"}).encode()
    asked = urllib.request.Request(f"http://{embedded.server()['http']}/v1/sql", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(asked) as answer:
        assert "[265.50," in answer.read().decode()

    def ours(statement):
        result = embedded.run("sql", "-o", "csv", statement, code=None)
        return [row or [""] for row in csv.reader(io.StringIO(result.stdout or result.stderr))][1:]

    def theirs(statement):
        return [line.split("|") for line in postgres.sql(statement).splitlines()]
    for statement in SAME:
        assert ours(statement) == theirs(statement), statement
    wrong = []
    for statement in EQUAL:
        mine = [[value(cell) for cell in row] for row in ours(statement)]
        want = [[value(cell) for cell in row] for row in theirs(statement)]
        if mine != want:
            wrong.append((statement, len(mine), len(want), [(a, b) for a, b in zip(mine, want) if a != b][:4]))
    assert not wrong, "\n".join(map(str, wrong))
    for statement in NEARLY:
        for mine, want in zip(ours(statement), theirs(statement), strict=True):
            assert [c == "" for c in mine] == [c == "" for c in want], statement
            assert mine[0] == want[0] or len(mine) == 2, statement
            assert [float(c or 0) for c in mine[1:]] == pytest.approx([float(c or 0) for c in want[1:]], 1e-14, 1e-14), statement


def test_too_many_alike(embedded, topic):
    """What SQL cannot keep apart is an error, never a wrong answer; with fewer of them there is none, in any order."""
    rng, _ = seed_for("test_too_many_alike")
    alike = ["9.500000000000000%03d" % i for i in range(1, 41)]
    embedded.topic(topic, 1)
    rows = [{"k": f"k{i:02}", "n": n} for i, n in enumerate(alike)]
    embedded.produce(topic, rng.sample(rows, len(rows)))
    embedded.deploy("p", f"CREATE TABLE e (k text, n numeric) WITH (topic='{topic}'); CREATE MATERIALIZED VIEW t AS "
                    "SELECT k, max(n) AS n FROM e GROUP BY k;", "--wait")
    failed = embedded.run("sql", "SELECT n FROM t", code=1).stderr
    assert "agree with 9.500000000000000" in failed and "kappa scan" in failed
    assert [row["n"] for row in sorted(embedded.scan("t"), key=lambda row: row["k"])] == [float(n) for n in alike]
    for keys in (["k07", "k21"], ["k21", "k07"], ["k05"], ["k33", "k02"]):
        listed = ", ".join(f"'{key}'" for key in keys)
        got = embedded.run("sql", "-o", "csv", f"SELECT n FROM t WHERE k IN ({listed}) ORDER BY n").stdout.split()[1:]
        assert got == sorted(alike[int(key[1:])].rstrip("0") for key in keys)
