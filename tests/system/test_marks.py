"""kappa rekey --marks: which time has passed is decided once, lies in the topic, and is what every replay follows."""

import collections
import time

import support
from support import eventually, rfc3339, seed_for

SQL = """CREATE TABLE activity (user_id text, at timestamptz, n bigint)
  WITH (topic = '%s', event_time = 'at', watermark_from = 'marks', late = 'late', key = 'user_id');
CREATE MATERIALIZED VIEW so_far AS
  SELECT window_start, count(*) AS events, sum(n) AS n FROM tumble(activity, at, interval '10 s') GROUP BY window_start;
CREATE MATERIALIZED VIEW finished WITH (emit = 'final') AS
  SELECT window_start, count(*) AS events, sum(n) AS n FROM tumble(activity, at, interval '10 s') GROUP BY window_start;
"""
SIZE = 10_000
BASE = 1_700_000_000_000


def event(user, second, n=1):
    return {"user_id": f"u{user}", "at": BASE + second * 1000, "n": n}


class Recount:
    """The windows of a topic with marks, as its records and marks say, partition by partition."""

    def __init__(self, platform, topic):
        self.windows = collections.Counter()
        self.late = self.messages = self.marks = 0
        self.passed = {}
        for record in platform.cat(topic):
            self.take(record)

    def take(self, record):
        partition = record["partition"]
        passed = self.passed.setdefault(partition, -1)
        if record["value"] is None:
            headers = dict(map(tuple, record["headers"]))
            assert record["key"] is None and list(headers) == ["kappa-mark"], record
            self.passed[partition] = max(passed, int(headers["kappa-mark"]))
            self.marks += 1
            return
        start = record["value"]["at"] // SIZE * SIZE
        self.messages += 1
        if start + SIZE <= passed:
            self.late += 1
        else:
            self.windows[start] += 1

    def finished(self):
        return {start: n for start, n in self.windows.items() if start + SIZE <= min(self.passed.values())}


def counts(platform, view):
    rows = platform.scan(view)
    return {support.ms_of(row["window_start"]): row["events"] for row in rows}


def agrees(platform, processor, version, topic):
    """The tables are what the topic says, which may still get marks."""

    def same():
        support.applied_everything(platform, processor, version, topic)
        said = Recount(platform, topic)
        seen = platform.version(processor, version)
        return (counts(platform, "so_far") == dict(said.windows) and counts(platform, "finished") == said.finished()
                and (seen["late"], seen["dead"]) == (2 * said.late, 0) and said)

    return eventually(same, 20, "the tables are what the topic says")


def follows(platform, processor, version, topic):
    """The same live and in a replay, digest for digest."""
    agrees(platform, processor, version, topic)
    platform.run("replay", processor)
    platform.wait(processor, version + 1)
    receipt = platform.json("history", processor)["receipts"][0]
    assert receipt["old_digest"] == receipt["new_digest"], receipt
    return agrees(platform, processor, version + 1, topic)


def rekey(platform, topics, out, *args):
    platform.run("rekey", *topics, "--key", "user_id", "--time", "at", "--marks", "--into", out, "--partitions", 2,
                 "--name", "merge", *args, "--wait")


def test_a_silent_partition(platform, topic):
    """It holds everything up for as long as --idle says; then windows close without it, and what it sends afterwards is
    late: live, and in a replay."""
    a, b, out = topic + "-a", topic + "-b", topic + "-out"
    platform.topic(a, 1)
    platform.topic(b, 1)
    rekey(platform, [a, b], out, "--idle", "3s")
    platform.deploy("count", SQL % out, "--wait")
    began = time.monotonic()
    platform.produce(b, [event(1, 5)])
    eventually(lambda: Recount(platform, out).messages == 1, 20, "b's event is merged")
    platform.produce(a, [event(i % 8, i) for i in range(100)], "--key", "user_id")
    eventually(lambda: sum(counts(platform, "so_far").values()) == 101, 20, "all events")
    early = counts(platform, "finished")
    assert early == {} or time.monotonic() - began >= 3, f"b may have more of the first window: {early}"
    eventually(lambda: len(counts(platform, "finished")) == 9, 20, "windows close although b is silent")
    assert counts(platform, "finished")[BASE] == 11
    platform.produce(b, [event(3, 20), event(4, 97)])
    eventually(lambda: Recount(platform, out).messages == 103, 20, "b's events are merged")
    said = follows(platform, "count", 1, out)
    assert said.late == 1 and said.windows[BASE + 20_000] == 10 and said.windows[BASE + 90_000] == 11


def test_without_idle(platform, topic):
    """A partition that never had a record holds the marks up for ever, and says so by their absence."""
    a, out = topic + "-a", topic + "-out"
    platform.topic(a, 2)
    rekey(platform, [a], out)
    platform.deploy("count", SQL % out, "--wait")
    platform.produce(a, [{"key": "u1", "value": event(1, i)} for i in range(30)], "-J")
    eventually(lambda: sum(counts(platform, "so_far").values()) == 30, 20, "all events")
    time.sleep(1)
    assert Recount(platform, out).marks == 0 and counts(platform, "finished") == {}
    busy = platform.cat(a)[0]["partition"]
    other = next(k for k in range(100) if partition_of(platform, a, f"k{k}") != busy)
    platform.produce(a, [{"key": f"k{other}", "value": event(2, 25)}], "-J")
    eventually(lambda: len(counts(platform, "finished")) == 2, 20, "the second partition has spoken")
    said = follows(platform, "count", 1, out)
    assert set(said.passed.values()) == {BASE + 25_000}


def partition_of(platform, topic, key):
    before = len(platform.cat(topic))
    platform.produce(topic, [{"key": key, "value": event(9, 0)}], "-J")
    records = platform.cat(topic)
    assert len(records) == before + 1
    return next(r["partition"] for r in records if r["key"] == key)


def test_kills(platform, topic):
    """kill -9 of workers and of the controller, and a swap of what merges: each message once, marks in every partition,
    and tables that are what the topic says."""
    rng, _ = seed_for("test_marks_kills")
    a, b, out = topic + "-a", topic + "-b", topic + "-out"
    platform.topic(a, 2)
    platform.topic(b, 1)
    rekey(platform, [a, b], out, "--idle", "1s")
    platform.deploy("count", SQL % out, "--wait")
    made = 0
    for number in range(8):
        for name, users in ((a, 20), (b, 7)):
            if number == 4 and name == b:
                time.sleep(1.5)  # it is idle, and comes back behind
                continue
            second = number * 10
            platform.produce(name, [event(rng.randrange(users), second + rng.randrange(14)) for _ in range(60)],
                             "--key", "user_id")
            made += 60
        time.sleep(rng.random() * 0.4)
        if number == 5:
            platform.run("replay", "merge")  # another version sends and marks from here on
            platform.wait("merge", 2)
        platform.kill_any(rng, 0.6)
    eventually(lambda: Recount(platform, out).messages == made, 60, "every event once")
    eventually(lambda: len(set(Recount(platform, out).passed.values())) == 1, 20, "the marks are in every partition")
    said = follows(platform, "count", 1, out)
    assert said.marks > 0 and sum(said.windows.values()) + said.late == made


def test_history_closes_in_order(platform, topic):
    """What lay in the topics before is merged by the field's time: nothing of it is late, though one topic is larger, and
    both are read with their marks by a version that begins later."""
    a, b, out = topic + "-a", topic + "-b", topic + "-out"
    platform.topic(a, 2)
    platform.topic(b, 1)
    platform.produce(a, [event(i % 8, i / 10) for i in range(6000)], "--key", "user_id")
    platform.produce(b, [event(i % 8, 200 + i) for i in range(300)], "--key", "user_id")
    rekey(platform, [a, b], out, "--idle", "1s")
    eventually(lambda: Recount(platform, out).passed.get(0) == BASE + 599_900, 20, "all that was there has passed")
    platform.deploy("count", SQL % out, "--wait")
    said = follows(platform, "count", 1, out)
    assert (said.messages, said.late) == (6300, 0)
    assert len(said.finished()) == 59
    assert rfc3339(BASE) in [record["time"] for record in platform.cat(out) if record["offset"] == 0]


def test_marks_end_where_they_are(platform, topic):
    """A topic with marks brought into another one: records go on, marks do not; the new topic has its own, also where the
    log's end is no record but the end of a transaction."""
    a, out, second = topic + "-a", topic + "-out", topic + "-second"
    platform.topic(a, 2)
    rekey(platform, [a], out, "--idle", "1s")
    platform.run("rekey", out, "--key", "user_id", "--into", second, "--marks", "--idle", "1s", "--wait")
    platform.produce(a, [event(i % 8, i) for i in range(50)], "--key", "user_id")
    eventually(lambda: set(Recount(platform, second).passed.values()) == {BASE + 49_000}, 20, "marks of its own")
    assert Recount(platform, second).messages == 50
    assert platform.version("rekey-" + second, 1)["dead"] == 0
    kinds = {tuple(name for name, _ in r["headers"]) for r in platform.cat(second)}
    assert kinds == {("kappa-from", "kappa-from", "kappa-out"), ("kappa-mark",)}
