"""The scenarios of examples/ end to end: events in, tables read back and compared with an independent oracle over
the same records, live and as a replay with the same digest, on both logs.

What each scenario computes is said again here in sqlite3 or in a plain loop, never by asking Kappa.
"""

import bisect
import collections
import importlib.util
import json
import math
import os
import re
import sqlite3
import statistics
import subprocess
import sys
from decimal import Decimal

import pytest

import support
from nexmark_oracle import time_ms

EXAMPLES = os.path.join(support.ROOT, "examples")
specification = importlib.util.spec_from_file_location("generate", os.path.join(EXAMPLES, "generate.py"))
generate = importlib.util.module_from_spec(specification)
specification.loader.exec_module(generate)


class Scenario:
    """One example with topics of its own names."""

    def __init__(self, platform, prefix, seed):
        self.platform = platform
        self.prefix = prefix
        self.seed = seed
        self.rest = []  # what is produced while the version is live: (topic, lines, options)
        self.processor = None
        self.topics = []

    def topic(self, name, lines, *args, partitions=3):
        """Makes the topic; 3 in 5 lines go in at once, the others by go_live."""
        own = f"{self.prefix}-{name}"
        self.platform.topic(own, partitions)
        part = len(lines) * 3 // 5
        self.platform.produce(own, lines[:part], *args)
        self.rest.append((own, lines[part:], args))
        self.topics.append(name)

    def output(self, name):
        """A topic that the definition writes to; made at its deploy."""
        self.topics.append(name)

    def sent(self, name, columns, count):
        """What is in that topic, when `count` records are; and no more come."""
        support.eventually(lambda: len(self.records(name)) >= count, 30, f"{count} messages in {name}")
        records = self.records(name)
        assert len(records) == count
        return sorted(tuple(record["value"][column] for column in columns.split()) for record in records)

    def lines(self, name, count):
        return generate.lines(name, count, self.seed)

    def definition(self, path):
        with open(os.path.join(EXAMPLES, path)) as file:
            text = file.read()
        for name in self.topics:
            text, found = re.subn(rf"(topic\s*=\s*)'{name}'", rf"\1'{self.prefix}-{name}'", text)
            assert found, f"{path} reads {name}"
        return text

    def go_live(self, path):
        self.processor = os.path.basename(path).split(".")[0]
        self.platform.deploy(self.processor, self.definition(path), "--wait")
        for topic, lines, args in self.rest:
            self.platform.produce(topic, lines, *args)
        self.caught_up(1)

    def caught_up(self, version):
        for topic, _, _ in self.rest:
            support.applied_everything(self.platform, self.processor, version, topic)

    def run(self, path, check):
        """Live, then replayed in another shape (more threads, rows evicted): check() must hold twice, and the
        digests must be the same."""
        self.go_live(path)
        check()
        self.platform.run("replay", self.processor, "--shards", 3, "--cache-bytes", 400_000)
        self.platform.wait(self.processor, 2)
        receipt = self.platform.json("history", self.processor)["receipts"][0]
        assert receipt["old_digest"] == receipt["new_digest"]
        check()

    def records(self, name):
        return self.platform.cat(f"{self.prefix}-{name}")

    def database(self, name, columns, good=lambda value: isinstance(value, dict)):
        """The records as a table e of sqlite3, with partition and offset."""
        db = sqlite3.connect(":memory:")
        db.execute(f"CREATE TABLE e (partition, offset, {', '.join(columns)})")
        db.executemany(f"INSERT INTO e VALUES (?, ?{', ?' * len(columns)})",
                       [(r["partition"], r["offset"], *map(r["value"].get, columns))
                        for r in self.records(name) if good(r["value"])])
        return db

    def same(self, table, kinds, want):
        same_rows(table, kinds, self.platform.scan(table), want)

    def same_query(self, query, kinds, want):
        """The same of a query at read time."""
        same_rows(query, kinds, self.platform.query(query), want)


def same_rows(table, kinds, rows, want):
    """kinds: "column column:t ...", the first ones unique; t is a time, ms in `want`; doubles are equal to 9 digits."""
    columns = [(c.partition(":")[0], c.partition(":")[2]) for c in kinds.split()]
    got = sorted((tuple(time_ms(row[c]) if kind == "t" and row[c] is not None else row[c] for c, kind in columns)
                  for row in rows), key=str)
    want = sorted((tuple(row) for row in want), key=str)
    assert len(got) == len(want) and len(want) > 0, (table, len(got), len(want))
    wrong = [(g, w) for g, w in zip(got, want) if not all(map(alike, g, w))]
    assert not wrong, f"{table}: {len(wrong)} of {len(want)} rows differ, first {wrong[0]}"


def alike(a, b):
    if isinstance(b, float) and a is not None:  # numerics of read-time SQL come as texts
        return math.isclose(float(a), b, rel_tol=1e-9, abs_tol=1e-9)
    return a == b


@pytest.fixture
def scenario(platform, topic):
    _, seed = support.seed_for("scenario")
    return Scenario(platform, topic, seed)


# ---- 1, 13, 14


def test_user_features(scenario):
    scenario.topic("user-events", support.events_lines(6000, users=200, step_us=100_000, seed=scenario.seed),
                   "--key", "user_id")

    def check():
        model, dead, late = support.features_model(scenario.records("user-events"), [1 << 60] * 3, right=True)
        version = scenario.platform.status("v2")["versions"][-1]
        assert (version["dead"], version["late"]) == (dead, late)
        support.assert_features_equal(scenario.platform.scan("user_features"), model)

    scenario.run("user-features/v2.sql", check)


def run_script(platform, *words):
    """A script of the examples, with Kappa's command line in its PATH; its output."""
    path = os.path.dirname(support.BIN) + os.pathsep + os.environ["PATH"]
    done = subprocess.run([sys.executable, *words], cwd=EXAMPLES, env={**platform.env, "PATH": path},
                          capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def test_replay_fix(request, platform):
    """Scenario 13 as the demo tells it; it checks itself and starts its own platform on the same log."""
    where = ["--kafka", platform.kafka] if platform.kafka else []
    out = run_script(platform, "replay-fix/demo.py", "--history", "30000", "--rate", "1000", "--users", "300", *where)
    assert "All of it held" in out


def test_lambda_check(scenario):
    """Scenario 14: a batch over the archive and the live table, at the same cut, are equal."""
    scenario.topic("user-events", support.events_lines(6000, users=200, step_us=100_000, seed=scenario.seed),
                   "--key", "user_id")
    scenario.go_live("user-features/v2.sql")
    topic = f"{scenario.prefix}-user-events"
    producer = support.Producer(scenario.platform, topic, rate=2000, users=200, first=6000, step_us=100_000)
    try:
        out = run_script(scenario.platform, "lambda-check/check.py", topic)
    finally:
        producer.stop()
    assert "equal" in out
    scenario.caught_up(1)
    assert "equal" in run_script(scenario.platform, "lambda-check/check.py", topic)


# ---- 4, 7, 8


def test_page_views(scenario):
    """Tab-separated lines keyed by user; some have a field too few, some another key."""
    envelopes = []
    for n, line in enumerate(scenario.lines("page_views", 4000)):
        user = line.split("\t")[1]
        line = line.rpartition("\t")[0] if n % 97 == 0 else line
        envelopes.append(json.dumps({"key": "nobody" if n % 101 == 0 else user, "value": line}))
    scenario.topic("page-views", envelopes, "-J")

    def check():
        db = sqlite3.connect(":memory:")
        db.execute("CREATE TABLE e (ts INTEGER, user, url, status INTEGER)")
        dead = 0
        for record in scenario.records("page-views"):
            fields = record["value"].split("\t")
            if len(fields) == 4 and fields[1] == record["key"]:
                db.execute("INSERT INTO e VALUES (?, ?, ?, ?)", fields)
            else:
                dead += 1
        assert dead > 50 and scenario.platform.status("page_views")["versions"][-1]["dead"] == dead
        scenario.same("page_views", "url views users last_view:t", db.execute(
            "SELECT url, count(*), count(DISTINCT user), max(ts) FROM e WHERE status = 200 GROUP BY url"))

    scenario.run("page-views/page_views.sql", check)


def test_hourly_value(scenario):
    scenario.topic("readings", scenario.lines("readings", 3000), partitions=1)

    def check():
        db = scenario.database("readings", ["value", "ts"])
        scenario.same("hourly_value", "window_start:t readings total mean", db.execute(
            "SELECT ts / 3600000 * 3600000, count(*), sum(value), avg(value) FROM e GROUP BY 1"))

    scenario.run("hourly-value/hourly_value.sql", check)


def good_reading(value):
    return isinstance(value, dict) and isinstance(value.get("temperature"), float) and "timestamp" in value


def test_sensor_alerts(scenario):
    scenario.topic("sensor_readings", scenario.lines("sensor_readings", 3000))

    def check():
        db = scenario.database("sensor_readings", ["sensor_id", "temperature", "timestamp"], good_reading)
        scenario.same("sensor_minutes", "sensor_id window_start:t readings mean most", db.execute(
            "SELECT sensor_id, timestamp / 60000 * 60000, count(*), avg(temperature), max(temperature) FROM e"
            " GROUP BY 1, 2"))
        scenario.same("sensor_alerts", "sensor_id timestamp:t temperature message", db.execute(
            "SELECT sensor_id, timestamp, temperature, 'sensor ' || sensor_id || ' at ' || iif("
            "temperature = CAST(temperature AS INT), CAST(temperature AS INT), temperature) FROM e"
            " WHERE temperature > 28"))
        version = scenario.platform.status("sensor_alerts")["serving"]
        bad = {(r["partition"], r["offset"]) for r in scenario.records("sensor_readings")
               if not good_reading(r["value"])}
        dead = scenario.platform.json("dead", "sensor_alerts", version, "--limit", 1000)["dead"]
        assert {(d["partition"], d["offset"]) for d in dead} == bad and len(bad) > 20
        assert all(d["reason"] for d in dead)

    scenario.run("sensor-alerts/sensor_alerts.sql", check)

# ---- 5, 6, 9


def test_daily_sales(scenario):
    scenario.topic("sales", scenario.lines("sales", 3000))

    def check():
        db = scenario.database("sales", ["product", "quantity", "price", "ts", "region", "store", "campaign"])
        for column in ("product", "region", "store", "campaign"):
            got = {(row[column], time_ms(row["day"])): (Decimal(str(row["revenue"])), row["transactions"])
                   for row in scenario.platform.scan(f"sales_by_{column}")}
            # In whole cents: sqlite3 has no decimals.
            want = {(key, day): (Decimal(revenue) / 100, n) for key, day, revenue, n in db.execute(
                f"SELECT {column}, ts / 86400000 * 86400000, sum(quantity * CAST(round(price * 100) AS INT)), count(*)"
                f" FROM e WHERE {column} IS NOT NULL GROUP BY 1, 2")}
            assert got == want and len(want) > 5, column

    scenario.run("daily-sales/daily_sales.sql", check)


# ---- 2


def kilometres(a, b):
    """Haversine of two rows, by the C library."""
    lat1, lon1, lat2, lon2 = map(math.radians, (a["lat"], a["lon"], b["lat"], b["lon"]))
    h = math.sin((lat2 - lat1) / 2) ** 2 + math.cos(lat1) * math.cos(lat2) * math.sin((lon2 - lon1) / 2) ** 2
    return 2 * 6371.0088 * math.asin(math.sqrt(h))


def fraud_model(records):
    """Rules over each user's payments so far, in the order of (event time, offset)."""
    seen, found = collections.defaultdict(list), []
    for record in sorted(records, key=lambda r: (r["partition"], r["offset"])):
        row = record["value"]
        known = seen[row["user_id"]]
        place = bisect.bisect_right([r["ts"] for r in known], row["ts"])
        known.insert(place, row)
        before, upto = known[:place], known[:place + 1]
        minute = [r for r in upto if r["ts"] >= row["ts"] - 60_000]
        hour = [r for r in upto if r["ts"] >= row["ts"] - 3_600_000]
        mean = math.fsum(r["amount"] for r in before) / len(before) if before else None
        total = math.fsum(r["amount"] for r in hour)
        km = kilometres(before[-1], row) if before else None
        rules = (len(minute) >= 6, bool(before) and km > 5000 and row["ts"] < before[-1]["ts"] + 3_600_000,
                 bool(before) and row["amount"] > 10 * mean, len(hour) > 10 and total > 50_000)
        if any(rules):
            found.append((row["user_id"], row["ts"], row["amount"], len(minute), km, mean, len(hour), total, *rules))
    return found


def test_fraud(scenario):
    lines = scenario.lines("transactions", 3000)
    # Much money in little time is rare in these lines: some seeds have none. So one user spends it here.
    lines[1500:1512] = [json.dumps({**json.loads(line), "user_id": "spender", "amount": 5000.25})
                        for line in lines[1500:1512]]
    scenario.topic("transactions", lines, "--key", "user_id")
    scenario.output("fraud-alerts")
    rules = ("rapid", "jump", "unusual", "volume")

    def check():
        want = fraud_model(scenario.records("transactions"))
        assert all(any(row[rule] for row in want) for rule in (8, 9, 10, 11)), "each rule finds something"
        scenario.same("fraud", "user_id ts:t amount minute_count km mean_before hour_count hour_total rapid jump"
                               " unusual volume", want)
        alerts = scenario.sent("fraud-alerts", "user_id ts amount message", len(want))
        assert alerts == sorted((row[0], support.rfc3339(row[1]), row[2],
                                 ", ".join(rule for rule, found in zip(rules, row[8:]) if found)) for row in want)

    scenario.run("fraud/fraud.sql", check)


# ---- 3


def float_text(value):
    return repr(value).removesuffix(".0")


def test_high_value(scenario):
    scenario.topic("transactions", scenario.lines("transactions", 3000), "--key", "user_id")
    scenario.output("fraud-alerts")

    def check():
        want = sorted((r["value"]["user_id"], r["value"]["amount"], support.rfc3339(r["value"]["ts"]),
                       f"transaction of {float_text(r['value']['amount'])} by {r['value']['user_id']}")
                      for r in scenario.records("transactions") if r["value"]["amount"] > 10000)
        assert scenario.sent("fraud-alerts", "user_id amount ts message", len(want)) == want and len(want) > 0
        assert all(r["key"] == r["value"]["user_id"] for r in scenario.records("fraud-alerts"))

    scenario.run("high-value/high_value.sql", check)


def test_engagement(scenario):
    scenario.topic("clicks", scenario.lines("clicks", 2000), "--key", "user_id")
    users = [(key, row and json.loads(row)) for key, row in scenario.lines("users", 150)] + [("u0", None)]
    scenario.topic("users", [json.dumps({"key": key, "value": row}) for key, row in users], "--envelope")

    def check():
        db = scenario.database("clicks", ["user_id", "url", "dwell_ms"])
        profiles = {}
        for record in scenario.records("users"):
            profiles[record["key"]] = record["value"]
        present = [(p["user_id"], p["name"], p["segment"]) for p in profiles.values() if p is not None]
        assert 0 < len(present) < len(profiles) < 40, "some profiles are deleted, some users have none"
        db.execute("CREATE TABLE p (user_id, name, segment)")
        db.executemany("INSERT INTO p VALUES (?, ?, ?)", present)
        scenario.same("profiles", "user_id name segment", present)
        scenario.same_query("SELECT * FROM engagement", "user_id name segment clicks pages dwell_ms score", db.execute(
            "SELECT c.user_id, name, segment, clicks, pages, dwell, 0.3 * clicks + 0.5 * pages + 0.2 * dwell / 1000"
            " FROM (SELECT user_id, count(*) AS clicks, count(DISTINCT url) AS pages, avg(dwell_ms) AS dwell FROM e"
            " GROUP BY user_id) c LEFT JOIN p ON p.user_id = c.user_id"))

    scenario.run("engagement/engagement.sql", check)


def window_features(events):
    """(features by (user, window end), largest event time) of one partition's events; all that has begun, closed or not."""
    windows = collections.defaultdict(list)
    for e in events:
        windows[(e["user_id"], e["event_time"] // 300_000 * 300_000 + 300_000)].append(e)
    made = {}
    for key, rows in windows.items():
        amounts = [e["amount"] for e in rows if e["event_type"] == "purchase"]
        made[key] = (sum(e["event_type"] == "click" for e in rows), sum(e["event_type"] == "view" for e in rows),
                     sum(amounts) if amounts else None, len({e["product_id"] for e in rows}))
    return made, max(e["event_time"] for e in events)


def labelled(scenario):
    """For each label in the merged topic, what the newest feature row of its time before it is, as rows of training_set."""
    known, rows = collections.defaultdict(list), []
    for r in sorted(scenario.records("training"), key=lambda r: (r["partition"], r["offset"])):
        v = r["value"]
        if dict(map(tuple, r["headers"]))["kappa-from"] == scenario.prefix + "-labels":
            found = max((f for f in known[v["user_id"]] if f[0] <= v["label_time"]), default=(None,) * 5)
            rows.append((v["user_id"], v["label_time"], v["label"], *found))
        else:
            known[v["user_id"]].append((time_ms(v["valid_from"]), v["clicks"], v["views"], v["total_amount"],
                                        v["distinct_products"]))
    return rows


def test_training_set(scenario):
    """Each label has the features of its time, never later ones, and they are what the events of that window say."""
    p = scenario.platform
    scenario.topic("user-events", scenario.lines("user_events", 2500), "--key", "user_id", partitions=2)
    scenario.topic("labels", scenario.lines("labels", 300))
    scenario.topics = ["user-events", "user-features"]
    p.deploy("features", scenario.definition("training-set/features.sql"), "--wait")
    p.run("rekey", f"{scenario.prefix}-user-features", f"{scenario.prefix}-labels", "--key", "user_id", "--into",
          f"{scenario.prefix}-training", "--wait")
    scenario.topics = ["training"]
    text = scenario.definition("training-set/training.sql")
    for name in ("user-features", "labels"):
        text = text.replace(f"'{name}'", f"'{scenario.prefix}-{name}'")
    p.deploy("training", text, "--wait")
    for topic, lines, args in scenario.rest:
        p.produce(topic, lines, *args)
    features, closed = {}, set()
    for partition in (0, 1):
        made, newest = window_features([r["value"] for r in scenario.records("user-events")
                                        if r["partition"] == partition])
        features.update(made)
        closed |= {key for key in made if newest - 5000 >= key[1]}
    support.eventually(lambda: len(scenario.records("training")) == 300 + len(closed), 60, "all are merged")
    support.applied_everything(p, "training", 1, f"{scenario.prefix}-training")

    def check():
        rows = labelled(scenario)
        assert len(rows) == 300 and sum(row[3] is not None for row in rows) > 100
        for user, at, _, valid_from, *values in rows:
            assert valid_from is None or valid_from <= at and tuple(values) == features[(user, valid_from)]
        scenario.same("training_set", "user_id label_time:t label valid_from:t clicks views total_amount distinct_products",
                      rows)
        assert sorted(r["n"] for r in p.scan("by_label")) == sorted(
            collections.Counter(row[2] for row in rows).values())

    check()
    p.run("replay", "training", "--shards", 3, "--cache-bytes", 400_000)
    p.wait("training", 2)
    receipt = p.json("history", "training")["receipts"][0]
    assert receipt["old_digest"] == receipt["new_digest"]
    check()


class Deviation:
    """stddev() for sqlite3."""

    def __init__(self):
        self.values = []

    def step(self, value):
        if value is not None:
            self.values.append(value)

    def finalize(self):
        return statistics.stdev(self.values) if len(self.values) > 1 else None


HISTORY = """
WITH RECURSIVE k(k) AS (SELECT 1 UNION ALL SELECT k + 1 FROM k WHERE k < 90),
w AS (SELECT e.*, (ts / :day + k) * :day AS ends, k FROM e, k),
h AS (SELECT user_id, ends, count(*) FILTER (WHERE k <= 7) AS n7, count(*) FILTER (WHERE k <= 30) AS n30, count(*) AS n90,
             sum(amount) AS total, avg(amount) AS mean, max(amount) AS most, deviation(amount) AS deviation,
             count(DISTINCT merchant) AS merchants, count(DISTINCT category) AS categories,
             avg(ts / 3600000 % 24) AS mean_hour, count(*) FILTER (WHERE ts / :day % 7 IN (2, 3)) AS weekend,
             (ends - max(ts)) / 86400000.0 AS days
      FROM w GROUP BY user_id, ends)
SELECT *, percent_rank() OVER (PARTITION BY ends ORDER BY total) FROM h
"""


def test_user_history(scenario):
    scenario.topic("transactions", generate.lines("history", 800, scenario.seed), "--key", "user_id")

    def check():
        db = scenario.database("transactions", ["user_id", "amount", "merchant", "category", "product", "ts"])
        db.create_aggregate("deviation", 1, Deviation)
        scenario.same_query(
            "SELECT * FROM user_history", "user_id window_end:t transactions_7 transactions_30 transactions_90 total mean"
            " most deviation merchants categories mean_hour weekend days_since_last spend_percentile",
            db.execute(HISTORY, {"day": generate.DAY_MS}))
        scenario.same_query("SELECT * FROM product_popularity", "product sold place", db.execute(
            "SELECT product, count(*), rank() OVER (ORDER BY count(*) DESC) FROM e GROUP BY product"))

    scenario.run("user-history/user_history.sql", check)
