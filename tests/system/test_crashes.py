"""kill -9 of any process at a random moment, at least 20 rounds: nothing lost, nothing counted twice, no hand
needed, and the digest is that of an undisturbed replay."""

import os
import signal
import time

import pytest

import support
from support import assert_features_equal, eventually, features_model, features_sql, seed_for


def kill_something(platform, rng):
    workers = platform.worker_pids()
    if workers and rng.random() < 0.7:
        try:
            os.kill(rng.choice(workers), signal.SIGKILL)
            return "worker"
        except ProcessLookupError:
            return "nobody"
    platform.kill()
    time.sleep(rng.random() * 0.1)
    platform.up()
    return "controller"


def test_kill_at_random_moments(platform, topic):
    """v1 live, v2 replaying and swapping in while processes die; 20 kills."""
    rng, seed = seed_for("test_kill_at_random_moments")
    platform.topic(topic)
    platform.run("produce", topic, "--key", "user_id",
                 stdin="\n".join(support.events_lines(60000, users=2000, seed=seed % 1000)) + "\n")
    producer = support.Producer(platform, topic, rate=1500, users=2000, first=60000, step_us=1000)
    platform.deploy("features", features_sql(topic, right=False), "--wait")
    version = 1
    for round_number in range(20):
        if round_number % 5 == 1:
            platform.deploy("features", features_sql(topic, right=version % 2 == 1, table="user_features")
                            + f"-- {version}", code=None)
            version += 1
        time.sleep(rng.random() * 0.25)
        kill_something(platform, rng)
    producer.stop()
    eventually(lambda: platform.status("features")["versions"], 30, "status answers")
    newest = max(v["version"] for v in platform.status("features")["versions"])
    eventually(lambda: platform.version("features", newest)["state"] in ("serving", "standby", "ready"), 60,
               "the newest version is there")
    serving = platform.status("features")["serving"]
    support.applied_everything(platform, "features", serving, topic)
    records = platform.cat(topic)
    keys = [(r["partition"], r["offset"]) for r in records]
    assert len(keys) == len(set(keys)), "an offset twice in the log"
    body = platform.run("status", "features").stdout
    rows = platform.scan("user_features")
    right, _, _ = features_model(records, [1 << 60] * 4, right=True)
    wrong, _, _ = features_model(records, [1 << 60] * 4, right=False)
    clicks = {(r["window_end"], r["user_id"]): r["clicks"] for r in rows}
    is_right = all(clicks.get((m["window_end"], m["user_id"])) == m["clicks"] for m in right.values())
    assert_features_equal(rows, right if is_right else wrong)
    result = platform.json("verify", "features", serving)
    assert result["verified"] is True, (result, body)


@pytest.mark.parametrize("step", ["flush", "commit", "committed"])
def test_worker_dies_at_each_step_of_a_commit(embedded, topic, step):
    """KAPPA_FAIL kills the worker at the n-th fail point; the restarted one goes on from its last commit."""
    embedded.topic(topic)
    embedded.run("produce", topic, "--key", "user_id", stdin="\n".join(support.events_lines(30000, users=500)) + "\n")
    embedded.down()
    embedded.up(extra_env={"KAPPA_FAIL": f"{step}:3"})
    embedded.deploy("features", features_sql(topic), "--timeout", "300s")
    time.sleep(1)
    embedded.kill()
    embedded.up()
    embedded.wait("features", 1)
    support.applied_everything(embedded, "features", 1, topic)
    model, _, _ = features_model(embedded.cat(topic), [1 << 60] * 4)
    assert_features_equal(embedded.scan("user_features"), model)


def test_sigterm_drains_and_commits(platform, topic):
    platform.topic(topic)
    platform.run("produce", topic, "--key", "user_id", stdin="\n".join(support.events_lines(5000, users=50)) + "\n")
    platform.deploy("features", features_sql(topic), "--wait")
    before = platform.scan("user_features")
    assert platform.down() == 0
    assert not platform.process
    platform.up()
    assert platform.status("features")["serving"] == 1
    eventually(lambda: platform.version("features", 1)["lag"] == 0, 20, "lag 0 after the restart")
    assert platform.scan("user_features") == before


def test_broker_restarts_under_a_live_version(own_broker, tmp_path, topic):
    """The broker goes away and comes back: the trouble is shown, reads go on, nothing is lost or doubled."""
    with support.Platform(str(tmp_path), kafka=own_broker.brokers) as platform:
        platform.up()
        platform.topic(topic, 2)
        lines = support.events_lines(4000, users=40)
        platform.run("produce", topic, "--key", "user_id", stdin="\n".join(lines[:2000]) + "\n")
        platform.deploy("features", features_sql(topic), "--wait")
        own_broker.stop(kill=True)
        eventually(lambda: platform.version("features", 1).get("trouble"), 60, "status shows that the broker is away")
        assert platform.json("get", "user_features", "u1")["version"] == 1
        own_broker.start()
        platform.run("produce", topic, "--key", "user_id", stdin="\n".join(lines[2000:]) + "\n")
        support.applied_everything(platform, "features", 1, topic)
        eventually(lambda: not platform.version("features", 1).get("trouble"), 60, "the trouble goes away")
        model, _, _ = features_model(platform.cat(topic), [1 << 60] * 2)
        assert_features_equal(platform.scan("user_features"), model)
