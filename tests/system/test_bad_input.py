"""Bad input of every kind: counted, kept, said in a sentence; nothing stops, nothing is lost."""

import json
import os
import shutil
import socket
import subprocess

import pytest

import support
from support import eventually, features_model, features_sql

BAD = [
    ('{"user_id":"u1","event_type":"view"', "malformed"),
    ("not json", "malformed"),
    ("", "malformed"),
    ("[1,2,3]", "object"),
    ('{"user_id":"u1"} trailing', "malformed"),
    ('{"user_id":5,"event_type":"view","event_time":1760000000000}', "user_id"),
    ('{"user_id":"u1","amount":"12.5","event_time":1760000000000}', "amount"),
    ('{"user_id":"u1","event_type":"view"}', "event_time"),
    ('{"user_id":"u1","event_type":"view","event_time":null}', "event_time"),
    ('{"user_id":"u1","event_type":"view","event_time":"yesterday"}', "event_time"),
    ("[" * 100_000, "malformed"),
    ('{"user_id":"\\ud800","event_time":1760000000000}', "malformed"),
    ("\x00\x00\x00\x00\x05abc", "malformed"),
]


@pytest.mark.sanitized
def test_bad_records_go_to_dead(platform, topic):
    platform.topic(topic, 2)
    good = [{"user_id": "u1", "event_type": "click", "product_id": "p", "amount": 1.5,
             "event_time": 1_760_000_000_000 + i} for i in range(50)]
    platform.produce(topic, good[:25], "--partition", 0)
    lines = "".join(line + "\n" for line, _ in BAD)
    platform.run("produce", topic, "--partition", 1, stdin=lines)
    platform.produce(topic, good[25:], "--partition", 1)
    platform.deploy("features", features_sql(topic), "--wait")
    assert platform.json("get", "user_features", "u1")["row"]["clicks"] == 50
    version = platform.version("features", 1)
    assert version["dead"] == len(BAD)
    dead = platform.json("dead", "features", 1)["dead"]
    for args in ([], ["--server", platform.server()["http"]]):  # without a version: the one that serves
        assert platform.json("dead", "features", *args)["dead"] == dead and platform.json("late", "features", *args) == {"late": []}
    assert [(d["topic"], d["partition"], d["offset"]) for d in dead] == [(topic, 1, n) for n in range(len(BAD))]
    for entry, (line, word) in zip(dead, BAD):
        assert word in entry["reason"], (entry["reason"], word)
        if not entry.get("base64"):
            assert entry["value"] == line


def test_rfc3339_and_numbers_are_times(platform, topic):
    platform.topic(topic, 1)
    platform.produce(topic, [{"user_id": "a", "event_type": "click", "event_time": "2025-10-09T08:53:20Z"},
                             {"user_id": "a", "event_type": "click", "event_time": 1760000000000},
                             {"user_id": "a", "event_type": "click", "event_time": "2025-10-09T10:53:20.000+02:00"}])
    platform.deploy("features", features_sql(topic), "--wait")
    row = platform.json("get", "user_features", "a")["row"]
    assert (row["clicks"], row["last_update"]) == (3, "2025-10-09T08:53:20Z")


@pytest.mark.parametrize("sql, words", [
    ("CREATE MATERIALIZED VIEW v AS SELECT user_idd, count(*) FROM user_events GROUP BY user_idd;",
     ["user_idd", "user_id", "^", ":4:"]),
    ("CREATE MATERIALIZED VIEW v AS SELECT count(*) FROM nowhere;", ["nowhere", "^"]),
    ("CREATE MATERIALIZED VIEW v AS SELEC 1;", ["syntax error", "^"]),
    ("CREATE MATERIALIZED VIEW v AS SELECT user_id, now() FROM user_events;", ["now()", "log"]),
    ("CREATE MATERIALIZED VIEW v AS SELECT user_id FROM user_events GROUP BY event_type;", ["user_id", "GROUP BY"]),
    ("CREATE MATERIALIZED VIEW v AS SELECT amount + 'x'::boolean FROM user_events;", ["^"]),
    ("CREATE MATERIALIZED VIEW v WITH (retian = '1 h') AS SELECT count(*) FROM user_events;", ["retian", "retain"]),
    ("", ["MATERIALIZED VIEW"]),
])
def test_bad_sql_deploys_nothing(embedded, topic, sql, words):
    embedded.topic(topic)
    result = embedded.deploy("bad", support.FEATURES_INPUT % topic + sql, code=1)
    for word in words:
        assert word in result.stderr, result.stderr
    assert embedded.json("status")["processors"] == []


def test_unknown_topic_is_not_found(platform, topic):
    platform.topic(topic)
    result = platform.deploy("features", features_sql(topic + "z"), code=3)
    assert topic + "z" in result.stderr
    assert platform.json("status")["processors"] == []


def test_second_up_on_the_same_data(embedded):
    result = subprocess.run([support.BIN, "up", "--data", embedded.data, "--http", "127.0.0.1:0"],
                            capture_output=True, text=True, timeout=120, env=embedded.env, check=False)
    assert result.returncode == 1
    assert str(embedded.process.pid) in result.stderr and "data" in result.stderr


def test_port_in_use(tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = "127.0.0.1:%d" % other.getsockname()[1]
        result = subprocess.run([support.BIN, "up", "--data", str(tmp_path / "data"), "--http", address],
                                capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 1
    assert address in result.stderr and "--http" in result.stderr


def test_broker_away(tmp_path):
    """A deploy with the broker away is refused in a sentence; the platform itself stays up."""
    with socket.socket() as deaf, support.Platform(str(tmp_path)) as platform:
        deaf.bind(("127.0.0.1", 0))  # and does not listen
        address = platform.kafka = "127.0.0.1:%d" % deaf.getsockname()[1]
        platform.up()
        result = platform.deploy("features", features_sql("some-topic"), code=5)
        assert address in result.stderr
        assert platform.json("status")["processors"] == []


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small tmpfs needs root")
def test_full_disk(tmp_path):
    """The disk fills up while a version is built: the cause is shown, reads go on, and it heals with space."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(disk)], check=True)
    try:
        with support.Platform(str(disk)) as platform:
            platform.up()
            platform.topic("t", 1)
            platform.produce("t", [{"k": f"k{i}", "v": "x" * 400} for i in range(8000)])
            platform.deploy("small", "CREATE TABLE t (k text); CREATE MATERIALIZED VIEW small AS "
                                     "SELECT count(*) AS n FROM t;", "--wait")
            filler = disk / "filler"
            with open(filler, "wb") as out:
                free = os.statvfs(disk)
                out.write(b"\0" * max(0, free.f_bavail * free.f_frsize - (600 << 10)))
            platform.deploy("big", "CREATE TABLE t (k text, v text); CREATE MATERIALIZED VIEW big AS "
                                   "SELECT k, v, count(*) AS n FROM t GROUP BY k, v;")
            eventually(lambda: "disk" in json.dumps(platform.version("big", 1)), 30, "status names the full disk")
            assert platform.scan("small") == [{"n": 8000}]
            filler.unlink()
            platform.wait("big", 1)
            assert len(platform.scan("big")) == 8000
            platform.down()
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
        shutil.rmtree(disk)


def test_produce_refuses_what_it_cannot_key(embedded, topic):
    embedded.topic(topic)
    result = embedded.run("produce", topic, "--key", "user_id", stdin='{"user_id":"a"}\n{"other":1}\n', code=1)
    assert "line 2" in result.stderr and "user_id" in result.stderr
    assert [r["value"] for r in embedded.cat(topic)] == [{"user_id": "a"}]


def test_range_lost_on_the_embedded_log(embedded, topic):
    """Retention takes the start of a running replay's range: the version fails and never serves."""
    embedded.run("topic", "create", topic, "--partitions", 1, "--segment-bytes", 65536, "--retain-bytes", 300000)
    lines = support.events_lines(8000, users=100)
    embedded.run("produce", topic, stdin="\n".join(lines[:500]) + "\n")
    embedded.deploy("features", features_sql(topic), "--wait")
    embedded.run("pause", "features", 1, code=None)
    embedded.deploy("late", features_sql(topic, table="late").replace("'5 minutes'", "'6 minutes'"), "--swap",
                    "manual", "--wait")
    embedded.run("pause", "late", 1)
    embedded.run("produce", topic, stdin="\n".join(lines[500:]) + "\n")
    embedded.run("resume", "late", 1, code=None)  # the loss may have been noticed while it was paused
    version = eventually(lambda: (v := embedded.version("late", 1))["state"] == "failed" and v, 30, "late fails")
    assert version["error"]["code"] == "range_lost"
    assert embedded.status("late")["serving"] in (None, 0)
    embedded.run("swap", "late", 1, code=4)
    result = embedded.deploy("from_zero", features_sql(topic, table="f0"), "--from", "0:0", code=4)
    assert "retention has taken it" in result.stderr


def test_range_lost_on_kafka(own_broker, tmp_path, topic):
    with support.Platform(str(tmp_path), kafka=own_broker.brokers) as platform:
        platform.up()
        platform.topic(topic, 1)
        lines = support.events_lines(2000, users=100)
        platform.run("produce", topic, stdin="\n".join(lines[:1000]) + "\n")
        platform.deploy("features", features_sql(topic), "--swap", "manual", "--wait")
        platform.run("pause", "features", 1)
        platform.run("produce", topic, stdin="\n".join(lines[1000:]) + "\n")
        own_broker.delete_records(topic, 0, 1500)
        # Resumed at once it may go on from what it fetched before, and nothing is lost; left alone it must notice.
        version = eventually(lambda: (v := platform.version("features", 1))["state"] == "failed" and v, 60, "it fails")
        assert version["error"]["code"] == "range_lost"
        platform.run("swap", "features", 1, code=4)


def test_late_rows_are_counted(platform, topic):
    platform.topic(topic, 1)
    platform.produce(topic, [{"user_id": "a", "event_type": "view", "event_time": 1_760_000_000_000 + m * 60_000}
                             for m in [0, 1, 2, 30, 1, 2, 31]])
    platform.deploy("features", features_sql(topic), "--wait")
    assert platform.version("features", 1)["late"] == 2
    model, _, late = features_model(platform.cat(topic), [99])
    assert late == 2
    support.assert_features_equal(platform.scan("user_features"), model)
