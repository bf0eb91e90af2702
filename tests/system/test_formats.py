"""How records are read: formats, what a record is besides its value, and what happens when too many are dead.

Oracles are Python's csv module and the records as they were produced."""

import csv
import io
import json
import random

import support

CSV = """CREATE TABLE lines (id bigint, name text, amount double precision, ok boolean, at timestamptz)
WITH (topic = '%s', format = 'csv', key = 'id', timestamp_unit = 's');
CREATE MATERIALIZED VIEW rows AS SELECT *, record_partition() AS p, record_offset() AS o, record_key() AS k,
record_timestamp() AS t, record_header('trace') AS trace, record_header('none') AS nothing FROM lines;
"""


def csv_line(row):
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerow(row)
    return out.getvalue()


def test_csv_as_python_writes_it(platform, topic):
    _, seed = support.seed_for("csv")
    rng = random.Random(seed)
    platform.topic(topic, 3)
    rows, envelopes = {}, []
    for n in range(500):
        name = "".join(rng.choice(["a", "B", ",", '"', "\n", "ä", " ", ";"]) for _ in range(rng.randrange(1, 8)))
        name = None if rng.random() < 0.1 else name
        amount = rng.choice([None, rng.uniform(-1e6, 1e6), float(n)])
        ok = rng.choice([None, True, False])
        at = 1_700_000_000 + n
        rows[n] = (name, amount, ok, at)
        envelopes.append(json.dumps({
            "key": str(n), "time": 1_600_000_000_000 + n, "headers": [["trace", "x"], ["trace", f"t{n}"]],
            "value": csv_line([n, name, amount, {None: "", True: "true", False: "false"}[ok], at])}))
    envelopes.append(json.dumps({"key": "1", "value": "2,x,,,"}))
    envelopes.append(json.dumps({"key": "1", "value": "1,x,,"}))
    platform.produce(topic, envelopes, "-J")
    platform.deploy("csv", CSV % topic, "--wait")
    where = {(r["partition"], r["offset"]): r for r in platform.cat(topic)}
    got = platform.scan("rows")
    assert len(got) == len(rows) and platform.version("csv", 1)["dead"] == 2
    for row in got:
        name, amount, ok, at = rows.pop(row["id"])
        assert (row["name"], row["amount"], row["ok"]) == (name, amount, ok)
        assert row["at"] == support.rfc3339(at * 1000)
        record = where[(row["p"], row["o"])]
        assert row["k"] == record["key"] == str(row["id"])
        assert row["t"] == support.rfc3339(1_600_000_000_000 + row["id"])
        assert (row["trace"], row["nothing"]) == (f"t{row['id']}", None)
    reasons = sorted(d["reason"] for d in platform.json("dead", "csv", 1)["dead"])
    assert "5 fields" in reasons[0] and 'key "1" is not' in reasons[1]


def test_time_of_the_record_is_event_time(platform, topic):
    platform.topic(topic, 2)
    platform.produce(topic, [json.dumps({"key": f"k{n % 7}", "time": 1_700_000_000_000 + 1000 * n, "value": f"line {n}"})
                             for n in range(100)], "-J")
    platform.deploy("raw", f"""CREATE TABLE raw (line text)
        WITH (topic = '{topic}', format = 'raw', event_time = 'record_timestamp()', watermark = '1 h');
        CREATE MATERIALIZED VIEW keys AS SELECT record_key() AS k, window_start, count(*) AS n, max(line) AS line
        FROM tumble(raw, record_timestamp(), interval '1 minute') GROUP BY record_key(), window_start;""", "--wait")
    want = {}
    for n in range(100):
        start = (1_700_000_000 + n) // 60 * 60
        count, line = want.get((f"k{n % 7}", start), (0, ""))
        want[(f"k{n % 7}", start)] = (count + 1, max(line, f"line {n}"))
    assert {(r["k"], r["window_start"]): (r["n"], r["line"]) for r in platform.scan("keys")} == \
        {(k, support.rfc3339(start * 1000)): v for (k, start), v in want.items()}


def test_too_many_dead_records_fail_the_version(platform, topic):
    platform.topic(topic, 2)
    good = [json.dumps({"n": n}) for n in range(300)]
    sql = """CREATE TABLE t (n bigint) WITH (topic = '%s', dead_limit = '%s');
             CREATE MATERIALIZED VIEW v AS SELECT count(*) AS n FROM t;"""
    platform.produce(topic, good + ["bad"] * 5, "--partition", 1)
    platform.deploy("limit", sql % (topic, "5"), "--wait")
    platform.deploy("limit", sql % (topic, "4"))
    version = support.eventually(lambda: (v := platform.version("limit", 2))["state"] == "failed" and v, 20, "it fails")
    assert "offset 304 of partition 1: 5 of the 305 records" in version["error"]["message"], version["error"]
    assert platform.status("limit")["serving"] == 1
    assert len(platform.json("dead", "limit", 2)["dead"]) == 5
    platform.produce(topic, ["bad"], "--partition", 0)
    platform.produce(topic, ["bad"], "--partition", 1)
    support.eventually(lambda: platform.version("limit", 1)["error"], 20, "the serving one says so")
    assert platform.scan("v") == [{"n": 300}]
