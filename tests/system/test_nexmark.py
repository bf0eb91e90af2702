"""Nexmark (scenario 15): every query against sqlite3, live and replayed, on both logs.

The table of what runs is ENABLED: name -> golden digest of the result over 100,000 events of seed 1 (see ARGS).
q6 needs a window over rows that change (Flink SQL cannot do it either), q10 writes files, q12 reads the clock and
is refused; q23 is a second q20.
"""

import hashlib
import json

import pytest

import nexmark_oracle as oracle
import support

EVENTS = 100_000
# Shuffled within the watermark's bound, so that nothing is late. Queries of days and hours see 28 hours.
ARGS = {name: ("--rate", 1000, "--disorder", 100) for name in oracle.QUERIES}
ARGS |= {name: ("--rate", 1) for name in ("q14", "q15", "q16", "q17")}

ENABLED = {
    "q0": "1f6f3e2d8aac2c78",
    "q1": "c92ab43534f0cd5a",
    "q2": "b9fc7d2c7eff065c",
    "q3": "40e5c01d988cd545",
    "q4": "6d027d72cce7a2b9",
    "q5": "9b26ec266ac28628",
    "q7": "b4f9ec4b331ae296",
    "q8": "e9d9742c50af36f6",
    "q9": "88739a8926856c11",
    "q11": "ca50f4beb0cc0fd7",
    "q13": "e5ca1891ad7ef137",
    "q14": "ec0f6d1cd9200438",
    "q15": "fdc44280139f5635",
    "q16": "e89f54b15192aaeb",
    "q17": "88c9e32a898aa08f",
    "q18": "3b82d85807fa595c",
    "q19": "73097ac41452e222",
    "q20": "ebb2000f8f1ddb91",
    "q21": "451e51359e07ec3d",
    "q22": "0736479780c730c6",
}

GENERATED = "5e0ecd56"  # of the first 100,000 events of seed 1


def fill(platform, topic, first, count, *args):
    platform.run("nexmark", "--topic", topic, "--first", first, "--events", count, *args)


def fill_side(platform, topic):
    platform.topic(topic + "-side", 1)
    platform.produce(topic + "-side", oracle.side_rows(), "--key", "key")


def rows_of(platform, name):
    """A table, or what a CREATE VIEW over tables gives."""
    with open(f"{oracle.DIRECTORY}/{name}.sql") as file:
        if f"CREATE MATERIALIZED VIEW {name} AS" in file.read():
            return platform.scan(name)
    return platform.query(f"SELECT * FROM {name}")


def check(platform, name, events, *args):
    got, want = oracle.given(name, rows_of(platform, name)), oracle.wanted(name, events, *args)
    if got != want:
        extra, missing = sorted(set(got) - set(want)), sorted(set(want) - set(got))
        raise AssertionError(f"{name}: {len(got)} rows, not {len(want)}; of these only here {extra[:3]}, "
                             f"missing {missing[:3]}")
    return got


def live_and_replayed(platform, topic, names, events, args_of):
    """Deploys the queries over the first part of the events, lets them see the rest live, then replays them in
    another shape: more threads, and so little memory that rows are evicted."""
    for name in names:
        platform.deploy(name, oracle.definition(name, topic_of(topic, args_of(name))), "--wait")
    for args in sorted({args_of(name) for name in names}, key=str):
        fill(platform, topic_of(topic, args), events * 3 // 5, events - events * 3 // 5, *args)
    got = {}
    for name in names:
        support.applied_everything(platform, name, 1, topic_of(topic, args_of(name)))
        got[name] = check(platform, name, events, *args_of(name))
    for name in names:
        platform.run("replay", name, "--shards", 3, "--cache-bytes", 400_000)
        platform.wait(name, 2)
        receipt = platform.json("history", name)["receipts"][0]
        assert receipt["old_digest"] == receipt["new_digest"], name
        assert check(platform, name, events, *args_of(name)) == got[name]
    return got


def topic_of(topic, args):
    return f"{topic}-{args[1]}"


def start(platform, topic, names, events, args_of):
    for args in sorted({args_of(name) for name in names}, key=str):
        fill(platform, topic_of(topic, args), 0, events * 3 // 5, "--partitions", 3, *args)
        fill_side(platform, topic_of(topic, args))


@pytest.mark.parametrize("name", ENABLED)
def test_query_equals_sqlite(embedded, topic, name):
    def args_of(query):
        return ARGS[query]

    start(embedded, topic, [name], EVENTS, args_of)
    got = live_and_replayed(embedded, topic, [name], EVENTS, args_of)[name]
    assert len(got) > 0
    assert oracle.digest(got) == ENABLED[name], "the rows are right, but not those of the golden digest"


@pytest.mark.slow
def test_all_queries_on_kafka(kafka, tmp_path, topic):
    """And a small set of events, other seed, all queries at once."""
    _, seed = support.seed_for("test_all_queries_on_kafka")

    def args_of(name):
        return (*ARGS[name], "--seed", seed)

    with support.Platform(str(tmp_path), kafka=kafka) as platform:
        platform.up()
        start(platform, topic, list(ENABLED), 10_000, args_of)
        live_and_replayed(platform, topic, list(ENABLED), 10_000, args_of)


def test_processing_time_is_refused(embedded, topic):
    fill(embedded, topic, 0, 10)
    refused = embedded.deploy("q12", oracle.definition("q12", topic), code=1)
    assert "now()" in refused.stderr and "replay" in refused.stderr


# ---- The generator


def test_events_are_a_function_of_seed_and_number():
    text = oracle.printed(EVENTS)
    assert hashlib.sha256(text).hexdigest()[:8] == GENERATED
    lines = text.splitlines()
    assert oracle.printed(1000, "--first", 5000).splitlines() == lines[5000:6000]
    assert oracle.printed(100, "--seed", 2).splitlines()[1] != lines[1]
    shuffled = oracle.printed(1000, "--disorder", 50).splitlines()
    assert shuffled != lines[:1000] and sorted(shuffled) == sorted(lines[:1000])
    assert [sorted(shuffled[i:i + 50]) for i in range(0, 1000, 50)] == [sorted(lines[i:i + 50])
                                                                       for i in range(0, 1000, 50)]


def test_mix_and_distributions():
    events = [json.loads(line) for line in oracle.printed(EVENTS).splitlines()]
    assert [e["event"] for e in events[:50]] == ["person"] + ["auction"] * 3 + ["bid"] * 46
    people, auctions, bids = ([e for e in events if e["event"] == kind] for kind in ("person", "auction", "bid"))
    assert [len(people), len(auctions), len(bids)] == [EVENTS // 50, EVENTS * 3 // 50, EVENTS * 46 // 50]
    assert [e["id"] for e in people] == list(range(1000, 1000 + len(people)))
    assert [e["id"] for e in auctions] == list(range(1000, 1000 + len(auctions)))
    assert [e["date_time"] for e in events[:30]] == [1760000000000 + n // 10 for n in range(30)]
    share = [sum(10 ** k <= b["price"] < 10 ** (k + 1) for b in bids) / len(bids) for k in range(2, 8)]
    assert all(abs(s - 1 / 6) < 0.01 for s in share), share
    hot = sum((b["id"] - 1000) % 100 == 0 for b in bids) / len(bids)
    assert abs(hot - 0.5) < 0.02, hot
    assert abs(sum((b["bidder"] - 1000) % 100 == 1 for b in bids) / len(bids) - 0.75) < 0.02
    assert abs(sum((a["seller"] - 1000) % 100 == 0 for a in auctions) / len(auctions) - 0.75) < 0.02
    assert all(a["date_time"] < a["expires"] and a["initial_bid"] < a["reserve"] for a in auctions)
    created = {a["id"]: n for n, a in enumerate(events) if a["event"] == "auction"}
    early = sum(b["event"] == "bid" and created.get(b["id"], EVENTS) > n for n, b in enumerate(events))
    assert 0.01 < early / len(bids) < 0.1, "some bids come before their auction"


def test_topic_is_keyed_by_id(embedded, topic):
    fill(embedded, topic, 0, 2000, "--partitions", 3)
    records = embedded.cat(topic)
    assert len(records) == 2000 and {r["partition"] for r in records} == {0, 1, 2}
    assert all(r["key"] == str(r["value"]["id"]) for r in records)
    assert all(oracle.time_ms(r["time"]) == r["value"]["date_time"] for r in records)
    homes = {}
    for record in records:
        assert homes.setdefault(record["key"], record["partition"]) == record["partition"]
    refused = embedded.run("nexmark", "--topic", topic, "--partitions", 2, code=None)
    assert refused.returncode != 0 and "3 partitions" in refused.stderr
