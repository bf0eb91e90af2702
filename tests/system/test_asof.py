"""Joins by time: orders at the price that was valid when they were made, feeding sums; two topics made one by rekey."""

import sqlite3
import time

import support
from support import eventually, rfc3339, seed_for

BASE = 1_700_000_000_000

SQL = """
CREATE TABLE trade (sku text, price numeric(10,2), valid_from timestamptz, quantity bigint, ts timestamptz)
  WITH (topic = '%s', key = 'sku');
CREATE VIEW prices AS SELECT sku, price, valid_from FROM trade WHERE record_header('kappa-from') = '%s';
CREATE VIEW orders AS SELECT sku, quantity, ts FROM trade WHERE record_header('kappa-from') = '%s';
CREATE MATERIALIZED VIEW revenue AS
  SELECT o.sku, count(*) AS orders, count(p.price) AS priced, sum(o.quantity * p.price) AS total
  FROM orders o LEFT JOIN prices p ON p.sku = o.sku AND p.valid_from <= o.ts GROUP BY o.sku;
"""

ORACLE = """
SELECT o.sku, count(*), count(p.cents), sum(o.quantity * p.cents)
FROM e o LEFT JOIN e p ON p.id = (SELECT id FROM e i WHERE i.origin = 'prices' AND i.sku = o.sku
    AND i.partition = o.partition AND i.offset < o.offset AND i.valid_from <= o.ts
    ORDER BY i.valid_from DESC, i.offset DESC LIMIT 1)
WHERE o.origin = 'orders' GROUP BY 1 ORDER BY 1
"""


def expected(platform, out, topic):
    """Sums in cents, from the merged topic as it lies there: by time, and what the newest price would give."""
    db = sqlite3.connect(":memory:")
    columns = "partition, offset, origin, sku, cents, valid_from, quantity, ts"
    db.execute(f"CREATE TABLE e (id INTEGER PRIMARY KEY, {columns})")
    for r in platform.cat(out):
        origin = dict(map(tuple, r["headers"]))["kappa-from"][len(topic) + 1:]
        v = r["value"]
        cents = round(float(v["price"]) * 100) if "price" in v else None
        db.execute(f"INSERT INTO e ({columns}) VALUES (?,?,?,?,?,?,?,?)",
                   (r["partition"], r["offset"], origin, v["sku"], cents, v.get("valid_from"), v.get("quantity"),
                    v.get("ts")))
    db.execute("CREATE INDEX i ON e (sku, origin, partition)")
    newest = ORACLE.replace("AND i.valid_from <= o.ts", "").replace("i.valid_from DESC, ", "")
    return db.execute(ORACLE).fetchall(), db.execute(newest).fetchall()


def actual(platform):
    rows = platform.scan("revenue")
    return sorted((r["sku"], r["orders"], r["priced"], None if r["total"] is None else round(float(r["total"]) * 100))
                  for r in rows)


def test_orders_at_the_price_of_their_time(platform, topic):
    """Prices announced early, late and twice, orders that come late: what is joined live is what a replay joins."""
    rng, _ = seed_for("test_asof_orders")
    prices, orders, out = topic + "-prices", topic + "-orders", topic + "-trade"
    platform.topic(prices, 2)
    platform.topic(orders, 3)
    clock = [BASE]

    def batch(count):
        for name, n in ((prices, count // 8), (orders, count)):
            rows = []
            for _ in range(n):
                clock[0] += rng.randrange(200)
                # Whole seconds: as texts they are ordered as times.
                at = (clock[0] + rng.randrange(-20_000, 5_000 if name == prices else 1)) // 1000 * 1000
                row = {"sku": f"s{rng.randrange(30)}"}
                if name == prices:
                    row |= {"price": f"{rng.randrange(1, 10_000) / 100:.2f}", "valid_from": rfc3339(at)}
                else:
                    row |= {"quantity": rng.randrange(1, 9), "ts": rfc3339(at)}
                rows.append({"value": row, "time": rfc3339(clock[0])})
            platform.produce(name, rows, "-J")

    batch(800)
    platform.run("rekey", prices, orders, "--key", "sku", "--into", out, "--partitions", 3, "--wait")
    platform.deploy("sales", SQL % (out, prices, orders), "--wait")
    for _ in range(5):
        batch(160)
        time.sleep(0.1)
    eventually(lambda: len(platform.cat(out)) == 1600 + 200, 30, "all of them are merged")
    support.applied_everything(platform, "sales", 1, out)
    want, newest = expected(platform, out, topic)
    assert len(want) == 30 and want != newest
    assert actual(platform) == want
    platform.run("replay", "sales")
    platform.wait("sales", 2)
    assert actual(platform) == want
    receipt = platform.json("history", "sales")["receipts"][0]
    assert receipt["old_digest"] == receipt["new_digest"]


def test_what_is_not_kept_is_said(embedded, topic):
    """history='1 h': a price that another one had replaced long ago is gone; who asks for its time is dead."""
    embedded.topic(topic, 1)
    definition = """
    CREATE TABLE trade (sku text, price bigint, valid_from timestamptz, quantity bigint, ts timestamptz)
      WITH (topic = '%s', event_time = 'record_timestamp()', history = '1 h');
    CREATE VIEW prices AS SELECT sku, price, valid_from FROM trade WHERE price IS NOT NULL;
    CREATE VIEW orders AS SELECT sku, quantity, ts FROM trade WHERE quantity IS NOT NULL;
    CREATE MATERIALIZED VIEW paid AS SELECT o.quantity, p.price
      FROM orders o JOIN prices p ON p.sku = o.sku AND o.ts >= p.valid_from;
    """ % topic
    embedded.deploy("paid", definition, "--wait")
    minute = 60_000
    records = [{"value": {"sku": "a", "price": 100 + m, "valid_from": rfc3339(BASE + m * minute)},
                "time": rfc3339(BASE + m * minute)} for m in range(0, 300, 30)]
    late = BASE + 271 * minute
    for number, m in enumerate((269, 215, 211, 209, 100, -1)):
        records.append({"value": {"sku": "a", "quantity": number, "ts": rfc3339(BASE + m * minute)},
                        "time": rfc3339(late)})
    embedded.produce(topic, records, "-J")
    support.applied_everything(embedded, "paid", 1, topic)
    assert sorted((r["quantity"], r["price"]) for r in embedded.scan("paid")) == [(0, 340), (1, 310), (2, 310)]
    dead = embedded.json("dead", "paid", 1)["dead"]
    assert len(dead) == 3 and all("no longer kept" in d["reason"] and "history" in d["reason"] for d in dead)
    assert "versions that were replaced go 1 hour later" in embedded.run("explain", "-", stdin=definition).stdout
