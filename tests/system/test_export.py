"""kappa export: for each label the rows as they were at its time, never later.

Oracle: a loop over the records of the topic, for each label anew: per partition the prefix that ends in front of the
first record that is later than the label, and of these what the definition says. Random disorder, lateness, labels at
the very times of events, before the first and behind the last one; keys that are unknown or null.
"""

import csv
import json
import math
import os
import random
import signal
import subprocess
import time

import pytest

import support

T0 = 1_760_000_000_000
BOUND = 5_000
LATENESS = 20_000
WINDOW = 60_000
SIZE, SLIDE = 120_000, 30_000
GAP = 15_000
TTL = 90_000
RETAIN = 30_000

DEFINITION = """CREATE TABLE %(name)s_ev (user_id text, product_id bigint, amount double precision, at timestamptz)
WITH (topic = '%(topic)s', event_time = 'at', watermark = '5 s', lateness = '20 s', key = 'user_id',
      timestamp_unit = 'ms');
CREATE MATERIALIZED VIEW %(name)s_minutes WITH (retain = '30 s') AS
SELECT user_id, window_start, window_end, count(*) AS n, sum(amount) AS total, last(product_id) AS newest
FROM tumble(%(name)s_ev, at, interval '1 minute') GROUP BY user_id, window_start, window_end;
CREATE MATERIALIZED VIEW %(name)s_hops AS
SELECT user_id, window_end, count(*) AS n, sum(amount) AS total, count(DISTINCT product_id) AS products
FROM hop(%(name)s_ev, at, interval '30 seconds', interval '2 minutes') GROUP BY user_id, window_end;
CREATE MATERIALIZED VIEW %(name)s_sessions AS
SELECT user_id, window_start, window_end, count(*) AS n
FROM session(%(name)s_ev, at, interval '15 seconds') GROUP BY user_id, window_start, window_end;
CREATE MATERIALIZED VIEW %(name)s_totals AS
SELECT user_id, count(*) AS n, sum(amount) AS total, max(at) AS newest_at FROM %(name)s_ev GROUP BY user_id;
CREATE MATERIALIZED VIEW %(name)s_recent WITH (ttl = '90 s') AS
SELECT user_id, count(*) AS n, avg(amount) AS mean FROM %(name)s_ev GROUP BY user_id;
CREATE MATERIALIZED VIEW %(name)s_products AS
SELECT product_id, count(*) AS n, min(amount) AS least FROM %(name)s_ev GROUP BY product_id HAVING count(*) > 2;
"""
TABLES = ["minutes", "hops", "sessions", "totals", "recent", "products"]


# ---- Data

def events_make(rng, count, users=12, bad=0.02):
    """Lines of a stream with disorder: mostly within the bound, sometimes far behind it, with pauses between."""
    lines = []
    now = T0
    for _ in range(count):
        now += rng.choice([0, 200, 900, 900, 3000]) + (rng.random() < 0.01) * rng.randrange(200_000)
        at = now - rng.choice([0, 0, 0, rng.randrange(BOUND), rng.randrange(100_000)])
        if rng.random() < bad:
            lines.append(rng.choice(['{"user_id":"u1","at":"?"}', '{"user_id":"u1","at":null}', '{"user_id":"u2"}']))
            continue
        lines.append(json.dumps({"user_id": f"u{rng.randrange(users)}", "product_id": rng.randrange(8),
                                 "amount": rng.choice([None, rng.randrange(1000) / 8]), "at": at}))
    return lines


def labels_make(rng, lines, count):
    """[{"user_id", "product_id", "note", "at"}]: texts as they stand in the file."""
    times = [json.loads(line)["at"] for line in lines if '"amount"' in line]
    labels = []
    for i in range(count):
        at = rng.choice([rng.choice(times), rng.choice(times) - 1, rng.randrange(T0 - 5000, max(times) + 200_000)])
        labels.append({"user_id": rng.choice(["", "nobody"] + [f"u{n}" for n in range(12)] * 2),
                       "note": rng.choice(["", "a,b", 'say "x"', "two\nlines", f"n{i}"]),
                       "product_id": rng.choice(["", "77"] + [str(n) for n in range(8)]),
                       "at": str(at) if rng.random() < 0.5 else support.rfc3339(at), "ms": str(at)})
    return labels


def labels_write(path, labels):
    with open(path, "w", newline="") as out:
        writer = csv.DictWriter(out, ["note", "user_id", "at", "product_id", "ms"])
        writer.writeheader()
        writer.writerows(labels)
    return str(path)


def rows_read(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


# ---- The oracle

def partitions_of(platform, topic):
    parts = {}
    for record in platform.cat(topic):
        value = record["value"]
        good = isinstance(value.get("at"), int)
        parts.setdefault(record["partition"], []).append(value if good else None)
    return parts


def seen_by(records, t):
    """[(event, largest time so far)] in front of the first one that is later."""
    found = []
    largest = None
    for event in records:
        if event is None:
            continue
        if event["at"] > t:
            break
        largest = event["at"] if largest is None else max(largest, event["at"])
        found.append((event, largest))
    return found


def total_of(events):
    amounts = [e["amount"] for e in events if e["amount"] is not None]
    return math.fsum(amounts) if amounts else None


def minutes_model(seen, user, t):
    end = t // WINDOW * WINDOW + WINDOW
    rows = [e for e, largest in seen if e["at"] // WINDOW * WINDOW + WINDOW == end
            and end + LATENESS > largest - BOUND and e["user_id"] == user]
    if not rows:
        return {}
    newest = max(enumerate(rows), key=lambda pair: (pair[1]["at"], pair[0]))[1]
    return {"window_start": end - WINDOW, "window_end": end, "n": len(rows), "total": total_of(rows),
            "newest": newest["product_id"]}


def hops_model(seen, user, t):
    end = (t - SIZE) // SLIDE * SLIDE + SIZE + SLIDE
    rows = [e for e, largest in seen if end - SIZE <= e["at"] < end and end + LATENESS > largest - BOUND
            and e["user_id"] == user]
    if not rows:
        return {}
    return {"window_end": end, "n": len(rows), "total": total_of(rows), "products": len({e["product_id"] for e in rows})}


def sessions_model(seen, user, t):
    sessions = []
    for event, largest in seen:
        if event["user_id"] != user:
            continue
        at, limit = event["at"], largest - BOUND - LATENESS
        near = [s for s in sessions if s["end"] > limit and s["start"] - GAP < at < s["end"]]
        if not near and at + GAP <= limit:
            continue
        made = {"start": min([at] + [s["start"] for s in near]), "end": max([at + GAP] + [s["end"] for s in near]),
                "n": 1 + sum(s["n"] for s in near)}
        sessions = [s for s in sessions if s not in near] + [made]
    held = [s for s in sessions if s["start"] <= t < s["end"]]
    assert len(held) <= 1
    return {"window_start": held[0]["start"], "window_end": held[0]["end"], "n": held[0]["n"]} if held else {}


def totals_model(seen, user, _t):
    rows = [e for e, _ in seen if e["user_id"] == user]
    return {"n": len(rows), "total": total_of(rows), "newest_at": max(e["at"] for e in rows)} if rows else {}


def recent_model(seen, user, _t):
    rows, newest = [], None
    for event, largest in seen:
        if event["user_id"] == user:
            limit = largest - BOUND - TTL
            if newest is not None and newest <= limit:
                rows, newest = [], None
            if newest is None and event["at"] <= limit:
                continue
            rows.append(event)
            newest = event["at"] if newest is None else max(newest, event["at"])
    if not rows or newest <= seen[-1][1] - BOUND - TTL:
        return {}
    amounts = [e["amount"] for e in rows if e["amount"] is not None]
    return {"n": len(rows), "mean": math.fsum(amounts) / len(amounts) if amounts else None}


def products_model(parts, product, t):
    rows = [e for records in parts.values() for e, _ in seen_by(records, t) if e["product_id"] == product]
    amounts = [e["amount"] for e in rows if e["amount"] is not None]
    return {"n": len(rows), "least": min(amounts) if amounts else None} if len(rows) > 2 else {}


MODELS = {"minutes": minutes_model, "hops": hops_model, "sessions": sessions_model, "totals": totals_model,
          "recent": recent_model}


def cell_read(name, text):
    if text == "":
        return None
    if name in ("window_start", "window_end", "newest_at"):
        return support.ms_of(text)
    return float(text)


def expected(parts, home, label, table):
    """home: the partition of a user's records."""
    t = int(label["ms"])
    if table == "products":
        return products_model(parts, int(label["product_id"]), t) if label["product_id"] else {}
    records = parts.get(home.get(label["user_id"]), [])
    return MODELS[table](seen_by(records, t), label["user_id"], t)


def assert_right(parts, rows, labels, name):
    home = {e["user_id"]: p for p, records in parts.items() for e in records if e is not None}
    assert len(rows) == len(labels)
    there = {table: 0 for table in TABLES}
    for row, label in zip(rows, labels):
        for column in ("note", "user_id", "at", "product_id", "ms"):
            assert row[column] == label[column]
        for table in TABLES:
            want = expected(parts, home, label, table)
            there[table] += bool(want)
            for column in COLUMNS[table]:
                header = column if column in row else f"{name}_{table}__{column}"
                got = cell_read(column, row[header])
                assert got == want.get(column), (label, table, column, got, want)
    return there


COLUMNS = {"minutes": ["window_start", "window_end", "n", "total", "newest"],
           "hops": ["window_end", "n", "total", "products"],
           "sessions": ["window_start", "window_end", "n"],
           "totals": ["n", "total", "newest_at"],
           "recent": ["n", "mean"],
           "products": ["n", "least"]}


# ---- The tests

def prepare(platform, topic, lines, name="x", partitions=3):
    platform.topic(topic, partitions)
    platform.produce(topic, lines, "--key", "user_id")
    platform.deploy(name, DEFINITION % {"topic": topic, "name": name})
    platform.wait(name, 1)
    support.applied_everything(platform, name, 1, topic, "committed")


def export(platform, name, labels, out, *args, tables=TABLES, **kwargs):
    return platform.run("export", *[f"{name}_{t}" for t in tables], "--labels", labels, "--time-column", "at", "--out",
                        str(out), *args, **kwargs)


def test_equals_the_naive_model(platform, topic, tmp_path):
    rng, _ = support.seed_for("test_equals_the_naive_model")
    lines = events_make(rng, 1500)
    labels = labels_make(rng, lines, 250)
    prepare(platform, topic, lines)
    path = labels_write(tmp_path / "labels.csv", labels)
    export(platform, "x", path, tmp_path / "a.csv", "--shards", "1")
    there = assert_right(partitions_of(platform, topic), rows_read(tmp_path / "a.csv"), labels, "x")
    print("labels with a row:", there)
    # The same bytes on other threads, with commits and evictions after every batch.
    export(platform, "x", path, tmp_path / "b.csv", "--shards", "3", "--cache", "2000B")
    for tail in ("", ".json"):
        assert (tmp_path / f"a.csv{tail}").read_bytes() == (tmp_path / f"b.csv{tail}").read_bytes()
    about = json.loads((tmp_path / "a.csv.json").read_text())
    assert {t["table"][2:]: t["rows"] for t in about["tables"]} == there
    one = about["processors"][0]
    digest = platform.json("verify", "x", 1)
    assert (one["digest"], one["cut"]) == (digest["digest"], digest["cut"])
    assert one["definition_hash"] == platform.version("x", 1)["hash"]
    assert os.listdir(os.path.join(platform.data, "exports")) == ["LOCK"]


def test_nothing_later_can_appear(embedded, topic, tmp_path):
    """All events later than some time are changed, and more come behind: labels up to that time have the same rows."""
    rng, _ = support.seed_for("test_nothing_later_can_appear")
    lines = events_make(rng, 1200)
    labels = labels_make(rng, lines, 200)
    limit = sorted(int(label["ms"]) for label in labels)[120]
    path = labels_write(tmp_path / "labels.csv", [label for label in labels if int(label["ms"]) <= limit])
    changed = []
    for line in lines:
        event = json.loads(line) if '"amount"' in line else None
        if event is not None and event["at"] > limit:
            event.update(amount=1e6, product_id=rng.randrange(8), at=limit + 1 + rng.randrange(10 ** rng.randrange(1, 8)))
            line = json.dumps(event)
        changed.append(line)
    for _ in range(400):
        changed.append(json.dumps({"user_id": f"u{rng.randrange(12)}", "product_id": rng.randrange(8), "amount": -1,
                                   "at": limit + 1 + rng.randrange(500_000)}))
    prepare(embedded, topic, lines)
    prepare(embedded, topic + "-b", changed, "y")
    export(embedded, "x", path, tmp_path / "x.csv")
    export(embedded, "y", path, tmp_path / "y.csv")
    x = (tmp_path / "x.csv").read_text().replace("x_", "")
    y = (tmp_path / "y.csv").read_text().replace("y_", "")
    assert x == y and x.count("\n") >= 120
