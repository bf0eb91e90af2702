"""Limits on a replay: kept to, changed while it runs, kept over kill -9, and nobody's who serves.

A rate is only ever bounded from above, from records and the time that the worker itself counts: a slow machine makes
every rate smaller.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time

import support
from test_metrics import parse

COUNTS = """CREATE TABLE events (user_id text, event_type text, product_id text, amount double precision,
  event_time timestamptz) WITH (topic = '%s', format = 'json', event_time = 'event_time', timestamp_unit = 'ms');
CREATE MATERIALIZED VIEW counts AS SELECT user_id, count(*) AS n FROM events GROUP BY user_id;
"""


def worker_seconds(version):
    """How long its shards have been at it, by their own clocks."""
    return sum(version["worker"].get("time_us", {}).values()) / 1e6 / version["shards"]


def serve(platform, topic, count, step_us=1000):
    """v1 of p serves a topic of so many records."""
    platform.topic(topic, 2)
    platform.produce(topic, support.events_lines(count, step_us=step_us), "--key", "user_id")
    platform.deploy("p", COUNTS % topic)
    platform.wait("p", 1)


def test_rate(platform, topic):
    count, limit = 12000, 4000
    serve(platform, topic, count)
    platform.run("replay", "p", "--swap", "manual", "--limit", f"{limit}/s")
    assert platform.version("p", 2)["limit"] == {"records_per_second": limit}
    assert "v2 is limited to 4,000 records/s" in platform.run("status", "p").stdout
    platform.wait("p", 2, "caught-up")
    done = platform.version("p", 2)
    assert done["records"] == count
    # 3 s of the limit, less credit and batches: without a limit it takes some 50 ms.
    assert worker_seconds(done) > 0.75 * count / limit, done["worker"]
    assert done["worker"]["time_us"]["limited"] > 0
    platform.run("swap", "p", 2)
    served = platform.version("p", 2)
    assert served["limit"] is None
    refused = platform.run("limit", "p", 2, "5/s", code=None)
    assert refused.returncode != 0 and "is serving" in refused.stderr
    assert platform.json("verify", "p", 2)["verified"]


def test_bytes(embedded, topic):
    serve(embedded, topic, 6000)
    embedded.run("replay", "p", "--swap", "manual", "--limit", "200kB/s")
    embedded.wait("p", 2, "caught-up")
    done = embedded.version("p", 2)
    assert done["worker"]["bytes"] > 400_000
    assert worker_seconds(done) > 0.75 * done["worker"]["bytes"] / 200_000, done["worker"]


def test_broker(embedded, topic):
    """What the archive gives is not counted: only the tail that it has not. Of one version, and of all."""
    serve(embedded, topic, 6000)
    embedded.run("archive", "backfill", topic)
    embedded.produce(topic, support.events_lines(400, step_us=1000), "--key", "user_id")
    rate = 20_000
    for number, of_all in ((2, False), (3, True)):
        if of_all:
            answer = embedded.run("limit", "--all", f"broker <= {rate}B/s").stdout
            assert answer == "all replays together are limited to broker <= 20 kB/s\n"
        embedded.run("replay", "p", "--swap", "manual", *([] if of_all else ["--limit", f"broker <= {rate}B/s"]))
        embedded.wait("p", number, "caught-up")
        done = embedded.version("p", number)
        assert done["limit"] == (None if of_all else {"broker_bytes_per_second": rate})
        assert done["records"] == 6400
        tail = done["worker"]["bytes"] - done["worker"]["archived_bytes"]
        assert 0 < tail < done["worker"]["archived_bytes"] / 5, done["worker"]
        limited = done["worker"]["time_us"]["limited"] / 1e6
        assert limited > 0, done["worker"]
        assert worker_seconds(done) > 0.7 * tail / rate, (tail, done["worker"])
        if not of_all:  # a part of the limit over all is small at first
            assert limited < 2 * done["shards"] * tail / rate + 1, (tail, done["worker"])
        assert embedded.json("verify", "p", number)["verified"]
    embedded.run("limit", "--all", "none")


def test_changes_and_kill(embedded, topic):
    """At 50/s it would take ten minutes."""
    serve(embedded, topic, 30000)
    embedded.run("replay", "p", "--swap", "manual", "--limit", "50/s")
    support.eventually(lambda: embedded.version("p", 2)["records"] > 0, 60, "v2 reads")
    embedded.kill()
    embedded.up()
    def mostly_limited():
        slow = embedded.version("p", 2)
        return (worker_seconds(slow) > 2 and slow["worker"]["time_us"]["limited"] > slow["worker"]["time_us"]["fetch"]
                and slow)

    slow = support.eventually(mostly_limited, 60, "v2 reads again, and mostly waits")
    assert slow["state"] == "replaying" and slow["limit"] == {"records_per_second": 50}
    embedded.run("pause", "p", 2)
    embedded.run("limit", "p", 2, "60/s,1MB/s")
    embedded.kill()
    embedded.up()
    paused = embedded.version("p", 2)
    assert paused["state"] == "paused"
    assert paused["limit"] == {"records_per_second": 60, "bytes_per_second": 1000000}
    embedded.run("resume", "p", 2)
    support.eventually(lambda: worker_seconds(embedded.version("p", 2)) > 0.5, 60, "v2 reads once more")
    assert embedded.version("p", 2)["state"] == "replaying"
    embedded.run("limit", "p", 2, "none")
    embedded.wait("p", 2, "caught-up")
    done = embedded.version("p", 2)
    assert done["records"] == 30000 and done["limit"] is None
    events = [e for e in embedded.http("GET", "/v1/events?processor=p&limit=1000")[1]["events"] if e["type"] == "limit"]
    assert [e["limit"] for e in events] == [None]  # of this server's life


def test_abort_of_a_limited_one(embedded, topic):
    serve(embedded, topic, 3000)
    embedded.run("replay", "p", "--swap", "manual", "--limit", "1/s")
    support.eventually(lambda: worker_seconds(embedded.version("p", 2)) > 0.2, 60, "v2 reads")
    embedded.run("abort", "p", 2)
    embedded.run("drop", "p", 2)
    assert [v["version"] for v in embedded.status("p")["versions"]] == [1]


def freshness(version):
    """(commits, those of them that showed something older than a second)"""
    counts = version["worker"]["freshness"]["counts"]
    return sum(counts), sum(counts[13:])


def test_freshness(platform, topic):
    """What waits while the worker is stopped counts with its whole age."""
    serve(platform, topic, 100)
    before = freshness(platform.version("p", 1))
    made = 100

    def counted():
        """Once more when the worker had not yet been told that it serves."""
        nonlocal made
        pid = platform.version("p", 1)["worker"]["pid"]
        os.kill(pid, signal.SIGSTOP)
        try:
            platform.produce(topic, support.events_lines(20, first=made))
            time.sleep(1.1)
        finally:
            os.kill(pid, signal.SIGCONT)
        made += 20
        support.applied_everything(platform, "p", 1, topic)
        try:
            return support.eventually(lambda: freshness(platform.version("p", 1))[1] > before[1], 1, "it is counted")
        except AssertionError:
            return False

    support.eventually(counted, 60, "an old record is counted")
    # It is of about the last second: something must come.
    support.eventually(lambda: platform.version("p", 1)["freshness"], 60, "the controller shows it",
                       on_poll=lambda: platform.produce(topic, support.events_lines(1, first=made)))
    metrics = platform.http("GET", "/metrics")[1]
    assert 'kappa_freshness_seconds_bucket{processor="p",version="1",le="1"}' in metrics


def test_goal(embedded, topic):
    """A replay with a goal of freshness begins slowly, says why it is as fast as it is, and comes to its end."""
    serve(embedded, topic, 40000)
    embedded.run("replay", "p", "--swap", "manual", "--limit", "freshness p99 <= 10 s, priority=2, 50/s")
    seen = support.eventually(lambda: embedded.version("p", 2)["pace"], 60, "v2 is paced")
    assert seen["records_per_second"] == 50 and seen["why"]
    assert embedded.version("p", 2)["limit"] == {"freshness_ms": 10000, "priority": 2, "records_per_second": 50}
    before = embedded.version("p", 2)["records"] + 2000  # while the limit is changed
    embedded.run("limit", "p", 2, "freshness=10s,12k/s")
    embedded.wait("p", 2, "caught-up")
    assert worker_seconds(embedded.version("p", 2)) > 0.75 * (40000 - before) / 12000
    embedded.run("limit", "p", 2, "freshness=10s")
    assert "v2 is limited to freshness p99 <= 10000 ms" in embedded.run("status", "p").stdout
    embedded.run("swap", "p", 2)
    assert embedded.version("p", 2)["limit"] is None


def test_finish(embedded, topic):
    """No faster than it must be, kept over a restart; once the time has passed as fast as it can."""
    serve(embedded, topic, 40000)
    embedded.run("replay", "p", "--swap", "manual", "--limit", "finish in 1h")
    seen = support.eventually(lambda: embedded.version("p", 2)["pace"], 60, "v2 is paced")
    # 40,000 records in an hour, less a tenth of it, are 12 or 13 a second.
    needs = support.eventually(lambda: embedded.version("p", 2)["pace"]["finish"]["needs"], 60, "v2 knows what it needs")
    assert 10 < needs < 40, seen
    support.eventually(lambda: embedded.version("p", 2)["pace"]["records_per_second"] < 40, 60, "v2 is slow")
    limit = embedded.version("p", 2)["limit"]
    assert list(limit) == ["finish_by"]
    assert f"v2 is limited to finish by {limit['finish_by']}" in embedded.run("status", "p").stdout
    embedded.kill()
    embedded.up()
    support.eventually(lambda: worker_seconds(embedded.version("p", 2)) > 1, 60, "v2 reads again")
    slow = embedded.version("p", 2)
    assert slow["limit"] == limit and slow["state"] == "replaying" and slow["records"] < 30000
    assert slow["pace"]["finish"]["by"] == limit["finish_by"]
    # A time that is nearly over leaves nothing to wait for; what it says itself comes first all the same.
    embedded.run("limit", "p", 2, "12k/s, finish in 1s")
    embedded.wait("p", 2, "caught-up")
    assert embedded.version("p", 2)["pace"] is None
    embedded.run("swap", "p", 2)
    assert embedded.version("p", 2)["limit"] is None


def test_all(embedded, topic):
    """Two replays keep one limit together, over a restart too; what serves and what has caught up is not limited."""
    count, limit = 20000, 4000
    serve(embedded, topic, count)
    embedded.deploy("q", (COUNTS % topic).replace("counts AS", "others AS"), "--swap", "manual")
    embedded.wait("q", 1, "caught-up")
    assert embedded.run("limit", "--all", f"{limit}/s").stdout == "all replays together are limited to 4,000 records/s\n"
    embedded.kill()
    embedded.up()
    embedded.run("replay", "p", "--swap", "manual")
    embedded.run("replay", "q", "--swap", "manual", "--limit", "priority=3")
    status = embedded.run("status").stdout
    assert status.startswith("all replays together are limited to 4,000 records/s\n"), status
    seen = support.eventually(lambda: embedded.version("p", 2)["pace"], 60, "p v2 is under the limit")
    assert seen["held_by"] in ("all", "nothing", "other") and seen["why"], seen
    embedded.wait("p", 2, "caught-up")
    embedded.wait("q", 2, "caught-up")
    took = max(worker_seconds(embedded.version(p, 2)) for p in ("p", "q"))
    # 10 s of the limit; half of it where each had the whole.
    assert took > 0.75 * 2 * count / limit, took
    assert embedded.version("p", 1)["worker"]["time_us"]["limited"] == 0
    assert embedded.version("p", 2)["pace"] is None
    assert embedded.run("limit", "--all", "none").stdout == "all replays together have no limit\n"
    assert embedded.http("GET", "/v1/status")[1]["limit"] is None
    for wrong in (["limit", "--all", "freshness=5ms"], ["limit", "--all"], ["limit", "p", "5/s"],
                  ["limit", "p", 2, "5/s", "--all"]):
        assert embedded.run(*wrong, code=None).returncode != 0, wrong


def test_late(embedded, topic):
    """That a replay will not be done in time is told once, with what is in the way: event, doctor, metrics."""
    serve(embedded, topic, 20000)
    embedded.run("limit", "--all", "10/s")
    embedded.run("replay", "p", "--swap", "manual", "--limit", "finish in 10m")

    def events(kind):
        said = map(json.loads, embedded.run("events", "p", "-o", "json").stdout.splitlines())
        return [event for event in said if event["type"] == kind]

    support.eventually(lambda: events("late"), 60, "it is told that v2 is late")
    told, = events("late")
    assert told["version"] == 2 and told["held_by"] == "all" and told["late_seconds"] > 600, told
    assert "the limit over all replays comes first; it will be late by" in told["message"]
    pace = embedded.version("p", 2)["pace"]
    assert pace["held_by"] == "all" and pace["finish"]["in_time"] is False, pace
    metrics = parse(embedded.http("GET", "/metrics")[1])
    assert list(metrics["kappa_replay_limit_records"].values()) == [10]
    assert list(metrics["kappa_replay_in_time"].values()) == [0]
    assert list(metrics["kappa_replay_late_seconds"].values())[0] > 60
    doctor = embedded.json("doctor", code=None)["checks"]
    limit, = (c for c in doctor if c["check"] == "limit")
    assert limit["state"] == "ok" and "limited to 10 records/s" in limit["found"]
    late, = (c for c in doctor if "will not be done in time" in c["found"])
    assert late["check"] == "processor p" and late["state"] == "warn" and "kappa limit --all" in late["todo"]
    embedded.run("limit", "--all", "none")
    embedded.run("limit", "p", 2, "finish in 1h")
    embedded.run("limit", "p", 2, "none")
    embedded.wait("p", 2, "caught-up")
    assert len(events("late")) == 1
    metrics = parse(embedded.http("GET", "/metrics")[1])
    assert not metrics.get("kappa_replay_in_time") and not metrics.get("kappa_replay_limit_records")


def nice_of(pid):
    """Of all threads of a process."""
    found = set()
    for task in os.listdir(f"/proc/{pid}/task"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            with open(f"/proc/{pid}/task/{task}/stat") as stat:
                found.add(int(stat.read().rsplit(")", 1)[1].split()[16]))
    return found


def may_come_back():
    """Whether a nice value that was raised may be lowered again here."""
    tried = "import os; os.nice(1); os.setpriority(os.PRIO_PROCESS, 0, os.getpriority(os.PRIO_PROCESS, 0) - 1)"
    return subprocess.run([sys.executable, "-c", tried], stderr=subprocess.DEVNULL).returncode == 0


def test_priority(tmp_path):
    """Replays stand back until they are about to serve; refused where there is no way back."""
    with support.Platform(str(tmp_path), args=["--replay-nice", "7"]) as platform:
        if not may_come_back():
            refused = subprocess.run([support.BIN, "up", "--data", str(tmp_path / "d"), "--replay-nice", "7"],
                                     capture_output=True, text=True, timeout=300)
            assert refused.returncode != 0 and "lower priority" in refused.stderr
            return
        platform.up()
        normal = os.getpriority(os.PRIO_PROCESS, 0)
        serve(platform, "events", 3000)
        platform.run("replay", "p", "--swap", "manual", "--limit", "50/s")
        support.eventually(lambda: worker_seconds(platform.version("p", 2)) > 0, 60, "v2 reads")
        assert nice_of(platform.version("p", 2)["worker"]["pid"]) == {normal + 7}
        assert nice_of(platform.version("p", 1)["worker"]["pid"]) == {normal}
        platform.run("limit", "p", 2, "none")
        platform.wait("p", 2, "caught-up")
        platform.run("swap", "p", 2)
        support.eventually(lambda: nice_of(platform.version("p", 2)["worker"]["pid"]) == {normal}, 60, "v2 is as others")


def test_refused(embedded, topic):
    serve(embedded, topic, 10)
    for limit, says in (("fast", "begins with no number"), ("5", "no unit"), ("5/s,6/s", "says again"),
                        ("0/s", "not between"), ("5kg/s", "no unit"), ("", "begins with no number"),
                        ("1e99/s", "begins with no number"), ("10000G/s", "not between"),
                        ("freshness=fast", "no duration"), ("freshness=1us", "no duration"),
                        ("freshness=5ms,priority=0", "from 1 to 100"), ("finish at 06:00", "says neither"),
                        ("finish by 2001-01-01", "has passed"), ("broker <= 5/s", "limited in bytes")):
        for command in (["limit", "p", 1, limit], ["replay", "p", "--limit", limit]):
            refused = embedded.run(*command, code=None)
            assert refused.returncode != 0 and says in refused.stderr, (limit, refused.stderr)
    assert len(embedded.status("p")["versions"]) == 1


def test_forecast(embedded, topic):
    """After the first tenth the time left is told within a fifth. The limit governs the speed, so that what is right is
    known beforehand, and a machine that is busy for a moment only makes it told a little later."""
    total, rate = 12_000, 1500
    embedded.topic(topic, 2)
    embedded.produce(topic, [{"i": i} for i in range(total)])
    embedded.deploy("slow", f"CREATE TABLE e (i bigint) WITH (topic='{topic}', format='json');\n"
                    "CREATE MATERIALIZED VIEW slow AS SELECT i % 100 AS k, count(*) AS n FROM e GROUP BY i % 100;\n",
                    "--limit", f"{rate}/s", "--swap", "manual")
    told = []

    def right():
        version = embedded.version("slow", 1)
        left, eta, between = version["lag"], version["eta_seconds"], version["eta_range"]
        if left is None or not 0.1 <= version["progress"] < 1:
            assert version["progress"] < 1, told
            return False
        told.append((version["progress"], left / rate, eta, between))
        return (eta is not None and abs(eta - left / rate) <= 0.2 * left / rate
                and between[0] <= left / rate and (between[1] is None or left / rate <= between[1]))

    support.eventually(right, 60, "the forecast is right")
    embedded.wait("slow", 1, "caught-up")
