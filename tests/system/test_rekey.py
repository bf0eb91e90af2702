"""kappa rekey: topics brought into one by another key, each record once, as it is; and a join of two topics that way."""

import json
import os
import re
import signal
import sqlite3
import time

import support
from support import eventually, rfc3339, seed_for

NAME = re.compile(r"\S+ (\S+?)(?::[0-9a-f]+)?/(\d+)@(\d+)\.(\d+)\.(\d+)$")


def envelope(i, kind):
    """A record whose key is not the user, with headers; some without a user."""
    value = {"id": f"{kind}{i}", "user": {"id": [f"u{i * 31 % 23}", i * 7 % 13][i % 2]}, "x": i * 1.5}
    if i % 50 == 7:
        value["user"] = None
    return {"key": f"{kind}-{i % 5}", "value": value, "time": rfc3339(1_700_000_000_000 + i * 10),
            "headers": [["trace", str(i)], ["kappa-out", "not a name"], ["kappa-correction", "3 added"]]}


def text_of(value):
    return value if isinstance(value, str) else json.dumps(value)


def problems(platform, topics, out):
    """Recount: every record of the topics that has a key, once, as it was, in order; [] when all is right."""
    wrong = []
    wanted = {}
    for topic in topics:
        for record in platform.cat(topic):
            if (record["value"].get("user") or {}).get("id") is not None:
                wanted[(topic, record["partition"], record["offset"])] = record
    last = {}
    partition_of_key = {}
    seen = set()
    for record in platform.cat(out):
        headers = [tuple(pair) for pair in record["headers"]]
        found = NAME.match(headers[-1][1])
        place = (found.group(1), int(found.group(2)), int(found.group(3)))
        source = wanted.get(place)
        if source is None or place in seen:
            wrong.append(("not wanted, or twice", place))
            continue
        seen.add(place)
        if record["key"] != text_of(source["value"]["user"]["id"]) or record["value"] != source["value"] \
                or record["time"] != source["time"] \
                or headers[:-1] != [("trace", dict(source["headers"])["trace"]), ("kappa-from", place[0])]:
            wrong.append(("changed", record, source))
        if partition_of_key.setdefault(record["key"], record["partition"]) != record["partition"]:
            wrong.append(("key in two partitions", record))
        order = (record["partition"], *place[:2])
        if last.get(order, -1) >= place[2]:
            wrong.append(("order", place))
        last[order] = place[2]
    return wrong + [("missing", place) for place in wanted if place not in seen]


def all_there(platform, topics, out, seconds=60):
    support.settled(platform, lambda: problems(platform, topics, out), seconds, "every record once")


def send(platform, topic, kind, numbers):
    platform.produce(topic, [envelope(i, kind) for i in numbers], "-J")


def test_two_topics_into_one(platform, topic):
    """Values, times and headers stay; the key is new; records without it are dead, with the reason; then live ones."""
    a, b, out = topic + "-a", topic + "-b", topic + "-out"
    platform.topic(a, 3)
    platform.topic(b, 2)
    send(platform, a, "a", range(500))
    send(platform, b, "b", range(300))
    platform.run("rekey", a, b, "--key", "user.id", "--into", out, "--partitions", 4, "--name", "both", "--wait")
    all_there(platform, [a, b], out)
    assert {t["name"]: t["partitions"] for t in platform.json("topic", "list")["topics"]}[out] == 4
    assert len({record["partition"] for record in platform.cat(out)}) == 4
    dead = platform.json("dead", "both", 1)["dead"]
    assert len(dead) == 16 and all('column "user.id" is missing or null' in d["reason"] for d in dead)
    send(platform, a, "a", range(500, 600))
    platform.produce(b, ["{broken", "[1]"])
    send(platform, b, "b", range(300, 400))
    eventually(lambda: platform.version("both", 1)["dead"] == 16 + 4 + 2, 20, "broken ones are dead")
    bad = {d["value"]: d["reason"] for d in platform.json("dead", "both", 1)["dead"] if d["value"] in ("{broken", "[1]")}
    assert len(bad) == 2, bad


def test_refusals_and_life(embedded, topic):
    """The hint of a refused deploy works as typed; the processor is paused, resumed, rolled on, and says what it is."""
    out = topic + "-out"
    rekey = "rekey-" + out
    embedded.topic(topic, 2)
    send(embedded, topic, "a", range(100))
    lag = (f"CREATE TABLE e (id text, u text) WITH (topic='{topic}');"
           "CREATE MATERIALIZED VIEW v AS SELECT id, lag(id) OVER (PARTITION BY u) AS p FROM e;")
    refused = embedded.deploy("lag", lag, code=4)
    hint = re.search(r"`kappa (rekey [^`]*)`", refused.stderr).group(1)
    assert hint == f"rekey {topic} --key COLUMN --into TOPIC"
    embedded.run(*hint.replace("COLUMN", "user.id").replace("TOPIC", out).split(), "--wait")
    all_there(embedded, [topic], out)
    assert "already there" not in embedded.run("rekey", topic, "--key", "user.id", "--into", out).stderr
    assert "has the same definition" in embedded.run("rekey", topic, "--key", "user.id", "--into", out).stdout
    assert embedded.run("rekey", topic, "--into", out, "--partitions", 5, code=None).returncode != 0
    assert "there is no topic" in embedded.run("rekey", "nope", "--into", out, code=None).stderr
    assert "into itself" in embedded.run("rekey", out, "--into", out, code=None).stderr
    # Another topic is added: a second version, which sends what that one holds, and nothing again.
    more = topic + "-more"
    embedded.topic(more, 1)
    send(embedded, more, "m", range(3000))
    embedded.run("rekey", topic, more, "--key", "user.id", "--into", out, "--wait")
    send(embedded, topic, "a", range(100, 200))
    all_there(embedded, [topic, more], out)
    # A version that does not read it leaves it where it is; the next one that does goes on there.
    embedded.run("rollback", rekey)
    send(embedded, more, "m", range(3000, 3100))
    send(embedded, topic, "a", range(200, 300))
    embedded.run("swap", rekey, 2)
    all_there(embedded, [topic, more], out)
    embedded.run("pause", rekey, 1)
    embedded.run("resume", rekey, 1)
    # Without --key records keep theirs, and tombstones go through.
    kept = topic + "-kept"
    embedded.produce(more, [{"key": "gone", "value": None}], "-J")
    embedded.run("rekey", more, "--into", kept, "--wait")
    eventually(lambda: len(embedded.cat(kept)) == 3101, 20, "all of them")
    assert [r["key"] for r in embedded.cat(kept)] == [r["key"] for r in embedded.cat(more)]
    assert embedded.cat(kept)[-1]["value"] is None
    printed = embedded.run("rekey", topic, "--key", "it's", "--into", "x", "--print").stdout
    assert "->> 'it''s'" in printed
    embedded.deploy("printed", printed, "--wait")


def test_bytes_stay(embedded, topic):
    """Not only the value, but how it is written."""
    out = topic + "-out"
    embedded.topic(topic, 1)
    lines = ['{ "k" : 1.50 , "b":[ ]}', '{"k":"ä\\u00e4", "z": 1e3}', '{"k":true}', '{"k":"x","k":"y"}']
    embedded.produce(topic, lines)
    embedded.run("rekey", topic, "--key", "k", "--into", out, "--wait")
    eventually(lambda: embedded.run("cat", out, "-e").stdout.splitlines() == lines, 20, "the same lines")
    assert [r["key"] for r in embedded.cat(out)] == ["1.50", "ää", "true", "y"]


def test_kills(platform, topic):
    """kill -9 of the worker and of the controller while it copies."""
    rng, _ = seed_for("test_rekey_kills")
    a, b, out = topic + "-a", topic + "-b", topic + "-out"
    platform.topic(a, 3)
    platform.topic(b, 2)
    send(platform, a, "a", range(4000))
    send(platform, b, "b", range(4000))
    platform.run("rekey", a, b, "--key", "user.id", "--into", out, "--partitions", 4)
    for number in range(8):
        send(platform, a, "a", range(4000 + number * 100, 4100 + number * 100))
        send(platform, b, "b", range(4000 + number * 100, 4100 + number * 100))
        time.sleep(rng.random() * 0.4)
        platform.kill_any(rng, 0.6)
    all_there(platform, [a, b], out)


def times_by_partition(platform, out):
    """Per partition of the topic: its records' times in ms, in their order."""
    times = {}
    for record in platform.cat(out):
        times.setdefault(record["partition"], []).append(support.ms_of(record["time"]))
    return times


def test_history_is_merged_by_time(platform, topic):
    """Topics of unequal size and time range leave as one history, from the first record to the last one that was there
    at the deploy; also when the server dies meanwhile."""
    a, b, out = topic + "-a", topic + "-b", topic + "-out"
    platform.topic(a, 3)
    platform.topic(b, 1)

    def timed(name, count, first, step):
        platform.produce(name, [{"value": {"u": i % 50, "i": i, "of": name[-1]},
                                 "time": rfc3339(1_700_000_000_000 + first + i * step)} for i in range(count)], "-J")

    timed(a, 30000, 0, 10)
    timed(b, 2000, 100_000, 50)
    platform.run("rekey", a, b, "--key", "u", "--into", out, "--partitions", 2)
    eventually(lambda: platform.cat(out), 30, "the first messages")
    platform.kill()
    platform.up()
    eventually(lambda: len(platform.cat(out)) == 32000, 60, "all of them")
    for partition, times in times_by_partition(platform, out).items():
        back = [i for i in range(1, len(times)) if times[i] < times[i - 1]]
        assert not back, (partition, len(times), len(back), times[back[0] - 1:back[0] + 1])


JOINED = """
CREATE TABLE activity (user_id text, cents bigint, country text)
  WITH (topic = '%s', key = 'user_id', tombstones = 'delete');
CREATE VIEW clicks AS SELECT user_id, cents FROM activity WHERE record_header('kappa-from') = '%s';
CREATE VIEW profiles AS SELECT user_id, country FROM activity WHERE record_header('kappa-from') = '%s';
CREATE MATERIALIZED VIEW by_country AS
  SELECT coalesce(p.country, '?') AS country, count(*) AS n, sum(c.cents) AS cents
  FROM clicks c LEFT JOIN profiles p ON c.user_id = p.user_id GROUP BY 1;
"""

ORACLE = """
SELECT coalesce((SELECT country FROM e p WHERE p.origin = 'profiles' AND p.user_id = c.user_id
                 AND p.partition = c.partition AND p.offset < c.offset ORDER BY p.offset DESC LIMIT 1), '?') AS country,
       count(*), sum(cents)
FROM e c WHERE origin = 'clicks' GROUP BY 1 ORDER BY 1
"""


def test_join_of_two_topics(platform, topic):
    """Clicks and profiles, some of which are deleted, merged by rekey: what was joined live is what a replay joins,
    and what sqlite says."""
    rng, _ = seed_for("test_join_of_two_topics")
    clicks, profiles, out = topic + "-clicks", topic + "-profiles", topic + "-activity"
    platform.topic(clicks, 3)
    platform.topic(profiles, 2)

    def profile(user):
        """A row, or a tombstone, by a key as converters write it."""
        key = rng.choice([user, json.dumps(user), json.dumps({"user_id": user})])
        return {"key": key, "value": rng.choice([None, *({"user_id": user, "country": c} for c in "ABCD")])}

    def batch(count):
        platform.produce(profiles, [profile(f"u{rng.randrange(40)}") for _ in range(count // 10)], "-J")
        platform.produce(clicks, [{"user_id": f"u{rng.randrange(50)}", "cents": rng.randrange(1000)}
                                  for _ in range(count)])

    batch(1000)
    platform.run("rekey", clicks, profiles, "--key", "user_id", "--into", out, "--partitions", 4, "--wait")
    platform.deploy("countries", JOINED % (out, clicks, profiles), "--wait")
    for _ in range(5):
        batch(200)
        time.sleep(0.1)
    eventually(lambda: len(platform.cat(out)) == 2200, 30, "all of them are merged")
    support.applied_everything(platform, "countries", 1, out)
    db = sqlite3.connect(":memory:")
    db.execute("CREATE TABLE e (partition, offset, origin, user_id, cents, country)")
    for r in platform.cat(out):
        origin = dict(map(tuple, r["headers"]))["kappa-from"][len(topic) + 1:]
        value = r["value"] or {}
        db.execute("INSERT INTO e VALUES (?, ?, ?, ?, ?, ?)", (r["partition"], r["offset"], origin, r["key"],
                                                               value.get("cents"), value.get("country")))
    assert db.execute("SELECT count(*) FROM e WHERE country IS NULL AND cents IS NULL").fetchone()[0] > 10
    want = db.execute(ORACLE).fetchall()
    assert len(want) == 5
    rows = sorted((r["country"], r["n"], r["cents"]) for r in platform.scan("by_country"))
    assert rows == want
    platform.run("replay", "countries")
    platform.wait("countries", 2)
    assert sorted((r["country"], r["n"], r["cents"]) for r in platform.scan("by_country")) == want
    receipt = platform.json("history", "countries")["receipts"][0]
    assert receipt["old_digest"] == receipt["new_digest"]
