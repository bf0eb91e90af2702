"""kappa export: for each label the rows as they were at its time, never later.

Oracle: a loop over the records of the topic, for each label anew: per partition the prefix that ends in front of the
first record that is later than the label, and of these what the definition says. Random disorder, lateness, labels at
the very times of events, before the first and behind the last one; keys that are unknown or null.
"""

import contextlib
import csv
import itertools
import json
import math
import os
import random
import signal
import sqlite3
import subprocess
import time


import pytest

import support
from test_archive import ENV, Place, await_archived
from test_scenarios import Scenario

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
CREATE MATERIALIZED VIEW %(name)s_sold WITH (retain = '2 minutes') AS
SELECT product_id, window_end, count(*) AS n, sum(amount) AS total
FROM tumble(%(name)s_ev, at, interval '1 minute') GROUP BY product_id, window_end;
"""
TABLES = ["minutes", "hops", "sessions", "totals", "recent", "products", "sold"]
NEWEST = ["minutes", "sessions", "totals", "sold"]


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


def windows_of(seen, column, key, retain):
    """{end: events} of the windows of a key that one partition has."""
    windows = {}
    for event, largest in seen:
        end = event["at"] // WINDOW * WINDOW + WINDOW
        if event[column] == key and end + LATENESS > largest - BOUND:
            windows.setdefault(end, []).append(event)
    return {end: rows for end, rows in windows.items() if end + retain > seen[-1][1] - BOUND}


def minutes_model(seen, user, t, newest=False):
    windows = windows_of(seen, "user_id", user, RETAIN)
    end = max(windows, default=None) if newest else t // WINDOW * WINDOW + WINDOW
    if end not in windows:
        return {}
    rows = windows[end]
    last = max(enumerate(rows), key=lambda pair: (pair[1]["at"], pair[0]))[1]
    return {"window_start": end - WINDOW, "window_end": end, "n": len(rows), "total": total_of(rows),
            "newest": last["product_id"]}


def hops_model(seen, user, t):
    end = (t - SIZE) // SLIDE * SLIDE + SIZE + SLIDE
    rows = [e for e, largest in seen if end - SIZE <= e["at"] < end and end + LATENESS > largest - BOUND
            and e["user_id"] == user]
    if not rows:
        return {}
    return {"window_end": end, "n": len(rows), "total": total_of(rows), "products": len({e["product_id"] for e in rows})}


def sessions_model(seen, user, t, newest=False):
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
    if newest:
        held = sorted(sessions, key=lambda s: s["end"])[-1:]
    return {"window_start": held[0]["start"], "window_end": held[0]["end"], "n": held[0]["n"]} if held else {}


def totals_model(seen, user, _t, newest=False):
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


def sold_model(parts, product, t, newest=False):
    merged = {}
    for records in parts.values():
        for end, rows in windows_of(seen_by(records, t), "product_id", product, 2 * WINDOW).items():
            merged.setdefault(end, []).extend(rows)
    end = max(merged, default=None) if newest else t // WINDOW * WINDOW + WINDOW
    return {"window_end": end, "n": len(merged[end]), "total": total_of(merged[end])} if end in merged else {}


MODELS = {"minutes": minutes_model, "hops": hops_model, "sessions": sessions_model, "totals": totals_model,
          "recent": recent_model}


def cell_read(name, text):
    if text == "":
        return None
    if name in ("window_start", "window_end", "newest_at"):
        return support.ms_of(text)
    return float(text)


def expected(parts, home, label, table, newest):
    """home: the partition of a user's records."""
    t = int(label["ms"])
    if table in ("products", "sold"):
        if label["product_id"] == "":
            return {}
        product = int(label["product_id"])
        return products_model(parts, product, t) if table == "products" else sold_model(parts, product, t, newest)
    records = parts.get(home.get(label["user_id"]), [])
    more = {"newest": True} if newest else {}
    return MODELS[table](seen_by(records, t), label["user_id"], t, **more)


def assert_right(parts, rows, labels, name, tables=TABLES, newest=False):
    home = {e["user_id"]: p for p, records in parts.items() for e in records if e is not None}
    assert len(rows) == len(labels)
    there = {table: 0 for table in tables}
    for row, label in zip(rows, labels):
        for column in ("note", "user_id", "at", "product_id", "ms"):
            assert row[column] == label[column]
        for table in tables:
            want = expected(parts, home, label, table, newest)
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
           "products": ["n", "least"],
           "sold": ["window_end", "n", "total"]}


# ---- The tests

def prepare(platform, topic, lines, name="x", partitions=3):
    platform.topic(topic, partitions)
    platform.produce(topic, lines, "--key", "user_id")
    platform.deploy(name, DEFINITION % {"topic": topic, "name": name})
    platform.wait(name, 1)
    support.applied_everything(platform, name, 1, topic)


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
    # The newest window of the key instead of the one that holds the time.
    export(platform, "x", path, tmp_path / "c.csv", "--newest", "--cache", "3000B", tables=NEWEST)
    export(platform, "x", path, tmp_path / "d.csv", "--newest", tables=NEWEST)
    assert (tmp_path / "c.csv").read_bytes() == (tmp_path / "d.csv").read_bytes()
    newest = assert_right(partitions_of(platform, topic), rows_read(tmp_path / "c.csv"), labels, "x", NEWEST, True)
    print("and with --newest:", newest)
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


OTHER = """CREATE TABLE y_people (user_id text, city text, PRIMARY KEY (user_id)) WITH (topic = '%s');
CREATE MATERIALIZED VIEW y_profiles AS SELECT user_id, city FROM y_people;
CREATE TABLE y_buys (user_id text, amount numeric(20,2), tags text[]) WITH (topic = '%s');
CREATE MATERIALIZED VIEW y_spent AS
SELECT user_id, sum(amount) AS spent, count(*) AS n, array_agg(amount) AS amounts, bool_or(amount > 50) AS large
FROM y_buys GROUP BY user_id;
CREATE MATERIALIZED VIEW y_all AS SELECT count(*) AS everybody FROM y_buys;
CREATE MATERIALIZED VIEW y_rows AS SELECT user_id, amount FROM y_buys;
CREATE MATERIALIZED VIEW y_top AS SELECT * FROM (SELECT user_id, amount,
  row_number() OVER (PARTITION BY user_id ORDER BY amount DESC) AS n FROM y_buys) AS r WHERE n <= 2;
CREATE VIEW y_view AS SELECT user_id, spent FROM y_spent;
"""


def envelope(key, value, at):
    return {"key": key, "value": value, "time": at}


def other_make(platform, topic):
    """Inputs without event time go by the time of the record; one of them is of upserts."""
    platform.topic(topic + "-people", 2)
    platform.topic(topic + "-buys", 2)
    people = [envelope("u1", {"user_id": "u1", "city": "Oslo"}, T0), envelope("u2", {"user_id": "u2", "city": "Rome"}, T0 + 10),
              envelope("u1", {"user_id": "u1", "city": "Bern"}, T0 + 5000), envelope("u2", None, T0 + 6000)]
    people = [{**p, "key": json.dumps({"user_id": p["key"]})} for p in people]
    buys = [envelope("u1", {"user_id": "u1", "amount": "1.10"}, T0 + 1), envelope("u2", {"user_id": "u2", "amount": "60"}, T0 + 2),
            envelope("u1", {"user_id": "u1", "amount": "90071992547409.93"}, T0 + 4000)]
    platform.produce(topic + "-people", people, "--envelope")
    platform.produce(topic + "-buys", buys, "--envelope")
    platform.deploy("y", OTHER % (topic + "-people", topic + "-buys"))
    platform.wait("y", 1)
    for name in ("-people", "-buys"):
        support.applied_everything(platform, "y", 1, topic + name)


def test_two_processors_and_sqlite(platform, topic, tmp_path):
    rng, _ = support.seed_for("test_two_processors_and_sqlite")
    prepare(platform, topic, events_make(rng, 300))
    other_make(platform, topic)
    times = [(u, T0 + at) for u in ("u1", "u2", "u9") for at in (0, 1, 3, 4000, 4999, 5000, 5999, 6000)]
    labels = [{"user_id": u, "at": support.rfc3339(at), "note": f"{u}, {at}"} for u, at in times]
    rng.shuffle(labels)
    with open(tmp_path / "labels.csv", "w", newline="") as out:
        writer = csv.DictWriter(out, ["user_id", "at", "note"])
        writer.writeheader()
        writer.writerows(labels)
    tables = ["y_profiles", "x_totals", "y_spent", "y_all@1"]
    args = ["export", *tables, "--labels", tmp_path / "labels.csv", "--time-column", "at"]
    platform.run(*args, "--out", tmp_path / "a.csv")
    rows = rows_read(tmp_path / "a.csv")
    assert list(rows[0]) == ["user_id", "at", "note", "city", "x_totals__n", "total", "newest_at", "spent", "y_spent__n",
                             "amounts", "large", "everybody"]
    for row, label in zip(rows, labels):
        assert {k: row[k] for k in label} == label
        user, at = row["user_id"], support.ms_of(row["at"]) - T0
        assert row["city"] == {"u1": "Oslo" if at < 5000 else "Bern",
                               "u2": "" if at < 10 or at >= 6000 else "Rome"}.get(user, ""), row
        spent = {"u1": "" if at < 1 else "1.10" if at < 4000 else "90071992547411.03", "u2": "" if at < 2 else "60.00"}
        assert row["spent"] == spent.get(user, ""), row
        assert row["everybody"] == ("" if at < 1 else "1" if at < 2 else "2" if at < 4000 else "3"), row
        assert row["large"] == ("" if not row["spent"] else "true" if row["spent"] in ("60.00", "90071992547411.03") else "false")
    # The same rows in SQLite, and what they are.
    platform.run(*args, "--out", tmp_path / "a.sqlite")
    with contextlib.closing(sqlite3.connect(tmp_path / "a.sqlite")) as db:
        db.row_factory = sqlite3.Row
        made = [dict(r) for r in db.execute("SELECT * FROM labels ORDER BY rowid")]
        about = [dict(r) for r in db.execute("SELECT * FROM kappa_export")]
        assert db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    assert [list(r) for r in made] == [list(r) for r in rows]
    for got, want in zip(made, rows):
        assert (got["user_id"], got["at"], got["note"]) == (want["user_id"], want["at"], want["note"])
        assert got["city"] == (want["city"] or None) and got["y_spent__n"] == (int(want["y_spent__n"]) if want["y_spent__n"] else None)
        assert got["spent"] == ({"60.00": 60, "1.10": 1.1}.get(want["spent"], want["spent"] or None))
        assert got["large"] == {"": None, "true": 1, "false": 0}[want["large"]]
    beside = json.loads((tmp_path / "a.csv.json").read_text())
    assert [p["processor"] for p in beside["processors"]] == ["y", "x"]
    for row, processor in zip(about, beside["processors"]):
        assert json.loads(row["cut"]) == processor["cut"] and row["digest"] == processor["digest"]
        assert row["definition_hash"] == processor["definition_hash"] and row["version"] == 1
        assert json.loads(row["tables"]) == beside["tables"] and row["complete"] == 1
    # Chosen columns, in the order of the choice; keys too.
    platform.run(*args, "--out", tmp_path / "b.csv", "--columns", "x_totals.n,city,spent,user_id")
    assert list(rows_read(tmp_path / "b.csv")[0]) == ["user_id", "at", "note", "city", "y_profiles__user_id", "n",
                                                      "x_totals__user_id", "spent", "y_spent__user_id"]


def refused(platform, what, *args):
    result = platform.run("export", *args, code=None)
    assert result.returncode not in (0, 134, 139) and what in " ".join(result.stderr.split()), (args, result.stderr)


def test_refusals(embedded, topic, tmp_path):
    rng, _ = support.seed_for("test_refusals")
    prepare(embedded, topic, events_make(rng, 50))
    other_make(embedded, topic)
    embedded.deploy("z", """CREATE TABLE z_ev (user_id text, at timestamptz)
        WITH (topic = '%s', event_time = 'at', timestamp_unit = 'ms');
        CREATE MATERIALIZED VIEW z_final WITH (emit = 'final') AS SELECT user_id, window_end, count(*) AS n
        FROM tumble(z_ev, at, interval '1 minute') GROUP BY user_id, window_end;
        CREATE MATERIALIZED VIEW z_sessions AS SELECT user_id, window_end, count(*) AS n
        FROM session(z_ev, at, interval '1 minute') GROUP BY user_id, window_end;""" % topic, "--wait")
    good = tmp_path / "labels.csv"
    good.write_text("user_id,at,x\nu1,5,1\n")
    rest = ["--labels", good, "--time-column", "at", "--out", tmp_path / "out.csv"]
    for table, what in [("y_view", "y_view is a view"), ("y_rows", "a row per record"), ("y_top", "up to 2 rows of a key"),
                        ("z_final", "emit='final'"), ("z_sessions", "parts in several partitions"),
                        ("x_product", "did you mean x_products"), ("x_products", 'no column "product_id"'),
                        ("x_totals@7", "no version 7"), ("y_people", "no table y_people")]:
        refused(embedded, what, table, *rest)
    refused(embedded, "windows that overlap", "x_hops", *rest, "--newest")
    refused(embedded, "named twice", "x_totals", "x_totals", *rest)
    refused(embedded, "--labels is missing", "x_totals", *rest[2:])
    refused(embedded, "ends with .csv or .sqlite says", "x_totals", *rest[:-1], "out.parquet")
    refused(embedded, "cannot read", "x_totals", *rest, "--labels", tmp_path / "none.csv")
    refused(embedded, "did you mean --time-column at", "x_totals", *rest, "--time-column", "att")
    refused(embedded, "did you mean newest_at", "x_totals", *rest, "--columns", "newest_att")
    refused(embedded, "not a server", "x_totals", *rest, "--server", "127.0.0.1:1")
    refused(embedded, "numbers only", "x_totals", *rest, "--limit", "freshness=50ms")
    refused(embedded, "begins with no number", "x_totals", *rest, "--limit", "fast")
    refused(embedded, "cannot make", "x_totals", *rest, "--out", tmp_path / "no" / "out.csv")
    broken = tmp_path / "broken.csv"
    for text, what in [("", "is empty"), ("user_id,at\nu1,5,6\n", "line 2 has 3 fields, the header 2"),
                       ("user_id,at\nu1,5\nu1,soon\n", 'line 3: at: "soon" is no time'), ("user_id,at\nu1,\n", "line 2"),
                       ("at,at\n", "two columns"), ("at,\n", "has no name"), ('user_id,at\n"u1,5\n', "line 2: a field's quotes")]:
        broken.write_text(text)
        refused(embedded, what, "x_totals", *rest, "--labels", broken)
    lite = ["--labels", broken, "--time-column", "at", "--out", tmp_path / "out.sqlite"]
    broken.write_text("user_id,at,AT\nu1,5,6\n")
    refused(embedded, 'two columns are called "AT"', "x_totals", *lite)
    columns = ", ".join(f"count(*) AS n{i}" for i in range(250))
    embedded.deploy("w", "CREATE TABLE w_ev (user_id text) WITH (topic = '%s');\n" % topic + "\n".join(
        f"CREATE MATERIALIZED VIEW w{i} AS SELECT user_id, {columns} FROM w_ev GROUP BY user_id;" for i in range(4)), "--wait")
    broken.write_text(",".join(["user_id", "at", *(f"c{i}" for i in range(1022))]) + "\n")
    refused(embedded, "2000 columns at most, not 2024", "w0", "w1", "w2", "w3", *lite)
    broken.write_text("product_id,at\nfive,5\n")
    refused(embedded, "line 2", "x_products", *rest, "--labels", broken)
    assert sorted(os.listdir(tmp_path)) == sorted(["data", "up.log", "labels.csv", "broken.csv", "w.sql", "x.sql", "y.sql",
                                                   "z.sql"])
    assert os.listdir(os.path.join(embedded.data, "exports")) == ["LOCK"]
    good.write_text("user_id,at,x\n")
    assert embedded.json("export", "x_totals", *rest)["rows"] == 0
    good.write_text("user_id,at,N\nu1,5,1\n")
    embedded.run("export", "x_totals", *rest[:-1], tmp_path / "out.sqlite")
    with contextlib.closing(sqlite3.connect(tmp_path / "out.sqlite")) as db:
        names = [row[1] for row in db.execute("PRAGMA table_info(labels)")]
    assert names == ["user_id", "at", "N", "x_totals__n", "total", "newest_at"]
    assert (tmp_path / "out.csv").read_text() == "user_id,at,x,n,total,newest_at\n"


def test_limit(embedded, topic, tmp_path):
    """The rows are the same, and a limit on records holds for all threads together."""
    rng, _ = support.seed_for("test_limit")
    count, rate = 3000, 1500
    prepare(embedded, topic, events_make(rng, count, bad=0))
    labels = tmp_path / "labels.csv"
    labels.write_text("user_id,at,x\nu1,5,1\n")
    took = {}
    for name, limit in (("free", ()), ("slow", ("--limit", f"{rate}/s"))):
        began = time.monotonic()
        done = embedded.json("export", "x_totals", "--labels", labels, "--time-column", "at", "--out",
                             tmp_path / f"{name}.csv", *limit)
        took[name] = time.monotonic() - began
        assert done["rows"] == 1, done
    assert (tmp_path / "free.csv").read_text() == (tmp_path / "slow.csv").read_text()
    assert took["slow"] > 0.75 * count / rate, took


def test_interrupted(embedded, topic, tmp_path):
    """Ctrl-C leaves nothing; after kill -9 the next start takes away what is left."""
    embedded.topic(topic, 2)
    embedded.produce(topic, ['{"user_id":"u1","product_id":1,"at":1}'], "--key", "user_id")
    embedded.deploy("x", DEFINITION % {"topic": topic, "name": "x"})
    embedded.wait("x", 1)
    support.applied_everything(embedded, "x", 1, topic)
    labels = tmp_path / "labels.csv"
    with open(labels, "w") as out:  # so many that an export takes long
        out.write("user_id,product_id,at\n" + "u1,1,5\n" * 400_000)
    exports = os.path.join(embedded.data, "exports")
    command = [support.BIN, "export", *["x_" + t for t in TABLES], "--labels", str(labels), "--time-column", "at", "--out",
               str(tmp_path / "out.csv")]
    found = {signal.SIGINT: 0, signal.SIGTERM: 0, signal.SIGKILL: 0}
    for number in found:
        process = subprocess.Popen(command, env=embedded.env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        support.eventually(lambda p=process: p.poll() is not None or os.path.isdir(exports)
                           and any("-" in name for name in os.listdir(exports)), 60, "it has begun")
        process.send_signal(number)
        _, error = process.communicate(timeout=300)
        if process.returncode == 0:  # it was quicker than the signal
            os.unlink(tmp_path / "out.csv")
            os.unlink(tmp_path / "out.csv.json")
            continue
        found[number] = 1
        if number != signal.SIGKILL:
            assert process.returncode > 0 and "stopped: nothing was written" in error, error
            assert os.listdir(exports) == ["LOCK"]
        if number != signal.SIGKILL:
            assert not [name for name in os.listdir(tmp_path) if name.startswith("out.csv")]
    print("stopped by:", found)
    embedded.down()
    embedded.up()
    support.eventually(lambda: os.listdir(exports) == ["LOCK"], 60, "the server sweeps")


@pytest.fixture(params=["embedded", "kafka"])
def place(request, tmp_path):
    broker = request.getfixturevalue("own_broker") if request.param == "kafka" else None
    with support.Platform(str(tmp_path), kafka=broker and broker.brokers, env=ENV) as platform:
        platform.up()
        yield Place(platform, broker)


def test_archive(place, topic, tmp_path):
    """What the log has let go is read from the archive; without one the export says so."""
    rng, _ = support.seed_for("test_archive")
    platform = place.platform
    lines = events_make(rng, 3000, users=40)
    labels = labels_make(rng, lines, 60)
    place.topic(topic, 2)
    platform.produce(topic, lines, "--key", "user_id")
    platform.deploy("x", DEFINITION % {"topic": topic, "name": "x"})
    platform.wait("x", 1)
    support.applied_everything(platform, "x", 1, topic)
    path = labels_write(tmp_path / "labels.csv", labels)
    export(platform, "x", path, tmp_path / "a.csv")
    assert_right(partitions_of(platform, topic), rows_read(tmp_path / "a.csv"), labels, "x")
    platform.run("topic", "set", topic, "archive=on")
    ends = place.ends(topic)
    await_archived(platform, topic, ends)
    place.lose_start(topic, ends)
    export(platform, "x", path, tmp_path / "b.csv")
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    platform.down()
    os.rename(os.path.join(platform.data, "archive", topic), os.path.join(platform.data, "archive", topic + ".away"))
    lost = export(platform, "x", path, tmp_path / "c.csv", code=None)
    assert lost.returncode != 0 and "archive=on" in lost.stderr and not os.path.exists(tmp_path / "c.csv"), lost.stderr


DAY = 86_400_000


def values_by_partition(records):
    parts = {}
    for record in records:
        parts.setdefault(record["partition"], []).append(record["value"])
    return parts.values()


def by_time(parts, column, t):
    """The records that a label at t sees."""
    return [value for values in parts for value in itertools.takewhile(lambda v: v[column] <= t, values)]


def test_training_set(platform, topic, tmp_path):
    """Scenario 12: the tables of user-features and user-history at the labels' times; live and replayed, the same file."""
    _, seed = support.seed_for("test_training_set")
    rng = random.Random(seed)
    events = Scenario(platform, topic, seed)
    events.topic("user-events", events.lines("user_events", 2000), "--key", "user_id", partitions=2)
    events.go_live("user-features/v2.sql")
    spent = Scenario(platform, topic, seed)
    spent.topic("transactions", spent.lines("history", 2000), "--key", "user_id", partitions=2)
    spent.go_live("user-history/user_history.sql")
    for processor, scenario in (("v2", events), ("user_history", spent)):
        support.applied_everything(platform, processor, 1, scenario.rest[0][0])
    labels = [json.loads(line) for line in events.lines("labels", 150)]
    labels += [{"user_id": f"u{rng.randrange(42)}", "label": "late", "label_time": T0 + rng.randrange(205 * DAY)}
               for _ in range(100)]
    path = tmp_path / "labels.csv"
    with open(path, "w", newline="") as out:
        writer = csv.DictWriter(out, ["user_id", "label", "label_time"])
        writer.writeheader()
        writer.writerows(labels)
    args = ["--labels", path, "--time-column", "label_time"]
    platform.run("export", "user_features", "history_90", *args, "--out", tmp_path / "live.csv")
    happened, paid = values_by_partition(events.records("user-events")), values_by_partition(spent.records("transactions"))
    there = {"user_features": 0, "history_90": 0}
    for row, label in zip(rows_read(tmp_path / "live.csv"), labels):
        user, t = label["user_id"], label["label_time"]
        start = t // 300_000 * 300_000
        window = [e for e in by_time(happened, "event_time", t)
                  if e["user_id"] == user and start <= e["event_time"] < start + 300_000]
        there["user_features"] += bool(window)
        amounts = [e["amount"] for e in window if e["event_type"] == "purchase"]
        assert row["clicks"] == (str(sum(e["event_type"] == "click" for e in window)) if window else "")
        assert row["distinct_products"] == (str(len({e["product_id"] for e in window} - {None})) if window else "")
        assert row["total_amount"] == "" if not amounts else float(row["total_amount"]) == math.fsum(amounts)
        end = t // DAY * DAY + DAY
        history = [e for e in by_time(paid, "ts", t) if e["user_id"] == user and e["ts"] >= end - 90 * DAY]
        there["history_90"] += bool(history)
        assert row["transactions"] == (str(len(history)) if history else "")
        assert row["merchants"] == (str(len({e["merchant"] for e in history})) if history else "")
        assert row["total"] == "" if not history else float(row["total"]) == math.fsum(e["amount"] for e in history)
        assert row["most"] == "" if not history else float(row["most"]) == max(e["amount"] for e in history)
    assert min(there.values()) > 5, there
    for processor in ("v2", "user_history"):
        platform.run("replay", processor, "--shards", 3, "--cache-bytes", 400_000)
        platform.wait(processor, 2)
    platform.run("export", "user_features", "history_90", *args, "--out", tmp_path / "replayed.csv")
    assert (tmp_path / "live.csv").read_bytes() == (tmp_path / "replayed.csv").read_bytes()
    about = [json.loads((tmp_path / f"{name}.csv.json").read_text())["processors"] for name in ("live", "replayed")]
    assert [[p["version"] for p in made] for made in about] == [[1, 1], [2, 2]]
    assert [p["digest"] for p in about[0]] == [p["digest"] for p in about[1]]


MARKED = """CREATE TABLE m_ev (user_id text, at timestamptz) WITH (topic = '%s', event_time = 'at', watermark_from = 'marks',
  timestamp_unit = 'ms');
CREATE MATERIALIZED VIEW m_n WITH (ttl = '10 s') AS SELECT user_id, count(*) AS n FROM m_ev GROUP BY user_id;
CREATE MATERIALIZED VIEW m_minutes AS SELECT user_id, window_end, count(*) AS n
FROM tumble(m_ev, at, interval '1 minute') GROUP BY user_id, window_end;
"""


def test_marks(embedded, topic, tmp_path):
    """A mark has the time that it says: a label before it does not see it, nor what it lets go."""
    embedded.topic(topic, 1)

    def event(at):
        return {"key": None, "value": {"user_id": "u1", "at": T0 + at}, "time": T0}

    def mark(at):
        return {"key": None, "value": None, "time": T0, "headers": [["kappa-mark", str(T0 + at)]]}

    embedded.produce(topic, [event(1000), event(3000), mark(2000), event(4000), mark(20_000), event(19_000), event(70_000)],
                     "--envelope")
    embedded.deploy("m", MARKED % topic, "--wait")
    support.applied_everything(embedded, "m", 1, topic)
    times = [999, 1000, 2999, 3000, 4000, 19_999, 20_000, 69_999, 70_000]
    labels = tmp_path / "labels.csv"
    labels.write_text("user_id,at\n" + "".join(f"u1,{T0 + at}\n" for at in times))
    embedded.run("export", "m_n", "m_minutes", "--labels", labels, "--time-column", "at", "--out", tmp_path / "out.csv")
    rows = rows_read(tmp_path / "out.csv")
    # The mark at 20 s lets the group go, whose newest event was at 4 s; the one behind it begins anew.
    assert [row["m_n__n"] for row in rows] == ["", "1", "1", "2", "3", "3", "1", "1", "2"]
    assert [row["m_minutes__n"] for row in rows] == ["", "1", "1", "2", "3", "3", "4", "", "1"]


def test_deletions(embedded, topic, tmp_path):
    """A deletion has no event time; a label in front of it has the row, also when nothing came behind it."""
    embedded.topic(topic, 1)
    embedded.deploy("p", """CREATE TABLE p_ev (id text, city text, at timestamptz, PRIMARY KEY (id))
        WITH (topic = '%s', event_time = 'at', timestamp_unit = 'ms');
        CREATE MATERIALIZED VIEW cities AS SELECT id, city FROM p_ev;""" % topic, "--wait")
    lines = [{"key": json.dumps({"id": user}), "value": {"id": user, "city": city, "at": at}, "time": at}
             for user, city, at in [("u1", "Ulm", 1000), ("u2", "Bonn", 1500)]]
    lines.append({"key": json.dumps({"id": "u1"}), "value": None, "time": 5000})
    embedded.produce(topic, [json.dumps(line) for line in lines], "--envelope")
    support.eventually(lambda: [row["id"] for row in embedded.scan("cities")] == ["u2"], 30, "it is gone")
    labels = tmp_path / "labels.csv"
    labels.write_text("id,t\n" + "".join(f"{user},{t}\n" for t in (999, 1000, 4999, 5000) for user in ("u1", "u2")))
    embedded.run("export", "cities", "--labels", labels, "--time-column", "t", "--out", tmp_path / "out.csv")
    with open(tmp_path / "out.csv", encoding="utf-8") as file:
        found = [(row["t"], row["id"], row["city"]) for row in csv.DictReader(file)]
    assert found == [("999", "u1", ""), ("999", "u2", ""), ("1000", "u1", "Ulm"), ("1000", "u2", ""),
                     ("4999", "u1", "Ulm"), ("4999", "u2", "Bonn"), ("5000", "u1", ""), ("5000", "u2", "Bonn")]
