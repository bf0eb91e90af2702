"""Snapshots: copies of a version's files that are whole or not there, within their limits."""

import os

import support

SQL = """CREATE TABLE t (k text, n bigint) WITH (topic = 't', format = 'json', key = 'k');
CREATE MATERIALIZED VIEW counts AS SELECT k, count(*) AS n, sum(n) AS s FROM t GROUP BY k;
"""


def events(first, count):
    return [{"k": f"k{i % 13}", "n": i} for i in range(first, first + count)]


def folder(platform, name="counts"):
    return os.path.join(platform.data, "versions", name)


def ids(platform, name="counts"):
    return [s["id"] for s in platform.json("snapshots", name)["snapshots"]]


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


def test_a_crash_leaves_none_half(tmp_path):
    """kill -9 of who copies, at each step: there is a whole snapshot or none, and no rest after the next start."""
    with support.Platform(str(tmp_path)) as platform:
        platform.up()
        platform.topic("t", 3)
        platform.produce("t", events(0, 100), "--key", "k")
        platform.deploy("counts", SQL, "--shards", 2, "--wait")
        support.applied_everything(platform, "counts", 1, "t", "committed")
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
