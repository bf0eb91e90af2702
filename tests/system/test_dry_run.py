"""kappa deploy --dry-run and kappa replay --dry-run: what would be read, how long it takes, what stands
against it; and nothing is written."""

import json
import os
import time

from support import normal_name


def sql(topic, table, column="n"):
    return (f"CREATE TABLE events (id bigint) WITH (topic='{topic}', format='json');\n"
            f"CREATE MATERIALIZED VIEW {table} AS SELECT id % 100 AS k, count(*) AS {column} FROM events "
            "GROUP BY id % 100;\n")


def files(platform):
    """Everything below versions/ and plugins/, by name."""
    return sorted(os.path.join(at, name) for folder in ("versions", "plugins")
                  for at, _, names in os.walk(os.path.join(platform.data, folder)) for name in names)


def test_dry_run(platform, topic, tmp_path):
    table = normal_name(topic).replace("-", "_")
    platform.topic(topic, 3)
    platform.produce(topic, [{"id": i} for i in range(30_000)], "--partition", 0)
    platform.produce(topic, [{"id": i} for i in range(10)], "--partition", 1)
    path = tmp_path / "d.sql"
    path.write_text(sql(topic, table))
    plan = platform.json("deploy", path, "--name", "d", "--dry-run")
    assert plan["dry_run"] and plan["version"] == 1 and plan["complete"] and plan["tables"] == [table]
    assert [(s["from"], s["to"], s["records"]) for s in plan["sources"]] == [(0, 30_000, 30_000), (0, 10, 10), (0, 0, 0)]
    assert plan["records"] == 30_010
    assert plan["sources"][0]["bytes"] > 30_000 * 5
    assert plan["speed"]["source"] == "sample" and 0 < plan["speed"]["low"] <= plan["speed"]["high"]
    assert plan["eta_range"] is None or plan["eta_range"][0] > 0
    assert plan["disk"]["free_bytes"] > 0
    assert platform.json("status")["processors"] == [] and files(platform) == []

    platform.deploy("d", sql(topic, table), "--wait")
    before = files(platform)
    same = platform.json("deploy", path, "--name", "d", "--dry-run")
    assert same["unchanged"] and same["version"] == 1
    assert "unchanged" in platform.run("deploy", path, "--name", "d", "--dry-run", "--wait").stdout
    tail = platform.json("replay", "d", "--dry-run", "--from", "-100")
    assert tail["version"] == 2 and not tail["complete"]
    assert [s["records"] for s in tail["sources"]] == [100, 10, 0]
    assert platform.json("replay", "d", "--dry-run", "--from", "end")["eta_range"] == [0, 0]
    text = platform.run("replay", "d", "--dry-run").stdout
    assert "at most 30,010 records" in text and "Nothing was written" in text
    assert len(platform.status("d")["versions"]) == 1 and files(platform) == before

    # Refused as the real thing is.
    assert "holds 0 to 30000" in platform.run("replay", "d", "--dry-run", "--from", "0:99999,1:0,2:0", code=None).stderr
    path.write_text(sql(topic + "-not", table))
    assert platform.run("deploy", path, "--name", "e", "--dry-run", code=None).returncode != 0
    path.write_text(sql(topic, table, "m"))
    assert "belongs to d" in platform.run("deploy", path, "--name", "e", "--dry-run", code=None).stderr


def test_dry_run_makes_no_topic(embedded, topic, tmp_path):
    embedded.topic(topic, 2)
    embedded.produce(topic, [{"id": 1}])
    path = tmp_path / "o.sql"
    path.write_text(f"CREATE TABLE events (id bigint) WITH (topic='{topic}', format='json');\n"
                    f"CREATE TABLE out (id bigint) WITH (topic='{topic}-out', format='json', key='id');\n"
                    "INSERT INTO out SELECT id FROM events;\n")
    plan = embedded.json("deploy", path, "--dry-run")
    assert plan["outputs"] == [topic + "-out"]
    assert [t["name"] for t in embedded.json("topic", "list")["topics"]] == [topic]


def test_dead_and_retention_are_told(platform, topic, tmp_path):
    """Records that cannot be processed, and a start that retention may take."""
    status, _, _ = platform.http("POST", "/v1/topics", {"name": topic, "partitions": 1, "retain_ms": 3_600_000})
    assert status == 201
    now = int(time.time() * 1000)
    platform.produce(topic, [{"id": 1, "at": now - 7_200_000}, {"id": "x", "at": now}], "--time", "at")
    path = tmp_path / "r.sql"
    path.write_text(sql(topic, "kept"))
    status, plan, _ = platform.http("POST", "/v1/processors", {"name": "r", "sql": path.read_text(), "dry_run": True})
    assert status == 200
    assert -3700 < plan["headroom_seconds"] < -3500
    assert any("1 of 2 records" in text for text in plan["warnings"])
    assert any("older than the topic's retention" in text for text in plan["warnings"])


def test_arrival_is_told(platform, topic, tmp_path):
    """Records that came just now count as arrival, old ones that were loaded do not."""
    platform.topic(topic, 1)
    now = int(time.time() * 1000)
    platform.produce(topic, [{"id": i, "at": now - 86_400_000} for i in range(5000)], "--time", "at")
    path = tmp_path / "a.sql"
    path.write_text(sql(topic, "arrived"))
    assert platform.json("deploy", path, "--dry-run")["arrival"] == 0
    platform.produce(topic, [{"id": i} for i in range(600)])
    plan = json.loads(platform.run("deploy", path, "--dry-run", "-o", "json").stdout)
    assert 0 < plan["arrival"] <= 10 and plan["utilisation"] > 0
