"""Read-time SQL: random statements against sqlite3 with the same rows in real tables, one snapshot a statement while
versions are swapped, what is refused, views of definitions, and the shell through a pty."""

import json
import os
import pty
import re
import select
import signal
import sqlite3
import subprocess
import threading
import time

import pytest

import support
from support import seed_for

DEFINITION = """
CREATE TABLE e (u text, kind text, n bigint, x double precision, ok boolean, t timestamptz)
  WITH (topic='%s', event_time='t', watermark='1000 s');
CREATE MATERIALIZED VIEW totals AS SELECT u, kind, count(*) AS c, sum(n) AS s, max(x) AS most FROM e GROUP BY u, kind;
CREATE MATERIALIZED VIEW minutes AS SELECT window_start, window_end, u, count(*) AS c, max(t) AS last, sum(n) AS s
  FROM tumble(e, t, interval '1 minute') GROUP BY u, window_start, window_end;
CREATE MATERIALIZED VIEW hops AS SELECT u, window_end, count(*) AS c
  FROM hop(e, t, interval '1 minute', interval '3 minutes') GROUP BY u, window_end;
CREATE MATERIALIZED VIEW sittings AS SELECT window_start, u, window_end, count(*) AS c
  FROM session(e, t, interval '10 s') GROUP BY u, window_start, window_end;
CREATE MATERIALIZED VIEW numbers AS SELECT n, x, ok, count(*) AS c FROM e GROUP BY n, x, ok;
CREATE MATERIALIZED VIEW raw AS SELECT u, n, x, t, ok FROM e WHERE n > 2;
CREATE MATERIALIZED VIEW everything AS SELECT count(*) AS c, sum(n) AS s FROM e;
CREATE VIEW ranked AS SELECT u, sum(c) AS c, rank() OVER (ORDER BY sum(c) DESC, u) AS place FROM totals GROUP BY u;
CREATE VIEW recent AS SELECT m.u, m.window_start, m.window_end, m.c, r.place FROM minutes m JOIN ranked r ON r.u = m.u;
"""
TABLES = {"totals": ["u", "kind", "c", "s", "most"],
          "minutes": ["window_start", "window_end", "u", "c", "last", "s"],
          "hops": ["u", "window_end", "c"], "sittings": ["window_start", "u", "window_end", "c"],
          "numbers": ["n", "x", "ok", "c"], "raw": ["u", "n", "x", "t", "ok"], "everything": ["c", "s"]}
TIMES = {"window_start", "window_end", "last", "t"}


def make_events(rng, count):
    users = ["a", "b", "B", "", "ä", "日本", "it's", "a\u0000b", "a\u0000", "zz", None]
    return [{"u": rng.choice(users), "kind": rng.choice(["view", "click", None]),
             "n": rng.choice([None, *range(-3, 9), 2**53 + 1]), "x": rng.choice([None, 0.5, -0.0, 1e300, 7, -2.25]),
             "ok": rng.choice([True, False, None]),
             "t": 1_760_000_000_000 + rng.randrange(600) * 1000 + rng.choice([0, 0, 1, 999])} for _ in range(count)]


def sql(platform, text, code=200, **more):
    status, body, _ = platform.http("POST", "/v1/sql", {"sql": text, **more})
    assert status == code, (text, body)
    return body


def oracle(platform):
    """sqlite3 with the rows of all tables; times compare as times."""
    db = sqlite3.connect(":memory:")

    def moment(text):
        found = re.fullmatch(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d(?::\d\d)?)(\.\d+)?(Z|\+00:00)?", text)
        return None if found is None else (found[1] + "T" + (found[2] + ":00")[:8] + (found[3] or ".").ljust(7, "0"))

    def collate(a, b):
        one, two = moment(a), moment(b)
        if (one is None) != (two is None):
            return 1 if one is None else -1
        one, two = (a, b) if one is None else (one, two)
        return (one > two) - (one < two)

    db.create_collation("kappa_time", collate)
    types = {"u": "TEXT", "kind": "TEXT", "c": "BIGINT", "s": "BIGINT", "n": "BIGINT", "most": "DOUBLE PRECISION",
             "x": "DOUBLE PRECISION", "ok": "BOOLEAN"}
    for name, columns in TABLES.items():
        declared = ", ".join(f"{c} {'TEXT COLLATE kappa_time' if c in TIMES else types[c]}" for c in columns)
        db.execute(f"CREATE TABLE {name} ({declared})")
        answer = sql(platform, f"SELECT * FROM {name}", limit=1_000_000)
        assert [c["name"] for c in answer["columns"]] == columns
        db.executemany(f"INSERT INTO {name} VALUES ({', '.join('?' * len(columns))})", answer["rows"])
        # and these are the rows that a scan gives
        scanned = [[row[c] for c in columns] for row in platform.scan(name)]
        short = [[re.sub(r"(\.000000|(?<=\.\d\d\d)000)Z$", "Z", v) if c in TIMES and v else v
                  for c, v in zip(columns, row)] for row in answer["rows"]]
        assert short == scanned, name
    return db


class Statements:
    """Random SELECTs. Where there is LIMIT, the order is total."""

    def __init__(self, rng, db):
        self.rng = rng
        self.values = {(t, c): [row[0] for row in db.execute(f"SELECT DISTINCT {c} FROM {t}")]
                       for t, columns in TABLES.items() for c in columns}

    def literal(self, table, column):
        value = self.rng.choice(self.values[table, column] or [None])
        if column in TIMES and value is not None:
            value = self.rng.choice([value, value.replace("T", " "), value[:19] + "Z", value[:16], value + "x"])
        elif self.rng.random() < 0.1:
            value = self.rng.choice(["5", 5, 5.0, 2.5, "x", None, 2**53 + 1, "0.5", True])
        if value is None:
            return "NULL"
        if isinstance(value, str):
            if "\0" in value:
                return "||char(0)||".join(f"'{part}'" for part in value.replace("'", "''").split("\0"))
            return "'" + value.replace("'", "''") + "'"
        return {True: "1", False: "0"}.get(value, repr(value)) if isinstance(value, bool) else repr(value)

    def term(self, table, prefix=""):
        rng = self.rng
        column = rng.choice(TABLES[table])
        name = prefix + column
        kind = rng.random()
        if kind < 0.55:
            op = rng.choice(["=", "=", "=", "<", "<=", ">", ">=", "<>", "IS", "IS NOT"])
            sides = [name, f"({self.literal(table, column)})"]
            if op in ("IS", "IS NOT") or rng.random() < 0.85:
                return f"{sides[0]} {op} {sides[1]}"
            return f"{sides[1]} {op} {sides[0]}"
        if kind < 0.7:
            return f"{name} IN ({', '.join(self.literal(table, column) for _ in range(rng.randrange(1, 4)))})"
        if kind < 0.8:
            return f"{name} BETWEEN {self.literal(table, column)} AND {self.literal(table, column)}"
        if kind < 0.9:
            return f"{name} {rng.choice(['ISNULL', 'NOTNULL'])}"
        return f"{name} = {self.literal(table, column)} COLLATE {rng.choice(['NOCASE', 'BINARY'])}"

    def where(self, table, prefix=""):
        terms = [self.term(table, prefix) for _ in range(self.rng.choice([0, 1, 1, 2, 2, 3]))]
        # SQLite itself takes `a = x OR a = y COLLATE c` for an IN with one collation, where it can look a up.
        links = ["AND"] if any("COLLATE" in term for term in terms) else ["AND", "AND", "AND", "OR"]
        text = ""
        for term in terms:
            text += (f" {self.rng.choice(links)} " if text else " WHERE ") + term
        return text

    def statement(self):
        rng = self.rng
        table = rng.choice(list(TABLES))
        columns = TABLES[table]
        shape = rng.random()
        if shape < 0.35:
            order = ""
            if rng.random() < 0.6:
                picked = rng.sample(columns, rng.randrange(1, len(columns) + 1))
                keys = [c + rng.choice(["", "", " DESC", " NULLS LAST"]) for c in picked]
                order = " ORDER BY " + ", ".join(keys + [c for c in columns if c not in picked])
                if rng.random() < 0.4:
                    order += f" LIMIT {rng.randrange(0, 20)}" + rng.choice(["", f" OFFSET {rng.randrange(0, 5)}"])
            what = "*" if order or rng.random() < 0.5 else "DISTINCT " + ", ".join(rng.sample(columns, 2)) \
                if len(columns) > 2 else "*"
            return f"SELECT {what} FROM {table}{self.where(table)}{order}", bool(order)
        if shape < 0.6:
            by = rng.sample(columns, rng.randrange(1, min(3, len(columns)) + 1))
            other = rng.choice(columns)
            return (f"SELECT {', '.join(by)}, count(*), count({other}), min({other}), max({other}) FROM {table}"
                    f"{self.where(table)} GROUP BY {', '.join(by)}" + rng.choice(["", " HAVING count(*) > 1"])), False
        if shape < 0.75:
            first = rng.choice(columns)
            return (f"SELECT {', '.join(columns)}, rank() OVER (ORDER BY {first}) AS r, count(*) OVER (PARTITION BY"
                    f" {rng.choice(columns)}) AS w FROM {table}{self.where(table)}"), False
        if shape < 0.9:
            other = rng.choice([t for t in TABLES if t != table])
            common = [c for c in columns if c in TABLES[other]] or [columns[0]]
            column = rng.choice(common)
            right = column if column in TABLES[other] else TABLES[other][0]
            join = rng.choice(["JOIN", "LEFT JOIN"])
            return (f"SELECT a.{column}, count(*), count(b.{right}) FROM {table} a {join} {other} b ON a.{column} ="
                    f" b.{right}{self.where(table, 'a.')} GROUP BY 1"), False
        other = rng.choice(list(TABLES))
        return (f"WITH w AS (SELECT {columns[0]} AS k, count(*) AS n FROM {table}{self.where(table)} GROUP BY 1) SELECT"
                f" w.n, (SELECT count(*) FROM {other}{self.where(other)}) FROM w"
                f" WHERE EXISTS (SELECT 1 FROM {table}{self.where(table)})"), False


def plain(rows, ordered):
    # sqlite keeps -0.0 of a real table as 0.0
    rows = [[int(v) if isinstance(v, bool) else v + 0.0 if isinstance(v, float) else v for v in row] for row in rows]
    return rows if ordered else sorted(rows, key=repr)


def from_sqlite(db, text):
    return [list(row) for row in db.execute(text)]


def fill(platform, topic, rng, count=900):
    platform.topic(topic, 3)
    platform.produce(topic, make_events(rng, count))
    platform.deploy("p", DEFINITION % topic, "--wait")
    support.applied_everything(platform, "p", 1, topic)


def test_statements_equal_sqlite(embedded, topic):
    rng, _ = seed_for("test_statements_equal_sqlite")
    fill(embedded, topic, rng)
    db = oracle(embedded)
    make = Statements(rng, db)
    chosen = ["SELECT count(*) FROM totals WHERE u = 'b' COLLATE NOCASE", "SELECT kind, c FROM totals WHERE u IS NULL",
              "SELECT count(*) FROM totals WHERE u = 'b' OR kind = 'view' OR c = 3", "SELECT * FROM totals WHERE u = NULL",
              "SELECT c FROM totals WHERE u IN ('a', 'B', NULL) AND kind IS NULL", "SELECT count(*) FROM numbers WHERE n = '5'",
              "SELECT count(*) FROM numbers WHERE n = 5.5 OR n = 9007199254740993 OR n = 9007199254740992.0"]
    for i in range(700):
        text, ordered = make.statement() if i >= len(chosen) else (chosen[i], False)
        got = sql(embedded, text, limit=1_000_000)["rows"]
        assert plain(got, ordered) == plain(from_sqlite(db, text), ordered), text


def test_views(embedded, topic):
    rng, _ = seed_for("test_views")
    fill(embedded, topic, rng)
    db = oracle(embedded)
    want = from_sqlite(db, "SELECT u, sum(c) AS c, rank() OVER (ORDER BY sum(c) DESC, u) FROM totals GROUP BY u")
    assert sorted(sql(embedded, "SELECT * FROM ranked")["rows"], key=repr) == sorted(want, key=repr)
    assert sorted(sql(embedded, 'SELECT * FROM "ranked@1"')["rows"], key=repr) == sorted(want, key=repr)
    rows = embedded.scan("ranked")
    assert sorted(([r["u"], r["c"], r["place"]] for r in rows), key=repr) == sorted(want, key=repr)
    a = next(row for row in want if row[0] == "a")
    for more in [[], ["--server", embedded.server()["http"]]]:
        got = json.loads(embedded.run("get", "ranked", "a", "-o", "json", *more).stdout)
        assert got["row"] == {"u": "a", "c": a[1], "place": a[2]} and got["version"] == 1 and len(got["cut"][topic]) == 3
        assert embedded.run("get", "ranked", "nobody", code=3, *more).stderr
    newest = from_sqlite(db, "SELECT window_start, window_end, c FROM minutes WHERE u = 'b' ORDER BY 1 DESC LIMIT 1")[0]
    row = json.loads(embedded.run("get", "recent", "b", "-o", "json").stdout)["row"]
    assert row["window_end"] == newest[1].replace(".000000", "") and row["c"] == newest[2]
    row = json.loads(embedded.run("get", "recent", "b", "--at", newest[0], "-o", "json").stdout)["row"]
    assert row["window_start"] == newest[0].replace(".000000", "")
    listed = {t["name"]: t for t in embedded.http("GET", "/v1/tables")[1]["tables"]}
    assert listed["ranked"]["kind"] == "view" and [c["name"] for c in listed["ranked"]["columns"]] == ["u", "c", "place"]
    assert [c["name"] for c in listed["minutes"]["columns"] if c["key"]] == ["window_start", "window_end", "u"]
    bad = embedded.run("deploy", embedded_file(embedded, "bad", DEFINITION % topic + "CREATE VIEW v AS\n  SELECT nope FROM"
                                               " totals;"), "--name", "p", code=1)
    assert re.search(r"bad\.sql:\d+:10: no such column: nope\n +SELECT nope FROM totals;\n +\^", bad.stderr), bad.stderr


def embedded_file(platform, name, text):
    path = os.path.join(platform.directory, name + ".sql")
    with open(path, "w") as file:
        file.write(text)
    return path


SWAPPED = """
CREATE TABLE e (k text) WITH (topic='%s');
CREATE MATERIALIZED VIEW parts AS SELECT k, count(*) * %d AS n FROM e GROUP BY k;
CREATE MATERIALIZED VIEW whole AS SELECT count(*) * %d AS n FROM e;
CREATE VIEW pair AS SELECT (SELECT sum(n) FROM parts) AS a, (SELECT n FROM whole) AS b, %d AS version;
"""


def test_one_snapshot_under_swaps(embedded, topic):
    """Two tables of a processor are never seen in two versions or at two cuts, whatever is swapped meanwhile."""
    embedded.topic(topic, 3)
    embedded.produce(topic, [{"k": str(i % 7)} for i in range(300)])
    embedded.deploy("p", SWAPPED % (topic, 1, 1, 1), "--wait")
    embedded.deploy("p", SWAPPED % (topic, 3, 3, 2), "--wait")
    faults, seen, done = [], set(), threading.Event()

    def read(text):
        while not done.is_set():
            answer = sql(embedded, text)
            a, b, version = answer["rows"][0]
            stamp = answer["stamps"][0]
            cut = sum(stamp["cut"][topic])
            seen.add(stamp["version"])
            if a != b or version not in (None, stamp["version"]) or a != cut * (1 if stamp["version"] == 1 else 3):
                faults.append(answer)

    def produce():
        while not done.is_set():
            embedded.produce(topic, [{"k": str(i)} for i in range(20)])

    threads = [threading.Thread(target=read, args=("SELECT * FROM pair",)), threading.Thread(target=produce),
               threading.Thread(target=read, args=("SELECT sum(parts.n), (SELECT n FROM whole), NULL FROM parts",))]
    for thread in threads:
        thread.start()
    try:
        for i in range(6):
            seen.clear()
            embedded.run("swap" if i % 2 else "rollback", "p", *(["2"] if i % 2 else []))
            support.eventually(lambda: faults or 1 + i % 2 in seen, 30, "they read what serves now")
    finally:
        done.set()
    for thread in threads:
        thread.join()
    assert not faults, faults[0]
    both = sql(embedded, 'SELECT (SELECT n FROM "whole@1"), (SELECT n FROM "whole@2"), (SELECT a FROM "pair@1")')
    assert {s["version"] for s in both["stamps"]} == {1, 2}
    by_version = {s["version"]: sum(s["cut"][topic]) for s in both["stamps"]}
    assert both["rows"][0] == [by_version[1], 3 * by_version[2], by_version[1]]


def test_refused(embedded, topic):
    rng, _ = seed_for("test_refused")
    fill(embedded, topic, rng, 50)
    for text in ["DELETE FROM totals", "INSERT INTO totals VALUES (1)", "CREATE TABLE x (a)", "ATTACH 'x' AS y",
                 "PRAGMA journal_mode", "BEGIN", "DROP TABLE totals", "VACUUM INTO '/tmp/x'", "UPDATE totals SET c = 1",
                 "WITH a AS (SELECT 1) DELETE FROM totals", "SELECT load_extension('x')"]:
        status, body, _ = embedded.http("POST", "/v1/sql", {"sql": text})
        assert status in (400, 409), (text, body)
        assert status == 409 or "load_extension" in text or "not authorized" in body["error"]["message"], (text, body)
    places = {"SELECT nope FROM totals": "1:8: no such column: nope", "SELECT 1 +\n  FROM totals": "2:3: ",
              "SELECT a::box": "1:11: ", "SELECT u FROM totals WHERE c = 'x": "1:32: "}
    for text, place in places.items():
        error = sql(embedded, text, 400)["error"]
        assert error["message"].startswith(place) and error["message"].endswith("^"), error
    error = sql(embedded, "SELECT * FROM totls", 404)["error"]
    assert error["code"] == "not_found" and error["hint"] == "did you mean totals?"
    assert sql(embedded, "SELECT 1; SELECT 2", 400)
    assert sql(embedded, "SELECT ?", 400)["error"]["code"] == "invalid"
    assert sql(embedded, "SELECT ?, ?2, :a", params=[1, 2], code=400)
    assert sql(embedded, "SELECT $2, $1, ?", params=[1, "b", 3])["rows"] == [["b", 1, 3]]
    assert sql(embedded, "SELECT :a", params={"a": None})["rows"] == [[None]]
    assert sql(embedded, "SELECT 1", code=400, nonsense=1)
    assert sql(embedded, "SELECT \"no such column\" FROM totals", 400)
    short = sql(embedded, "SELECT * FROM totals", limit=2)
    assert short["truncated"] and len(short["rows"]) == 2
    begun = time.monotonic()
    slow = "WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r) SELECT count(*) FROM r"
    assert sql(embedded, slow, 504, timeout_ms=300)["error"]["code"] == "timeout"
    assert sql(embedded, "SELECT count(*) FROM minutes a, minutes b, minutes c, minutes d, minutes e, minutes f", 504,
               timeout_ms=300)
    assert time.monotonic() - begun < 60
    assert sql(embedded, "SELECT group_concat(hex(zeroblob(1000000))) FROM minutes a, minutes b", 413, timeout_ms=60_000)


def test_functions(embedded):
    cases = {
        "date_trunc('hour', '2026-01-31T12:34:56.789Z')": "2026-01-31T12:00:00.000000Z",
        "date_trunc('week', timestamptz '2026-02-01')": "2026-01-26T00:00:00.000000Z",
        "extract(dow FROM date '2026-02-01')": 0, "extract(epoch FROM '1970-01-02 00:00:00.5Z')": 86400.5,
        "timestamptz '2026-01-31 12:00+02' - interval '1 day 30 minutes'": "2026-01-30T09:30:00.000000Z",
        "now() - interval '1 s' < now()": 1, "to_timestamp(1.5)": "1970-01-01T00:00:01.500000Z",
        "'2.5'::double precision * 2": 5.0, "7::numeric / 2": 3.5, "2.5::int": 2, "7 / 2": 3, "'abc' ILIKE 'A_C'": 1,
        "'abc' LIKE 'A%'": 0, "'x' NOT ILIKE '%Y%'": 1, "left('äbc', 2) || right('äbc', -1)": "äbbc",
        "split_part('a,b,c', ',', 2)": "b", "concat('a', NULL, 1)": "a1", "greatest(1, NULL, 3.5, 2)": 3.5,
        "least('b', 'a')": "a", "round(haversine_km(52.52, 13.405, 48.8566, 2.3522))": 877.0, "'yes'::boolean": 1,
        "CAST('2026-01-31T12:00:00Z' AS date)": "2026-01-31", "starts_with('abc', 'ab')": 1,
    }
    for text, want in cases.items():
        assert sql(embedded, f"SELECT {text}")["rows"] == [[want]], text
    for values, want in {"0.1, 0.2, 0.3": 0.6, "1.1, 2.2, 3": 6.3, "1, 2": 3, "NULL": None, "9007199254740993, 1": 9007199254740994,
                         "1e300, 1, -1e300": 1.0, "123456789012.34, 0.01": 123456789012.35, "1e400, 1": "Infinity"}.items():
        given = ", ".join(f"({value})" for value in values.split(", "))
        assert sql(embedded, f"SELECT sum(column1) FROM (VALUES {given})")["rows"] == [[want]], values
    assert sql(embedded, "SELECT sum(v) OVER (ORDER BY v ROWS BETWEEN 1 PRECEDING AND CURRENT ROW), avg(v) OVER () FROM"
               " (SELECT column1 AS v FROM (VALUES (0.1), (0.2), (0.3), (0.4)))")["rows"] == [
                   [0.1, 0.25], [0.3, 0.25], [0.5, 0.25], [0.7, 0.25]]
    assert "overflow" in sql(embedded, "SELECT sum(column1) FROM (VALUES (9223372036854775807), (1))", 400)["error"]["message"]
    values = "(SELECT column1 AS v FROM (VALUES (1), (2), (4), (NULL), (9)))"
    got = sql(embedded, "SELECT stddev(v), var_pop(v), percentile_cont(0.5) WITHIN GROUP (ORDER BY v), percentile_disc("
              f"0.5) WITHIN GROUP (ORDER BY v), median(v), bool_and(v > 0), bool_or(v > 8), string_agg(v, '-') FROM {values}")
    row = got["rows"][0]
    assert abs(row[0] - 3.5590260840104) < 1e-12 and abs(row[1] - 9.5) < 1e-12 and row[2:] == [3.0, 2.0, 3.0, 1, 1, "1-2-4-9"]
    assert sql(embedded, "SELECT percentile_cont(2) WITHIN GROUP (ORDER BY 1)", 400)
    assert sql(embedded, "SELECT 'x'::int", 400)["error"]["message"] == '"x" is not a whole number'


def test_formats_and_server_down(embedded, topic):
    rng, _ = seed_for("test_formats")
    fill(embedded, topic, rng, 60)
    statement = "SELECT u, c, ok FROM totals JOIN numbers USING (c) ORDER BY 1, 2, 3 LIMIT 5"
    server = embedded.server()["http"]
    formats = ["table", "csv", "json", "ndjson"]
    over_http = [embedded.run("sql", "--server", server, "-o", f, statement).stdout for f in formats]
    assert over_http[0].endswith("(5 rows)\n")
    embedded.down()
    assert [embedded.run("sql", "-o", f, "-c", statement).stdout for f in formats] == over_http
    assert embedded.run("sql", "-o", "csv", stdin="SELECT 'a,\"b' AS x, NULL AS y, '' AS z;\nSELECT 2").stdout == \
        'x,y,z\n"a,""b",,""\n2\n2\n'
    failed = embedded.run("sql", "SELECT nope FROM totals", code=1)
    assert "1:8: no such column: nope" in failed.stderr
    for words in (["sql", "SELECT * FROM none"], ["get", "none", "a"], ["scan", "none"]):
        assert "none" in embedded.run(*words, code=3).stderr
    assert embedded.run("sql", "SELECT 1; DELETE FROM totals; SELECT 2", code=4).stdout.count("(1 row)") == 1
    assert "totals" in embedded.run("sql", "\\d").stdout
    assert embedded.run("sql", "\\d+ totals").stdout == embedded.run("sql", "\\d totals").stdout
    assert "SCAN totals" in embedded.run("sql", "EXPLAIN SELECT * FROM totals").stdout
    for asked in ("SHOW TABLES", "DESCRIBE totals"):
        assert "'\\d' lists all tables" in embedded.run("sql", asked, code=4).stderr
    assert embedded.run("sql", "-o", "xml", "SELECT 1", code=2).stderr


def test_numerics_of_many_digits(embedded, topic):
    """What is only selected has all its digits; it is sorted, compared and grouped beside numbers of few."""
    numbers = ["-12345678901234567890.10", "3.3333333333333333333", "5.5", "9999999999999999.5", "999999999999999999",
               "12345678901234567890.1", "12345678901234567890.10", "22345678901234567890.5", "122345678901234567890.5"]
    embedded.topic(topic, 1)
    embedded.produce(topic, [{"k": f"k{i}", "n": n} for i, n in enumerate(numbers)])
    embedded.deploy("p", f"CREATE TABLE e (k text, n numeric) WITH (topic='{topic}'); CREATE MATERIALIZED VIEW t AS "
                    "SELECT k, max(n) AS n FROM e GROUP BY k;", "--wait")

    def column(statement):
        return embedded.run("sql", "-o", "csv", statement).stdout.splitlines()[1:]
    trimmed = [n.rstrip("0") for n in numbers]  # their scales differ
    assert column("SELECT n FROM t ORDER BY k") == trimmed
    assert column("SELECT n FROM t ORDER BY n, k") == trimmed
    assert column("SELECT max(n) FROM t") == numbers[-1:] and column("SELECT k FROM t WHERE n < 0") == ["k0"]
    assert column("SELECT k FROM t ORDER BY n LIMIT 3") == ["k0", "k1", "k2"]
    assert column("SELECT k FROM t WHERE n > 5.5 AND n < 1e18 ORDER BY k") == ["k3", "k4"]
    assert column("SELECT count(*) FROM t GROUP BY n HAVING count(*) > 1") == ["2"]
    assert column("SELECT count(DISTINCT n) FROM t") == ["8"]


class Shell:
    """`kappa sql` on a pseudo terminal."""

    def __init__(self, platform, *args):
        master, slave = pty.openpty()
        env = {**platform.env, "TERM": "xterm", "XDG_STATE_HOME": platform.directory, "NO_COLOR": "1"}
        self.process = subprocess.Popen([support.BIN, "sql", *args], stdin=slave, stdout=slave, stderr=slave, env=env,
                                        start_new_session=True, preexec_fn=lambda: __import__("fcntl").ioctl(
                                            0, __import__("termios").TIOCSCTTY, 0))
        os.close(slave)
        self.master = master
        self.seen = ""

    def expect(self, text, seconds=20):
        end = time.monotonic() + seconds * support.PATIENCE
        while text not in self.seen:
            ready, _, _ = select.select([self.master], [], [], max(0, end - time.monotonic()))
            assert ready, f"waited for {text!r}, saw {self.seen!r}"
            try:
                self.seen += os.read(self.master, 65536).decode(errors="replace")
            except OSError:
                raise AssertionError(f"ended, waiting for {text!r}, saw {self.seen!r}") from None
        before, self.seen = self.seen.split(text, 1)
        return before

    def type(self, text):
        os.write(self.master, text.encode())

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.master)


def cpu_ticks(pid):
    """Hundredths of a second that a process has computed."""
    with open(f"/proc/{pid}/stat") as stat:
        return sum(map(int, stat.read().rsplit(")", 1)[1].split()[11:13]))


@pytest.mark.parametrize("remote", [False, True])
def test_shell(embedded, topic, remote):
    rng, _ = seed_for("test_shell")
    fill(embedded, topic, rng, 60)
    shell = Shell(embedded, *(["--server", embedded.server()["http"]] if remote else []))
    try:
        shell.expect("kappa=> ")
        shell.type("SELECT count(*) AS events\n")
        shell.expect("kappa-> ")
        shell.type("FROM raw\n")
        shell.expect("kappa-> ")
        shell.type(";\n")
        shell.expect("(1 row)")
        shell.expect("from p v1, epoch 1")
        shell.expect("kappa=> ")
        shell.type("\\d minutes\n")
        assert "window_end" in shell.expect("from p v1")
        shell.type("\\x\nSELECT 1 AS one;\n")
        shell.expect("RECORD 1")
        shell.type("\\timing\nSELECT nope;\n")
        shell.expect("no such column: nope")
        shell.type("SELECT 2;\n")
        shell.expect("Time: ")
        shell.expect("kappa=> ")
        works = embedded.process.pid if remote else shell.process.pid
        before = cpu_ticks(works)
        shell.type("WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r) SELECT count(*) FROM r;\n")
        support.eventually(lambda: cpu_ticks(works) > before + 20, 20, "the statement runs")
        os.killpg(shell.process.pid, signal.SIGINT)
        shell.expect("cancelled")
        shell.expect("kappa=> ")
        shell.type("SELECT half of it\n")
        shell.expect("kappa-> ")
        shell.type("\x03")
        shell.expect("kappa=> ")
        shell.type("SELECT 'after' AS ok;\n")
        shell.expect("after")
        shell.expect("kappa=> ")
        shell.type("\\q\n")
        assert shell.process.wait(120) == 0
    finally:
        shell.close()
    with open(os.path.join(embedded.directory, "kappa", "history")) as file:
        assert "FROM raw" in file.read().replace("\\040", " ")
