"""The main job on both logs: v1 live under load, v2 replayed, swapped at an exact cut, read, rolled back, rolled
forward; every row equal to a recount of the log; readers in other processes see no failure and no step back."""

import http.client
import json
import multiprocessing
import os
import random
import subprocess

import pytest

import support
from support import assert_features_equal, eventually, features_model, features_sql


def read_by_http(data, table):
    """A function that reads one row: (found, body); anything else than a row or "not found" is a failure."""
    with open(os.path.join(data, "server.json")) as file:
        connection = http.client.HTTPConnection(json.load(file)["http"], timeout=120)

    def read(key):
        connection.request("GET", f"/v1/tables/{table}/rows/{key}")
        answer = connection.getresponse()
        body = json.loads(answer.read())
        return {200: True, 404: False}.get(answer.status), body

    return read


def read_by_files(data, table):
    """The same by `kappa get`, which opens the environments itself, a process for each read."""
    def read(key):
        got = subprocess.run([support.BIN, "get", table, key, "--data", data, "-o", "json"], capture_output=True,
                             text=True, timeout=300, check=False)
        return {0: True, 3: False}.get(got.returncode), json.loads(got.stdout or got.stderr)

    return read


def read_forever(data, table, users, stop, out, seed):
    """One reader process: counts reads; checks that none fails and nothing goes back."""
    rng = random.Random(seed)
    read = (read_by_http if seed % 2 == 0 else read_by_files)(data, table)
    seen_cut, seen_epoch, reads, problems = {}, 0, 0, []
    while not stop.is_set():
        found, body = read(f"u{rng.randrange(users)}")
        reads += 1
        if found is None:
            problems.append(f"read failed: {body}")
            break
        if not found:
            continue
        if body["epoch"] < seen_epoch:
            problems.append(f"epoch went from {seen_epoch} to {body['epoch']}")
        seen_epoch = body["epoch"]
        for topic, cut in body["cut"].items():
            before = seen_cut.setdefault(topic, cut)
            if any(now < then for now, then in zip(cut, before)):
                problems.append(f"cut went from {before} to {cut} at epoch {seen_epoch}")
            seen_cut[topic] = cut
    out.put((reads, seen_epoch, problems))


class Readers:
    def __init__(self, platform, table, users, count=4):
        context = multiprocessing.get_context("fork")
        self.stop_event = context.Event()
        self.out = context.Queue()
        self.processes = [context.Process(target=read_forever, args=(
            platform.data, table, users, self.stop_event, self.out, n)) for n in range(count)]
        for process in self.processes:
            process.start()

    def stop(self):
        self.stop_event.set()
        results = [self.out.get(timeout=300) for _ in self.processes]
        for process in self.processes:
            process.join(120)
        problems = [p for _, _, found in results for p in found]
        assert not problems, problems[:3]
        assert all(reads > 0 for reads, _, _ in results), results
        return sum(reads for reads, _, _ in results), max(epoch for _, epoch, _ in results)


def check_table(platform, topic, right, processor="features"):
    """Compares the serving table, as it is now, with a recount of the log up to its cut."""
    records = platform.cat(topic)
    status, text, headers = platform.http("GET", "/v1/tables/user_features/rows")
    assert status == 200
    rows = [json.loads(line) for line in text.splitlines()]
    cut = json.loads(headers["X-Kappa-Cut"])[topic]
    have = [0] * len(cut)
    for record in records:
        have[record["partition"]] = record["offset"] + 1
    if any(c > h for c, h in zip(cut, have)):  # the stream went on between the two reads
        records = platform.cat(topic)
    model, _, _ = features_model(records, cut, right=right)
    assert_features_equal(rows, model)
    return len(rows)


@pytest.mark.sanitized
def test_deploy_swap_rollback_under_load(platform, topic):
    users = 300
    platform.topic(topic)
    platform.run("produce", topic, "--key", "user_id",
                 stdin="\n".join(support.events_lines(20000, users=users)) + "\n")
    producer = support.Producer(platform, topic, rate=2000, users=users, first=20000, step_us=1000)
    platform.deploy("features", features_sql(topic, right=False), "--wait", "--timeout", "300s")
    assert platform.status("features")["serving"] == 1
    readers = Readers(platform, "user_features", users)

    platform.deploy("features", features_sql(topic), "--wait", "--timeout", "300s")
    status = platform.status("features")
    assert (status["serving"], status["epoch"]) == (2, 2)
    states = {v["version"]: v["state"] for v in status["versions"]}
    assert states == {1: "standby", 2: "serving"}

    receipt = platform.json("rollback", "features")
    assert (receipt["old"], receipt["new"], receipt["epoch"]) == (2, 1, 3)
    forward = platform.json("swap", "features", 2)
    assert (forward["old"], forward["new"], forward["epoch"]) == (1, 2, 4)
    assert all(now >= then for now, then in zip(forward["cut"][topic], receipt["cut"][topic]))
    reads, epoch = readers.stop()
    assert epoch == 4, (reads, epoch)

    producer.stop()
    support.applied_everything(platform, "features", 2, topic)
    assert check_table(platform, topic, right=True) > 0
    history = platform.json("history", "features")["receipts"]
    assert [(r["epoch"], r["old"], r["new"]) for r in history] == [(4, 1, 2), (3, 2, 1), (2, 1, 2), (1, 0, 1)]
    assert all(r["old_digest"] != r["new_digest"] for r in history[:3]), "v1 has a bug: the digests differ"
    assert platform.down() == 0


def test_v1_rows_are_v1_rows(platform, topic):
    """Before the swap readers see v1's rows, a named version sees its own, and rollback shows v1's again."""
    platform.topic(topic, 3)
    lines = support.events_lines(6000, users=50, bad=97)
    platform.run("produce", topic, "--key", "user_id", code=1, stdin="\n".join(lines) + "\n")
    platform.run("produce", topic, stdin="\n".join(support.events_lines(6000, users=50, bad=97, seed=5)) + "\n")
    platform.deploy("features", features_sql(topic, right=False), "--wait")
    platform.deploy("features", features_sql(topic), "--swap", "manual", "--wait")
    assert platform.status("features")["serving"] == 1
    records = platform.cat(topic)
    ends = [1 << 60] * 3
    wrong, dead, late = features_model(records, ends, right=False)
    right, _, _ = features_model(records, ends, right=True)
    assert dead > 0
    assert_features_equal(platform.scan("user_features"), wrong)
    assert_features_equal(platform.scan("user_features", "--version", 2), right)
    platform.run("swap", "features")
    assert_features_equal(platform.scan("user_features"), right)
    platform.run("rollback", "features")
    assert_features_equal(platform.scan("user_features"), wrong)
    barred = platform.version("features", 2)
    assert barred["barred"] is True
    version = platform.version("features", 1)
    assert (version["dead"], version["late"]) == (dead, late)


def test_same_digest_live_and_replayed(platform, topic):
    """The same definition at the same cut: live, as a replay, and verified with other threads and batches."""
    platform.topic(topic)
    producer = support.Producer(platform, topic, rate=3000, users=100)
    platform.deploy("features", features_sql(topic), "--wait")
    eventually(lambda: platform.version("features", 1)["records"] > 6000, 60, "6000 events applied")
    producer.stop()
    support.applied_everything(platform, "features", 1, topic)
    platform.run("replay", "features")
    platform.wait("features", 2)
    receipt = platform.json("history", "features")["receipts"][0]
    assert receipt["old_digest"] == receipt["new_digest"]
    result = platform.json("verify", "features", 2)
    assert result["verified"] is True and result["digest"] == result["replayed_digest"] == receipt["new_digest"]


def test_same_digest_on_both_logs_and_any_shape(kafka, tmp_path, topic):
    """The same records in the embedded log and in Kafka, 1 and 4 threads, a cache of next to nothing: one digest."""
    lines = "\n".join(support.events_lines(20000, users=500)) + "\n"
    digests = {}
    for name, address in [("embedded", None), ("kafka", kafka)]:
        directory = tmp_path / name
        directory.mkdir()
        with support.Platform(str(directory), kafka=address) as platform:
            platform.up()
            platform.topic(topic, 4)
            platform.run("produce", topic, "--key", "user_id", stdin=lines)
            for shape in [("--shards", 1), ("--shards", 4), ("--shards", 3, "--cache-bytes", 5000)]:
                processor = "f" + str(len(digests))
                platform.deploy(processor, features_sql(topic, table=processor), "--wait", *shape)
                digests[name, shape] = platform.json("history", processor)["receipts"][0]["tables"][processor]["new"]
    assert len(set(digests.values())) == 1, digests


def test_start_positions(platform, topic):
    platform.topic(topic, 2)
    sql = (f"CREATE TABLE e (k text, n bigint) WITH (topic='{topic}');"
           "CREATE MATERIALIZED VIEW counts AS SELECT k, count(*) AS c, sum(n) AS s FROM e GROUP BY k;")
    platform.produce(topic, [{"k": "a", "n": i, "at": 1_700_000_000_000 + i * 1000} for i in range(10)],
                     "--partition", 0, "--time", "at")
    platform.produce(topic, [{"k": "b", "n": i, "at": 1_700_000_000_000 + i * 1000} for i in range(10)],
                     "--partition", 1, "--time", "at")

    def rows(name, *start):
        platform.deploy(name, sql.replace("counts", name), "--wait", *start)
        return {r["k"]: (r["c"], r["s"]) for r in platform.scan(name)}

    assert rows("from_start") == {"a": (10, 45), "b": (10, 45)}
    assert rows("from_end", "--from", "end") == {}
    assert rows("from_offsets", "--from", "0:7,1:9") == {"a": (3, 24), "b": (1, 9)}
    assert rows("from_time", "--from", "@2023-11-14T22:13:25Z", "--empty-state") == {"a": (5, 35), "b": (5, 35)}
    assert rows("from_late_time", "--from", "@2030-01-01T00:00:00Z", "--empty-state") == {}
    assert platform.version("from_start", 1)["complete"] is True
    assert platform.version("from_offsets", 1)["complete"] is False
    platform.deploy("x", sql.replace("counts", "x"), "--from", "0:99", code=None)
    platform.produce(topic, [{"k": "c", "n": 1}], "--partition", 0)
    eventually(lambda: [r["k"] for r in platform.scan("from_end")] == ["c"], 20, "a live row arrives")


def test_get_reads_files_without_a_server(embedded, topic):
    """get and scan read LMDB directly: they work while nothing runs."""
    embedded.topic(topic)
    embedded.run("produce", topic, "--key", "user_id", stdin="\n".join(support.events_lines(3000, users=20)) + "\n")
    embedded.deploy("features", features_sql(topic), "--wait")
    before = embedded.scan("user_features")
    row = embedded.json("get", "user_features", "u1")
    assert embedded.down() == 0
    assert embedded.scan("user_features") == before
    assert embedded.json("get", "user_features", "u1") == row
    assert row["version"] == 1 and row["epoch"] == 1 and row["row"]["user_id"] == "u1"
    newest = max((r for r in before if r["user_id"] == "u1"), key=lambda r: r["window_end"])
    assert row["row"] == newest
    first = min((r for r in before if r["user_id"] == "u1"), key=lambda r: r["window_end"])
    at = embedded.json("get", "user_features", "u1", "--at", first["window_start"])
    assert at["row"] == first
    embedded.run("get", "user_features", "nobody", code=3)
    embedded.run("get", "user_features", "u1", "--at", first["window_end"][:4].replace("2", "1", 1)
                 + first["window_end"][4:], code=3)
    embedded.run("get", "user_featurez", "u1", code=3)
    embedded.run("status", code=5)


def test_server_and_files_agree(embedded, topic):
    embedded.topic(topic)
    embedded.run("produce", topic, "--key", "user_id", stdin="\n".join(support.events_lines(2000, users=9)) + "\n")
    embedded.deploy("features", features_sql(topic), "--wait")
    address = embedded.server()["http"]
    over = subprocess.run([support.BIN, "scan", "user_features", "-o", "json", "--server", address],
                          capture_output=True, text=True, check=True,
                          env={k: v for k, v in embedded.env.items() if k != "KAPPA_DATA"})
    assert [json.loads(line) for line in over.stdout.splitlines()] == embedded.scan("user_features")
    assert embedded.http("GET", "/v1/tables/user_features/rows/u3")[1] == embedded.json("get", "user_features", "u3")
    status, body, _ = embedded.http("GET", "/v1/tables/user_features/rows/nobody")
    assert status == 404 and body["error"]["code"] == "not_found"
