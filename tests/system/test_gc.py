"""`kappa gc`: what is over goes with its files, by the stated rules; nothing else does."""

import json
import os
import time

import support

SQL = """CREATE TABLE t (k text, n bigint) WITH (topic = 't', format = 'json', key = 'k');
CREATE MATERIALIZED VIEW counts AS SELECT k, %s AS n FROM t GROUP BY k;
"""


def states(platform):
    return {v["version"]: v["state"] for v in platform.status("counts")["versions"]}


def test_gc(embedded):
    embedded.topic("t", 2)
    embedded.produce("t", [{"k": f"k{i}", "n": i} for i in range(50)], "--key", "k")
    assert "nothing to remove" in embedded.run("gc").stdout
    # v1 and v2 retired, v3 stands by, v4 serves, v5 aborted, v6 ready, v7 failed at its dead_limit.
    for i in range(1, 5):
        embedded.deploy("counts", SQL % f"{i} * count(*)", "--wait")
    embedded.deploy("counts", SQL % "5 * count(*)", "--swap", "manual", "--wait")
    embedded.run("abort", "counts", 5)
    embedded.deploy("counts", SQL % "6 * count(*)", "--swap", "manual", "--wait")
    embedded.produce("t", ['{"k": "k1", "n": "many"}'])
    strict = (SQL % "7 * count(*)").replace("key = 'k'", "key = 'k', dead_limit = '0'")
    embedded.deploy("counts", strict, "--wait", code=None)
    support.eventually(lambda: states(embedded)[7] == "failed", 20, "v7 failed")
    before = {1: "retired", 2: "retired", 3: "standby", 4: "serving", 5: "aborted", 6: "ready", 7: "failed"}
    assert states(embedded) == before
    plugins = os.path.join(embedded.data, "plugins")
    os.makedirs(plugins, exist_ok=True)
    for name, age in (("0" * 32 + ".so", 7200), ("1" * 32 + ".so", 0)):
        with open(os.path.join(plugins, name), "wb") as out:
            out.write(b"x" * 5000)
        os.utime(os.path.join(plugins, name), (time.time() - age,) * 2)

    # Too young, all of them; an old plugin that nobody names is not.
    plan = embedded.json("gc", "--dry-run")
    assert plan["versions"] == [] and [item["version"] for item in plan["kept"]] == [7, 5, 2, 1]
    assert "only failed for" in plan["kept"][0]["why"] and "newest 1 retired" in plan["kept"][2]["why"]
    assert [item["file"] for item in plan["plugins"]] == ["0" * 32 + ".so"]

    plan = embedded.json("gc", "counts", "--older-than", "0s", "--dry-run")
    assert [item["version"] for item in plan["versions"]] == [7, 5, 1] and plan["plugins"] == []
    assert plan["bytes"] > 0 and states(embedded) == before and plan["dry_run"]
    assert all(item["why"].startswith(item["state"] + " for ") for item in plan["versions"])
    gone = embedded.json("gc", "counts", "--older-than", "0s")
    assert [item["version"] for item in gone["versions"]] == [7, 5, 1] and gone["bytes"] == plan["bytes"]
    kept = {2: "retired", 3: "standby", 4: "serving", 6: "ready"}
    support.eventually(lambda: states(embedded) == kept, 10, "they are gone")
    assert sorted(os.listdir(os.path.join(embedded.data, "versions", "counts"))) == ["2", "3", "4", "6"]
    text = embedded.run("gc", "--older-than", "0s", "--keep", "0").stdout
    assert "removed: 1 versions, 1 plugins" in text and os.listdir(plugins) == ["1" * 32 + ".so"]
    assert len(embedded.json("history", "counts")["receipts"]) == 4
    assert "no processor" in embedded.run("gc", "nobody", code=3).stderr
    # What is left works: back, and a restart.
    embedded.run("rollback", "counts")
    embedded.kill()
    embedded.up()
    assert embedded.query("SELECT sum(n) AS n FROM counts") == [{"n": 150}]


def test_disk_budget(tmp_path):
    """Above the budget what is over goes by itself, in the stated order, and a dry run says so before; what is not over stays."""
    with support.Platform(str(tmp_path)) as platform:
        platform.up()
        platform.topic("t", 1)
        platform.produce("t", [{"k": f"key-{i:06}" * 10, "n": i} for i in range(20_000)], "--key", "k")
        # v1 and v2 retired, v3 stands by, v4 serves, v5 failed: of some megabytes each.
        for i in range(1, 5):
            platform.deploy("counts", SQL % f"{i} * count(*)", "--wait")
            support.applied_everything(platform, "counts", i, "t")
        platform.produce("t", ['{"k": "k1", "n": "many"}'])
        platform.deploy("counts", (SQL % "7 * count(*)").replace("key = 'k'", "key = 'k', dead_limit = '0'"), code=None)
        support.eventually(lambda: states(platform).get(5) == "failed", 60, "v5 failed")
        assert states(platform) == {1: "retired", 2: "retired", 3: "standby", 4: "serving", 5: "failed"}
        plan = platform.json("gc", "--dry-run")
        size = {item["version"]: item["bytes"] for item in plan["kept"]}
        assert sorted(size) == [1, 2, 5] and min(size[1], size[2]) > 1_000_000 and plan["budget"] is None
        assert plan["used"] == plan["left"] + plan["trash"] and plan["versions"] == []
        platform.down()

        # Just too little for v1: the failed one and the oldest retired one go, the other one stays.
        platform.args = ["--disk-budget", f"{(plan['left'] - size[5] - size[1] // 2) // 1000}kB"]
        platform.up()
        support.eventually(lambda: states(platform) == {2: "retired", 3: "standby", 4: "serving"}, 60, "v5 and v1 went")
        dropped = platform.run("events", "--type", "dropped", "-o", "json").stdout.splitlines()
        assert [json.loads(line)["version"] for line in dropped] == [5, 1]
        assert platform.json("gc", "--dry-run")["versions"] == []
        platform.down()
        back = os.path.join(platform.data, "versions", "counts", "1")  # as if the machine had stopped behind the drop
        os.makedirs(os.path.join(back, "0"))

        # Less than what must stay: v2 goes too, and that it is not enough is told once.
        platform.args = ["--disk-budget", "0.1MB"]
        platform.up()
        assert not os.path.exists(back) and "versions/counts/1 is of no version" in platform.log_text()
        support.eventually(lambda: states(platform) == {3: "standby", 4: "serving"}, 60, "v2 went")
        text = platform.run("gc", "--dry-run").stdout
        assert "the disk budget is" in text and "nothing more may go" in text, text
        told = platform.run("events", "--type", "over_budget", "-o", "json").stdout.splitlines()
        assert len(told) == 1, told
        told = json.loads(told[0])
        assert "no more of them is over" in told["message"] and "standby" in told["error"]["hint"]
        assert platform.query("SELECT count(*) AS n FROM counts") == [{"n": 20_000}]
        platform.down()
        platform.args = ["--disk-budget", "much"]
        platform.up(wait=False)
        assert platform.process.wait(180) == 2 and "not a size" in platform.log_text()
