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
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-I", support.ROOT, *flags, "-o", target, source, "-lm"], check=True,
                   timeout=60)


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
