"""Topic outputs: each message once and in order, sent by the version whose it is, through kills, swaps, rollbacks and
restarts of the broker; candidates send nothing."""

import collections
import os
import re
import signal
import time

import pytest

import support
from support import eventually, seed_for

INPUT = """CREATE TABLE transactions (id bigint, user_id text, amount double precision, ts timestamptz)
  WITH (topic = '%s', format = 'json', event_time = 'ts', watermark = '5 s', timestamp_unit = 'ms');
"""
OUTPUT = """CREATE TABLE alerts (id bigint, user_id text, amount double precision, message text, kind text)
  WITH (topic = '%s', format = 'json', key = 'user_id', headers = 'kind');
INSERT INTO alerts SELECT id, user_id, amount, '%s', 'large' FROM transactions WHERE amount > 10000;
"""
TABLE = """CREATE MATERIALIZED VIEW spent AS SELECT user_id, count(*) AS n FROM transactions GROUP BY user_id;
"""
NAME = re.compile(r"\S+ (\S+?)(?::[0-9a-f]+)?/(\d+)@(\d+)\.(\d+)\.(\d+)$")


def sql(topic, out, message):
    return INPUT % topic + TABLE + OUTPUT % (out, message)


def transaction(i):
    return {"id": i, "user_id": f"u{i * 31 % 40}", "amount": float(i * 7919 % 20000), "ts": 1_700_000_000_000 + i * 10}


def is_large(value):
    return value["amount"] > 10000


def next_version(platform, processor):
    """The number that the next deploy gets; one that was refused got none."""
    return 1 + max(v["version"] for v in platform.status(processor)["versions"])


class Stream(support.Background):
    """Transactions with rising ids, a few at a time, until stopped."""

    def __init__(self, platform, topic, first, pause=0.05, batch=40):
        super().__init__(pause)
        self.platform, self.topic, self.next, self.batch = platform, topic, first, batch
        self.start()

    def step(self):
        self.platform.produce(self.topic, [transaction(i) for i in range(self.next, self.next + self.batch)],
                              "--key", "user_id")
        self.next += self.batch


def spans(platform, processor):
    """[(version, {topic: [offset]})] from the receipts: whose messages are real from where. The first from its start."""
    receipts = platform.json("history", processor)["receipts"]
    ordered = sorted(receipts, key=lambda r: r["epoch"])
    return [(r["new"], r["outputs_from"]) for r in ordered]


def version_at(found, topic, partition, offset):
    version = found[0][0]
    for number, cut in found[1:]:
        if offset >= cut[topic][partition]:
            version = number
    return version


def problems(platform, topic, out, message_of):
    """What is missing, double, out of order or of the wrong version; the empty list when all is right."""
    wanted = {}
    found = spans(platform, "alerts")
    if not found:
        return [("nothing serves",)]
    for record in platform.cat(topic):
        if is_large(record["value"]):
            wanted[(record["partition"], record["offset"])] = record["value"]
    seen = collections.Counter()
    last = {}
    wrong = []
    for record in platform.cat(out):
        name = NAME.match(dict(record["headers"])["kappa-out"])
        assert name and name.group(1) == topic, record
        place = (int(name.group(2)), int(name.group(3)))
        seen[place] += 1
        key = (record["partition"], place[0])
        if last.get(key, -1) >= place[1]:
            wrong.append(("order", key, last[key], place))
        last[key] = place[1]
        value, source = record["value"], wanted.get(place)
        if source is None or value["id"] != source["id"] or value["amount"] != source["amount"] \
                or record["key"] != source["user_id"] or dict(record["headers"])["kind"] != "large":
            wrong.append(("value", record, source))
            continue
        version = version_at(found, topic, *place)
        if value["message"] != message_of(version):
            wrong.append(("version", place, value["message"], version))
    wrong += [("missing", place) for place in wanted if place not in seen]
    wrong += [("double", place, count) for place, count in seen.items() if count > 1]
    return wrong


def all_sent(platform, topic, out, message_of, seconds=60):
    support.settled(platform, lambda: problems(platform, topic, out, message_of), seconds, "every message once")


def test_filter_to_a_topic(platform, topic):
    """Scenario 3. The topic is made; messages have key, headers and the event's time; partitions as Kafka's client."""
    out = topic + "-out"
    platform.topic(topic, 3)
    platform.produce(topic, [transaction(i) for i in range(1000)], "--key", "user_id")
    platform.deploy("alerts", sql(topic, out, "large"), "--wait")
    all_sent(platform, topic, out, lambda version: "large")
    records = platform.cat(out)
    assert len(records) == sum(is_large(transaction(i)) for i in range(1000))
    assert len({r["partition"] for r in records}) == 3
    by_id = {r["value"]["id"]: r for r in records}
    for event in map(transaction, range(1000)):
        if is_large(event):
            assert by_id[event["id"]]["time"] == support.rfc3339(event["ts"])
            assert "kind" not in by_id[event["id"]]["value"]
    outputs = eventually(lambda: (o := platform.version("alerts", 1)["outputs"])["waiting"] == 0 and o, 20, "nothing waits")
    assert outputs["sent"] == len(records) and outputs["topics"] == [out]
    assert platform.json("verify", "alerts", 1)["verified"] is True


def test_live_messages_come_soon(platform, topic):
    out = topic + "-out"
    platform.topic(topic, 1)
    platform.deploy("alerts", sql(topic, out, "large"), "--wait")
    took, looks = [], []
    for i in range(5):
        start = time.monotonic()
        platform.cat(out)
        looks.append(time.monotonic() - start)
        start = time.monotonic()
        platform.produce(topic, [{**transaction(i), "amount": 20000.0}], "--key", "user_id")
        eventually(lambda: len(platform.cat(out)) == i + 1, 20, "the message is there", every=0.01)
        took.append(time.monotonic() - start)
    assert sorted(took)[2] < 3 + 20 * max(looks), (took, looks)  # a slow machine looks slowly, too


def test_swaps_and_rollbacks_send_each_message_once(platform, topic):
    """Versions change places under load; each message is of the version that the receipts say."""
    out = topic + "-out"
    platform.topic(topic, 3)
    platform.produce(topic, [transaction(i) for i in range(2000)], "--key", "user_id")
    platform.deploy("alerts", sql(topic, out, "v1"), "--wait")
    stream = Stream(platform, topic, 2000)
    for number in range(2, 5):
        platform.deploy("alerts", sql(topic, out, f"v{number}"), "--wait")
        time.sleep(0.2)
        platform.run("rollback", "alerts")
        time.sleep(0.1)
        platform.run("swap", "alerts", number)
    stream.stop()
    all_sent(platform, topic, out, lambda version: f"v{version}")
    assert len(spans(platform, "alerts")) == 10
    shadow = platform.version("alerts", 3)
    assert shadow["outputs"]["waiting"] == 0


def test_kills_at_random_moments(platform, topic):
    """kill -9 of workers and of the controller, swaps and rollbacks in between."""
    rng, _ = seed_for("test_kills_at_random_moments")
    out = topic + "-out"
    platform.topic(topic, 3)
    platform.produce(topic, [transaction(i) for i in range(3000)], "--key", "user_id")
    platform.deploy("alerts", sql(topic, out, "v1"), "--wait")
    stream = Stream(platform, topic, 3000)
    for round_number in range(16):
        if round_number % 4 == 1:
            platform.deploy("alerts", sql(topic, out, f"v{next_version(platform, 'alerts')}"), code=None)
        if round_number % 4 == 3:
            platform.run("rollback", "alerts", code=None)
        time.sleep(rng.random() * 0.4)
        platform.kill_any(rng, 0.7)
    stream.stop()
    all_sent(platform, topic, out, lambda number: f"v{number}")


@pytest.mark.parametrize("step", ["mark", "appended", "sent", "saved", "commit", "committed"])
def test_worker_dies_at_each_step_of_sending(platform, topic, step):
    """It dies again and again at the same step, a little further each time."""
    out = topic + "-out"
    platform.topic(topic, 2)
    platform.down()
    platform.up(extra_env={"KAPPA_FAIL": f"{step}:2"})
    platform.deploy("alerts", sql(topic, out, "v1"), code=None)
    for i in range(6):
        platform.produce(topic, [transaction(k) for k in range(i * 100, i * 100 + 100)], "--key", "user_id")
        time.sleep(0.4)
    platform.kill()
    platform.up()
    all_sent(platform, topic, out, lambda version: "v1")


def test_broker_restarts_while_sending(own_broker, tmp_path, topic):
    """Messages wait while the broker is away, and are there once when it is back."""
    out = topic + "-out"
    with support.Platform(str(tmp_path), kafka=own_broker.brokers) as platform:
        platform.up()
        platform.topic(topic, 2)
        platform.produce(topic, [transaction(i) for i in range(2000)], "--key", "user_id")
        platform.deploy("alerts", sql(topic, out, "v1"), "--wait")
        for round_number in range(2):
            stream = Stream(platform, topic, 2000 + round_number * 100000)
            time.sleep(1)
            stream.stop()
            own_broker.stop(kill=True)
            time.sleep(0.5)
            own_broker.start()
        all_sent(platform, topic, out, lambda version: "v1", seconds=90)


def test_a_candidate_sends_nothing_and_is_listed(embedded, topic):
    """--swap manual: what v2 would have sent is in its outbox; from the swap on it sends."""
    out = topic + "-out"
    embedded.topic(topic, 2)
    embedded.produce(topic, [transaction(i) for i in range(200)], "--key", "user_id")
    embedded.deploy("alerts", sql(topic, out, "v1"), "--wait")
    all_sent(embedded, topic, out, lambda version: "v1")
    embedded.deploy("alerts", sql(topic, out, "v2"), "--swap", "manual")
    embedded.wait("alerts", 2, "caught-up")
    before = len(embedded.cat(out))
    shadow = embedded.json("outbox", "alerts", "--shadow")["messages"]
    assert shadow == embedded.json("outbox", "alerts", 2, "--shadow")["messages"]
    assert shadow == embedded.http("GET", "/v1/processors/alerts/outbox?version=candidate")[1]["messages"]
    assert {m["value"]["message"] for m in shadow} == {"v2"}
    assert sorted(m["value"]["id"] for m in shadow) == sorted(i for i in range(200) if is_large(transaction(i)))
    text = embedded.run("outbox", "alerts", 2, "--limit", "3").stdout
    assert "v2" in text and len(text.splitlines()) == 4
    assert len(embedded.cat(out)) == before
    embedded.run("swap", "alerts", 2)
    eventually(lambda: embedded.json("outbox", "alerts")["messages"] == [], 20, "what was kept goes, also when nothing comes")
    embedded.produce(topic, [transaction(i) for i in range(200, 300)], "--key", "user_id")
    all_sent(embedded, topic, out, lambda version: f"v{version}")
    eventually(lambda: embedded.json("outbox", "alerts")["messages"] == [], 20, "nothing waits")


def test_a_candidate_keeps_its_newest_messages(embedded, topic):
    """What the serving version has sent leaves a candidate's outbox, but for the newest 1,000 of each partition."""
    out = topic + "-out"
    embedded.topic(topic, 1)
    large = [{**transaction(i), "amount": 20000.0} for i in range(2300)]
    embedded.produce(topic, large, "--key", "user_id")
    embedded.deploy("alerts", sql(topic, out, "v1"), "--wait")
    embedded.deploy("alerts", sql(topic, out, "v2"), "--swap", "manual")
    embedded.wait("alerts", 2, "caught-up")

    def kept():
        return [m["value"]["id"] for m in embedded.json("outbox", "alerts", 2, "--limit", 5000)["messages"]]
    eventually(lambda: kept() == list(range(1300, 2300)), 40, "the newest 1,000 are kept")
    embedded.run("swap", "alerts", 2)
    all_sent(embedded, topic, out, lambda version: "v1")


def test_outputs_new_and_all(embedded, topic):
    """The first version sends from its start unless told otherwise; later ones never."""
    out = topic + "-out"
    embedded.topic(topic, 1)
    embedded.produce(topic, [transaction(i) for i in range(100)], "--key", "user_id")
    embedded.deploy("alerts", sql(topic, out, "v1"), "--wait", "--outputs", "new")
    embedded.produce(topic, [transaction(i) for i in range(100, 200)], "--key", "user_id")
    wanted = [i for i in range(100, 200) if is_large(transaction(i))]
    eventually(lambda: [r["value"]["id"] for r in embedded.cat(out)] == wanted, 20, "only the new ones are sent")
    refused = embedded.deploy("alerts", sql(topic, out, "v2"), "--outputs", "all", code=4)
    assert "twice" in refused.stderr
    loop = embedded.deploy("loop", INPUT % topic + OUTPUT % (topic, "x"), code=4)
    assert "never come to an end" in loop.stderr


def test_the_outbox_shows_messages_as_they_are(embedded, topic):
    """Money keeps its last zero and its digits, as text and as JSON."""
    embedded.topic(topic, 1)
    embedded.produce(topic, ['{"k":"a","v":4210.80}', '{"k":"a","v":12345678901234567890.10}'])
    embedded.deploy("money", f"""CREATE TABLE t (k text, v numeric(30, 2)) WITH (topic='{topic}');
        CREATE TABLE o (k text, v numeric(30, 2)) WITH (topic='{topic}-out', format='json', key='k');
        INSERT INTO o SELECT k, v FROM t;""", "--swap", "manual")
    embedded.wait("money", 1, "caught-up")
    for arguments in (["-o", "json"], []):
        shown = embedded.run("outbox", "money", 1, *arguments).stdout
        assert '"v":4210.80' in shown and '"v":12345678901234567890.10' in shown, shown
