"""What has happened can be read, followed and acted upon: `kappa events`, GET /v1/events, `kappa up --hook`."""

import json
import os
import shlex
import signal
import subprocess
import time

import support

SQL = """CREATE TABLE t (k text, n bigint) WITH (topic = 't', format = 'json', key = 'k');
CREATE MATERIALIZED VIEW counts AS SELECT k, %s AS n FROM t GROUP BY k;
"""


def lines(path):
    if not os.path.exists(path):
        return []
    with open(path) as file:
        return [json.loads(line) for line in file.read().splitlines()]


def types(events, processor="counts"):
    return [event["type"] for event in events if event.get("processor") == processor]


def test_events(embedded):
    embedded.topic("t", 2)
    embedded.produce("t", [{"k": f"k{i}", "n": i} for i in range(20)], "--key", "k")
    out = os.path.join(embedded.directory, "followed")
    with open(out, "w") as file:
        follower = subprocess.Popen([support.BIN, "events", "--follow", "-o", "json", "-n", "1"], stdout=file,
                                    stderr=subprocess.PIPE, env=embedded.env)
    try:
        support.eventually(lambda: [e["type"] for e in lines(out)] == ["started"], 20, "the follower follows")
        embedded.deploy("counts", SQL % "count(*)", "--wait")
        first = ["planned", "replaying", "catching_up", "ready", "serving", "swapped"]
        # A hold that a slow machine did not make in two seconds is tried again.
        support.eventually(lambda: [t for t in types(lines(out)) if t != "swap_failed"] == first, 10,
                           "the follower has seen all of it")
        receipt = lines(out)[-1]["receipt"]
        assert receipt == embedded.json("history", "counts")["receipts"][0]
        # A refusal, then a person; and a worker that dies.
        embedded.deploy("counts", "SET swap.max_changed = 0;\n" + SQL % "2 * count(*)", "--wait", code=4)
        support.eventually(lambda: types(lines(out))[-1] == "refused", 10, "the refusal is told")
        assert "20 of 20 rows" in lines(out)[-1]["message"]
        # The server is away for a moment, and its numbers go on growing.
        embedded.kill()
        embedded.up()
        pid = support.eventually(lambda: embedded.version("counts", 1)["worker"]["pid"], 20, "the worker is there again")
        os.kill(pid, signal.SIGKILL)
        support.eventually(lambda: "worker_ended" in types(lines(out)), 20, "after the restart, too")
        numbers = [event["seq"] for event in lines(out)]
        assert numbers == sorted(set(numbers))
        assert [e["type"] for e in lines(out)].count("started") == 2
    finally:
        follower.terminate()
        follower.wait()
    shown = embedded.run("events", "counts").stdout
    assert "worker_ended" in shown and "started" not in shown
    assert embedded.run("events", "--type", "started,swapped").stdout.count("\n") == 1

    status, answer, _ = embedded.http("GET", "/v1/events?limit=1")
    assert status == 200 and len(answer["events"]) == 1 and answer["next"] == answer["events"][0]["seq"]
    began = time.monotonic()
    assert embedded.http("GET", f"/v1/events?after={answer['next']}&wait=1&processor=nobody")[1]["events"] == []
    assert 0.9 < time.monotonic() - began
    for bad in ("after=-1", "limit=x", "wait=31", "since=1"):
        assert embedded.http("GET", "/v1/events?" + bad)[0] == 400, bad


def test_hook(tmp_path):
    """Each event once, in order, as JSON; a hook that hangs is killed and does not hold up the server."""
    out = tmp_path / "hooked"
    slow = f'[ "$KAPPA_EVENT" != planned ] || sleep 0.4; cat >> {shlex.quote(str(out))}; [ "$KAPPA_EVENT" != serving ] || exit 3'
    with support.Platform(str(tmp_path), args=["--hook", slow]) as platform:
        platform.up()
        platform.topic("t", 2)
        platform.produce("t", [{"k": "a", "n": 1}], "--key", "k")
        platform.deploy("counts", SQL % "count(*)", "--wait")
        support.eventually(lambda: "swapped" in types(lines(out)), 20, "the hook has seen the swap")
        events = [json.loads(line) for line in platform.run("events", "-o", "json").stdout.splitlines()]
        assert lines(out) == events and events[0]["type"] == "started"
        assert "the hook exited 3 at the event serving counts" in platform.log_text()
        assert platform.down() == 0
    # One that never ends: the server goes on, and goes down in time, and takes it along.
    pid = tmp_path / "pid"
    os.unlink(out)
    with support.Platform(str(tmp_path), args=["--hook", f"echo $$ > '{pid}'; sleep 1000 & sleep 1000"]) as platform:
        platform.up()
        platform.deploy("counts", SQL % "2 * count(*)", "--wait")
        group = int(support.eventually(lambda: pid.exists() and pid.read_text().strip(), 10, "it runs"))
        assert platform.down() == 0
        support.eventually(lambda: not alive(group), 5, "nothing of it is left")


def alive(group):
    try:
        os.killpg(group, 0)
        return True
    except ProcessLookupError:
        return False
