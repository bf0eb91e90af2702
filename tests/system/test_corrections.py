"""`kappa corrections`: after it the newest message of each name is what a fresh deployment of the serving version sends to
a topic of its own; each correction once, through kills; the live sender neither loses nor doubles anything."""

import collections
import fcntl
import json
import os
import shutil
import signal
import subprocess

import pytest

import kafka_client
import support
from support import eventually
from test_outputs import NAME, Stream, transaction

# What changes between versions: a text, which records, under which key, which windows.
SQL = """CREATE TABLE transactions (id bigint, user_id text, amount double precision, ts timestamptz)
  WITH (topic = '{topic}', format = 'json', key = 'user_id', event_time = 'ts', watermark = '5 s', timestamp_unit = 'ms');
CREATE TABLE alerts (id bigint, user_id text, amount double precision, message text, kind text)
  WITH (topic = '{out}', format = 'json', key = 'user_id', headers = 'kind');
CREATE TABLE spent (user_id text, until timestamptz, n bigint)
  WITH (topic = '{out}-spent', format = 'json', key = 'user_id');
INSERT INTO alerts SELECT id, {user}, amount, {message}, 'large' FROM transactions WHERE {where};
INSERT INTO spent SELECT user_id, window_end, count(*)
  FROM tumble(transactions, ts, interval '2 seconds') GROUP BY user_id, window_start, window_end HAVING count(*) > {least};
CREATE MATERIALIZED VIEW {table} AS SELECT user_id, count(*) AS n FROM transactions GROUP BY user_id;
"""
V1 = {"user": "user_id", "message": "'v1'", "where": "amount > 10000", "least": 5}
V2 = {"user": "CASE WHEN id % 11 = 0 THEN 'other' ELSE user_id END", "where": "amount > 9000 AND amount < 19000", "least": 6,
      "message": "CASE WHEN id % 3 = 0 THEN 'v2' ELSE 'v1' END"}


def sql(topic, out, version, table="n"):
    return SQL.format(topic=topic, out=out, table=table, **version)


def place_of(record):
    name = NAME.match(dict(record["headers"])["kappa-out"])
    return name.group(1), int(name.group(2)), int(name.group(3)), int(name.group(5))


def newest(platform, out):
    """{place: (key, value, own headers, time)}: the newest message of each name and key, without those taken back."""
    found = {}
    for topic in (out, out + "-spent"):
        for record in platform.cat(topic):  # of one name and key all lie in one partition, in order
            headers = dict(record["headers"])
            own = [h for h in record["headers"] if h[0] not in ("kappa-out", "kappa-correction")]
            gone = headers.get("kappa-correction", "").endswith(" retracted")
            assert not gone or record["value"] is None
            content = None if gone else (record["key"], record["value"], own, record["time"])
            found[(topic[len(out):], *place_of(record), record["key"])] = content
    names = [place[:-1] for place, content in found.items() if content is not None]
    assert len(names) == len(set(names)), "one name with two keys"
    return {place: content for place, content in found.items() if content is not None}


def once(platform, out):
    """Each message was sent once, each correction of one epoch once; returns how many corrections there are."""
    seen = collections.Counter()
    for topic in (out, out + "-spent"):
        for record in platform.cat(topic):
            what = dict(record["headers"]).get("kappa-correction", "")
            seen[(topic, *place_of(record), record["key"] if what else None, what)] += 1
    assert max(seen.values(), default=1) == 1, [s for s in seen.items() if s[1] > 1][:3]
    return sum(1 for s in seen if s[-1])


def comes_once(platform, out, want):
    """A transaction that is committed is seen by readers a moment later: brokers mark each partition behind the answer."""
    support.eventually(lambda: once(platform, out) >= want, 20, f"{want} corrections in {out}")
    assert once(platform, out) == want


def topics(platform, topic, out):
    for name, partitions in ((topic, 3), (out, 2), (out + "-spent", 2)):
        platform.topic(name, partitions)


def is_as_fresh(platform, topic, out, name, version):
    """A version of its own under another name makes what the topics are to hold."""
    fresh = out + "-" + name
    for suffix in ("", "-spent"):
        platform.topic(fresh + suffix, 2)
    platform.deploy(name, sql(topic, fresh, version, name), "--wait")

    def same():
        want, got = newest(platform, fresh), newest(platform, out)
        return want == got and len(want) > 0

    try:
        eventually(same, 60, "the same newest messages")
    except AssertionError:
        want, got = newest(platform, fresh), newest(platform, out)
        raise AssertionError(
            ("missing", [w for w in want.items() if w[0] not in got][:2], "extra", [g for g in got.items() if g[0] not in want][:2],
             "other", [(want[p], got[p]) for p in want if p in got and got[p] != want[p]][:2])) from None
    platform.run("abort", name, 1, code=None)


def correct(platform, *args):
    return platform.json("corrections", "alerts", *args)


def differences(answer):
    return answer["replaced"] + answer["added"] + answer["retracted"]


def test_the_difference_is_sent(platform, topic):
    """Shown, sent, sent again (nothing), rolled back and sent; the sender goes on through kill -9."""
    out = topic + "-out"
    topics(platform, topic, out)
    platform.produce(topic, [transaction(i) for i in range(1500)], "--key", "user_id")
    platform.deploy("alerts", sql(topic, out, V1), "--wait")
    first = correct(platform, "--send")
    assert differences(first) == 0 and first["sent"] == 0 and "first version" in first["note"]
    stream = Stream(platform, topic, 1500)
    platform.deploy("alerts", sql(topic, out, V2), "--wait")
    shown = correct(platform, "--limit", 5)
    assert shown["sent"] == 0 and len(shown["samples"]) == 5 and shown["same"] > 0
    assert min(shown[kind] for kind in ("replaced", "added", "retracted")) > 0, shown
    assert once(platform, out) == 0
    sent = correct(platform, "--send")
    assert [sent[k] for k in ("replaced", "added", "retracted", "same")] == \
        [shown[k] for k in ("replaced", "added", "retracted", "same")]
    assert sent["sent"] == differences(sent)
    comes_once(platform, out, sent["sent"])
    again = correct(platform, "--send")
    assert again["sent"] == 0 and differences(again) == 0 and again["same"] == sent["same"] + sent["replaced"] + sent["added"]
    event = [e for e in platform.http("GET", "/v1/events?processor=alerts")[1]["events"] if e["type"] == "corrected"]
    assert [(e["replaced"], e["added"], e["retracted"], e["epoch"]) for e in event] == \
        [(sent["replaced"], sent["added"], sent["retracted"], 2)] and event[0]["who"]
    platform.kill()  # what is found by names now are corrections of old records, at the ends of the topics
    platform.up()
    stream.stop()
    is_as_fresh(platform, topic, out, "fresh2", V2)
    once(platform, out)

    platform.run("rollback", "alerts")
    back = correct(platform, "--send")
    assert back["epoch"] == 3 and back["version"] == 1 and back["sent"] == differences(back) >= sent["sent"]
    platform.kill()
    platform.up()
    platform.produce(topic, [transaction(i) for i in range(100_000, 100_300)], "--key", "user_id")
    is_as_fresh(platform, topic, out, "fresh1", V1)
    once(platform, out)
    assert differences(correct(platform)) == 0


@pytest.mark.parametrize("step", ["correct:2", "corrected:1", "corrected:3"])
def test_killed_in_the_middle(platform, topic, step):
    """kill -9 of the command at a batch; the next run finishes, and no correction comes twice."""
    out = topic + "-out"
    topics(platform, topic, out)
    platform.produce(topic, [transaction(i) for i in range(8000)], "--key", "user_id")
    platform.deploy("alerts", sql(topic, out, V1), "--wait")
    platform.deploy("alerts", sql(topic, out, {**V1, "message": "'v2'"}), "--wait")
    command = [support.BIN, "corrections", "alerts", "--send"]
    shown = differences(correct(platform))
    killed = subprocess.run(command, env={**platform.env, "KAPPA_FAIL": step}, cwd=platform.directory, capture_output=True,
                            text=True, timeout=120, check=False)
    assert killed.returncode == -signal.SIGKILL, killed
    left = correct(platform, "--send")
    assert left["sent"] == differences(left) > 0
    assert left["sent"] < shown  # a batch was there
    assert differences(correct(platform)) == 0
    comes_once(platform, out, shown)
    is_as_fresh(platform, topic, out, "fresh", {**V1, "message": "'v2'"})


def test_one_at_a_time(platform, topic):
    out = topic + "-out"
    topics(platform, topic, out)
    platform.produce(topic, [transaction(i) for i in range(300)], "--key", "user_id")
    platform.deploy("alerts", sql(topic, out, V1), "--wait")
    platform.deploy("alerts", sql(topic, out, V2), "--wait")
    with open(os.path.join(platform.data, "versions", "alerts", "CORRECTIONS"), "w") as lock:
        lock.write("somebody (pid 1)")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        refused = platform.run("corrections", "alerts", "--send", code=1)
        assert "somebody (pid 1)" in refused.stderr
        assert differences(correct(platform)) > 0  # looking is free
    assert correct(platform, "--send")["sent"] > 0


def test_behind_a_swap(platform, topic):
    """--corrections of deploy, swap and rollback; not from afar; the sender's last messages are waited for."""
    out = topic + "-out"
    topics(platform, topic, out)
    platform.produce(topic, [transaction(i) for i in range(2000)], "--key", "user_id")
    platform.deploy("alerts", sql(topic, out, V1), "--wait")
    made = platform.deploy("alerts", sql(topic, out, V2), "--corrections", code=2)
    assert "--wait" in made.stderr
    url = platform.server()["http"]
    refused = subprocess.run([support.BIN, "--server", "http://" + url, "rollback", "alerts", "--corrections"],
                             env={k: v for k, v in platform.env.items() if k != "KAPPA_DATA"}, cwd=platform.directory,
                             capture_output=True, text=True, timeout=60, check=False)
    assert refused.returncode == 4 and "data directory" in refused.stderr, refused
    answer = json.loads(platform.deploy("alerts", sql(topic, out, V2), "--wait", "--corrections", "-o", "json").stdout)
    assert answer["corrections"][0]["sent"] > 0 and answer["corrections"][0]["epoch"] == 2
    assert differences(correct(platform)) == 0
    said = platform.run("rollback", "alerts", "--corrections").stdout
    assert " retracted; " in said
    back = platform.json("swap", "alerts", 2, "--corrections")
    assert back["new"] == 2 and back["corrections"][0]["sent"] > 0
    is_as_fresh(platform, topic, out, "fresh", V2)
    once(platform, out)


def test_another_swap_meanwhile(embedded, topic):
    """It is swapped while corrections are sent: they stop, and the next run corrects for the version that serves."""
    out = topic + "-out"
    topics(embedded, topic, out)
    embedded.produce(topic, [transaction(i) for i in range(8000)], "--key", "user_id")
    embedded.deploy("alerts", sql(topic, out, V1), "--wait")
    embedded.deploy("alerts", sql(topic, out, {**V1, "message": "'v2'"}), "--wait")
    sending = subprocess.Popen([support.BIN, "corrections", "alerts", "--send"],
                               env={**embedded.env, "KAPPA_FAIL": "corrected:1", "KAPPA_FAIL_STOPS": "1"},
                               cwd=embedded.directory, stderr=subprocess.PIPE, text=True)
    try:
        eventually(lambda: open(f"/proc/{sending.pid}/stat").read().rsplit(")", 1)[1].split()[0] == "T", 60, "it stands")
        embedded.run("rollback", "alerts")
        sending.send_signal(signal.SIGCONT)
        _, said = sending.communicate(timeout=60)
    finally:
        sending.kill()
        sending.wait()
    assert sending.returncode == 4 and "swapped in meanwhile" in said and "1000 corrections were sent" in said, said
    assert correct(embedded, "--send")["sent"] > 0
    is_as_fresh(embedded, topic, out, "fresh", V1)
    once(embedded, out)


def test_what_kafka_tells_of_topics(kafka, topic, tmp_path):
    """Compacted: refused, a correction would take the place of the newest message of its key. Times of appending are no
    difference. A lost beginning: refused."""
    out = topic + "-out"
    admin = kafka_client.Admin(kafka)
    with support.Platform(str(tmp_path), kafka=kafka) as platform:
        platform.up()
        platform.topic(topic, 3)
        admin.create_topic(out, 2, message_timestamp_type="LogAppendTime")
        admin.create_topic(out + "-spent", 2)
        admin.create_topic(out + "-compact", 1, cleanup_policy="compact")
        platform.produce(topic, [transaction(i) for i in range(500)], "--key", "user_id")
        platform.deploy("alerts", sql(topic, out, V1), "--wait")
        platform.deploy("alerts", sql(topic, out, V2), "--wait")
        shown = correct(platform)
        assert shown["same"] > 0
        assert correct(platform, "--send")["sent"] == differences(shown)
        assert differences(correct(platform)) == 0
        third = sql(topic, out, V2).replace(out + "-spent", out + "-compact")
        platform.deploy("alerts", third, "--wait")
        assert "is compacted" in platform.run("corrections", "alerts", code=4).stderr
        platform.run("rollback", "alerts")
        admin.delete_records(out, 0, 1)
        assert "begins at offset 1" in platform.run("corrections", "alerts", code=4).stderr


def test_what_cannot_be_told_is_refused(embedded, topic):
    """A topic that was made again; a first version that was not to send what was before it; a later start."""
    out = topic + "-out"
    topics(embedded, topic, out)
    embedded.produce(topic, [transaction(i) for i in range(600)], "--key", "user_id")
    embedded.deploy("alerts", sql(topic, out, V1), "--wait")
    embedded.deploy("alerts", sql(topic, out, V2), "--wait", "--from", "-100", "--accept-gap")
    late = correct(embedded)
    assert late["not_compared"] > 0 and "began later" in late["note"]
    embedded.deploy("alerts", sql(topic, out, {**V2, "least": 4}), "--wait")
    assert differences(correct(embedded)) > 0
    embedded.down()
    shutil.rmtree(os.path.join(embedded.data, "log", out))
    embedded.topic(out, 2)
    embedded.up()
    assert "was deleted and made again" in embedded.run("corrections", "alerts", "--send", code=4).stderr

    topics(embedded, topic + "n", out + "n")
    embedded.produce(topic + "n", [transaction(i) for i in range(300)], "--key", "user_id")
    embedded.deploy("new", sql(topic + "n", out + "n", V1, "m"), "--wait", "--outputs", "new")
    embedded.deploy("new", sql(topic + "n", out + "n", V2, "m"), "--wait")
    assert "--outputs new" in embedded.run("corrections", "new", code=4).stderr


# ---- Recounts: from the input topic alone, without another deployment.

SMALL = """CREATE TABLE transactions (id bigint, user_id text, amount double precision, ts timestamptz)
  WITH (topic = '{topic}', format = 'json', key = 'user_id', event_time = 'ts', watermark = '5 s', timestamp_unit = 'ms');
CREATE TABLE alerts (id bigint, user_id text, message text) WITH (topic = '{out}', format = 'json', key = 'user_id');
INSERT INTO alerts SELECT id, user_id, CASE WHEN amount > {high} THEN 'high' ELSE 'some' END FROM transactions
  WHERE amount > {least};
"""


def small_sql(topic, out, least, high, group=False):
    return ("SET swap.in_group = 'shop';\n" if group else "") + SMALL.format(topic=topic, out=out, least=least, high=high)


def recounted(platform, topic, least, high):
    """{(partition, offset): message} that a definition is to have sent."""
    return {(r["partition"], r["offset"]): (r["key"], {"id": r["value"]["id"], "user_id": r["value"]["user_id"],
                                                       "message": "high" if r["value"]["amount"] > high else "some"})
            for r in platform.cat(topic) if r["value"]["amount"] > least}


def messages_of(platform, out):
    """{(partition, offset): message}: the newest of each name that was not taken back; nothing came twice."""
    seen, found = collections.Counter(), {}
    for record in platform.cat(out):
        headers = dict(record["headers"])
        what = headers.get("kappa-correction", "")
        place = place_of(record)[1:3]
        seen[place, what] += 1
        found[place] = None if what.endswith(" retracted") else (record["key"], record["value"])
    assert max(seen.values(), default=1) == 1, [s for s in seen.items() if s[1] > 1][:3]
    return {place: message for place, message in found.items() if message is not None}


def is_recounted(platform, topic, out, least, high):
    support.settled(platform, lambda: sorted(set(map(str, recounted(platform, topic, least, high).items())) ^
                                             set(map(str, messages_of(platform, out).items()))), 60, "what a recount finds")


def sent_of(answer):
    return {one["processor"]: (one["version"], one["sent"] > 0) for one in answer["corrections"]}


def test_a_group_is_corrected_together(platform, topic):
    """Processors that change over in one swap: --corrections of swap and rollback sends the differences of all, each to its
    own topic; of a deploy, and with --alone, those of the one that was asked for."""
    outs = {"pa": topic + "-a", "pb": topic + "-b"}
    made = {("pa", 1): (9000, 15000), ("pa", 2): (11000, 15000), ("pb", 1): (5000, 9000), ("pb", 2): (5000, 17000)}

    def deploy(name, number, *args):
        return platform.deploy(name, small_sql(topic, outs[name], *made[name, number], group=True), *args).stdout

    def are(**versions):
        for name, number in versions.items():
            is_recounted(platform, topic, outs[name], *made[name, number])

    def more(first):
        platform.produce(topic, [transaction(i) for i in range(first, first + 200)], "--key", "user_id")

    for name, partitions in ((topic, 3), (outs["pa"], 2), (outs["pb"], 1)):
        platform.topic(name, partitions)
    more(0)
    deploy("pa", 1, "--wait")
    deploy("pb", 1, "--wait")
    deploy("pa", 2)
    more(200)
    answer = json.loads(deploy("pb", 2, "--wait", "--corrections", "-o", "json"))
    assert sent_of(answer) == {"pb": (2, True)}
    assert differences(platform.json("corrections", "pa", "--send")) > 0
    are(pa=2, pb=2)
    more(400)
    assert sent_of(platform.json("rollback", "pb", "--corrections")) == {"pa": (1, True), "pb": (1, True)}
    are(pa=1, pb=1)
    more(600)
    said = platform.run("swap", "pa", 2, "--corrections").stdout
    assert "\npa v2, records below its cut" in said and "\npb v2, records below its cut" in said, said
    are(pa=2, pb=2)
    assert sent_of(platform.json("rollback", "pa", "--alone", "--corrections")) == {"pa": (1, True)}
    more(800)
    are(pa=1, pb=2)


def test_one_of_a_group_cannot_be_corrected(embedded, topic):
    """What is in the way of one's corrections is said, and the others' are sent."""
    outs = {"pa": topic + "-a", "pb": topic + "-b"}
    for name in (topic, *outs.values()):
        embedded.topic(name, 1)
    embedded.produce(topic, [transaction(i) for i in range(200)], "--key", "user_id")
    embedded.deploy("pa", small_sql(topic, outs["pa"], 9000, 9000, group=True), "--wait", "--outputs", "new")
    embedded.deploy("pb", small_sql(topic, outs["pb"], 9000, 9000, group=True), "--wait")
    embedded.deploy("pa", small_sql(topic, outs["pa"], 9000, 15000, group=True))
    embedded.deploy("pb", small_sql(topic, outs["pb"], 9000, 15000, group=True), "--wait")
    refused = embedded.run("rollback", "pa", "--corrections", code=4)
    assert "corrections of pa: " in refused.stderr and "--outputs new" in refused.stderr, refused
    assert "pb v1, records below its cut" in refused.stdout and "nothing to correct" in refused.stdout, refused
    refused = embedded.run("swap", "pb", 2, "--corrections", "-o", "json", code=4)
    assert "corrections of pa: " in refused.stderr and sent_of(json.loads(refused.stdout)) == {"pb": (2, True)}
    is_recounted(embedded, topic, outs["pb"], 9000, 15000)


def test_a_replay_adds_what_a_late_start_left_out(platform, topic):
    """The first version began late; `kappa replay --from beginning --corrections` sends what came before."""
    out = topic + "-out"
    for name, partitions in ((topic, 3), (out, 2)):
        platform.topic(name, partitions)
    platform.produce(topic, [transaction(i) for i in range(600)], "--key", "user_id")
    platform.deploy("alerts", small_sql(topic, out, 9000, 15000), "--wait", "--from", "-50")
    answer = platform.json("replay", "alerts", "--from", "beginning", "--wait", "--corrections")["corrections"]
    want = recounted(platform, topic, 9000, 15000)
    added = sum("kappa-correction" in dict(record["headers"]) for record in platform.cat(out))
    assert 0 < added < len(want)
    assert [(a["version"], a["replaced"], a["added"], a["retracted"], a["same"], a["sent"]) for a in answer] == \
        [(2, 0, added, 0, len(want) - added, added)]
    assert messages_of(platform, out) == want
    platform.produce(topic, [transaction(i) for i in range(600, 700)], "--key", "user_id")
    is_recounted(platform, topic, out, 9000, 15000)
