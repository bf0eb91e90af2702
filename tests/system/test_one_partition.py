"""Reads of one partition: with partitioner= a key is looked for where its hash says. The same definition without the
option reads all partitions and must give the same answers, and a recount of the records says what they are.
"""

import json
import random
import urllib.parse
import zlib

import pytest

import support
from test_library import kappa

MINUTE = 60_000
BASE = 1_760_000_000_000
PARTITIONS = 7

TABLES = {"totals": ("u",), "pairs": ("b", "u"), "minutes": ("u",), "hops": ("u",), "visits": ("u",), "top": ("u",)}

SQL = """CREATE TABLE e (u %(type)s, b text, n bigint, ts timestamptz)
WITH (topic='%(topic)s', key='u', event_time='ts', watermark='1 h'%(option)s);
CREATE MATERIALIZED VIEW %(p)stotals AS SELECT u, count(*) AS c, sum(n) AS s FROM e GROUP BY u;
CREATE MATERIALIZED VIEW %(p)spairs AS SELECT b, u, count(*) AS c, sum(n) AS s FROM e GROUP BY b, u;
CREATE MATERIALIZED VIEW %(p)sminutes AS SELECT u, window_end, count(*) AS c, sum(n) AS s
    FROM tumble(e, ts, interval '1 minute') GROUP BY u, window_end;
CREATE MATERIALIZED VIEW %(p)shops AS SELECT u, window_end, count(*) AS c, sum(n) AS s
    FROM hop(e, ts, interval '1 minute', interval '3 minutes') GROUP BY u, window_end;
CREATE MATERIALIZED VIEW %(p)svisits AS SELECT u, window_start, window_end, count(*) AS c, sum(n) AS s
    FROM session(e, ts, interval '2 minutes') GROUP BY u, window_start, window_end;
CREATE MATERIALIZED VIEW %(p)stop AS SELECT * FROM (SELECT u, n, row_number() OVER (PARTITION BY u ORDER BY n DESC) AS r
    FROM e) AS q WHERE r <= 1;"""


def produced(rng, kind):
    keys = [-9223372036854775808, 9223372036854775807, -1, 0, 10] + [rng.randrange(-10**6, 10**12) for _ in range(40)] \
        if kind == "bigint" else ["", "ä", "a\"b", "日本", " x ", "0", "-1"] + [f"u{rng.randrange(10**9)}" for _ in range(40)]
    return keys, [{"u": rng.choice(keys), "b": rng.choice("xyz"), "n": rng.randrange(-50, 50),
                   "ts": BASE + rng.randrange(40 * MINUTE)} for _ in range(1500)]


def deploy_both(platform, topic, kind, partitioner):
    for prefix, option in (("all_", ""), ("one_", f", partitioner='{partitioner}'")):
        sql = SQL % {"type": kind, "topic": topic, "p": prefix, "option": option}
        platform.deploy(prefix + "reads", sql, "--wait")


def reads(platform, prefix, table, values):
    """What every way of asking for a key says about it: rows of get by the command, HTTP and SQL."""
    name, columns = prefix + table, TABLES[table]
    got = []
    command = platform.run("get", "-o", "json", name, "--", *values, code=None)
    got.append(json.loads(command.stdout)["row"] if command.returncode == 0 else None)
    path = "/".join(urllib.parse.quote(str(v), safe="") for v in values)
    if "" not in values:
        status, answer, _ = platform.http("GET", f"/v1/tables/{name}/rows/{path}")
        got.append(answer["row"] if status == 200 else None)
    where = " AND ".join(f"{c} = ?" for c in columns)
    status, answer, _ = platform.http("POST", "/v1/sql", {"sql": f"SELECT * FROM {name} WHERE {where}", "params": values})
    assert status == 200, answer
    got.append(sorted(map(str, answer["rows"])))
    listed = ", ".join("?" for _ in range(2))
    status, answer, _ = platform.http("POST", "/v1/sql", {
        "sql": f"SELECT * FROM {name} WHERE u IN ({listed}) ORDER BY c", "params": [values[-1], values[-1]]}
        if table != "top" else {"sql": f"SELECT * FROM {name} WHERE u = ? AND n > -100", "params": [values[-1]]})
    assert status == 200, answer
    got.append(sorted(map(str, answer["rows"])))
    return got


def total_of(platform, key):
    status, answer, _ = platform.http("POST", "/v1/sql", {"sql": "SELECT c, s FROM one_totals WHERE u = ?", "params": [key]})
    assert status == 200 and len(answer["rows"]) <= 1, answer
    return tuple(answer["rows"][0]) if answer["rows"] else None


def by_library(platform, table, keys):
    """get, get_many and scans that begin with a key, by libkappa: which must agree among themselves."""
    with kappa.open(platform.data) as data, data.read(table) as read:
        rows = read.table().get_many(keys)
        assert [read.table().get(key) for key in keys] == rows
        scans = [list(read.table().scan(key)) for key in keys]
        assert all(row is None or row in scan for row, scan in zip(rows, scans))
        return rows, scans


def check(platform, records, keys, rng):
    totals = {}
    for r in records:
        count, total = totals.get(r["u"], (0, 0))
        totals[r["u"]] = (count + 1, total + r["n"])
    for key in keys + ([f"none{n}" for n in range(5)] if isinstance(keys[-1], str) else [77777777777777]):
        assert total_of(platform, key) == totals.get(key), key
    for table, columns in TABLES.items():
        for key in rng.sample(keys, 4):
            values = [rng.choice("xyz"), key] if len(columns) == 2 else [key]
            assert reads(platform, "one_", table, values) == reads(platform, "all_", table, values), (table, values)
        if table != "top":
            asked = [[rng.choice("xyz"), key] if len(columns) == 2 else [key] for key in [*keys, None]]
            assert by_library(platform, "one_" + table, asked) == by_library(platform, "all_" + table, asked), table
        scans = [sorted(map(json.dumps, platform.scan(prefix + table))) for prefix in ("one_", "all_")]
        assert scans[0] == scans[1] and scans[0], table


@pytest.mark.parametrize("kind", ["text", "bigint"])
def test_murmur2(platform, topic, kind):
    _, seed = support.seed_for("one partition")
    rng = random.Random(seed)
    keys, records = produced(rng, kind)
    platform.topic(topic, PARTITIONS)
    platform.produce(topic, records[:1000], "--key", "u")
    deploy_both(platform, topic, kind, "murmur2")
    platform.produce(topic, records[1000:], "--key", "u")
    for name in ("all_reads", "one_reads"):
        support.applied_everything(platform, name, 1, topic)
        assert platform.version(name, 1)["dead"] == 0
    check(platform, records, keys, rng)
    platform.run("replay", "one_reads", "--shards", 3)
    platform.wait("one_reads", 2)
    receipt = platform.json("history", "one_reads")["receipts"][0]
    assert receipt["old_digest"] == receipt["new_digest"]
    explained = platform.run("explain", platform.directory + "/one_reads.sql").stdout
    assert explained.count("reads of a key go to one partition") == 6 and "chosen by murmur2" in explained


def test_crc32_and_a_broken_promise(embedded, topic):
    """What lies where librdkafka's default would not put it is dead, at the same records in every replay."""
    _, seed = support.seed_for("crc32")
    rng = random.Random(seed)
    keys, records = produced(rng, "text")
    embedded.topic(topic, PARTITIONS)
    lines, wrong = [[] for _ in range(PARTITIONS)], []
    for r in records:
        at = zlib.crc32(r["u"].encode()) % PARTITIONS
        if rng.random() < 0.02:
            wrong.append(r)
            at = (at + rng.randrange(1, PARTITIONS)) % PARTITIONS
        lines[at].append(r)
    for partition, mine in enumerate(lines):
        embedded.produce(topic, mine, "--key", "u", "--partition", partition)
    deploy_both(embedded, topic, "text", "crc32")
    good = [r for r in records if r not in wrong]
    dead = embedded.json("dead", "one_reads", 1)["dead"]
    assert len(dead) == len(wrong) > 0 and embedded.version("all_reads", 1)["dead"] == 0
    for d in dead:
        key = json.loads(d["value"])["u"]
        assert d["reason"].endswith(f"belongs to partition {zlib.crc32(key.encode()) % PARTITIONS} of {PARTITIONS} "
                                    f"by crc32, and lies in {d['partition']}"), d
    for key in keys:
        mine = [r["n"] for r in good if r["u"] == key]
        assert total_of(embedded, key) == ((len(mine), sum(mine)) if mine else None), key
    assert embedded.run("verify", "one_reads", 1).returncode == 0
