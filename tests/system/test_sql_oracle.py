"""Tables against sqlite3 over the same rows: scenarios 1, 3 (as a table), 4 (JSON input) and 7, live and replayed."""

import json
import sqlite3

import support
from support import features_sql, seed_for


def load(records, columns):
    db = sqlite3.connect(":memory:")
    db.execute(f"CREATE TABLE e (partition, offset, {', '.join(columns)})")
    db.executemany(f"INSERT INTO e VALUES (?, ?{', ?' * len(columns)})",
                   [(r["partition"], r["offset"], *[r["value"].get(c) for c in columns]) for r in records])
    return db


def rounded(value):
    return round(value, 6) if isinstance(value, float) else value


def rows_of(table, columns):
    return sorted(tuple(rounded(row[c]) for c in columns) for row in table)


def random_events(rng, count):
    """Values with nulls, absent fields, doubles, negative numbers, odd texts."""
    texts = ["a", "b", "B", "", "ä", "日本", "it's", "a\tb", "\\", '"', "z" * 40]
    events = []
    for i in range(count):
        event = {"url": rng.choice(["/", "/home", "/shop", "/ä"]), "status": rng.choice([200, 200, 404, 500, None]),
                 "user": rng.choice(texts + [None]), "value": rng.choice([None, rng.randrange(-50, 50)]),
                 "amount": round(rng.uniform(-100, 20000), 2), "ts": 1_760_000_000_000 + i * 997}
        if rng.random() < 0.1:
            del event[rng.choice(["user", "value", "status"])]
        events.append(event)
    return events


VIEWS = """
CREATE TABLE e (url text, status integer, "user" text, value bigint, amount double precision, ts timestamptz)
  WITH (topic = '%s', event_time = 'ts');
CREATE MATERIALIZED VIEW page_views AS
  SELECT url, count(*) AS views FROM e WHERE status = 200 GROUP BY url;
CREATE MATERIALIZED VIEW high_value AS
  SELECT "user", amount, 'amount over 10000' AS message FROM e WHERE amount > 10000;
CREATE MATERIALIZED VIEW hourly AS
  SELECT window_start, count(*) AS n, sum(value) AS total, avg(value) AS mean, min("user") AS first_user,
         max(amount) AS most, count(value) AS present, count(DISTINCT "user") AS users,
         count(*) FILTER (WHERE value > 0 OR status IN (404, 500)) AS some
  FROM tumble(e, ts, interval '1 hour') GROUP BY window_start;
CREATE MATERIALIZED VIEW by_user AS
  SELECT "user", CASE WHEN value < 0 THEN 'low' WHEN value IS NULL THEN 'none' ELSE 'high' END AS class,
         coalesce(sum(value), 0) * 2 + 1 AS odd, count(*) AS n, min(value) AS least
  FROM e WHERE url LIKE '/%%o%%' OR status BETWEEN 400 AND 499 GROUP BY 1, 2 HAVING count(*) > 1;
"""


def test_views_equal_sqlite(platform, topic):
    rng, _ = seed_for("test_views_equal_sqlite")
    platform.topic(topic, 3)
    events = random_events(rng, 4000)
    platform.produce(topic, events[:2500])
    platform.deploy("views", VIEWS % topic, "--wait")
    platform.produce(topic, events[2500:])
    support.applied_everything(platform, "views", 1, topic)
    check_views(platform, topic)
    platform.run("replay", "views")
    platform.wait("views", 2)
    check_views(platform, topic)
    receipt = platform.json("history", "views")["receipts"][0]
    assert receipt["old_digest"] == receipt["new_digest"]


def check_views(platform, topic):
    records = platform.cat(topic)
    assert len(records) == 4000
    db = load(records, ["url", "status", "user", "value", "amount", "ts"])

    def same(table, columns, query):
        want = sorted((tuple(rounded(v) for v in row) for row in db.execute(query)), key=str)
        got = sorted((tuple(rounded(row[c]) for c in columns) for row in platform.scan(table)), key=str)
        assert got == want, table

    same("page_views", ["url", "views"], "SELECT url, count(*) FROM e WHERE status = 200 GROUP BY url")
    same("high_value", ["user", "amount", "message"],
         "SELECT user, amount, 'amount over 10000' FROM e WHERE amount > 10000")
    same("hourly", ["window_start", "n", "total", "mean", "first_user", "most", "present", "users", "some"],
         "SELECT strftime('%Y-%m-%dT%H:%M:%SZ', ts / 3600000 * 3600, 'unixepoch'), count(*), sum(value), avg(value),"
         " min(user), max(amount), count(value), count(DISTINCT user), count(*) FILTER (WHERE value > 0 OR status IN"
         " (404, 500)) FROM e GROUP BY ts / 3600000")
    same("by_user", ["user", "class", "odd", "n", "least"],
         "SELECT user, CASE WHEN value < 0 THEN 'low' WHEN value IS NULL THEN 'none' ELSE 'high' END AS class,"
         " coalesce(sum(value), 0) * 2 + 1, count(*), min(value) FROM e WHERE instr(substr(url, 2), 'o') > 0"
         " OR status BETWEEN 400 AND 499 GROUP BY 1, 2 HAVING count(*) > 1")


def test_features_equal_sqlite(platform, topic):
    """Scenario 1 by sqlite's own GROUP BY (no late events: disorder stays inside the watermark's bound)."""
    platform.topic(topic)
    lines = support.events_lines(8000, users=300, step_us=200_000)
    platform.run("produce", topic, "--key", "user_id", stdin="\n".join(lines) + "\n")
    platform.deploy("features", features_sql(topic).replace("WITH (retain = '1 h')", ""), "--wait")
    db = load(platform.cat(topic), ["user_id", "event_type", "product_id", "amount", "event_time"])
    want = {(u, support.rfc3339(w)): (c, v, rounded(t), d, support.rfc3339(m)) for u, w, c, v, t, d, m in db.execute(
        "SELECT user_id, event_time / 300000 * 300000 + 300000, count(*) FILTER (WHERE event_type = 'click'),"
        " count(*) FILTER (WHERE event_type = 'view'), sum(amount) FILTER (WHERE event_type = 'purchase'),"
        " count(DISTINCT product_id), max(event_time) FROM e GROUP BY 1, 2")}
    got = {(r["user_id"], r["window_end"]): (r["clicks"], r["views"], rounded(r["total_amount"]),
                                             r["distinct_products"], r["last_update"])
           for r in platform.scan("user_features")}
    assert got == want


def test_json_of_scan_is_one_object_a_line(embedded, topic):
    embedded.topic(topic, 1)
    embedded.produce(topic, [{"k": 'quote " \\ \u0001 ü 日', "v": 9007199254740993}])
    embedded.deploy("t", f"CREATE TABLE e (k text, v bigint) WITH (topic='{topic}');"
                         "CREATE MATERIALIZED VIEW t AS SELECT k, sum(v) AS v FROM e GROUP BY k;", "--wait")
    out = embedded.run("scan", "t", "-o", "json").stdout
    assert json.loads(out) == {"k": 'quote " \\ \u0001 ü 日', "v": 9007199254740993}
