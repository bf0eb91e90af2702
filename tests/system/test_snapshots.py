"""Snapshots: copies of a version's files that are whole or not there, within their limits."""

import os
import shutil

import support
from test_metrics import parse

SQL = """CREATE TABLE t (k text, n bigint) WITH (topic = 't', format = 'json', key = 'k');
CREATE MATERIALIZED VIEW counts AS SELECT k, count(*) AS n, sum(n) AS s FROM t GROUP BY k;
"""


def events(first, count):
    return [{"k": f"k{i % 13}", "n": i} for i in range(first, first + count)]


def folder(platform, name="counts"):
    return os.path.join(platform.data, "versions", name)


def ids(platform, name="counts"):
    return [s["id"] for s in platform.json("snapshots", name)["snapshots"]]


def taken(platform, name="counts"):
    snapshots = platform.status(name)["snapshots"]
    return snapshots["count"], snapshots["bytes"]


def leftovers(platform, name="counts"):
    return [entry for entry in os.listdir(folder(platform, name)) if entry.startswith(".making")]


def test_made_listed_and_dropped(embedded):
    embedded.topic("t", 3)
    embedded.produce("t", events(0, 100), "--key", "k")
    embedded.deploy("counts", SQL, "--wait")
    support.applied_everything(embedded, "counts", 1, "t", "committed")
    assert embedded.run("snapshots", "counts").stdout == "counts has no snapshots\n"
    made = embedded.json("snapshot", "counts", "--name", "first")
    version = embedded.version("counts", 1)
    assert [s["next"] for s in made["sources"]] == [s["committed"] for s in version["sources"]]
    assert sum(s["records"] for s in made["sources"]) == 100 and made["complete"] and made["bytes"] > 0
    assert embedded.json("verify", "counts", 1)["digest"] == made["digest"]
    embedded.produce("t", events(100, 50), "--key", "k")
    embedded.run("snapshot", "counts", 1)
    listed = embedded.json("snapshots", "counts")
    assert [s["name"] for s in listed["snapshots"]] == ["first", None]
    assert listed["snapshots"][0]["state"] == listed["snapshots"][1]["state"] and len(listed["snapshots"][0]["state"]) == 32
    assert listed["bytes"] == sum(s["bytes"] for s in listed["snapshots"])
    assert "first" in embedded.run("snapshots", "counts").stdout
    support.eventually(lambda: taken(embedded) == (2, listed["bytes"]), 30, "status says what they take")
    assert embedded.version("counts", 1)["snapshots"] == {"count": 2, "bytes": listed["bytes"]}
    assert "2 snapshots take" in embedded.run("status", "counts").stdout
    metrics = parse(embedded.http("GET", "/metrics")[1])
    assert list(metrics["kappa_snapshots"].values()) == [2]
    assert list(metrics["kappa_snapshot_bytes"].values()) == [listed["bytes"]]
    assert list(metrics["kappa_version_snapshot_bytes"].values()) == [listed["bytes"]]
    collected = embedded.json("gc", "--dry-run")
    assert collected["snapshots_used"] == {"count": 2, "bytes": listed["bytes"]} and collected["used"] >= listed["bytes"]
    assert "2 snapshots take" in embedded.run("gc", "--dry-run").stdout
    # A name is given once; what is not there is not there.
    assert "already" in embedded.run("snapshot", "counts", "--name", "first", code=None).stderr
    assert "kappa snapshots counts" in embedded.run("snapshot", "counts", "--drop", "nobody", code=3).stderr
    assert embedded.run("snapshot", "counts", "--name", "a/b", code=None).returncode != 0
    assert embedded.run("snapshot", "counts", 9, code=3).stderr
    # They outlive the server, and stay when the version goes.
    embedded.kill()
    embedded.up()
    before = ids(embedded)
    assert len(before) == 2
    assert "removed" in embedded.run("snapshot", "counts", "--drop", before[1]).stdout
    embedded.run("snapshot", "counts", "--drop", "first")
    assert ids(embedded) == [] and os.listdir(os.path.join(folder(embedded), "snapshots")) == []
    support.eventually(lambda: taken(embedded) == (0, 0), 30, "they take nothing")


def start_counts(platform):
    platform.up()
    platform.topic("t", 3)
    platform.produce("t", events(0, 100), "--key", "k")
    platform.deploy("counts", SQL, "--shards", 2, "--wait")
    support.applied_everything(platform, "counts", 1, "t", "committed")


def test_a_crash_leaves_none_half(tmp_path):
    """kill -9 of who copies, at each step: there is a whole snapshot or none, and no rest after the next start."""
    with support.Platform(str(tmp_path)) as platform:
        start_counts(platform)
        for step, there in (("copied:1", 0), ("copied:2", 0), ("whole:1", 0), ("there:1", 1)):
            platform.down()
            platform.up(extra_env={"KAPPA_FAIL": step})
            platform.wait("counts", 1)
            failed = platform.run("snapshot", "counts", code=None)
            assert failed.returncode != 0 and "killed by signal 9" in failed.stderr, (step, failed.stderr)
            assert len(ids(platform)) == there, step
            support.eventually(lambda: leftovers(platform) == [], 20, "what is left of it is gone")
            # And with the server, by kill -9: its next start sweeps.
            platform.kill()
            os.makedirs(os.path.join(folder(platform), ".making-v1-1", "0"))
            platform.up()
            support.eventually(lambda: leftovers(platform) == [], 20, "what is left of it is gone")
            for snapshot in ids(platform):
                platform.run("snapshot", "counts", "--drop", snapshot)
            assert platform.json("snapshot", "counts")["sources"] != []
            assert len(ids(platform)) == 1
            platform.run("snapshot", "counts", "--drop", ids(platform)[0])


def test_a_copy_that_stands_still_is_given_up(tmp_path):
    """Its process is stopped in the middle: who asked is told, status says it of those made by themselves, and the next is made."""
    with support.Platform(str(tmp_path)) as platform:
        start_counts(platform)
        platform.down()
        platform.up(extra_env={"KAPPA_FAIL": "copied:1", "KAPPA_FAIL_STOPS": "1", "KAPPA_SNAPSHOT_SILENT_MS": "2000"})
        platform.wait("counts", 1)
        failed = platform.run("snapshot", "counts", code=None)
        assert failed.returncode != 0 and "has copied nothing for" in failed.stderr, failed.stderr
        support.eventually(lambda: leftovers(platform) == [], 20, "what is left of it is gone")
        assert platform.status("counts")["snapshot_trouble"] is None
        platform.deploy("counts", "SET snapshot.every = '1 h';\n" + SQL)
        support.eventually(lambda: platform.status("counts")["snapshot_trouble"], 60, "one was tried")
        assert "has copied nothing for" in platform.run("status", "counts").stdout
        assert "snapshot_failed" in platform.run("events").stdout
        platform.down()
        platform.up()
        support.eventually(lambda: len(ids(platform)) == 1, 60, "it is made")
        assert platform.status("counts")["snapshot_trouble"] is None and leftovers(platform) == []


def test_by_itself_and_limits(embedded):
    """SET snapshot.every makes them while records come; the newest `keep` stay, and those with a name."""
    embedded.topic("t", 2)
    embedded.produce("t", events(0, 100), "--key", "k")
    embedded.deploy("counts", "SET snapshot.every = '1 s';\nSET snapshot.keep = 2;\n" + SQL, "--wait")
    support.eventually(lambda: len(ids(embedded)) == 1, 30, "the first one")
    named = embedded.json("snapshot", "counts", "--name", "mine")["id"]
    seen = set(ids(embedded))
    first = 100
    while len(seen) < 6:
        embedded.produce("t", events(first, 5), "--key", "k")
        first += 5

        def another():
            now = set(ids(embedded))
            new = now - seen
            seen.update(now)
            return new

        support.eventually(another, 30, "another one")
        assert len(ids(embedded)) <= 4  # two, the named one, and one that is about to go
    support.eventually(lambda: len(ids(embedded)) == 3, 10, "the others are gone")
    assert named in ids(embedded)
    # Nothing comes: none is made.
    support.applied_everything(embedded, "counts", 1, "t", "committed")
    newest = embedded.json("snapshots", "counts")["snapshots"][-1]
    assert sum(s["records"] for s in newest["sources"]) <= first
    # A limit that one more would pass: it says so, and nothing goes.
    assert "its policy is changed" in embedded.deploy("counts", SQL).stdout  # none is made by itself any more
    support.eventually(lambda: embedded.run("snapshot", "counts", code=None).returncode == 0, 30, "none is under way")
    before = ids(embedded)
    embedded.deploy("counts", "SET snapshot.max_bytes = '1 kB';\n" + SQL)
    failed = embedded.run("snapshot", "counts", code=None)
    assert failed.returncode != 0 and "snapshot.max_bytes" in failed.stderr
    assert ids(embedded) == before
    for bad in ("SET snapshot.every = '1 ms';", "SET snapshot.keep = 0;", "SET snapshot.max_bytes = 'much';"):
        assert "snapshot." in embedded.deploy("other", bad + SQL, code=None).stderr

BASE = 1_700_000_000_000


def begun(topic, where="", having=""):
    return f"""CREATE TABLE t (k text, n bigint, at timestamptz) WITH (topic = '{topic}', format = 'json', key = 'k');
CREATE TABLE tens (k text, n bigint) WITH (topic = '{topic}-tens', key = 'k');
CREATE MATERIALIZED VIEW counts AS SELECT k, count(*) AS n, sum(n) AS s FROM t {where} GROUP BY k {having};
INSERT INTO tens SELECT k, n FROM t WHERE n % 10 = 0;
"""


def timed(first, count):
    """Records with times of their own, one a second."""
    return [{"k": f"k{i % 13}", "n": i, "at": BASE + 1000 * i} for i in range(first, first + count)]


def totals(count, first=0):
    rows = {}
    for i in range(first, count):
        n, s = rows.get(f"k{i % 13}", (0, 0))
        rows[f"k{i % 13}"] = (n + 1, s + i)
    return rows


def table(platform, name="counts"):
    return {row["k"]: (row["n"], row["s"]) for row in platform.scan(name)}


def test_replay_begins_with_a_snapshot(platform, topic):
    """--from @TIME: the last snapshot at or before it with the same state, else all; the result is that of a full replay."""
    platform.topic(topic, 3)
    lines = timed(0, 3000)
    platform.produce(topic, lines[:1000], "--key", "k", "--time", "at")
    platform.deploy("counts", begun(topic), "--wait")
    support.applied_everything(platform, "counts", 1, topic, "committed")
    first = platform.json("snapshot", "counts", "--name", "first")
    platform.produce(topic, lines[1000:2000], "--key", "k", "--time", "at")
    support.applied_everything(platform, "counts", 1, topic, "committed")
    second = platform.json("snapshot", "counts")
    platform.produce(topic, lines[2000:], "--key", "k", "--time", "at")

    def plan(at, *args):
        return platform.json("replay", "counts", "--dry-run", "--from", f"@{BASE + 1000 * at}", *args)

    # Which one it would be, and why.
    dry = plan(2500)
    assert dry["begins"]["with"] == "snapshot" and dry["base"]["snapshot"] == second["id"] and dry["complete"]
    assert [s["from"] for s in dry["sources"]] == [s["next"] for s in second["sources"]] and dry["records"] == 1000
    assert plan(2000)["base"]["snapshot"] == second["id"]
    assert plan(1999)["base"]["snapshot"] == first["id"] and plan(1000)["base"]["snapshot"] == first["id"]
    early = plan(900)
    assert early["begins"]["with"] == "beginning" and "2 hold records from after that time" in early["begins"]["why"]
    assert early["complete"] and early["records"] == 3000
    empty = plan(2500, "--empty-state")
    assert empty["begins"]["with"] == "empty" and not empty["complete"] and empty["records"] == 500
    assert "it begins with a snapshot: snapshot " + second["id"] in platform.run(
        "replay", "counts", "--dry-run", "--from", f"@{BASE + 2500_000}").stdout

    # And that is what it does.
    made = platform.run("replay", "counts", "--from", f"@{BASE + 2500_000}", "--wait").stdout
    assert "it begins with a snapshot" in made
    version = platform.version("counts", 2)
    assert version["complete"] and version["complete_since"] is None and version["begins"]["with"] == "snapshot"
    support.applied_everything(platform, "counts", 2, topic, "committed")
    assert table(platform) == totals(3000)
    verified = platform.json("verify", "counts", 2)
    assert verified["verified"] and verified["records"] == 3000
    assert platform.json("verify", "counts", 1)["digest"] == verified["digest"]
    assert platform.version("counts", 2)["worker"]["bytes"] < platform.json("verify", "counts", 1)["records"] * 30

    # A change of what is read only keeps the state; one of what is stored does not.
    platform.deploy("counts", begun(topic, having="HAVING count(*) > 0"), "--from", f"@{BASE + 2500_000}", "--wait")
    assert platform.version("counts", 3)["begins"]["with"] == "snapshot"
    support.applied_everything(platform, "counts", 3, topic, "committed")
    assert table(platform) == totals(3000) and platform.json("verify", "counts", 3)["verified"]
    other = platform.deploy("counts", begun(topic, where="WHERE n >= 0"), "--from", f"@{BASE + 2500_000}", "--wait").stdout
    assert "it begins at the beginning: no snapshot of counts fits: 2 hold the state of another definition" in other
    assert platform.version("counts", 4)["complete"] and table(platform) == totals(3000)
    # Messages were sent once, whoever made them.
    support.eventually(lambda: len(platform.cat(topic + "-tens")) >= 300, 30, "all are sent")
    sent = sorted(record["value"]["n"] for record in platform.cat(topic + "-tens"))
    assert sent == list(range(0, 3000, 10))

    # Empty state, asked for: stamped as complete since that time.
    platform.run("replay", "counts", "--from", f"@{BASE + 2500_000}", "--empty-state", "--accept-gap", "--wait")
    version = platform.version("counts", 5)
    assert not version["complete"] and version["complete_since"] == support.rfc3339(BASE + 2500_000)
    assert version["begins"]["with"] == "empty" and table(platform) == totals(3000, first=2500)
    since = support.rfc3339(BASE + 2500_000)
    row = platform.http("GET", "/v1/tables/counts/rows/k1")
    assert row[1]["complete_since"] == since and row[2]["X-Kappa-Complete-Since"] == since
    assert platform.http("GET", "/v1/tables/counts/rows")[2]["X-Kappa-Complete-Since"] == since
    assert platform.http("POST", "/v1/tables/counts/get", {"keys": [["k1"]]})[1]["complete_since"] == since
    assert platform.http("POST", "/v1/sql", {"sql": "SELECT * FROM counts"})[1]["stamps"][0]["complete_since"] == since
    assert [t["complete_since"] for t in platform.http("GET", "/v1/tables")[1]["tables"]] == [since]
    assert "complete_since" not in platform.http("GET", "/v1/tables/counts@4/rows/k1")[1]


def test_beginning_with_a_snapshot_survives_crashes(tmp_path):
    """kill -9 of the worker right behind each shard's copy, and of the server: the version is the same."""
    with support.Platform(str(tmp_path)) as platform:
        platform.up()
        platform.topic("t", 4)
        platform.produce("t", timed(0, 2000), "--key", "k", "--time", "at")
        platform.deploy("counts", begun("t"), "--shards", 2, "--wait")
        support.applied_everything(platform, "counts", 1, "t", "committed")
        snapshot = platform.json("snapshot", "counts")["id"]
        platform.produce("t", timed(2000, 1000), "--key", "k", "--time", "at")
        platform.down()
        platform.up(extra_env={"KAPPA_FAIL": "adopted:1"})
        platform.run("replay", "counts", "--from", f"@{BASE + 2500_000}", "--swap", "manual", "--shards", 1)
        support.eventually(lambda: platform.version("counts", 2)["worker"]["restarts"] >= 1, 30, "it was killed")
        assert "may need it again" in platform.run("snapshot", "counts", "--drop", snapshot, code=None).stderr \
            or platform.version("counts", 2)["state"] == "ready"
        platform.kill()
        platform.up()
        platform.wait("counts", 2, "caught-up")
        platform.run("swap", "counts")
        support.applied_everything(platform, "counts", 2, "t", "committed")
        assert platform.version("counts", 2)["shards"] == 2  # as the snapshot has them
        verified = platform.json("verify", "counts", 2)
        assert verified["verified"] and verified["digest"] == platform.json("verify", "counts", 1)["digest"]
        assert table(platform) == totals(3000)


def test_the_disk_budget_lets_them_go(tmp_path):
    """Over the budget those without a name go first; one with a name stays, and so do all versions."""
    with support.Platform(str(tmp_path)) as platform:
        platform.up()
        platform.topic("t", 1)
        platform.produce("t", [{"k": f"key-{i:06}" * 10, "n": i} for i in range(5000)], "--key", "k")
        platform.deploy("counts", SQL, "--wait")
        support.applied_everything(platform, "counts", 1, "t", "committed")
        platform.run("snapshot", "counts", "--name", "mine")
        gone = [platform.json("snapshot", "counts")["id"] for _ in range(2)]
        assert platform.json("gc", "--dry-run")["snapshots"] == []
        platform.down()
        platform.args = ["--disk-budget", "1MiB"]
        platform.up()
        support.eventually(lambda: [s["name"] for s in platform.json("snapshots", "counts")["snapshots"]] == ["mine"], 40,
                           f"{gone} are gone")
        assert [v["version"] for v in platform.status("counts")["versions"]] == [1]
        answer = platform.json("gc", "--dry-run")
        assert answer["left"] > answer["budget"] and answer["snapshots"] == []


def test_records_that_the_log_lost(tmp_path):
    """A machine that dies takes the end of the log along: a snapshot of what was there is not begun with."""
    with support.Platform(str(tmp_path)) as platform:
        log, kept = os.path.join(platform.data, "log"), str(tmp_path / "kept")
        platform.up()
        platform.topic("t", 1)
        platform.deploy("counts", SQL, "--wait")
        platform.produce("t", events(0, 50), "--key", "k")
        support.applied_everything(platform, "counts", 1, "t", "committed")
        platform.run("snapshot", "counts", "--name", "sound")
        platform.down()
        shutil.copytree(log, kept)
        platform.up()
        platform.produce("t", events(50, 50), "--key", "k")
        support.applied_everything(platform, "counts", 1, "t", "committed")
        platform.run("snapshot", "counts", "--name", "lost")
        platform.down()
        shutil.rmtree(log)
        os.rename(kept, log)
        platform.up()
        support.eventually(lambda: "records were lost" in " ".join(platform.run("status", "counts").stdout.split()), 60, "v1 finds out")
        platform.produce("t", events(1000, 80), "--key", "k")
        answer = platform.json("replay", "counts", "--from", "-0s", "--swap", "manual")
        assert answer["begins"]["with"] == "snapshot" and answer["base"]["version"] == 1, answer
        assert answer["base"]["cut"] == [50], answer
        platform.wait("counts", 2, "caught-up")
        assert platform.json("verify", "counts", 2)["verified"]
        platform.run("abort", "counts", 2)
        platform.run("snapshot", "counts", "--drop", "sound")
        answer = platform.json("replay", "counts", "--from", "-0s", "--swap", "manual")
        assert answer["begins"] == {"with": "beginning", "why": "no snapshot of counts fits: 1 hold records that the log has lost"}
