"""kappa doctor: what it finds, and that it finds what is made wrong."""

import json
import os
import subprocess
import time

import support
from support import eventually
from test_cli import kappa

COUNT_SQL = """CREATE TABLE e (k text, n bigint) WITH (topic='%s');
CREATE MATERIALIZED VIEW %s AS SELECT k, count(*) AS c FROM e GROUP BY k;"""


def lines_of(platform, *args, code=None):
    """{check: (state, found, todo)}"""
    result = platform.run("doctor", "-o", "json", *args, code=code)
    answer = json.loads(result.stdout)
    counted = [line["state"] for line in answer["checks"]]
    assert [answer[word] for word in ("ok", "warn", "fail")] == [counted.count(word) for word in ("ok", "warn", "fail")]
    assert all(line["todo"] for line in answer["checks"] if line["state"] != "ok"), answer
    assert result.returncode == (1 if answer["fail"] else 0)
    found = {}
    for line in answer["checks"]:
        if line["check"] not in found or line["state"] != "ok":
            found[line["check"]] = (line["state"], line["found"], line["todo"])
    return found


def test_all_is_well(platform, topic):
    platform.topic(topic, 3, "--retain", "90d")
    platform.produce(topic, [{"k": "a", "n": 1}] * 50)
    name = topic.replace("-", "_")
    platform.deploy(name, COUNT_SQL % (topic, name), "--wait")
    lines = lines_of(platform)
    for check in ("kappa", "LMDB", "librdkafka", "SQLite", "libcurl", "libmicrohttpd", "map size", "data directory", "disk",
                  "server", "broker" if platform.kafka else "log", "processor " + name, "cut of " + name, "replay of " + name,
                  "topic " + topic):
        assert lines[check][0] == "ok", (check, lines[check])
    assert lines["topic " + topic][1] == "3 partitions, 50 records, kept for 90 d", lines["topic " + topic]
    assert "50 records" in lines["replay of " + name][1]
    text = platform.run("doctor").stdout
    assert text.splitlines()[-1].endswith(" 0 fail") and "ok    kappa" in text


def test_topics_that_lose(platform, topic):
    """Compaction, and records of the future."""
    platform.topic(topic, 1)
    platform.produce(topic, [{"k": "a", "n": 1, "at": int((time.time() + 3600) * 1000)}], "--time", "at")
    name = topic.replace("-", "_")
    platform.deploy(name, COUNT_SQL % (topic, name), "--wait")
    state, found, todo = lines_of(platform)["topic " + topic]
    assert state == "warn" and "time to come" in found and "clocks" in todo


def test_a_lost_log_is_found(embedded, topic):
    embedded.topic(topic, 1)
    embedded.produce(topic, [{"k": "a", "n": 1}] * 9)
    embedded.deploy("counts", COUNT_SQL % (topic, "counts"), "--wait")
    before = lines_of(embedded)
    assert before["processor counts"][0] == "ok"
    embedded.down()
    subprocess.run(["rm", "-r", os.path.join(embedded.data, "log", topic)], check=True)
    embedded.topic(topic, 1)
    embedded.up()
    eventually(lambda: embedded.version("counts", 1)["error"], 20, "the version has seen it")
    lines = lines_of(embedded)
    assert lines["processor counts"][0] == "fail" and lines["cut of counts"][0] == "fail"
    assert "0 to 0" in lines["cut of counts"][1]


def test_no_server_and_no_directory(tmp_path, embedded):
    embedded.down()
    lines = lines_of(embedded)
    assert lines["server"][0] == "warn" and "kappa up" in lines["server"][2]
    result = kappa("doctor", "--data", str(tmp_path / "none"), "-o", "json")
    assert result.returncode == 0, result.stdout
    assert not (tmp_path / "none").exists()


def test_a_broker_that_is_away(tmp_path):
    began = time.monotonic()
    result = kappa("doctor", "--data", str(tmp_path / "none"), "--kafka", "127.0.0.1:9", "-o", "json")
    lines = {line["check"]: line for line in json.loads(result.stdout)["checks"]}
    assert result.returncode == 1 and lines["broker"]["state"] == "fail" and "127.0.0.1:9" in lines["broker"]["found"]
    assert time.monotonic() - began < 120


def test_limits(tmp_path):
    """Of the shell, while nothing runs."""
    command = f"ulimit -n 100; ulimit -v 8000000; exec '{support.BIN}' doctor --data '{tmp_path}/none' -o json"
    result = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=300, check=False)
    lines = {line["check"]: line for line in json.loads(result.stdout)["checks"]}
    assert lines["open files"]["state"] == "warn" and lines["map size"]["state"] == "fail"
    assert result.returncode == 1
    assert kappa("doctor", "--data", f"{tmp_path}/none").returncode == 0
