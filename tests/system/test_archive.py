"""Archives: what a log has removed is still replayed, to the same digest, also on another machine without the
log; what is damaged or missing is told, and never read over."""

import collections
import json
import os
import shutil

import pytest

import kafka_client
import support
from support import eventually
from test_doctor import lines_of
from test_metrics import parse

# Small files, so that a short test has many; flushed at once, so that it need not wait.
ENV = {"KAPPA_ARCHIVE_FLUSH_MS": "100", "KAPPA_ARCHIVE_SEGMENT_BYTES": "4000"}
SEGMENT = 65536


class Place:
    """A platform, its log, and how that log loses its start."""

    def __init__(self, platform, broker=None):
        self.platform = platform
        self.broker = broker

    def topic(self, name, partitions):
        self.platform.topic(name, partitions, *([] if self.broker else ["--segment-bytes", SEGMENT]))
        return name

    def ends(self, topic):
        """End offset per partition."""
        ends = collections.Counter()
        for record in self.platform.cat(topic):
            ends[record["partition"]] = max(ends[record["partition"]], record["offset"] + 1)
        return ends

    def lose_start(self, topic, ends):
        """As retention does. On return the log of each partition begins above 0."""
        if self.broker:
            for partition, end in ends.items():
                self.broker.delete_records(topic, partition, end - 5)
            return
        path = os.path.join(self.platform.data, "log", topic, "topic.json")
        with open(path) as file:
            settings = json.load(file)
        self.write(path, {**settings, "retain_bytes": 1})
        first = "%020d.seg" % 0
        folder = os.path.dirname(path)
        eventually(lambda: not any(os.path.exists(os.path.join(folder, str(p), first)) for p in ends), 60,
                   "retention has removed the start")
        self.write(path, settings)

    @staticmethod
    def write(path, settings):
        with open(path + ".new", "w") as file:
            json.dump(settings, file)
        os.rename(path + ".new", path)


@pytest.fixture(params=["embedded", "kafka"])
def place(request, tmp_path):
    broker = request.getfixturevalue("own_broker") if request.param == "kafka" else None
    with support.Platform(str(tmp_path), kafka=broker and broker.brokers, env=ENV) as platform:
        platform.up()
        yield Place(platform, broker)


def sql(topic, table="sums"):
    return (f"CREATE TABLE events (id bigint) WITH (topic='{topic}', format='json');\n"
            f"CREATE MATERIALIZED VIEW {table} AS SELECT id % 50 AS k, count(*) AS n, sum(id) AS total FROM events "
            "GROUP BY id % 50;\n")


def expected(ids):
    rows = {}
    for i in ids:
        n, total = rows.get(i % 50, (0, 0))
        rows[i % 50] = (n + 1, total + i)
    return rows


def rows_of(platform, table="sums"):
    return {row["k"]: (row["n"], int(row["total"])) for row in platform.scan(table)}


def produce(platform, topic, ids):
    platform.run("produce", topic, "--key", "id", stdin="".join('{"id":%d,"pad":"%s"}\n' % (i, "x" * 60) for i in ids))


def archived(platform, topic):
    """Partition -> what `archive ls` says of it."""
    found = platform.json("archive", "ls", topic)["topics"][0]
    assert found["error"] is None, found
    return {p["partition"]: p for p in found["partitions"]}


def await_archived(platform, topic, ends):
    eventually(lambda: all(archived(platform, topic)[p]["to"] >= end for p, end in ends.items()), 60,
               f"everything is archived: {ends}")


def digest(platform, processor):
    return platform.json("history", processor)["receipts"][0]["new_digest"]


def test_what_the_log_removed_is_replayed(place, topic):
    """The digest is that of a replay from the log, and the archive goes on where it ended after a kill."""
    platform = place.platform
    place.topic(topic, 3)
    produce(platform, topic, range(20_000))
    platform.deploy("sums", sql(topic), "--wait")
    platform.run("topic", "set", topic, "archive=on")
    await_archived(platform, topic, place.ends(topic))
    platform.kill()
    platform.up()
    produce(platform, topic, range(20_000, 30_000))
    ends = place.ends(topic)
    await_archived(platform, topic, ends)
    assert sum(p["records"] for p in archived(platform, topic).values()) == 30_000
    assert all(p["from"] == 0 and p["gaps"] == [] for p in archived(platform, topic).values())

    place.lose_start(topic, ends)
    produce(platform, topic, range(30_000, 31_000))
    platform.run("replay", "sums")
    platform.wait("sums", 2)
    version = platform.version("sums", 2)
    assert version["complete"] and version["records"] == 31_000
    assert all(p["start"] == 0 for p in version["sources"])
    receipt = platform.json("history", "sums")["receipts"][0]
    assert receipt["old_digest"] == receipt["new_digest"]
    assert rows_of(platform) == expected(range(31_000))
    verified = platform.json("verify", "sums", 2)
    assert verified["verified"] is True and verified["digest"] == receipt["new_digest"]

    platform.deploy("again", sql(topic, "again"), "--wait")
    assert platform.version("again", 1)["complete"]
    assert rows_of(platform, "again") == expected(range(31_000))


def test_the_end_is_known_while_the_archive_is_read(kafka, tmp_path, topic):
    """A plan says what comes from the archive; of a slow replay lag and end are those of the log behind it."""
    admin = kafka_client.Admin(kafka)

    def ends():
        return {p: admin.offset(topic, p, kafka_client.END) for p in range(2)}

    with support.Platform(str(tmp_path), kafka=kafka, env=ENV) as platform:
        platform.up()
        platform.topic(topic, 2)
        produce(platform, topic, range(6000))
        platform.run("topic", "set", topic, "archive=on")
        low = ends()
        await_archived(platform, topic, low)
        for p in range(2):
            admin.delete_records(topic, p, low[p] - 5)
        produce(platform, topic, range(6000, 6500))
        high = ends()
        path = os.path.join(platform.directory, "plan.sql")
        with open(path, "w") as file:
            file.write(sql(topic))
        # The archive lasts to where it was looked at, or a little further: it goes on meanwhile.
        plan = platform.json("deploy", path, "--dry-run")
        for source in plan["sources"]:
            p = source["partition"]
            assert (source["from"], source["to"]) == (0, high[p])
            first, rest = source["pieces"][0], source["pieces"][1:]
            assert first["source"] == "archive" and first["from"] == 0 and low[p] <= first["to"] <= high[p]
            assert rest == ([] if first["to"] == high[p] else [
                {"source": "broker", "from": first["to"], "to": high[p]}])
        assert "records come from it" in platform.run("deploy", path, "--dry-run").stdout
        late = platform.json("deploy", path, "--dry-run", "--from", "end")
        assert all(source["pieces"] == [] for source in late["sources"])

        platform.deploy("sums", sql(topic), "--limit", "20/s", "--swap", "manual")

        def sources():
            return {s["partition"]: s for s in platform.version("sums", 1)["sources"]}

        for new in (0, 100):
            produce(platform, topic, range(6500, 6500 + new))
            high = ends()
            eventually(lambda: all(s["end"] == s["high"] == high[p] and s["lag"] == high[p] - s["next"]
                                   for p, s in sources().items()), 60, "the end is known")
            version = platform.version("sums", 1)
            assert version["state"] == "replaying" and version["records"] < 5000 and version["lag"] > 1000
            assert all(s["start"] == 0 for s in version["sources"])
        assert "?" not in platform.run("status", "sums").stdout
        platform.run("limit", "sums", 1, "none")
        platform.wait("sums", 1, "caught-up")
        platform.run("swap", "sums", 1)
        eventually(lambda: rows_of(platform) == expected(range(6600)), 60, "everything is applied")


def test_a_copied_archive_is_replayed_without_its_log(place, topic, tmp_path):
    platform = place.platform
    place.topic(topic, 2)
    platform.run("topic", "set", topic, "archive=on")
    produce(platform, topic, range(10_000))
    ends = place.ends(topic)
    await_archived(platform, topic, ends)
    platform.deploy("sums", sql(topic), "--wait")
    shutil.copytree(os.path.join(platform.data, "archive"), tmp_path / "copy")
    platform.close()
    if place.broker:
        place.broker.stop()

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with support.Platform(str(elsewhere), args=["--archive", str(tmp_path / "copy")]) as alone:
        alone.up()
        assert alone.json("topic", "list")["topics"] == [{"name": topic, "partitions": 2}]
        alone.deploy("sums", sql(topic), "--wait")
        assert rows_of(alone) == expected(range(10_000))
        assert {p["partition"]: p["end"] for p in alone.version("sums", 1)["sources"]} == dict(ends)
        result = alone.run("produce", topic, stdin='{"id":1}\n', code=None)
        assert result.returncode == 4 and "archive" in result.stderr
        assert len(alone.cat(topic)) == 10_000
        alone.down()
        alone.up()
        assert rows_of(alone) == expected(range(10_000))


def files(platform, topic, partition):
    """Paths of a partition's archive, oldest first; the last is being written."""
    folder = os.path.join(platform.data, "archive", topic, str(partition))
    return [os.path.join(folder, name) for name in sorted(os.listdir(folder)) if name.endswith(".arc")]


def flip(path, at):
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))


def test_damage_is_fetched_again_or_told(place, topic):
    platform = place.platform
    place.topic(topic, 2)
    platform.run("topic", "set", topic, "archive=on")
    for part in range(6):  # each in files of its own
        produce(platform, topic, range(part * 5000, part * 5000 + 5000))
        await_archived(platform, topic, place.ends(topic))
    ends = place.ends(topic)
    assert all(len(files(platform, topic, p)) >= 4 for p in ends)
    sound = platform.json("archive", "verify")
    assert sound["verified"] and sound["records"] == 30_000 and sound["problems"] == []

    # The log has all of it: a replay takes from there what the archive cannot give, and a repair too.
    flip(files(platform, topic, 0)[1], 200)
    flip(files(platform, topic, 1)[1], 3)
    os.unlink(files(platform, topic, 1)[2])
    told = platform.json("archive", "verify", topic, code=1)
    assert not told["verified"] and {p["partition"] for p in told["problems"]} == {0, 1}
    platform.deploy("sums", sql(topic), "--wait")
    assert rows_of(platform) == expected(range(30_000))
    repaired = platform.json("archive", "verify", topic, "--repair")
    assert repaired["verified"] and repaired["records"] == 30_000 and repaired["fetched"] > 0
    assert all(p["from"] == 0 and p["to"] >= ends[n] for n, p in archived(platform, topic).items())
    produce(platform, topic, range(30_000, 31_000))  # the server goes on archiving
    ends = place.ends(topic)
    await_archived(platform, topic, ends)

    # Only the archive has it.
    place.lose_start(topic, ends)
    platform.deploy("whole", sql(topic, "whole"), "--wait")
    assert rows_of(platform, "whole") == expected(range(31_000))
    flip(files(platform, topic, 0)[1], 200)
    told = platform.json("archive", "verify", topic, "--repair", code=1)
    assert told["fetched"] == 0 and len(told["problems"]) == 1
    platform.deploy("broken", sql(topic, "broken"))
    version = eventually(lambda: (v := platform.version("broken", 1))["state"] == "failed" and v, 60, "it fails")
    assert version["error"]["code"] == "corrupt" and ".arc, byte" in version["error"]["message"]
    flip(files(platform, topic, 0)[1], 200)
    aside = files(platform, topic, 1)[1]
    os.rename(aside, aside + ".aside")
    result = platform.run("replay", "whole", code=4)
    assert "lacks" in result.stderr and "--accept-gap" in result.stderr
    os.rename(aside + ".aside", aside)
    platform.run("replay", "whole")
    platform.wait("whole", 2)
    assert rows_of(platform, "whole") == expected(range(31_000))


def test_a_topic_with_transactions(own_broker, tmp_path, topic):
    """Markers leave holes in the offsets: in the archive too, and at its seams."""
    with support.Platform(str(tmp_path), kafka=own_broker.brokers, env=ENV) as platform:
        platform.up()
        place = Place(platform, own_broker)
        place.topic(topic, 1)
        place.topic(topic + "-out", 2)
        platform.run("topic", "set", topic + "-out", "archive=on")
        platform.deploy("copy", f"CREATE TABLE events (id bigint) WITH (topic='{topic}', format='json');\n"
                        f"CREATE TABLE copied (id bigint) WITH (topic='{topic}-out', format='json', key='id');\n"
                        "INSERT INTO copied SELECT id FROM events;\n", "--wait")
        platform.deploy("sums", sql(topic + "-out"), "--wait")
        for part in range(4):
            produce(platform, topic, range(part * 500, part * 500 + 500))
            eventually(lambda: len(platform.cat(topic + "-out")) == part * 500 + 500, 60, "everything is sent")
            await_archived(platform, topic + "-out", place.ends(topic + "-out"))
        ends = place.ends(topic + "-out")
        assert sum(ends.values()) > 2000, "markers take offsets"
        place.lose_start(topic + "-out", ends)
        platform.run("replay", "sums")
        platform.wait("sums", 2)
        receipt = platform.json("history", "sums")["receipts"][0]
        assert receipt["old_digest"] == receipt["new_digest"]
        assert rows_of(platform) == expected(range(2000))


def test_retention_and_backfill(embedded, topic):
    """A one-off archive, and how it gets smaller."""
    embedded.topic(topic, 1)
    produce(embedded, topic, range(3000))
    assert embedded.json("archive", "backfill", topic)["fetched"] == 3000
    assert archived(embedded, topic)[0]["records"] == 3000
    produce(embedded, topic, range(3000, 3500))
    assert embedded.json("archive", "backfill", topic)["fetched"] == 500
    assert embedded.json("archive", "backfill", topic)["fetched"] == 0
    embedded.run("topic", "set", topic, "retain-bytes=1")
    assert embedded.json("archive", "gc", "--dry-run")["records"] == 3000
    assert archived(embedded, topic)[0]["from"] == 0
    assert embedded.json("archive", "gc")["records"] == 3000
    assert archived(embedded, topic)[0]["from"] == 3000
    assert embedded.json("archive", "backfill", topic)["fetched"] == 0, "retention is not undone"
    embedded.deploy("sums", sql(topic), "--wait")
    assert rows_of(embedded) == expected(range(3500)), "the log still has it"
    assert "no setting" in embedded.run("topic", "set", topic, "retention=1d", code=2).stderr
    assert "there is no archive" in embedded.run("archive", "ls", topic + "-not", code=3).stderr


def made_again(platform, topic, ids):
    """The topic is removed and made again, with other records; the server is off meanwhile."""
    platform.down()
    shutil.rmtree(os.path.join(platform.data, "log", topic))
    platform.topic(topic, 1)
    produce(platform, topic, ids)


def bytes_of(platform, topic):
    return [open(path, "rb").read() for path in files(platform, topic, 0)]


def test_the_archive_of_a_topic_made_again_is_left_alone(embedded, topic):
    embedded.topic(topic, 1)
    produce(embedded, topic, range(1500))
    assert embedded.json("archive", "backfill", topic)["fetched"] == 1500
    made_again(embedded, topic, range(5000, 7000))
    for damaged in (False, True):
        if damaged:
            flip(files(embedded, topic, 0)[0], 200)
        before = bytes_of(embedded, topic)
        assert "made again" in embedded.run("archive", "backfill", topic, code=None).stderr
        if damaged:
            result = embedded.run("archive", "verify", topic, "--repair", code=None)
            assert result.returncode not in (0, 1) and "made again" in result.stderr
            assert embedded.run("archive", "verify", topic, code=None).returncode == 1
        assert bytes_of(embedded, topic) == before


def figures(platform, name, topic):
    """{partition: value} of a metric of archives; of one without partitions {None: value}."""
    samples = parse(platform.http("GET", "/metrics")[1]).get("kappa_archive_" + name, {})
    found = {}
    for labels, value in samples.items():
        labels = dict(part.split("=") for part in labels.replace('"', "").split(","))
        if labels["topic"] == topic:
            found[int(labels["partition"]) if "partition" in labels else None] = value
    return found


def test_figures_and_a_gap(kafka, tmp_path, topic):
    """Metrics and kappa doctor say how far it is; and what the log removed while the server was away."""
    admin = kafka_client.Admin(kafka)
    with support.Platform(str(tmp_path), kafka=kafka, env=ENV) as platform:
        platform.up()
        platform.topic(topic, 2)
        produce(platform, topic, range(3000))
        platform.run("topic", "set", topic, "archive=on")
        ends = {p: admin.offset(topic, p, kafka_client.END) for p in range(2)}
        check = "archive of " + topic

        def told(**wanted):
            return lambda: all(figures(platform, name, topic) == value for name, value in wanted.items())

        zero = {0: 0, 1: 0}
        eventually(told(trouble={None: 0}, start_offset=zero, end_offset=ends, lag_offsets=zero, records=ends,
                        gap_offsets=zero), 60, "metrics say that all is archived")
        folder = os.path.join(platform.data, "archive", topic)
        size = sum(os.path.getsize(path) for p in range(2) for path in files(platform, topic, p))
        assert sum(figures(platform, "bytes", topic).values()) == size, folder
        assert lines_of(platform)[check][0] == "ok"
        platform.down()
        assert lines_of(platform)[check][0] == "warn"

        produce(platform, topic, range(3000, 5000))
        later = {p: admin.offset(topic, p, kafka_client.END) for p in range(2)}
        for p in range(2):
            admin.delete_records(topic, p, later[p] - 5)
        platform.up()
        gaps = {p: later[p] - 5 - ends[p] for p in range(2)}
        eventually(told(gap_offsets=gaps, end_offset=later, lag_offsets=zero,
                        start_offset={p: later[p] - 5 for p in range(2)}), 60, "metrics say what is missing")
        state, found, todo = lines_of(platform)[check]
        assert state == "warn" and f"{sum(gaps.values())} offsets are missing" in found and todo
        assert f"{ends[0]} to {later[0] - 5} of partition 0" in found

        # A file that is gone is worse than what never was there.
        os.rename(files(platform, topic, 0)[0], os.path.join(platform.directory, "aside"))
        state, found, todo = lines_of(platform)[check]
        assert state == "fail" and "lost" in found and "--repair" in todo


def test_trouble_is_told(embedded, topic):
    embedded.topic(topic, 1)
    produce(embedded, topic, range(1500))
    embedded.run("topic", "set", topic, "archive=on")
    await_archived(embedded, topic, {0: 1500})
    made_again(embedded, topic, range(5000, 7000))
    embedded.up()
    eventually(lambda: figures(embedded, "trouble", topic) == {None: 1}, 60, "metrics say that it is in trouble")
    state, found, todo = lines_of(embedded)["archive of " + topic]
    assert state == "fail" and "does not go on" in found and "made again" in found and todo


def test_the_last_file_is_repaired_to_its_end(embedded, topic):
    embedded.topic(topic, 1)
    produce(embedded, topic, range(1500))
    assert embedded.json("archive", "backfill", topic)["fetched"] == 1500
    embedded.down()
    flip(files(embedded, topic, 0)[-1], 200)
    repaired = embedded.json("archive", "verify", topic, "--repair")
    assert repaired["verified"] and repaired["records"] == 1500 and repaired["fetched"] > 0
    assert archived(embedded, topic)[0]["to"] == 1500
