"""Plugins: the same result as SQL's, live and replayed, on both logs; another build is another version; what one does
wrong ends its own version and nothing else."""

import os
import subprocess

import support
from test_scenarios import EXAMPLES, alike, fraud_model, generate
from nexmark_oracle import time_ms

PLUGIN = os.path.join(EXAMPLES, "fraud-plugin")

# Passes each row on, but does harm at the words "crash", "hang" and "grow".
HARM = r'''
#include "include/kappa/plugin.h"
#include <stdlib.h>
#include <string.h>
#ifndef FACTOR
#define FACTOR 1
#endif
static int open(const struct kappa_plugin_schema *s, void **i, char *e, size_t n)
{ (void)s; (void)e; (void)n; *i = NULL; return 0; }
static int is(const struct kappa_value *v, const char *word)
{ return v->s.len == strlen(word) && memcmp(v->s.bytes, word, v->s.len) == 0; }
static int event(void *i, const struct kappa_event *event, const struct kappa_host *host)
{
    (void)i;
    struct kappa_value row[2] = {event->values[0], event->values[1]};
    if (is(&row[0], "crash")) { *(volatile int *)1 = 0; }
    while (is(&row[0], "hang")) { }
    while (is(&row[0], "grow")) { memset(malloc(1 << 20), 1, 1 << 20); }
    row[1].i *= FACTOR;
    return host->emit(host->ctx, row, 2);
}
static void close(void *i) { (void)i; }
const struct kappa_plugin *kappa_plugin(void)
{ static const struct kappa_plugin p = {KAPPA_PLUGIN_ABI, open, event, close}; return &p; }
'''
HARM_SQL = """
CREATE TABLE words (word text, n bigint) WITH (topic='{topic}');
CREATE MATERIALIZED VIEW {table} AS SELECT word, sum(n) AS total
FROM plugin('harm.so', words) AS h(word text, n bigint) GROUP BY word;
"""


def build(source, target, *flags):
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-I", support.ROOT, "-I", f"{support.ROOT}/include", *flags, "-o", target, source, "-lm"], check=True,
                   timeout=300)


def build_harm(platform, *flags):
    source = os.path.join(platform.directory, "harm.c")
    with open(source, "w") as out:
        out.write(HARM)
    build(source, os.path.join(platform.directory, "harm.so"), *flags)


def name_of(topic):
    return topic.replace("-", "_")


def test_fraud_plugin(platform, topic):
    """The rules of the fraud example in C find what the model finds."""
    _, seed = support.seed_for("plugin")
    lines = generate.lines("transactions", 2000, seed)
    platform.topic(topic, 2)
    platform.produce(topic, lines[:1200], "--key", "user_id")
    build(os.path.join(PLUGIN, "fraud.c"), os.path.join(platform.directory, "fraud.so"), "-O2")
    with open(os.path.join(PLUGIN, "fraud.sql")) as file:
        sql = file.read().replace("'transactions'", f"'{topic}'").replace("'plugin-alerts'", f"'{topic}-alerts'")
    platform.deploy("judge", sql, "--wait")
    platform.produce(topic, lines[1200:], "--key", "user_id")
    support.applied_everything(platform, "judge", 1, topic)

    def check():
        want = sorted((row[0], row[1], row[2], *row[8:]) for row in fraud_model(platform.cat(topic)))
        got = sorted((r["user_id"], time_ms(r["ts"]), r["amount"], r["rapid"], r["jump"], r["unusual"], r["volume"])
                     for r in platform.scan("judged"))
        assert len(got) == len(want) > 0
        assert all(all(map(alike, g, w)) for g, w in zip(got, want))
        support.eventually(lambda: len(platform.cat(f"{topic}-alerts")) >= len(want), 30, "all alerts")
        assert len(platform.cat(f"{topic}-alerts")) == len(want)

    check()
    platform.run("replay", "judge", "--shards", 1, "--cache-bytes", 100_000)
    platform.wait("judge", 2)
    receipt = platform.json("history", "judge")["receipts"][0]
    assert receipt["old_digest"] == receipt["new_digest"]
    check()
    assert platform.run("verify", "judge", 2).returncode == 0


def test_another_build_is_another_version(embedded, topic):
    embedded.topic(topic, 2)
    embedded.produce(topic, ['{"word":"a","n":2}'])
    table = name_of(topic)
    sql = HARM_SQL.format(topic=topic, table="built_" + table)
    missing = embedded.deploy("built", sql, code=None)
    assert missing.returncode != 0 and "harm.so" in missing.stderr and "cc -shared" in missing.stderr
    build_harm(embedded)
    embedded.deploy("built", sql, "--wait")
    assert "nothing" in embedded.deploy("built", sql).stdout or len(embedded.status("built")["versions"]) == 1
    build_harm(embedded, "-DFACTOR=10")
    embedded.deploy("built", sql, "--wait")
    assert [v["version"] for v in embedded.status("built")["versions"]] == [1, 2]
    assert embedded.json("get", "built_" + table, "a")["row"]["total"] == 20
    embedded.run("rollback", "built")
    assert embedded.json("get", "built_" + table, "a")["row"]["total"] == 2
    assert embedded.run("verify", "built", 1).returncode == 0


def harm_once(platform, topic, word, seconds, find):
    """A candidate whose plugin does harm fails, says why, and the version that serves is not touched."""
    table = name_of(topic)
    platform.topic(topic, 1)
    platform.produce(topic, ['{"word":"good","n":1}', '{"word":"%s","n":1}' % word])
    platform.deploy("calm", f"CREATE TABLE {table} (word text, n bigint) WITH (topic='{topic}');"
                            f"CREATE MATERIALIZED VIEW calm_{table} AS SELECT count(*) AS c FROM {table};", "--wait")
    build_harm(platform)
    platform.deploy("harm", HARM_SQL.format(topic=topic, table="harm_" + table))
    failed = support.eventually(lambda: (v := platform.version("harm", 1))["state"] == "failed" and v, seconds,
                                f"failed by {word}")
    assert find in failed["error"]["message"], failed["error"]
    platform.produce(topic, ['{"word":"good","n":1}'])
    support.eventually(lambda: platform.json("get", f"calm_{table}")["row"]["c"] == 3, 20, "the other version goes on")


def test_a_crash(embedded, topic):
    harm_once(embedded, topic, "crash", 60, "signal 11")


def test_growth(embedded, topic):
    harm_once(embedded, topic, "grow", 60, "MiB")


def test_a_hang(embedded, topic):
    embedded.down()
    embedded.up(extra_env={"KAPPA_STEP_SECONDS": "2"})
    harm_once(embedded, topic, "hang", 60, "does not return")


# Orders that are not paid within ten minutes: timers are keys that begin with a time, scanned when time passes.
UNPAID = r'''
#include "include/kappa/plugin.h"
#include <stdlib.h>
#include <string.h>
struct run { const struct kappa_host *host; };
static int open(const struct kappa_plugin_schema *s, void **i, char *e, size_t n)
{ (void)s; (void)e; (void)n; *i = NULL; return 0; }
static uint32_t timer_key(unsigned char *key, int64_t at, const struct kappa_value *id)
{
    for (int b = 0; b < 8; b++) { key[1 + b] = (unsigned char)((uint64_t)at >> (56 - 8 * b)); }
    key[0] = 't';
    memcpy(key + 9, id->s.bytes, id->s.len);
    return 9 + id->s.len;
}
static int due(void *arg, const void *key, uint32_t key_len, const void *value, uint32_t value_len)
{
    const struct kappa_host *host = arg;
    const unsigned char *bytes = key;
    int64_t at = 0;
    (void)value; (void)value_len;
    for (int b = 0; b < 8; b++) { at = at << 8 | bytes[1 + b]; }
    struct kappa_value row[2] = {{.type = KAPPA_TYPE_TEXT, .s = {(const char *)bytes + 9, key_len - 9}},
                                 {.type = KAPPA_TYPE_TIMESTAMPTZ, .i = at}};
    int rc = host->emit(host->ctx, row, 2);
    return rc != 0 ? rc : host->del(host->ctx, key, key_len);
}
static int event(void *i, const struct kappa_event *event, const struct kappa_host *host)
{
    (void)i;
    const struct kappa_value *id = &event->values[0], *paid = &event->values[1];
    unsigned char key[300], from[9] = "t", to[9];
    const void *kept; uint32_t len;
    int64_t at = event->time_us + 600000000;
    int rc = 0;
    if (paid->i == 0) {
        if ((rc = host->put(host->ctx, id->s.bytes, id->s.len, &at, sizeof at)) != 0) { return rc; }
        rc = host->put(host->ctx, key, timer_key(key, at, id), "", 0);
    } else if ((rc = host->get(host->ctx, id->s.bytes, id->s.len, &kept, &len)) == 1) {
        memcpy(&at, kept, sizeof at);
        rc = host->del(host->ctx, key, timer_key(key, at, id));
    }
    if (rc != 0) { return rc; }
    timer_key(to, event->watermark_us, &(struct kappa_value){.s = {"", 0}});
    return host->range(host->ctx, from, 1, to, 9, 0, due, (void *)(uintptr_t)host);
}
static void close(void *i) { (void)i; }
const struct kappa_plugin *kappa_plugin(void)
{ static const struct kappa_plugin p = {KAPPA_PLUGIN_ABI, open, event, close}; return &p; }
'''
UNPAID_SQL = """
CREATE TABLE orders (id text, paid bigint, ts timestamptz)
  WITH (topic='{topic}', event_time='ts', watermark='30 s');
CREATE MATERIALIZED VIEW unpaid AS SELECT id, due FROM plugin('unpaid.so', orders) AS u(id text, due timestamptz);
"""


def unpaid_model(records):
    """(partition, offset of the record that made it, id, due in ms), in order."""
    out = []
    for partition in sorted({r["partition"] for r in records}):
        timers, seen, largest = {}, {}, 0
        for r in (r for r in records if r["partition"] == partition):
            value, ts = r["value"], time_ms(r["value"]["ts"])
            largest = max(largest, ts)
            if value["paid"] == 0:
                seen[value["id"]] = ts + 600_000
                timers[(ts + 600_000, value["id"])] = True
            elif value["id"] in seen:
                timers.pop((seen[value["id"]], value["id"]), None)
            for due in sorted(t for t in timers if t[0] < largest - 30_000):
                out.append((partition, r["offset"], due[1], due[0]))
                del timers[due]
    return out


def test_timers(platform, topic):
    """Keys that begin with a time are scanned as time passes; live with a cache that holds nothing, and replayed."""
    rng, _ = support.seed_for("plugin-timers")
    platform.topic(topic, 2)
    source = os.path.join(platform.directory, "unpaid.c")
    with open(source, "w") as out:
        out.write(UNPAID)
    build(source, os.path.join(platform.directory, "unpaid.so"), "-Wall", "-Werror")
    platform.deploy("unpaid", UNPAID_SQL.format(topic=topic), "--wait", "--cache-bytes", 1)
    now, number = 1_700_000_000_000, 0
    for _ in range(6):
        lines = []
        for _ in range(250):
            now += rng.randrange(8000)
            number += rng.random() < 0.6
            paid = int(rng.random() < 0.4)
            ts = support.rfc3339(now - rng.randrange(20_000))
            lines.append({"id": f"o{number - rng.randrange(60) if paid else number}", "paid": paid, "ts": ts})
        platform.produce(topic, lines, "--key", "id")
    support.applied_everything(platform, "unpaid", 1, topic)
    want = unpaid_model(platform.cat(topic))
    assert len(want) > 100

    def check():
        got = [(r["id"], time_ms(r["due"])) for r in platform.scan("unpaid")]
        assert sorted(got) == sorted(row[2:] for row in want)

    check()
    platform.run("replay", "unpaid", "--shards", 1)
    platform.wait("unpaid", 2)
    receipt = platform.json("history", "unpaid")["receipts"][0]
    assert receipt["old_digest"] == receipt["new_digest"]
    check()


def test_versions_of_the_interface(embedded, topic):
    """One that was compiled for the first version is loaded; one for a later release is refused with both numbers."""
    table = name_of(topic)
    embedded.topic(topic, 1)
    embedded.produce(topic, ['{"word":"a","n":2}'])
    source = os.path.join(embedded.directory, "harm.c")
    for version in (1, 99):
        with open(source, "w") as out:
            out.write(HARM.replace("KAPPA_PLUGIN_ABI", str(version)))
        build(source, os.path.join(embedded.directory, "harm.so"))
        sql = HARM_SQL.format(topic=topic, table=f"abi{version}_" + table)
        if version == 1:
            embedded.deploy("first", sql, "--wait")
            assert embedded.json("get", f"abi1_{table}", "a")["row"]["total"] == 2
        else:
            embedded.deploy("later", sql, code=None)
            failed = support.eventually(lambda: (v := embedded.version("later", 1))["state"] == "failed" and v, 30, "refused")
            assert "speaks version 99 of the interface, this release knows 1 to 2" in failed["error"]["message"]
