"""Everything at once: one definition with every operator, on both logs, in several shapes, its workers killed in between:
one digest, the same rows, the same messages."""

import json
import os
import signal
import subprocess

import support
from support import eventually, seed_for

SQL = """
CREATE TABLE events (user_id text, event_type text, product_id text, amount numeric(12,2),
                     event_time timestamptz)
  WITH (topic='{topic}', event_time='event_time', watermark='2 s', late='late', key='user_id');
CREATE TABLE profiles (id text PRIMARY KEY, level bigint) WITH (topic='{topic}-profiles');
CREATE VIEW viewed AS SELECT user_id, product_id, event_time AS seen FROM events WHERE event_type = 'view';
CREATE VIEW bought AS SELECT user_id, amount, event_time AS at FROM events WHERE event_type = 'purchase';

CREATE MATERIALIZED VIEW plain WITH (ttl='20 s') AS
SELECT user_id, product_id, count(*) AS n, sum(amount) AS total, stddev_samp(amount::double precision) AS spread,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY amount::double precision) AS middle,
       array_agg(event_type) AS types, max(event_time) AS last
FROM events GROUP BY user_id, product_id;
CREATE MATERIALIZED VIEW minutes WITH (retain='10 minutes') AS
SELECT user_id, window_start, window_end, count(*) AS n, avg(amount) AS mean, count(DISTINCT product_id) AS products
FROM tumble(events, event_time, interval '5 seconds') GROUP BY user_id, window_start, window_end HAVING count(*) > 1;
CREATE MATERIALIZED VIEW hops WITH (retain='3 minutes', emit='final') AS
SELECT event_type, window_end, count(*) AS n, sum(amount) AS total
FROM hop(events, event_time, interval '2 seconds', interval '5 seconds') GROUP BY event_type, window_end;
CREATE MATERIALIZED VIEW visits WITH (retain='5 minutes') AS
SELECT user_id, window_start, window_end, count(*) AS n, string_agg(event_type, '>') AS path
FROM session(events, event_time, interval '1 second') GROUP BY user_id, window_start, window_end;
CREATE MATERIALIZED VIEW steps AS
SELECT user_id, event_time, event_type, lag(event_type, 1, 'none') OVER w AS before, row_number() OVER w AS place,
       count(*) OVER (PARTITION BY user_id ORDER BY event_time
                      RANGE BETWEEN interval '2 s' PRECEDING AND CURRENT ROW) AS burst,
       sum(amount) OVER (PARTITION BY user_id ORDER BY event_time
                         ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS spent
FROM events WHERE amount > 1 WINDOW w AS (PARTITION BY user_id ORDER BY event_time);
CREATE MATERIALIZED VIEW led AS
SELECT v.product_id AS led, count(*) AS n, sum(b.amount) AS total
FROM bought b LEFT JOIN viewed v ON v.user_id = b.user_id GROUP BY v.product_id;
CREATE MATERIALIZED VIEW timely AS
SELECT v.product_id AS led, count(*) AS n, sum(b.amount) AS total
FROM bought b LEFT JOIN viewed v ON v.user_id = b.user_id AND v.seen < b.at GROUP BY v.product_id;
CREATE MATERIALIZED VIEW dearest AS
SELECT event_type, place, amount, user_id FROM
  (SELECT *, row_number() OVER (PARTITION BY event_type ORDER BY amount DESC) AS place FROM events) s WHERE place <= 5;
CREATE MATERIALIZED VIEW people AS SELECT id, level, 60 / level AS share FROM profiles WHERE level <> 3;
CREATE MATERIALIZED VIEW counted AS
SELECT user_id, number, event_type FROM plugin('count.so', events) AS f(user_id text, number bigint, event_type text)
WHERE number % 3 = 0;
CREATE VIEW rich AS SELECT d.user_id, d.amount, p.level FROM dearest d LEFT JOIN people p ON p.id = d.user_id;

CREATE TABLE alerts (user_id text, amount numeric(12,2), "left" numeric)
  WITH (topic='{topic}-alerts', format='json', key='user_id');
INSERT INTO alerts SELECT user_id, amount, 1000 - amount FROM events WHERE event_type = 'purchase' AND amount > 50;

CREATE TABLE finals (user_id text, until timestamptz, n bigint, total numeric, "window" text)
  WITH (topic='{topic}-finals', key='user_id');
INSERT INTO finals SELECT user_id, window_end, count(*), sum(amount), 'session'
  FROM session(events, event_time, interval '1 second') GROUP BY user_id, window_end;
INSERT INTO finals SELECT user_id, window_end, count(*), sum(amount), 'hop'
  FROM hop(events, event_time, interval '2 seconds', interval '5 seconds') GROUP BY user_id, window_end HAVING count(*) > 2;
INSERT INTO finals SELECT user_id, window_end, count(*), sum(amount), 'tumble'
  FROM tumble(events, event_time, interval '3 seconds') GROUP BY user_id, window_end;
"""

# Numbers the events of each user.
PLUGIN = r'''
#include "include/kappa/plugin.h"
#include <string.h>
static int open(const struct kappa_plugin_schema *s, void **i, char *e, size_t n)
{ (void)s; (void)e; (void)n; *i = NULL; return 0; }
static int event(void *i, const struct kappa_event *event, const struct kappa_host *host)
{
    const struct kappa_value *user = &event->values[0];
    const void *kept = NULL;
    uint32_t len = 0;
    int64_t count = 0;
    int rc = host->get(host->ctx, user->s.bytes, user->s.len, &kept, &len);
    (void)i;
    if (rc < 0) return rc;
    if (rc == 1) memcpy(&count, kept, sizeof count);
    count++;
    struct kappa_value row[3] = {*user, {.type = KAPPA_TYPE_BIGINT, .i = count}, event->values[1]};
    rc = host->emit(host->ctx, row, 3);
    return rc < 0 ? rc : host->put(host->ctx, user->s.bytes, user->s.len, &count, sizeof count);
}
static void close(void *i) { (void)i; }
const struct kappa_plugin *kappa_plugin(void)
{ static const struct kappa_plugin p = {KAPPA_PLUGIN_ABI, open, event, close}; return &p; }
'''
TABLES = ["plain", "minutes", "hops", "visits", "steps", "led", "timely", "dearest", "people", "counted"]
LEVELS = 7


def make_profiles(rng, count):
    """Lines of an envelope: rows, tombstones, and levels that no row can be made of."""
    lines = []
    for _ in range(count):
        key = f"u{rng.randrange(40)}"
        value = None if rng.random() < 0.25 else {"id": key, "level": rng.randrange(LEVELS)}
        lines.append({"key": key, "value": value})
    return lines


def people_model(lines):
    now = {}
    for line in lines:
        if line["value"] is None:
            now.pop(line["key"], None)
        elif line["value"]["level"] != 0:
            now[line["key"]] = line["value"]["level"]
    return {key: level for key, level in now.items() if level != 3}


def kill_worker(platform, rng):
    pids = platform.worker_pids()
    if pids:
        os.kill(rng.choice(pids), signal.SIGKILL)


def run(platform, topic, events, profiles, rng):
    """Applies the same records; live, with a worker killed twice, then as a replay in another shape, killed too."""
    third = len(events) // 3
    source = os.path.join(platform.directory, "count.c")
    with open(source, "w") as out:
        out.write(PLUGIN)
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-I", support.ROOT, "-o",
                    os.path.join(platform.directory, "count.so"), source], check=True, timeout=300)
    platform.topic(topic, 4)
    platform.topic(topic + "-profiles", 2)
    platform.produce(topic, events[:third], "--key", "user_id")
    platform.produce(topic + "-profiles", profiles[:100], "-J")
    platform.deploy("everything", SQL.format(topic=topic), "--wait", "--shards", 4)
    for begin in (third, 2 * third):
        kill_worker(platform, rng)
        platform.produce(topic, events[begin:begin + third], "--key", "user_id")
        platform.produce(topic + "-profiles", profiles[begin // third * 100:][:100], "-J")

    def applied(number):
        for name in (topic, topic + "-profiles"):
            support.applied_everything(platform, "everything", number, name)

    applied(1)
    platform.run("replay", "everything", "--shards", 1, "--cache-bytes", 5000)
    kill_worker(platform, rng)
    platform.wait("everything", 2)
    receipt = platform.json("history", "everything")["receipts"][0]
    assert receipt["old_digest"] == receipt["new_digest"]
    applied(2)
    verified = platform.json("verify", "everything", 2)
    assert verified["verified"] is True and verified["digest"] == receipt["new_digest"]
    rows = {table: platform.run("scan", table, "-o", "json").stdout for table in TABLES}
    rows["rich"] = platform.run("sql", "SELECT * FROM rich ORDER BY 1, 2, 3", "-o", "json").stdout
    wanted = sum(1 for line in events if (e := json.loads(line))["event_type"] == "purchase" and e["amount"] > 50)
    eventually(lambda: len(platform.cat(topic + "-alerts")) >= wanted, 30, "all messages")
    messages = [(m["partition"], m["key"], m["value"]) for m in platform.cat(topic + "-alerts")]
    assert len(messages) == wanted > 0
    final = final_rows(platform, topic)
    version = platform.version("everything", 2)
    return {"digest": receipt["new_digest"], "tables": receipt["tables"], "rows": rows, "messages": messages,
            "counts": (version["dead"], version["late"]), "final": final}


def final_rows(platform, topic):
    """The messages about closed windows, each by its name, when all are there."""
    found = []

    def named():
        records = platform.cat(topic + "-finals")
        found[:] = sorted((dict(r["headers"])["kappa-out"].split("/")[1], r["key"], json.dumps(r["value"]), r["time"])
                          for r in records)
        assert len({name for name, *_ in found}) == len(records)
        return platform.version("everything", 2)["outputs"]["waiting"] == 0

    eventually(named, 30, "no message waits")
    assert {json.loads(value)["window"] for _, _, value, _ in found} == {"session", "hop", "tumble"}
    return found


def test_every_operator_on_both_logs(kafka, tmp_path, topic):
    rng, seed = seed_for("everything")
    events = list(support.events_lines(6000, users=40, seed=seed % 1000, step_us=20000))
    profiles = make_profiles(rng, 300)
    found = {}
    for name, address in [("embedded", None), ("kafka", kafka)]:
        directory = tmp_path / name
        directory.mkdir()
        with support.Platform(str(directory), kafka=address) as platform:
            platform.up()
            found[name] = run(platform, topic, events, profiles, rng)
    for part, value in found["embedded"].items():
        if part != "messages":
            assert value == found["kafka"][part], part
    assert sorted(map(str, found["embedded"]["messages"])) == sorted(map(str, found["kafka"]["messages"]))
    rows = found["embedded"]["rows"]
    assert all(text.count("\n") > 2 for text in rows.values()), {table: len(text) for table, text in rows.items()}
    assert found["embedded"]["counts"][1] > 0
    people = {r["id"]: r["level"] for r in map(json.loads, rows["people"].splitlines())}
    assert people == people_model(profiles)
