"""Positions on a real Kafka, edge by edge. What is right is asked of the broker itself (kafka_client.py), and of
kcat, which reads as any consumer does.

    edge                                            test
    every form of --from and --until; time after    test_every_form, test_until_is_frozen (and on both logs
    the end; empty partition; unordered times;        test_cli.py: test_positions)
    start moved; markers; aborted and open
    transactions, end below the high watermark
    negative and other wrong input                  test_every_form, test_cli.py: test_positions
    several topics, each its own position           test_several_topics
    compaction holes                                test_compaction
    retention passes a replay                       test_the_start_moves; of a paused version and on the embedded log:
                                                      test_bad_input.py: test_range_lost_on_...
    partitions added while running                  test_partitions_added
    topic made again, topic gone                    test_topic_made_again...; unit tests: test_log_kafka.c
    hanging transaction: lag, status, candidates    test_lag.py: test_kafka_shows_the_same_figures
    transactions in archives                        test_archive.py: test_a_topic_with_transactions
"""

import contextlib
import json
import subprocess
import time

import pytest

import kafka_client
import support
from kafka_client import END, NONE, START
from support import eventually

BASE = 1_700_000_000_000

# A worker that holds little of the log in memory, so that what it reads next is asked of the broker.
SHORT_QUEUE = [word for setting in ("queued.max.messages.kbytes=256", "queued.min.messages=100",
                                    "fetch.message.max.bytes=65536", "fetch.max.bytes=65536", "message.max.bytes=65536")
               for word in ("-X", setting)]


@pytest.fixture
def admin(kafka):
    return kafka_client.Admin(kafka)


@pytest.fixture
def on_kafka(kafka, tmp_path):
    with support.Platform(str(tmp_path), kafka=kafka) as platform:
        yield platform.up()


def counts_sql(*topics):
    """A table per topic: how often each i came."""
    return "".join(f"CREATE TABLE e{n} (i bigint) WITH (topic='{topic}', format='json');\n"
                   f"CREATE MATERIALIZED VIEW c{n} AS SELECT i, count(*) AS n FROM e{n} GROUP BY i;\n"
                   for n, topic in enumerate(topics))


def counted(platform, table="c0"):
    return {row["i"]: row["n"] for row in platform.scan(table)}


def comes_to(platform, rows, table="c0"):
    """A version may serve when it is nearly at the end: the rest follows."""
    eventually(lambda: counted(platform, table) == rows, 60, f"{table} is {rows}")


def count(values):
    return {value: values.count(value) for value in values}


class Truth:
    """The partitions of a topic as the broker and kcat tell them."""

    def __init__(self, admin, brokers, topic, partitions):
        self.admin, self.topic = admin, topic
        self.start = {p: admin.offset(topic, p, START) for p in range(partitions)}
        self.end = {p: admin.offset(topic, p, END) for p in range(partitions)}
        self.high = {p: admin.offset(topic, p, END, committed=False) for p in range(partitions)}
        self.records = [(r["partition"], r["offset"]) for r in kafka_client.read(brokers, topic)]
        self.times = {(r["partition"], r["offset"]): r["ts"] for r in kafka_client.read(brokers, topic)}

    def at(self, form):
        """{partition: offset} of one word for all."""
        if form == "beginning":
            return dict(self.start)
        if form == "end":
            return dict(self.end)
        if form[0] == "-" and form[1:].isdigit():
            return {p: max(self.start[p], self.end[p] - int(form[1:])) for p in self.end}
        when = int(time.time() * 1000) - 3_600_000 if form == "-1h" else int(form[1:])
        found = {p: self.admin.offset(self.topic, p, when) for p in self.end}
        offsets = {p: self.end[p] if found[p] == NONE else found[p] for p in self.end}
        assert all(self.times[p, o] < when for p, o in self.records if o < offsets[p]), "nothing new is left out"
        return offsets

    def between(self, low, high):
        return [(p, o) for p, o in self.records if low[p] <= o < high[p]]


def test_every_form(on_kafka, admin, kafka, topic):
    """Partitions: 0 with times that do not ascend, 1 empty, 2 of transactions (the second one aborted) that ends with a
    marker, 3 whose end an open transaction holds back, 4 whose first three records are gone."""
    rng, _ = support.seed_for("every form")
    admin.create_topic(topic, 5)
    for partition, times in ((0, [0, 5000, 1000, 9000, 2000]), (3, [0, 1000]), (4, range(0, 8000, 1000))):
        on_kafka.produce(topic, [{"i": i, "at": BASE + t} for i, t in enumerate(times)], "--time", "at", "--partition",
                         partition)
    admin.delete_records(topic, 4, 3)
    with contextlib.closing(kafka_client.Producer(kafka, topic)) as producer:
        for end in (producer.commit, producer.abort, producer.commit):
            producer.begin()
            producer.send(topic, 2, ['{"i": 1}', '{"i": 2}'])
            end()
        producer.begin()
        producer.send(topic, 3, ['{"i": 3}', '{"i": 4}'])
        on_kafka.produce(topic, [{"i": 5, "at": BASE + 7000}], "--time", "at", "--partition", 3)
        eventually(lambda: admin.offset(topic, 2, END) == 9, 30, "the markers are written")
        truth = Truth(admin, kafka, topic, 5)
        assert truth.start == {0: 0, 1: 0, 2: 0, 3: 0, 4: 3}
        assert truth.end == {0: 5, 1: 0, 2: 9, 3: 2, 4: 8} and truth.high == {**truth.end, 3: 5}
        assert len(truth.records) == 5 + 0 + 4 + 2 + 5

        forms = ["beginning", "end", "-1", "-2", "-4", "-1000", "-1h", f"@{BASE}", f"@{BASE + 1001}", f"@{BASE + 3000}",
                 f"@{BASE + 6500}", f"@{BASE + 9001}", "@99999999999999"]
        offsets = {form: truth.at(form) for form in forms}
        lists = {"0:3,1:0,2:beginning,3:end,4:5": {0: 3, 1: 0, 2: 0, 3: 2, 4: 5},
                 # In the holes of markers and of what was aborted; at the very end; in a time.
                 f"0:5,1:end,2:3,3:2,4:@{BASE + 6500}": {0: 5, 1: 0, 2: 3, 3: 2, 4: 7},
                 f"{topic}/0:0,{topic}/1:0,{topic}/2:8,{topic}/3:0,{topic}/4:3": {0: 0, 1: 0, 2: 8, 3: 0, 4: 3},
                 f"{topic}/-2": truth.at("-2")}
        offsets.update(lists)

        def read(*args):
            out = on_kafka.run("cat", topic, "-e", "-J", *args).stdout
            return sorted((r["partition"], r["offset"]) for r in map(json.loads, out.splitlines()))

        for form, at in offsets.items():
            assert read("--from", form) == truth.between(at, truth.end), form
            assert read("--until", form) == truth.between(truth.start, at), form
        for _ in range(5):
            low, high = rng.choice(list(offsets)), rng.choice(list(offsets))
            assert read("--from", low, "--until", high) == truth.between(offsets[low], offsets[high]), (low, high)

        # A replay takes them to mean the same; at a time, when it is to know nothing of what was before.
        path = on_kafka.directory + "/c.sql"
        with open(path, "w") as out:
            out.write(counts_sql(topic))
        for form in rng.sample(forms, 4) + list(lists):
            plan = on_kafka.json("deploy", path, "--dry-run", "--from", form,
                                 *(["--empty-state"] if form[0] == "@" or form == "-1h" else []))
            assert [(s["from"], s["to"]) for s in plan["sources"]] == [
                (offsets[form][p], truth.end[p]) for p in range(5)], form
        for bad, words in (("0:6,1:0,2:0,3:0,4:3", "holds 0 to 5"), ("0:0,1:1,2:0,3:0,4:3", "holds 0 to 0"),
                           ("0:0,1:0,2:0,3:3,4:3", "holds 0 to 2"), ("0:0,1:0,2:0,3:0,4:2", "retention has taken it"),
                           ("0:0", "leaves out partition 1"), ("0:-1,1:0,2:0,3:0,4:3", "not negative"),
                           ("@-5", "before 1970"), ("-9000 weeks", "before 1970"), (f"{topic}/", "whole number")):
            done = on_kafka.run("deploy", path, "--dry-run", "--from", bad, code=None)
            assert done.returncode != 0 and words in done.stderr, (bad, done.stderr)

        # What is replayed from them is what kcat reads, and the version stands at the end, not below it.
        form = f"0:5,1:end,2:3,3:2,4:@{BASE + 6500}"
        on_kafka.run("deploy", path, "--from", form, "--wait")
        comes_to(on_kafka, {1: 1, 2: 1, 7: 1})
        eventually(lambda: {s["partition"]: s["next"] for s in on_kafka.version("c", 1)["sources"]} == truth.end, 60,
                   "it stands at the end, behind markers")
        producer.abort()
        comes_to(on_kafka, {1: 1, 2: 1, 7: 1, 5: 1})  # with what lay behind the open one


def test_until_is_frozen(on_kafka, topic):
    """What comes while it is read does not move the end: more is produced when the first record is out, and
    more is still to come than a pipe holds."""
    on_kafka.topic(topic, 1)
    text = "x" * 1000
    on_kafka.produce(topic, [{"i": i, "text": text} for i in range(3000)])
    for until, last in (("end", 3000), ("-500", 2501), ("0:2900", 2900)):
        cat = subprocess.Popen([support.BIN, "cat", topic, "--until", until], env=on_kafka.env, text=True,
                               stdout=subprocess.PIPE, cwd=on_kafka.directory)
        first = json.loads(cat.stdout.readline())["i"]
        on_kafka.produce(topic, [{"i": 9999}])
        got = [first] + [json.loads(line)["i"] for line in cat.stdout]
        assert cat.wait(300) == 0 and got == list(range(last)), until
    assert on_kafka.run("cat", topic, "-e", "--from", "-4").stdout.count("9999") == 3


def test_several_topics(on_kafka, admin, topic):
    """Each topic has its own position."""
    names = [topic + "-a", topic + "-b", topic + "-c"]
    for name in names:
        admin.create_topic(name, 2)
        for partition in range(2):
            on_kafka.produce(name, [{"i": i, "at": BASE + i * 1000} for i in range(10)], "--time", "at", "--partition",
                             partition)
    a, b, c = names
    on_kafka.deploy("own", counts_sql(*names), "--from", f"{a}/@{BASE + 6000},{b}/beginning,{c}/0:9,{c}/1:end", "--wait")
    for table, rows in (("c0", {i: 2 for i in range(6, 10)}), ("c1", {i: 2 for i in range(10)}), ("c2", {9: 1})):
        comes_to(on_kafka, rows, table)
    eventually(lambda: [s["next"] for s in on_kafka.version("own", 1)["sources"]] == [10] * 6, 60, "all is read")
    assert on_kafka.version("own", 1)["complete"] is False
    on_kafka.produce(a, [{"i": 100}], "--partition", 1)
    eventually(lambda: counted(on_kafka, "c0").get(100) == 1, 60, "it goes on")
    for bad, words in ((f"{a}/end,{b}/end", f"partition 0 of topic '{c}'"), ("0:1,1:1", "of which topic"),
                       (f"{a}/end,{b}/end,{c}/end,{c}/0:1", "named twice"), (f"{a}/end,{b}/end,{c}/5", "2 partitions")):
        done = on_kafka.run("replay", "own", "--from", bad, code=None)
        assert done.returncode != 0 and words in done.stderr, (bad, done.stderr)


def test_compaction(on_kafka, admin, kafka, topic):
    """Offsets with holes, at the start too: each is a position, and reads on with the next record there is."""
    admin.create_topic(topic, 1, cleanup_policy="compact", segment_ms=20, min_cleanable_dirty_ratio=0.01,
                       max_compaction_lag_ms=1, delete_retention_ms=1)
    for turn in range(3):
        kafka_client.produce(kafka, topic, 0, [(f"k{i}", '{"i": %d}' % (turn * 10 + i)) for i in range(turn, 10)])
        time.sleep(0.05)  # the next one begins a segment
    for last in (98, 99):
        kafka_client.produce(kafka, topic, 0, [(f"k{last}", '{"i": %d}' % last)])
        time.sleep(0.05)
    wanted = [0, 11] + list(range(22, 30)) + [98, 99]
    eventually(lambda: len(kafka_client.read(kafka, topic)) == len(wanted), 120, "the topic is compacted", every=0.3)
    truth = Truth(admin, kafka, topic, 1)
    assert truth.end == {0: 29} and [o for _, o in truth.records] == [0, 10] + list(range(19, 29))
    values = dict(zip([o for _, o in truth.records], wanted))

    def ids(*args):
        return [json.loads(line)["i"] for line in on_kafka.run("cat", topic, "-e", *args).stdout.splitlines()]

    for at in (0, 1, 9, 10, 11, 18, 19, 27, 29):
        assert ids("--from", f"0:{at}") == [i for o, i in values.items() if o >= at], at
        assert ids("--until", f"0:{at}") == [i for o, i in values.items() if o < at], at
    assert ids("--from", "-15") == [i for o, i in values.items() if o >= 14]
    digests = set()
    for name, shape in (("one", ["--shards", 1]), ("two", ["--shards", 2, "--cache-bytes", 5000])):
        sql = counts_sql(topic).replace("c0", name)
        on_kafka.deploy(name, sql, "--from", "0:5", "--wait", *shape)
        comes_to(on_kafka, {i: 1 for o, i in values.items() if o >= 5}, name)
        eventually(lambda: on_kafka.version(name, 1)["sources"][0]["next"] == 29, 60, "it stands at the end")
        verified = on_kafka.json("verify", name, 1)
        assert verified["verified"]
        digests.add(verified["digest"])
    assert len(digests) == 1


def test_the_start_moves(kafka, admin, tmp_path, topic):
    """Retention takes what a replay has not read yet: it fails and says what is left, and never serves; a version
    that is past it does not mind."""
    with support.Platform(str(tmp_path), kafka=kafka, args=SHORT_QUEUE) as platform:
        platform.up()
        admin.create_topic(topic, 1)
        platform.produce(topic, [{"i": i % 100, "text": "x" * 1000} for i in range(6000)])
        platform.deploy("c", counts_sql(topic), "--wait")
        comes_to(platform, {i: 60 for i in range(100)})
        platform.run("replay", "c", "--limit", "200/s", "--swap", "manual")
        eventually(lambda: platform.version("c", 2)["sources"][0]["next"] > 0, 60, "it reads")
        assert platform.version("c", 2)["sources"][0]["next"] < 5000
        admin.delete_records(topic, 0, 5000)
        platform.run("limit", "c", 2, "none")
        version = eventually(lambda: (v := platform.version("c", 2))["state"] == "failed" and v, 60, "v2 fails")
        assert version["error"]["code"] == "range_lost" and "5000" in version["error"]["message"], version["error"]
        assert version["sources"][0]["next"] < 5000
        platform.run("swap", "c", 2, code=4)
        platform.produce(topic, [{"i": 5}])
        eventually(lambda: counted(platform)[5] == 61, 60, "v1 goes on")
        assert platform.status("c")["serving"] == 1
        # What is left is less than what v1 has: replayed, but not swapped in unless told.
        plan = platform.json("replay", "c", "--dry-run")
        assert [(s["from"], s["to"]) for s in plan["sources"]] == [(5000, 6001)]
        platform.run("replay", "c", "--accept-gap", "--wait")
        comes_to(platform, {i: 10 + (i == 5) for i in range(100)})


def test_partitions_added(on_kafka, admin, topic):
    """A key may lie in two partitions then: no version goes on as if nothing were, and a new one reads all."""
    admin.create_topic(topic, 2)
    on_kafka.produce(topic, [{"i": i % 7} for i in range(100)])
    on_kafka.deploy("c", counts_sql(topic), "--wait")
    support.applied_everything(on_kafka, "c", 1, topic, "committed")
    admin.add_partitions(topic, 4)
    on_kafka.produce(topic, [{"i": i % 7} for i in range(50)], "--partition", 3)
    version = eventually(lambda: (v := on_kafka.version("c", 1))["error"] and v, 60, "v1 notices")
    assert version["error"]["code"] == "topic_changed", version["error"]
    assert "4 partitions now" in version["error"]["message"] and version["error"]["hint"]
    assert sum(counted(on_kafka).values()) == 100  # reads go on
    on_kafka.run("replay", "c", "--wait")
    everything = [json.loads(line)["i"] for line in on_kafka.run("cat", topic, "-e").stdout.splitlines()]
    assert len(everything) == 150
    comes_to(on_kafka, count(everything))
    assert len(on_kafka.version("c", 2)["sources"]) == 4
    on_kafka.produce(topic, [{"i": 70}], "--partition", 2)
    eventually(lambda: counted(on_kafka).get(70) == 1, 60, "v2 is live")


def test_topic_made_again(on_kafka, admin, topic):
    """Offsets mean other records then: the version stops, goes on serving what it has, and a new one reads the new
    topic."""
    admin.create_topic(topic, 1)
    on_kafka.produce(topic, [{"i": i % 7} for i in range(100)])
    on_kafka.deploy("c", counts_sql(topic), "--wait")
    support.applied_everything(on_kafka, "c", 1, topic, "committed")
    admin.delete_topic(topic)
    admin.create_topic(topic, 1)
    on_kafka.produce(topic, [{"i": i} for i in range(20)])
    version = eventually(lambda: (v := on_kafka.version("c", 1))["error"] and v, 60, "v1 notices")
    assert version["error"]["code"] == "topic_changed", version["error"]
    assert sum(counted(on_kafka).values()) == 100
    # What v1 has of the earlier topic is nowhere else: a version without it serves only when a person says so.
    done = on_kafka.run("replay", "c", "--wait", code=None)
    assert done.returncode != 0 and "was made anew" in done.stdout + done.stderr, (done.stdout, done.stderr)
    assert on_kafka.status("c")["serving"] == 1
    on_kafka.run("replay", "c", "--accept-gap", "--wait")
    comes_to(on_kafka, {i: 1 for i in range(20)})
    on_kafka.produce(topic, [{"i": 20}])
    eventually(lambda: counted(on_kafka).get(20) == 1, 60, "v3 is live")
    # The same topic still: the next one is compared with it, and takes over.
    on_kafka.run("replay", "c", "--wait")
    receipt = on_kafka.json("history", "c")["receipts"][0]
    assert receipt["new"] == receipt["old"] + 1 == 3 and receipt["old_digest"] == receipt["new_digest"]


def test_topic_made_again_and_grown(on_kafka, admin, kafka, topic):
    """It has more records than were read of the earlier one: seen by times that cannot be. Markers of transactions,
    which are newer than the last record, and what was aborted, are no such thing."""
    admin.create_topic(topic, 1)
    admin.create_topic(topic + "-tx", 1)
    on_kafka.produce(topic, [{"i": i % 7} for i in range(100)])
    with contextlib.closing(kafka_client.Producer(kafka, topic)) as producer:
        for end in (producer.commit, producer.abort):
            producer.begin()
            producer.send(topic + "-tx", 0, ['{"i": 1}', '{"i": 2}'])
            end()
    on_kafka.deploy("c", counts_sql(topic), "--wait")
    on_kafka.deploy("tx", counts_sql(topic + "-tx").replace("c0", "t0"), "--wait")
    support.applied_everything(on_kafka, "c", 1, topic, "committed")
    eventually(lambda: on_kafka.version("tx", 1)["sources"][0]["committed"] == 6, 60, "it stands behind the last marker")
    on_kafka.down()
    admin.delete_topic(topic)
    admin.create_topic(topic, 1)
    on_kafka.produce(topic, [{"i": i} for i in range(150)])
    on_kafka.up()
    version = eventually(lambda: (v := on_kafka.version("c", 1))["error"] and v, 60, "v1 notices")
    assert version["error"]["code"] == "topic_changed" and "made again" in version["error"]["message"], version["error"]
    assert version["sources"][0]["status"] == "topic_changed"
    done = on_kafka.run("replay", "c", "--wait", code=None)
    assert done.returncode != 0 and "was made anew" in done.stdout + done.stderr, (done.stdout, done.stderr)
    on_kafka.run("replay", "c", "--accept-gap", "--wait")
    comes_to(on_kafka, {i: 1 for i in range(150)})
    kafka_client.produce(kafka, topic + "-tx", 0, [(None, '{"i": 9}')])
    eventually(lambda: counted(on_kafka, "t0") == {1: 1, 2: 1, 9: 1}, 60, "the other goes on")
    assert on_kafka.version("tx", 1)["error"] is None
