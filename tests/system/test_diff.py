"""Comparing two versions: what `kappa diff` says is what an independent recount of the log up to its cut says, while
records go on coming; and serving goes on meanwhile. On both logs."""

import math
import threading
import time

import support

NUMBERS = ["clicks", "views", "total_amount", "distinct_products"]


def recount(platform, topic, cut):
    """The rows of the wrong and of the right definition at the cut."""
    records = platform.cat(topic)
    return (support.features_model(records, cut, right=False)[0], support.features_model(records, cut)[0])


def check_columns(columns, wrong, right):
    """Per column: how many differ and how far."""
    for column in columns:
        name = column["name"]
        pairs = [(wrong[key][name], right[key][name]) for key in wrong]
        differ = [(a, b) for a, b in pairs if a != b]
        assert column["differ"] == len(differ), name
        if name not in NUMBERS or not differ:
            continue
        far = sorted(abs(b - a) for a, b in differ)
        assert math.isclose(column["mean"], math.fsum(far) / len(far), rel_tol=1e-9), name
        assert column["max"] == far[-1]
        for name, fraction in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99)):
            exact = far[math.ceil(fraction * len(far)) - 1]
            assert math.isclose(column[name], exact, rel_tol=0.02), (name, exact)


class Reads(threading.Thread):
    """Reads one row again and again; failures."""

    def __init__(self, platform, path):
        super().__init__()
        self.platform, self.path = platform, path
        self.over = False
        self.count = 0
        self.failed = []

    def run(self):
        while not self.over:
            status, answer, _ = self.platform.http("GET", self.path)
            self.count += 1
            if status not in (200, 404):
                self.failed.append(answer)
            time.sleep(0.005)

    def stop(self):
        self.over = True
        self.join()


def two_versions(platform, topic, table, name):
    """v1 with the bug serves, v2 with the fix is ready beside it."""
    platform.topic(topic, 3)
    _, seed = support.seed_for(name)
    platform.produce(topic, support.events_lines(20_000, users=150, step_us=50_000, seed=seed % 1000), "--key", "user_id")
    platform.deploy("features", support.features_sql(topic, right=False, table=table), "--wait")
    platform.deploy("features", support.features_sql(topic, table=table), "--swap", "manual")
    platform.wait("features", 2, "caught-up")
    support.eventually(lambda: platform.version("features", 2)["state"] == "ready", 30, "v2 is ready")


def test_at_one_cut(platform, topic):
    """Records keep coming: every diff is exact at its own cut, in rows, columns and samples."""
    table = "t_" + topic.replace("-", "_").replace(".", "_")[:40]
    two_versions(platform, topic, table, "at_one_cut")
    reads = Reads(platform, f"/v1/tables/{table}/rows/u1")
    producer = support.Producer(platform, topic, 2000, users=150, first=20_000, step_us=50_000)
    reads.start()
    cuts = []
    try:
        for _ in range(3):
            answer = platform.json("diff", "features", 1, 2, "--limit", 1000)
            assert answer["hold_ms"] > 0
            cuts.append(answer["cut"][topic])
            wrong, right = recount(platform, topic, cuts[-1])
            found, = answer["tables"]
            changed = {key for key in wrong if wrong[key] != right[key]}
            assert set(wrong) == set(right) and len(changed) > 100
            assert (found["only_in_a"], found["only_in_b"]) == (0, 0)
            assert (found["changed"], found["equal"]) == (len(changed), len(wrong) - len(changed))
            assert not answer["same"] and answer["complete"] == {"a": True, "b": True}
            check_columns(found["columns"], wrong, right)
            samples = found["samples"]["changed"]
            assert len(samples) == min(1000, len(changed))
            by_name = {(row["window_end"], row["user_id"]): key for key, row in wrong.items()}
            for sample in samples:
                key = by_name[sample["a"]["window_end"], sample["a"]["user_id"]]
                assert (sample["a"]["clicks"], sample["b"]["clicks"]) == (wrong[key]["clicks"], right[key]["clicks"])
                assert sample["columns"] == ["clicks"] and key in changed
            support.eventually(lambda: sum(s["next"] for s in platform.version("features", 1)["sources"]) > sum(cuts[-1]), 60,
                               "more records have come")
    finally:
        producer.stop()
        reads.stop()
    assert cuts[0] != cuts[1] != cuts[2], "records came in between"
    assert not reads.failed and reads.count > 20
    # The other way round, and after the swap: the same rows.
    support.applied_everything(platform, "features", 1, topic)
    support.applied_everything(platform, "features", 2, topic)
    forth, back = platform.json("diff", "features", 1, 2), platform.json("diff", "features", 2, 1)
    assert forth["cut"] == back["cut"] and forth["tables"][0]["changed"] == back["tables"][0]["changed"]
    chosen(platform, topic, forth["cut"][topic])
    platform.run("swap", "features", 2)
    assert platform.json("diff", "features", 1, 2)["tables"] == forth["tables"]
    text = platform.run("diff", "features", 1, 2, "--table", table).stdout
    assert "clicks" in text and "v1 and v2 of features at one cut" in text


def chosen(platform, topic, cut):
    """--where: rows for which it holds in one of both."""
    wrong, right = recount(platform, topic, cut)
    keys = [key for key in wrong if wrong[key]["user_id"] != "u3" and max(wrong[key]["clicks"], right[key]["clicks"]) > 4]
    changed = sum(wrong[key] != right[key] for key in keys)
    assert 0 < changed < sum(wrong[key] != right[key] for key in wrong)
    found, = platform.json("diff", "features", 1, 2, "--where", "clicks > 4 AND user_id <> 'u3'")["tables"]
    assert (found["changed"], found["equal"]) == (changed, len(keys) - changed)
    result = platform.run("diff", "features", 1, 2, "--where", "clickz > 4", code=1)
    assert "where:1:1: column \"clickz\" does not exist" in result.stderr and "clicks" in result.stderr


def test_same_and_still(embedded, topic):
    """A replay of the same definition needs no scan; versions without workers; tables and columns of one version only;
    and what cannot be compared says why."""
    platform = embedded
    two_versions(platform, topic, "counts", "same_and_still")
    platform.run("replay", "features", "--swap", "manual")  # v3: the definition of v1 again
    support.eventually(lambda: platform.version("features", 3)["state"] == "ready", 30, "v3 is ready")
    answer = platform.json("diff", "features", 1, 3)
    assert answer["same"] and answer["tables"] == [{"table": "counts", "in": "both", "identical": True}]
    assert "no difference" in platform.run("diff", "features", 1, 3).stdout
    # Another table, another column, a column that is gone, and a type that changed.
    sql = support.features_sql(topic).replace("count(DISTINCT product_id) AS distinct_products",
                                              "count(DISTINCT product_id) AS products")
    sql = sql.replace("user_features", "counts").replace("count(*) FILTER (WHERE event_type = 'view') AS views",
                                                         "1.5 * count(*) FILTER (WHERE event_type = 'view') AS views")
    sql += "CREATE MATERIALIZED VIEW extra AS SELECT event_type, count(*) AS n FROM user_events GROUP BY event_type;\n"
    platform.deploy("features", sql, "--swap", "manual")
    support.eventually(lambda: platform.version("features", 4)["state"] == "ready", 30, "v4 is ready")
    answer = platform.json("diff", "features", 2, 4)
    _, right = recount(platform, topic, answer["cut"][topic])
    found, extra = answer["tables"]
    assert extra == {"table": "extra", "in": "b"}
    columns = {column["name"]: column for column in found["columns"]}
    assert columns["distinct_products"]["in"] == "a" and columns["products"]["in"] == "b"
    assert columns["views"]["type_b"] == "numeric" and columns["user_id"]["key"]
    far = sorted(row["views"] / 2 for row in right.values() if row["views"])
    assert found["changed"] == columns["views"]["differ"] == len(far)
    assert math.isclose(columns["views"]["mean"], sum(far) / len(far)) and columns["views"]["max"] == far[-1]
    # Standing still: as long as nothing comes, a paused one is at the same cut; behind that, it says so.
    platform.run("pause", "features", 2)
    assert platform.json("diff", "features", 1, 2)["tables"][0]["changed"] > 0
    platform.produce(topic, support.events_lines(5000, users=150, first=90_000, step_us=50_000), "--key", "user_id")
    support.applied_everything(platform, "features", 1, topic)
    result = platform.run("diff", "features", 1, 2, code=None)
    assert result.returncode != 0 and "records behind v1" in result.stderr and "kappa resume" in result.stderr
    refused(platform)


def refused(platform):
    """Errors are sentences."""
    for args, text in (((1, 1), "compared with itself"), ((1, 9), "has no version 9"),
                       ((1, 2, "--table", "nothing"), "has a table nothing")):
        result = platform.run("diff", "features", *args, code=None)
        assert result.returncode != 0 and text in result.stderr, result.stderr
    for body, text in (({"a": 1}, '"b" must be'), ({"a": 1, "b": 3, "wherever": "x"}, 'unknown member "wherever"'),
                       ({"a": 1, "b": 3, "limit": -1}, '"limit" must be'), ({"a": 1, "b": 3, "where": 1}, '"where" must be')):
        status, answer, _ = platform.http("POST", "/v1/processors/features/diff", body)
        assert status == 400 and text in answer["error"]["message"], answer


def purchases(records, cut):
    """{(window_end, user): [(partition, offset)]} of purchases that did not come too late: what v1 counts as clicks."""
    seen, found = {}, {}
    for record in records:
        event, partition = record["value"], record["partition"]
        if record["offset"] >= cut[partition]:
            continue
        at = event["event_time"]
        end = at // support.WINDOW_MS * support.WINDOW_MS + support.WINDOW_MS
        late = partition in seen and end <= seen[partition] - support.BOUND_MS
        if event["event_type"] == "purchase" and not late:
            found.setdefault((end, event["user_id"]), []).append((partition, record["offset"]))
        seen[partition] = max(at, seen.get(partition, at))
    return {(support.rfc3339(end), user): places for (end, user), places in found.items()}


def test_records(platform, topic):
    """--records: the records that two versions count differently, and nothing else; or why they cannot be told."""
    platform.topic(topic, 3)
    _, seed = support.seed_for("records")
    lines = support.events_lines(20_000, users=60, step_us=50_000, disorder_ms=60_000, seed=seed % 1000)
    platform.produce(topic, lines, "--key", "user_id")
    views = ("CREATE MATERIALIZED VIEW bought AS SELECT user_id, amount FROM user_events WHERE event_type = 'purchase'"
             " AND amount > %d;\n"
             "CREATE MATERIALIZED VIEW visits AS SELECT user_id, window_end, count(*) AS n FROM session(user_events, "
             "event_time, interval '1 minute') WHERE amount > %d GROUP BY user_id, window_start, window_end;\n"
             "CREATE MATERIALIZED VIEW other AS SELECT user_id, count(*) AS n %s FROM user_events GROUP BY user_id;\n"
             "CREATE MATERIALIZED VIEW shown AS SELECT user_id, %s * count(*) AS n FROM user_events GROUP BY user_id;\n")
    platform.deploy("features", support.features_sql(topic, right=False) + views % (20, 20, "", "1"), "--wait")
    platform.deploy("features", support.features_sql(topic) + views % (90, 90, ", max(amount) AS most", "2"),
                    "--swap", "manual")
    support.eventually(lambda: platform.version("features", 2)["state"] == "ready", 30, "v2 is ready")
    for version in (1, 2):
        support.applied_everything(platform, "features", version, topic)

    answer = platform.json("diff", "features", 1, 2, "--records", "--limit", 100)
    records = platform.cat(topic)
    tables = {table["table"]: table for table in answer["tables"]}
    features = tables["user_features"]
    expected = purchases(records, answer["cut"][topic])
    samples = features["samples"]["changed"]
    assert len(samples) == min(100, len(expected)) == len(features["records"]["changed"]) and len(samples) > 50
    most = 0
    for sample, found in zip(samples, features["records"]["changed"]):
        want = expected[sample["a"]["window_end"], sample["a"]["user_id"]]
        assert [(r["partition"], r["offset"]) for r in found] == want[:10], sample
        assert {(r["topic"], r["in"]) for r in found} == {(topic, "both")}
        assert sample["a"]["clicks"] - sample["b"]["clicks"] == len(want)
        most = max(most, len(want))
    assert most > 1
    by_place = {(record["partition"], record["offset"]): record["value"] for record in records}
    bought = tables["bought"]
    assert len(bought["samples"]["only_in_a"]) == 100
    for row, (record,) in zip(bought["samples"]["only_in_a"], bought["records"]["only_in_a"]):
        event = by_place[record["partition"], record["offset"]]
        assert (event["user_id"], event["amount"], record["in"]) == (row["user_id"], row["amount"], "a")
    assert "depends on other records" in tables["visits"]["records_why_not"]
    assert "in different ways" in tables["other"]["records_why_not"]
    assert "in different ways" in tables["shown"]["records_why_not"]

    text = platform.run("diff", "features", 1, 2, "--records", "--limit", 1).stdout
    assert f"      records: {topic}/" in text and " only in v1" in text and "cannot be told: " in text
    assert "records" not in platform.json("diff", "features", 1, 2)["tables"][0]


def test_other_topics(embedded, topic):
    """Versions that read different topics have no common cut."""
    platform = embedded
    for name in (topic, topic + "2"):
        platform.topic(name, 2)
        platform.produce(name, support.events_lines(500, users=20), "--key", "user_id")
    platform.deploy("features", support.features_sql(topic), "--wait")
    platform.deploy("features", support.features_sql(topic + "2"), "--swap", "manual")
    support.eventually(lambda: platform.version("features", 2)["state"] == "ready", 30, "v2 is ready")
    result = platform.run("diff", "features", 1, 2, code=None)
    assert result.returncode != 0 and "never at one cut" in result.stderr
