"""Policies: a version that its policy does not let serve stays ready and says why; the checks find what an independent
recount finds; who overrules it is in the receipt."""

import re

import support
from support import features_sql


def table_of(topic):
    return "t_" + topic.replace("-", "_").replace(".", "_")[:40]


def two_definitions(platform, topic, name):
    """v1 with the bug serves; the text of the fix; how many rows differ, of how many."""
    table = table_of(topic)
    platform.topic(topic, 2)
    _, seed = support.seed_for(name)
    lines = support.events_lines(6000, users=40, step_us=50_000, seed=seed % 1000)
    platform.produce(topic, lines, "--key", "user_id")
    platform.produce(topic, [{"user_id": f"u{i}", "event_type": "view", "amount": "many"} for i in range(7)])
    platform.deploy("features", features_sql(topic, right=False, table=table), "--wait")
    support.applied_everything(platform, "features", 1, topic)
    cut = {s["partition"]: s["next"] for s in platform.version("features", 1)["sources"]}
    records = platform.cat(topic)
    wrong, dead, _ = support.features_model(records, cut, right=False)
    right = support.features_model(records, cut)[0]
    changed = sum(wrong[key] != right[key] for key in wrong)
    assert set(wrong) == set(right) and changed > 10 and dead == 7
    return features_sql(topic, table=table), changed, len(wrong), dead


def test_refused_and_overruled(embedded, topic):
    fix, changed, rows, dead = two_definitions(embedded, topic, "refused")
    asked = embedded.deploy("features", "SET swap.max_changed = '0.5 %';\n" + fix, "--wait", code=4).stderr
    assert f"{changed} of {rows} rows of {table_of(topic)} differ from v1" in asked
    assert "swap.max_changed is 0.5 %" in asked and "kappa diff features 1 2" in asked
    assert embedded.version("features", 2)["state"] == "ready"
    assert f"{changed} of {rows} rows" in embedded.version("features", 2)["held_back"]["message"]
    shown = " ".join(embedded.run("status", "features").stdout.split())
    assert "v2 waits to serve: " in shown and "swap.max_changed is 0.5 %" in shown

    assert f"{changed} of {rows} rows" in embedded.run("swap", "features", code=4).stderr
    assert "--reason" in embedded.run("swap", "features", "--force", code=2).stderr
    assert embedded.status("features")["serving"] == 1

    receipt = embedded.json("swap", "features", "2", "--force", "--reason", "the clicks are\x1b[7m right now")
    assert receipt["forced"] and receipt["reason"].startswith("the clicks are") and receipt["who"]
    assert f"{changed} of {rows} rows" in receipt["overruled"]
    assert embedded.json("history", "features")["receipts"][0]["overruled"] == receipt["overruled"]
    assert embedded.status("features")["serving"] == 2
    embedded.run("rollback", "features")  # no policy is in the way back
    assert "\x1b" not in embedded.run("swap", "features", "2", "--reason", "on\x1b[7m again").stdout


def test_limits_and_settings(embedded, topic):
    """Limits that hold; flags over the definition; the same definition takes another policy."""
    fix, changed, rows, dead = two_definitions(embedded, topic, "limits")
    embedded.down()
    embedded.up()
    sql = f"SET swap.max_changed = {changed};\nSET swap.columns = views;\n" + fix
    assert "the column clicks differs" in embedded.deploy("features", sql, "--wait", code=4).stderr
    embedded.kill()
    embedded.up()
    sql = sql.replace("views;", "clicks;")
    text = embedded.deploy("features", sql, "--set", f"swap.max_dead={dead - 1}", "--wait", code=4)
    assert "its policy is changed" in text.stdout and f"v2 has {dead} of " in text.stderr
    assert "unchanged" in embedded.deploy("features", sql, "--set", f"swap.max_dead={dead}", "--wait").stdout
    receipt = embedded.json("history", "features")["receipts"][0]
    found = {check["setting"]: check for check in receipt["checks"]}
    assert found["swap.max_changed"]["found"] == f"{changed} of {rows} rows of {table_of(topic)} differ"
    assert found["swap.max_dead"]["limit"] == str(dead) and "swap.columns" in found
    policy = embedded.version("features", 2)["policy"]
    assert policy == {"swap.max_changed": str(changed), "swap.columns": "clicks", "swap.max_dead": str(dead)}
    assert "swap.max_changed = " in embedded.run("explain", "features.sql").stdout

    wrong = embedded.deploy("features", "SET swap.max_ded = 1;\n" + fix, code=1).stderr
    assert "features.sql:1:1" in wrong and 'did you mean "swap.max_dead"?' in wrong
    assert "swap.verify is on or off" in embedded.deploy("features", fix, "--set", "swap.verify=maybe", code=2).stderr


def test_verified_and_caught_up(embedded, topic):
    fix, _, _, _ = two_definitions(embedded, topic, "verified")
    embedded.deploy("features", "SET swap.verify = on; SET swap.caught_up = '300 ms';\n" + fix, "--wait")
    found = {check["setting"] for check in embedded.json("history", "features")["receipts"][0]["checks"]}
    assert found == {"swap.verify", "swap.caught_up"}


def test_gap(platform, topic):
    """A version that lacks the beginning is refused unless the gap is accepted; a dry run says so."""
    table = table_of(topic)
    sql = features_sql(topic, table=table)
    platform.topic(topic, 2)
    platform.produce(topic, support.events_lines(500, users=5, step_us=50_000), "--key", "user_id")
    name = "g-" + topic[-30:]
    platform.deploy(name, sql, "--wait")
    refused = platform.json("replay", name, "--from", "-10", "--dry-run")["refused"]
    assert refused["code"] == "refused" and "started later than v1" in refused["message"]
    assert "would be refused" in platform.run("replay", name, "--from", "-10", "--dry-run").stdout
    assert "--accept-gap" in platform.run("replay", name, "--from", "-10", code=4).stderr
    assert len(platform.status(name)["versions"]) == 1
    platform.run("replay", name, "--from", "-10", "--swap", "manual", "--wait")
    refused = platform.run("swap", name, "--force", "--reason", "no", code=4).stderr
    assert 480 <= int(re.search(r"lacks (\d+) offsets", refused).group(1)) < 500, refused
    platform.run("swap", name, "--accept-gap")
    assert platform.status(name)["serving"] == 2
    platform.run("rollback", name)
    platform.run("replay", name, "--from", "-10", "--accept-gap", "--wait")
    assert platform.status(name)["serving"] == 3


def test_a_definition_that_fits_no_record(embedded, topic):
    """It does not take the place of one that fits some, and says so at once; who wants it all the same can have it."""
    table = table_of(topic)
    sql = ("CREATE TABLE s (city {type}, n integer) WITH (topic = '%s', format = 'json');\n"
           "CREATE MATERIALIZED VIEW %s AS SELECT city, sum(n) AS n FROM s GROUP BY city;\n" % (topic, table))
    embedded.topic(topic, 2)
    embedded.produce(topic, [{"city": f"c{i % 5}", "n": i} for i in range(40)])
    embedded.deploy("cities", sql.format(type="text"), "--wait")
    wrong = sql.format(type="integer")
    said = embedded.deploy("cities", wrong, "--wait", code=4).stderr
    assert "all 40 records that v2 has read are dead" in said and "kappa dead cities 2" in said, said
    assert embedded.status("cities")["serving"] == 1
    assert "all 40 records" in embedded.run("swap", "cities", "2", code=4).stderr
    assert "v2 of cities is serving" in embedded.deploy("cities", wrong, "--set", "swap.max_dead=100 %", "--wait").stdout
    assert embedded.status("cities")["serving"] == 2
