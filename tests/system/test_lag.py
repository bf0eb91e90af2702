"""Lag as others see it: Kafka's own tool shows the offsets and the lag that `kappa status` shows, and what an
open transaction holds back is neither lag nor unseen."""

import contextlib

import pytest

import kafka_broker
import support
from kafka_client import Producer
from support import eventually

SQL = """CREATE TABLE orders (id bigint, amount bigint) WITH (topic = '%s', format = 'json');
CREATE MATERIALIZED VIEW totals AS SELECT id, count(*) AS n, sum(amount) AS amount FROM orders GROUP BY id;
"""


def order(i):
    return '{"id": %d, "amount": %d}' % (i % 10, i)


def groups(broker):
    return set(broker.tool("org.apache.kafka.tools.consumer.group.ConsumerGroupCommand", "--list").split())


def as_kafka_shows(broker, group):
    """{partition: (current offset, log end offset, lag)}, once the group is there."""
    try:
        text = broker.tool("org.apache.kafka.tools.consumer.group.ConsumerGroupCommand", "--describe", "--group", group)
    except kafka_broker.KafkaError as error:
        assert "does not exist" in str(error)
        return {}
    lines = [line.split() for line in text.splitlines() if line.strip()]
    head = next((line for line in lines if line[0] == "GROUP"), None)
    if head is None:  # it has no offsets yet
        return {}
    rows = [line for line in lines if line[0] == group]
    columns = [head.index(name) for name in ("PARTITION", "CURRENT-OFFSET", "LOG-END-OFFSET", "LAG")]
    found = [[row[column] for column in columns] for row in rows]
    return {int(row[0]): tuple(int(value) for value in row[1:]) for row in found if "-" not in row}


def as_we_show(platform, number):
    return {s["partition"]: (s["committed"], s["high"], s["high"] - s["committed"])
            for s in platform.version("shop", number)["sources"]}


def settled(platform, number):
    """Everything that can be read is applied and committed."""
    sources = platform.version("shop", number)["sources"]
    return all(s["next"] == s["committed"] == s["end"] and s["lag"] == 0 for s in sources)


def source(platform, number, partition):
    return next(s for s in platform.version("shop", number)["sources"] if s["partition"] == partition)


@pytest.fixture
def shop(own_broker, tmp_path, topic):
    """Three partitions, the last of them empty, one with holes that markers of transactions made."""
    with support.Platform(str(tmp_path), kafka=own_broker.brokers) as platform, \
            contextlib.closing(Producer(own_broker.brokers, topic)) as producer:
        platform.up()
        platform.topic(topic, 3)
        for first in range(0, 300, 100):
            producer.begin()
            producer.send(topic, 0, [order(i) for i in range(first, first + 70)])
            producer.send(topic, 1, [order(i) for i in range(first + 70, first + 100)])
            producer.commit()
        platform.deploy("shop", SQL % topic, "--wait")
        yield platform, producer


def test_kafka_shows_the_same_figures(own_broker, shop, topic):
    platform, producer = shop

    def same(number):
        def look():
            ours = as_we_show(platform, number)
            theirs = as_kafka_shows(own_broker, f"kappa.shop.v{number}")
            return len(theirs) == 3 and theirs == ours == as_we_show(platform, number)
        return look

    eventually(lambda: settled(platform, 1), 60, "all is applied")
    eventually(same(1), 90, "Kafka's tool shows the cut of v1")
    # The markers count for both: 3 of them in each partition.
    assert as_we_show(platform, 1) == {0: (213, 213, 0), 1: (93, 93, 0), 2: (0, 0, 0)}
    platform.run("replay", "shop", "--wait")
    platform.produce(topic, [order(i) for i in range(50)], "--partition", 2)
    eventually(lambda: settled(platform, 2) and source(platform, 2, 2)["next"] == 50, 60, "all is applied")
    eventually(same(2), 90, "Kafka's tool shows the cut of v2")
    eventually(same(1), 90, "v1 stands by and is shown too")

    # Behind an open transaction nothing can be read: that is no lag of ours, and everybody can see it.
    producer.begin()
    producer.send(topic, 0, [order(i) for i in range(5)])
    platform.produce(topic, [order(i) for i in range(4)], "--partition", 0)
    blocked = eventually(lambda: (s := source(platform, 2, 0))["status"] == "blocked" and s["high"] == 222 and s, 60,
                         "partition 0 is blocked, and what waits is known")
    assert (blocked["next"], blocked["end"], blocked["lag"]) == (213, 213, 0), blocked
    assert [source(platform, 2, p)["status"] for p in (1, 2)] == ["ok", "ok"]
    eventually(same(2), 90, "Kafka's tool counts what is held back")
    text = platform.run("status", "shop").stdout
    assert f"{topic[:8]}" in text and "blocked at 213" in text and "9 offsets wait" in text, text
    metrics = platform.http("GET", "/metrics")[1]
    labels = 'processor="shop",version="2",topic="%s",partition="0"' % topic
    assert 'kappa_partition_status{%s,status="blocked"} 1' % labels in metrics
    assert "kappa_partition_high_watermark_offset{%s} 222" % labels in metrics
    assert "kappa_partition_last_stable_offset{%s} 213" % labels in metrics
    seconds = next(line for line in metrics.splitlines() if line.startswith("kappa_partition_blocked_seconds{%s}" % labels))
    assert float(seconds.split()[-1]) > 0
    # A candidate does not wait for what nobody can read.
    platform.run("replay", "shop", "--wait")
    producer.commit()
    eventually(lambda: settled(platform, 3) and source(platform, 3, 0)["status"] == "ok", 60, "it goes on")
    eventually(same(3), 90, "Kafka's tool shows the cut of v3")
    assert as_we_show(platform, 3)[0] == (223, 223, 0)

    # v1 retired when v3 was swapped in: a group that nobody moves would only look like lag.
    assert platform.version("shop", 1)["state"] == "retired"
    eventually(lambda: groups(own_broker) == {"kappa.shop.v2", "kappa.shop.v3"}, 90, "the group of v1 is gone")
    platform.run("rollback", "shop")
    eventually(same(2), 90, "v2 serves and is shown")


def test_groups_are_named_and_switched_off(own_broker, tmp_path, topic):
    with support.Platform(str(tmp_path), kafka=own_broker.brokers, args=["--groups", "off"]) as platform:
        platform.up()
        platform.topic(topic, 1)
        platform.produce(topic, [order(i) for i in range(20)])
        platform.deploy("shop", SQL % topic, "--wait")
        eventually(lambda: settled(platform, 1), 60, "all is applied")
        platform.down()
        platform.args = ["--groups", "staging"]
        platform.up()
        group = "staging.shop.v1"
        eventually(lambda: as_kafka_shows(own_broker, group) == {0: (20, 20, 0)}, 90, "the group has the name")
        assert groups(own_broker) == {group}  # while it was switched off there was none
        platform.down()
        platform.args = ["--groups", "a b"]
        platform.up(wait=False)
        assert platform.process.wait(180) == 2
        assert '"a b" is no prefix' in platform.log_text()


def test_a_broker_that_is_away(own_broker, tmp_path, topic):
    """It is no lag and no stillness: the partitions are disconnected, and go on when it is back."""
    with support.Platform(str(tmp_path), kafka=own_broker.brokers) as platform:
        platform.up()
        platform.topic(topic, 1)
        platform.produce(topic, [order(i) for i in range(20)])
        platform.deploy("shop", SQL % topic, "--wait")
        eventually(lambda: settled(platform, 1), 60, "all is applied")
        own_broker.stop()
        eventually(lambda: source(platform, 1, 0)["status"] == "disconnected", 90, "that is seen")
        own_broker.start()
        platform.produce(topic, [order(i) for i in range(5)])
        eventually(lambda: source(platform, 1, 0)["status"] == "ok" and settled(platform, 1), 90, "it goes on")
        assert source(platform, 1, 0)["next"] == 25
