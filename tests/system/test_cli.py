"""The command line as a contract: names, exit codes, shapes of the JSON, words to people."""

import json
import pathlib
import subprocess

import support
from support import eventually

COUNT_SQL = ("CREATE TABLE e (k text, n integer) WITH (topic='%s');"
             "CREATE MATERIALIZED VIEW %s AS SELECT k, count(*) AS c FROM e GROUP BY k;")


def kappa(*args, **kwargs):
    return subprocess.run([support.BIN, *args], capture_output=True, text=True, timeout=300, **kwargs)


def test_usage():
    assert kappa("--version").returncode == 0
    assert kappa("help").returncode == 0
    for command in ["up", "deploy", "status", "get", "produce"]:
        result = kappa(command, "--help")
        assert result.returncode == 0 and "usage" in result.stdout.lower(), command
    result = kappa("deplyo", "x.sql")
    assert result.returncode == 2 and "deploy" in result.stderr
    assert kappa("deploy").returncode == 2
    assert kappa("status", "--wach").returncode == 2
    assert kappa().returncode == 2


def test_programs_export_nothing():
    """A name of ours that a library has too would be called in the place of the library's own."""
    names = subprocess.run(["nm", "-D", "--defined-only", support.BIN], capture_output=True, text=True, check=True).stdout
    assert names == ""


def test_no_server(tmp_path):
    result = kappa("status", "--data", str(tmp_path / "none"))
    assert result.returncode == 5 and "kappa up" in result.stderr
    result = kappa("status", "--server", "127.0.0.1:1", "-o", "json")
    assert result.returncode == 5
    assert json.loads(result.stderr)["error"]["code"] == "unreachable"


def test_topics_and_records(platform, topic):
    platform.topic(topic, 3)
    names = {t["name"]: t["partitions"] for t in platform.json("topic", "list")["topics"]}
    assert names[topic] == 3
    platform.run("topic", "create", topic, "--partitions", 3, code=1)
    platform.produce(topic, [{"id": i, "at": 1_700_000_000_000 + i} for i in range(20)], "--key", "id", "--time", "at")
    records = platform.cat(topic)
    assert sorted(r["value"]["id"] for r in records) == list(range(20))
    by_key = {r["key"]: r for r in records}
    assert by_key["7"]["time"] == "2023-11-14T22:13:20.007Z"
    assert len({r["partition"] for r in records}) > 1
    plain = platform.run("cat", topic, "-e").stdout.splitlines()
    assert sorted(json.loads(line)["id"] for line in plain) == list(range(20))
    # Between two milliseconds: the first record that is not before the time.
    later = platform.run("cat", topic, "-e", "--from", "@2023-11-14T22:13:20.0005Z").stdout.splitlines()
    assert len(later) == 19
    tail = platform.run("cat", topic, "-e", "--from", "-1").stdout.splitlines()
    assert len(tail) == len({r["partition"] for r in records})


def test_positions(platform, topic):
    """The same words as for a replay, of where to begin and where to end, on both logs. Times do not
    ascend in partition 0; partition 1 is empty."""
    platform.topic(topic, 2)
    base = 1_700_000_000_000
    times = [0, 5000, 1000, 9000, 2000]
    platform.produce(topic, [{"i": i, "at": base + t} for i, t in enumerate(times)], "--time", "at", "--partition", 0)

    def ids(*args):
        done = platform.run("cat", topic, "-e", *args)
        return [json.loads(line)["i"] for line in done.stdout.splitlines()]

    def refused(*args):
        done = platform.run("cat", topic, "-e", *args, code=None)
        assert done.returncode != 0 and done.stdout == ""
        return done.stderr

    assert ids() == ids("--from", "beginning", "--until", "end") == [0, 1, 2, 3, 4]
    # The first record that is not older; older ones may come behind it.
    assert ids("--from", f"@{base + 3000}") == [1, 2, 3, 4]
    assert ids("--until", f"@{base + 3000}") == [0]
    assert ids("--from", f"@{base + 9001}") == []           # a time after the end
    assert ids("--until", f"@{base + 9001}") == [0, 1, 2, 3, 4]
    assert ids("--from", "-2") == [3, 4]
    assert ids("--from", "-1000") == [0, 1, 2, 3, 4]
    assert ids("--from", "-4", "--until", "-2") == [1, 2]
    assert ids("--from", "-2", "--until", "-4") == []
    assert ids("--from", "-1h") == []                        # records are years old
    assert ids("--from", "-2000 weeks", "--until", "-1h") == [0, 1, 2, 3, 4]
    assert ids("--from", "0:1", "--until", "0:3") == [1, 2]
    assert ids("--from", f"{topic}/0:4,{topic}/1:end") == [4]
    assert ids("--from", "1:0") == []
    for bad, words in (("-", "behind '-'"), ("@-5", "before 1970"), ("0:-1", "not negative"), ("0:6", "holds 0 to 5"),
                       ("2:0", "no partition 2"), ("3", "has 2 partitions"), ("soon", "soon")):
        assert words in refused("--from", bad), bad
        assert words in refused("--until", bad), bad


def test_until_over_the_network(platform, topic):
    """--until is looked up once: what comes later does not move it."""
    platform.topic(topic, 2)
    platform.produce(topic, [{"i": i} for i in range(11_000)], "--partition", 1)
    done = platform.run("cat", topic, "--until", "-500", "--partition", 1, "--server",
                        platform.server()["http"].replace("http://", ""))
    assert [json.loads(line)["i"] for line in done.stdout.splitlines()] == list(range(10_500))


def test_partition_of_key_is_kafkas(platform, topic):
    """Both logs put a key where Kafka's Java client does: (murmur2 & 0x7fffffffffffffff) % partitions."""
    platform.topic(topic, 5)
    keys = ["21", "foobar", "a-little-bit-long-string", "abc", "u1", "u2", ""]
    platform.produce(topic, [{"k": k} for k in keys], "--key", "k")

    def murmur2(data):
        mask, m, length = 0xffffffff, 0x5bd1e995, len(data)
        h = (0x9747b28c ^ length) & mask
        for i in range(0, length - 3, 4):
            k = int.from_bytes(data[i:i + 4], "little") * m & mask
            k = (k ^ k >> 24) * m & mask
            h = (h * m & mask) ^ k
        tail = data[length - length % 4:]
        if tail:
            h = (h ^ int.from_bytes(tail, "little")) * m & mask
        h = (h ^ h >> 13) * m & mask
        return h ^ h >> 15

    for record in platform.cat(topic):
        key = record["value"]["k"]
        assert record["partition"] == (murmur2(key.encode()) & 0x7fffffff) % 5, key


def test_rows_of_what_never_served(embedded, topic):
    """By number and as the candidate, also of a table that no version serves."""
    embedded.topic(topic, 2)
    embedded.produce(topic, [{"k": "a", "n": 1}, {"k": "b", "n": 2}])
    embedded.deploy("counts", COUNT_SQL % (topic, "counts"), "--swap", "manual", "--wait")
    for version in (1, "candidate"):
        rows = embedded.scan("counts", "--version", version)
        assert sorted(row["k"] for row in rows) == ["a", "b"]
        assert len(embedded.scan("counts", "--version", version, "--limit", 1)) == 1
        assert embedded.json("get", "counts", "a", "--version", version)["row"]["k"] == "a"
    embedded.run("scan", "counts", code=3)
    embedded.run("scan", "counts", "--version", 2, code=3)
    assert embedded.ready()


def test_life_cycle_commands(embedded, topic):
    embedded.topic(topic, 2)
    embedded.produce(topic, [{"k": "a", "n": 1}, {"k": "b", "n": 2}])
    embedded.deploy("counts", COUNT_SQL % (topic, "counts"), "--wait")
    again = embedded.deploy("counts", COUNT_SQL % (topic, "counts"))
    assert "unchanged" in (again.stdout + again.stderr).lower() or "same" in (again.stdout + again.stderr).lower()
    assert len(embedded.status("counts")["versions"]) == 1
    embedded.run("drop", "counts", 1, code=4)
    embedded.run("rollback", "counts", code=4)
    embedded.run("replay", "counts", code=0)
    embedded.wait("counts", 2)
    embedded.deploy("counts", COUNT_SQL.replace("count(*)", "sum(n)") % (topic, "counts"), "--swap", "manual",
                    "--wait")
    assert embedded.version("counts", 3)["state"] == "ready"
    embedded.run("pause", "counts", 3)
    assert embedded.version("counts", 3)["state"] == "paused"
    embedded.run("resume", "counts", 3)
    embedded.wait("counts", 3, "caught-up")
    embedded.run("abort", "counts", 3)
    eventually(lambda: embedded.version("counts", 3)["state"] == "aborted", 10, "aborted")
    embedded.run("swap", "counts", 3, code=4)
    embedded.run("drop", "counts", 3)
    assert [v["version"] for v in embedded.status("counts")["versions"]] == [1, 2] or \
           [v["version"] for v in embedded.status("counts")["versions"]] == [2, 1]
    embedded.run("rollback", "counts")
    assert embedded.status("counts")["serving"] == 1
    assert embedded.json("history") == embedded.json("history", "counts") and len(embedded.json("history")["receipts"]) == 3
    assert [line.split()[2:6] for line in embedded.run("history").stdout.splitlines()[1:]] == [
        ["v2", ">", "v1", "rollback"], ["v1", ">", "v2", "auto"], ["none", ">", "v1", "auto"]]
    text = embedded.run("status").stdout
    assert "counts" in text and "serving" in text
    assert max(len(line) for line in text.splitlines()) <= 80
    embedded.run("status", "nobody", code=3)
    embedded.run("history", "nobody", code=3)
    embedded.run("wait", "counts", 9, "--for", "serving", "--timeout", "1s", code=3)
    embedded.deploy("other", COUNT_SQL % (topic, "counts"), code=None)
    assert all(p["name"] != "other" for p in embedded.json("status")["processors"]), "a table has one owner"


def test_status_shape(platform, topic):
    platform.topic(topic, 2)
    platform.produce(topic, [{"k": "a", "n": 1}] * 10)
    platform.deploy("counts", COUNT_SQL % (topic, "counts"), "--wait")
    status = platform.json("status")
    processor = status["processors"][0]
    assert processor["name"] == "counts" and processor["serving"] == 1 and processor["epoch"] == 1
    version = processor["versions"][0]
    assert version["version"] == 1 and version["state"] == "serving"
    assert {s["partition"] for s in version["sources"]} == {0, 1}
    for source in version["sources"]:
        assert source["topic"] == topic and source["next"] <= source["end"] and source["lag"] >= 0
    body = platform.json("get", "counts", "a")
    assert set(body) == {"table", "version", "epoch", "cut", "row"}
    assert body["row"] == {"k": "a", "c": 10} and body["table"] == "counts"
    assert sum(body["cut"][topic]) == 10


def test_composite_keys_and_append_rows(platform, topic):
    platform.topic(topic, 1)
    platform.produce(topic, [{"a": "x", "b": 1}, {"a": "x", "b": 2}, {"a": "y/z", "b": 1}, {"a": "x", "b": 1}])
    platform.deploy("two", f"""CREATE TABLE e (a text, b bigint) WITH (topic='{topic}');
        CREATE MATERIALIZED VIEW two AS SELECT a, b, count(*) AS n FROM e GROUP BY a, b;
        CREATE MATERIALIZED VIEW each AS SELECT a, b * 2 AS twice FROM e WHERE b = 1;""", "--wait")
    assert platform.json("get", "two", "x", "1")["row"] == {"a": "x", "b": 1, "n": 2}
    assert platform.http("GET", "/v1/tables/two/rows/y%2Fz/1")[1]["row"]["n"] == 1
    platform.run("get", "two", "x", code=2)
    platform.run("get", "two", "x", "notanumber", code=2)
    assert platform.json("get", "each", "0", "2")["row"] == {"a": "y/z", "twice": 2}
    assert platform.scan("each", "--limit", "2") == [{"a": "x", "twice": 2}, {"a": "y/z", "twice": 2}]


def test_http_surface(embedded, topic):
    embedded.topic(topic, 1)
    embedded.produce(topic, [{"k": "a", "n": 1}])
    embedded.deploy("counts", COUNT_SQL % (topic, "counts"), "--wait")
    assert embedded.http("GET", "/healthz")[0] == 200
    assert embedded.http("GET", "/readyz")[0] == 200
    status, metrics, _ = embedded.http("GET", "/metrics")
    assert status == 200
    for name in ["kappa_build_info", "kappa_partition_lag_offsets", "kappa_version_info", "kappa_serving_version"]:
        assert name in metrics, name
    assert 'state="serving"' in metrics
    assert embedded.http("GET", "/v1/status")[1]["processors"][0]["name"] == "counts"
    assert embedded.http("GET", "/v1/nothing")[0] == 404
    assert embedded.http("GET", "/v1/processors/none")[0] == 404
    assert embedded.http("POST", "/v1/processors", "{", None)[0] == 400
    assert embedded.http("GET", "/v1/status", headers={"Host": "evil.example"})[0] in (400, 403)
    status, body, _ = embedded.http("POST", "/v1/processors", {
        "name": "again", "file": "again.sql", "sql": COUNT_SQL % (topic, "again"), "from": "beginning", "swap": "auto"})
    assert status == 201 and body["version"] == 1
    embedded.wait("again", 1)
    status, body, _ = embedded.http("POST", "/v1/processors/again/swap", {"version": 7})
    assert status == 404 and body["error"]["code"] == "not_found"


def test_the_log_is_known_while_the_server_is_down(platform, topic):
    """produce, cat and topic go on by themselves, on the log that the data belongs to; another one is refused."""
    platform.topic(topic, 1)
    platform.deploy("counts", COUNT_SQL % (topic, "counts"), "--wait")  # offsets are known here
    assert platform.down() == 0
    platform.produce(topic, [{"n": 1}])
    assert [r["value"] for r in platform.cat(topic)] == [{"n": 1}]
    other = [] if platform.kafka else ["--kafka", "127.0.0.1:9"]
    result = kappa("up", "--data", platform.data, "--http", "127.0.0.1:0", *other)
    assert result.returncode == 4 and "--kafka" in result.stderr


def test_envelopes_come_back(platform, topic):
    """What cat -J prints, produce -J takes: keys, tombstones, times and headers, through the log and the server."""
    lines = [{"key": "u1", "value": None}, {"key": 7, "value": {"a": [1, "ü"]}, "time": "2026-01-01T00:00:00.5Z"},
             {"value": 'te"xt\n'}, {"key": "", "value": "", "headers": [["a", "b"], ["a", None], ["", "ü\n"]]}]
    want = [("u1", None, None), ("7", {"a": [1, "ü"]}, None), (None, 'te"xt\n', None),
            ("", "", [["a", "b"], ["a", None], ["", "ü\n"]])]

    def read(name):
        return [(r["key"], r["value"], r.get("headers")) for r in platform.cat(name)]

    platform.topic(topic, 1)
    platform.produce(topic, lines, "--envelope")
    assert read(topic) == want and platform.cat(topic)[1]["time"] == "2026-01-01T00:00:00.500Z"
    platform.produce(topic, platform.cat(topic), "--envelope", "--server", platform.server()["http"])
    assert read(topic) == want * 2
    assert [r["time"] for r in platform.cat(topic)][:4] == [r["time"] for r in platform.cat(topic)][4:]
    for bad in ['{"key":"a"}', '{"value":1,"headers":{}}', '{"value":"YQ","base64":["value"]}', "[]"]:
        result = platform.run("produce", topic, "-J", stdin=bad + "\n", code=None)
        assert result.returncode == 1 and "line 1" in result.stderr


def test_explain():
    """explain needs no server, says what each example will do, and refuses what deploy refuses."""
    examples = pathlib.Path(support.ROOT, "examples")
    for path in sorted(examples.glob("*/*.sql")):
        if path.parent.name != "nexmark":
            text = kappa("explain", str(path)).stdout
            assert "deterministic: " in text and "input " in text, path
    text = kappa("explain", str(examples / "user-features" / "v1.sql")).stdout
    assert "tumble, 5 minutes" in text
    assert "watermark 5 seconds behind" in text
    assert "rows go 1 hour behind the end" in text
    text = kappa("explain", str(examples / "user-history" / "user_history.sql")).stdout
    assert "hop, 90 days every 1 day; stored once in panes of 1 day, 90 a window" in text
    table = "CREATE TABLE t (k text, ts timestamptz) WITH (topic='t', event_time='ts', key='k');"
    text = kappa("explain", "-", input=table + "CREATE MATERIALIZED VIEW v AS SELECT k, count(*) AS n FROM "
                 "tumble(t, ts, interval '1 hour') GROUP BY k;").stdout
    assert "groups are over all windows" in text
    text = kappa("explain", "-", input=table + "CREATE MATERIALIZED VIEW v AS SELECT k, lag(ts) OVER "
                 "(PARTITION BY k ORDER BY ts) AS b FROM t;").stdout
    assert "filtered" not in text
    broken = kappa("explain", "-", input="CREATE TABLE t (a int); SELECT 1;")
    assert broken.returncode != 0 and "SELECT by itself" in broken.stderr


def test_envelopes_round_trip(platform, topic):
    """cat -J | produce -J: keys and values of any bytes, headers, times and tombstones come out as they were."""
    copy = topic + "-copy"
    platform.topic(topic, 1)
    platform.topic(copy, 1)
    envelopes = [
        {"key": "/w==", "value": "AP8=", "base64": ["key", "value"], "headers": [["h", "1"], ["h", None]]},
        {"key": "k", "value": "wyg=", "base64": ["value"], "time": "2026-01-01T00:00:00.001Z"},
        {"key": "gA==", "value": {"a": [1, None, "\u00e4"]}, "base64": ["key"]},
        {"key": "k", "value": None}, {"key": None, "value": "plain"}, {"key": "", "value": ""}]
    platform.produce(topic, envelopes, "-J")
    lines = platform.run("cat", topic, "-J", "-e").stdout
    platform.run("produce", copy, "-J", stdin=lines)
    first, second = platform.cat(topic), platform.cat(copy)
    assert len(first) == len(envelopes)
    assert [{**r, "topic": topic} for r in second] == first
    for wanted, got in zip(envelopes, first):
        assert all(got[name] == value for name, value in wanted.items()), (wanted, got)
