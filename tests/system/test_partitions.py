"""Many partitions: 256, of which one holds nearly everything. The tables and their digest are the same whatever the
number of shards; the small ones are not kept waiting by the huge one; and a worker's memory and files do not grow
with the partitions."""

import os

import kafka_client
from support import eventually

PARTITIONS = 256
HUGE = 7
HUGE_RECORDS = 60_000
KEYS = 2000

SQL = ("CREATE TABLE e (k text, n bigint) WITH (topic='%s');\n"
       "CREATE MATERIALIZED VIEW %s AS SELECT k, count(*) AS c, sum(n) AS s FROM e GROUP BY k;\n")


def fill(platform, topic):
    """{k: (how often, sum)} of what was produced: two records of each key, and a huge partition."""
    small = [(f"k{i % KEYS}", i) for i in range(2 * KEYS)]
    huge = [(f"h{i % 500}", i) for i in range(HUGE_RECORDS)]
    for records, args in ((huge, ["--partition", HUGE]), (small, ["--key", "k"])):
        platform.run("produce", topic, *args, stdin="".join('{"k":"%s","n":%d,"pad":"%s"}\n' % (k, n, "x" * 60)
                                                            for k, n in records))
    rows = {}
    for k, n in small + huge:
        count, total = rows.get(k, (0, 0))
        rows[k] = (count + 1, total + n)
    return rows


def rows_of(platform, table):
    return {row["k"]: (row["c"], int(row["s"])) for row in platform.scan(table)}


def test_many_small_and_one_huge(platform, topic):
    platform.topic(topic, PARTITIONS)
    wanted = fill(platform, topic)
    ends = {}
    for record in platform.cat(topic):
        ends[record["partition"]] = record["offset"] + 1
    assert len(ends) > PARTITIONS * 0.9 and max(ends, key=ends.get) == HUGE

    # Read slowly, so that the order of progress can be seen: all the small ones are through while the huge one has
    # hardly begun. At this rate the rest of it takes half a minute.
    platform.deploy("slow", SQL % (topic, "slow"), "--shards", 2, "--limit", "2000/s", "--swap", "manual")

    def small_are_through():
        sources = platform.version("slow", 1)["sources"]
        assert len(sources) == PARTITIONS
        huge = sources[HUGE]["next"]
        return all(s["next"] >= ends.get(s["partition"], 0) for s in sources if s["partition"] != HUGE) and [huge]

    assert eventually(small_are_through, 60, "the small partitions are read")[0] < HUGE_RECORDS / 2
    worker = platform.version("slow", 1)["worker"]
    assert worker["rss_bytes"] < 400 << 20, worker  # sanitizers included; 25 and 70 MiB without
    assert len(os.listdir(f"/proc/{worker['pid']}/fd")) < 100
    assert len(os.listdir(f"/proc/{worker['pid']}/task")) < 30
    platform.run("limit", "slow", 1, "none")
    platform.wait("slow", 1, "caught-up")
    platform.run("swap", "slow", 1)
    for shards in (1, 4):
        platform.deploy(f"with{shards}", SQL % (topic, f"with{shards}"), "--shards", shards, "--wait")
    digests = set()
    for name in ("slow", "with1", "with4"):
        eventually(lambda: all(s["committed"] >= ends.get(s["partition"], 0)
                               for s in platform.version(name, 1)["sources"]), 60, "everything is applied")
        assert rows_of(platform, name) == wanted
        verified = platform.json("verify", name, 1)
        assert verified["verified"]
        digests.add(verified["digest"])
    assert len(digests) == 1, digests
    platform.down()
    if platform.kafka:  # the broker is shared: it keeps open what it has
        kafka_client.Admin(platform.kafka).delete_topic(topic)
