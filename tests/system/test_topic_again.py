"""A topic of Kafka that is deleted, made again and grows past a version's position at once, while the version's worker
runs, stands still or is paused: nothing of the new topic is applied. And brokers that go and come back, stalls of all
kinds, times and offsets of all kinds in the same topic: nothing is found, and every record is counted once.

Nobody tells a reader that a topic is another one (librdkafka has no topic ids), so what is right is told by the values:
those of the new topic are 1000 and more.
"""

import os
import signal
import time

import pytest

import kafka_client
import support
from support import eventually

TWO_TABLES = """CREATE TABLE e (i bigint) WITH (topic='{0}', format='json');
CREATE MATERIALIZED VIEW c AS SELECT i, count(*) AS n FROM e GROUP BY i;
"""


@pytest.fixture
def admin(kafka):
    return kafka_client.Admin(kafka)


def counted(platform):
    return {row["i"]: row["n"] for row in platform.scan("c")}


def put(brokers, topic, partitions, values):
    for partition in range(partitions):
        kafka_client.produce(brokers, topic, partition, [(None, f'{{"i": {i}}}') for i in values])


def lived(platform, brokers, topic, partitions):
    """A version that serves what there is, and is live."""
    platform.deploy("c", TWO_TABLES.format(topic), "--wait")
    put(brokers, topic, partitions, range(30))
    platform.wait("c", 1)
    eventually(lambda: counted(platform) == {i: partitions for i in range(30)}, 60, "it is live")


def made_again(admin, brokers, topic, partitions):
    admin.delete_topic(topic)
    admin.create_topic(topic, partitions)
    put(brokers, topic, partitions, range(1000, 1090))


def stops(platform, partitions):
    version = eventually(lambda: (v := platform.version("c", 1))["error"] and v, 90, "the version notices")
    assert version["error"]["code"] == "topic_changed", version["error"]
    assert counted(platform) == {i: partitions for i in range(30)}, "nothing of the new topic was applied"


@pytest.mark.parametrize("partitions", [1, 7])
def test_while_it_runs(kafka, admin, topic, tmp_path, partitions):
    """A fetch that was refused is made again when the new topic has grown: by then nothing looks wrong."""
    admin.create_topic(topic, partitions)
    slow = ("-X", "fetch.error.backoff.ms=4000", "-X", "topic.metadata.refresh.fast.interval.ms=4000")
    with support.Platform(str(tmp_path), kafka=kafka, args=slow) as platform:
        platform.up()
        lived(platform, kafka, topic, partitions)
        made_again(admin, kafka, topic, partitions)
        stops(platform, partitions)


def test_while_its_process_stands_still(kafka, admin, topic, tmp_path):
    """Its connections had no fetch on them, and no broker has an error to tell."""
    admin.create_topic(topic, 2)
    with support.Platform(str(tmp_path), kafka=kafka) as platform:
        platform.up()
        lived(platform, kafka, topic, 2)
        pids = platform.worker_pids()
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            made_again(admin, kafka, topic, 2)
            time.sleep(2)  # a stall of less than a second is not noticed
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)
        stops(platform, 2)


def test_while_it_is_paused(kafka, admin, topic, tmp_path):
    admin.create_topic(topic, 2)
    with support.Platform(str(tmp_path), kafka=kafka) as platform:
        platform.up()
        lived(platform, kafka, topic, 2)
        platform.deploy("c", TWO_TABLES.format(topic).replace("count(*)", "count(*) + 0"), "--swap", "manual")
        platform.wait("c", 2, "caught-up")
        platform.run("pause", "c", 2)
        eventually(lambda: platform.version("c", 2)["state"] == "paused", 60, "it is paused")
        made_again(admin, kafka, topic, 2)
        platform.run("resume", "c", 2, code=None)  # refused when it was seen while the topic was gone
        version = eventually(lambda: (v := platform.version("c", 2))["error"] and v, 90, "the paused one notices")
        assert version["error"]["code"] == "topic_changed", version["error"]
        assert all(int(row["i"]) < 1000 for row in platform.scan("c@2"))
        stops(platform, 2)


def test_with_a_broker_that_restarts_behind_it(own_broker, topic, tmp_path):
    own_broker.create_topic(topic, 2)
    with support.Platform(str(tmp_path), kafka=own_broker.brokers) as platform:
        platform.up()
        lived(platform, own_broker.brokers, topic, 2)
        pids = platform.worker_pids()
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            made_again(own_broker, own_broker.brokers, topic, 2)
            own_broker.restart(kill=True)
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)
        stops(platform, 2)


def test_hiccups_are_no_change(own_broker, topic, tmp_path):
    """Records are produced after each; their times fall and rise, and the version began in the middle, so that older
    records are newer than those it read. Each doubt is looked into and found to be none."""
    rng, _ = support.seed_for("hiccups")
    own_broker.create_topic(topic, 3)
    now = int(time.time() * 1000)
    made = 0
    with support.Platform(str(tmp_path), kafka=own_broker.brokers, env={"KAPPA_LOG": "debug"}) as platform:
        platform.up()

        def produce(count, newest):
            nonlocal made
            for partition in range(3):
                platform.produce(topic, [{"i": made + i, "at": newest - rng.randrange(3_600_000)} for i in range(count)],
                                 "--partition", partition, "--time", "at")
            made += count

        def all_counted():
            version = platform.version("c", 1)
            assert version["error"] is None, version["error"]
            return counted(platform) == {i: 3 for i in range(100, made)}

        produce(100, now)
        platform.deploy("c", TWO_TABLES.format(topic), "--from", "end", "--wait")
        produce(50, now - 7_200_000)
        eventually(all_counted, 60, "it is live")
        for round_, what in enumerate((own_broker.restart, lambda: own_broker.restart(kill=True), None, own_broker.restart)):
            looked = platform.log_text().count("is still the topic that was read")
            if what is not None:
                what()
            else:
                pids = platform.worker_pids()
                for stopped, seconds in ((os.kill, 1.5), (None, 1.5)):
                    if stopped:
                        for pid in pids:
                            os.kill(pid, signal.SIGSTOP)
                    else:
                        own_broker.suspend()
                    time.sleep(seconds)
                    if stopped:
                        for pid in pids:
                            os.kill(pid, signal.SIGCONT)
                    else:
                        own_broker.resume()
            produce(200, now - 7_000_000 + 1000 * round_)
            eventually(all_counted, 120, f"all is counted after hiccup {round_}")
            assert platform.log_text().count("is still the topic that was read") > looked, "it was looked into"
        assert platform.version("c", 1)["worker"]["restarts"] == 0
