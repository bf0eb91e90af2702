"""/metrics, and what is shipped to watch it: a Grafana dashboard, and alert rules for Prometheus (docker/monitoring)."""

import json
import os
import re
import socket
import shutil
import subprocess

import pytest
import support
from support import eventually, events_lines

FOLDER = os.path.join(support.ROOT, "docker", "monitoring")
EXAMPLE = os.path.join(support.ROOT, "examples", "user-features", "v1.sql")


def promtool(*args, **how):
    if not shutil.which("promtool"):
        pytest.skip("no promtool (Debian: prometheus)")
    result = subprocess.run(["promtool", *args], capture_output=True, text=True, timeout=300, cwd=FOLDER, **how)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout + result.stderr


def documented():
    """{name: type} of docs/METRICS.md, which `make docs-check` holds against the table in the source."""
    with open(os.path.join(support.ROOT, "docs", "METRICS.md")) as file:
        return dict(re.findall(r"^\| `(\w+)` \| (\w+) \|", file.read(), re.M))


def parse(text):
    """{name: {labels as text: value}}"""
    found = {}
    for line in filter(lambda line: line and line[0] != "#", text.splitlines()):
        name, labels, value = re.fullmatch(r'(\w+)(?:\{(.*)\})? (\S+)', line).groups()
        found.setdefault(name, {})[labels or ""] = float(value)
    return found


def scrape(platform):
    status, text, _ = platform.http("GET", "/metrics")
    assert status == 200
    return text


@pytest.fixture
def watched(embedded, topic):
    """A platform that has replayed, been read and been asked wrongly."""
    embedded.topic("user-events", 2)
    embedded.produce("user-events", events_lines(20_000), "--key", "user_id")
    embedded.run("deploy", EXAMPLE, "--name", "features", "--wait")
    embedded.http("GET", "/v1/tables/user_features/rows?limit=3")
    embedded.http("GET", "/v1/tables/nothing/rows/x")
    return embedded


def test_every_metric_is_told(watched):
    text = scrape(watched)
    assert "error" not in promtool("check", "metrics", input=text).lower()
    types = dict(re.findall(r"^# TYPE (\w+) (\w+)$", text, re.M))
    off = {name for name in documented() if name.startswith(("kappa_redis_", "kappa_access_"))}  # not asked for here
    assert types == {name: kind for name, kind in documented().items() if name not in off}
    samples = parse(text)
    # What this world has no sample of: nothing is sent, archived or limited, and the end is reached.
    absent = {name for name, kind in types.items() if name not in samples and kind != "histogram"
              and not name.startswith("kappa_archive_")}
    assert absent <= {"kappa_canary_reads_total", "kappa_outputs_sent_total", "kappa_outputs_waiting", "kappa_outputs_shadow",
                      "kappa_outputs_waiting_seconds", "kappa_replay_eta_seconds", "kappa_replay_in_time",
                      "kappa_replay_late_seconds", "kappa_replay_limit_records", "kappa_replay_limit_bytes",
                      "kappa_replay_limit_broker_bytes"}, absent
    assert samples["kappa_swaps_total"]['processor="features",result="done"'] == 1
    assert samples["kappa_records_applied_total"]['processor="features",version="1"'] == 20_000
    assert samples["process_start_time_seconds"][""] > 1.6e9
    assert 3 < samples["process_open_fds"][""] <= samples["process_max_fds"][""]
    assert 0 < samples["kappa_data_disk_free_bytes"][""] <= samples["kappa_data_disk_size_bytes"][""]


def test_histograms_add_up(watched):
    samples = parse(scrape(watched))
    status = watched.version("features", 1)
    assert samples["kappa_commit_duration_seconds_count"]['processor="features",version="1"'] <= status["worker"]["commits"]
    for name, kind in documented().items():
        if kind != "histogram" or name.startswith("kappa_redis_"):  # not asked for here
            continue
        for labels, count in samples[name + "_count"].items():
            buckets = [(float(re.search(r'le="([^"]*)"', of)[1]), value) for of, value in samples[name + "_bucket"].items()
                       if of.startswith(labels + ",le=")]
            assert len(buckets) == 17 and sorted(buckets) == buckets
            counts = [value for _, value in buckets]
            assert counts == sorted(counts) and counts[-1] == count and buckets[-1][0] == float("inf")
            assert samples[name + "_sum"][labels] <= count * 60
    asked = samples["kappa_http_request_duration_seconds_count"]
    assert asked['method="GET",route="/v1/tables/*/rows"'] == 1
    assert asked['method="GET",route="/v1/tables/*/rows/**"'] == 1


def test_time_is_accounted_for(watched):
    """The phases make up the shards' threads' lives."""
    def sums():
        spent = parse(scrape(watched))["kappa_worker_time_seconds_total"]
        return {re.search(r'phase="(\w+)"', labels)[1]: value for labels, value in spent.items()}

    support.applied_everything(watched, "features", 1, "user-events")
    first = eventually(lambda: (s := sums()) and len(s) == 6 and all(s[phase] > 0 for phase in s if phase != "limited") and s, 10,
                       "the worker has said where its time goes")
    assert set(first) == {"fetch", "wait", "limited", "decode", "compute", "commit"} and first["limited"] == 0
    eventually(lambda: sums()["wait"] > first["wait"] + 0.2, 10, "an idle version waits")
    assert sums()["decode"] == first["decode"]


def test_partition_status(watched):
    def words():
        found = parse(scrape(watched))["kappa_partition_status"]
        return sorted(re.search(r'status="(\w+)"', labels)[1] for labels in found)

    eventually(lambda: words() == ["ok", "ok"], 10, "both are ok")
    watched.run("replay", "features", "--swap", "manual", "--wait")
    watched.run("pause", "features", 2)
    eventually(lambda: words() == ["ok", "ok", "paused", "paused"], 10, "the second version is paused")


def test_redis_is_counted(tmp_path):
    with support.Platform(str(tmp_path), args=["--redis", "127.0.0.1:0"]).up() as platform:
        text = scrape(platform)
        types = dict(re.findall(r"^# TYPE (\w+) (\w+)$", text, re.M))
        assert types == {name: kind for name, kind in documented().items() if not name.startswith("kappa_access_")}
        promtool("check", "metrics", input=text)
        host, port = platform.server()["redis"].split(":")
        with socket.create_connection((host, int(port)), timeout=60) as client:
            client.sendall(b"PING\r\nping\r\nSET a b\r\nNONSENSE\r\nMULTI\r\nPING\r\nEXEC\r\nQUIT\r\n")
            while client.recv(4096):
                pass
        text = scrape(platform)
        promtool("check", "metrics", input=text)
        counted = dict(re.findall(r'^kappa_redis_commands_total\{command="(\w+)"\} (\d+)$', text, re.M))
        assert counted == {"ping": "4", "multi": "1", "exec": "1", "quit": "1", "unknown": "2"}
        # A round is counted behind its answers.
        eventually(lambda: re.search(r"^kappa_redis_round_duration_seconds_count\{\} [1-9]", scrape(platform), re.M), 60, "a round")


def test_rules_are_right():
    promtool("check", "config", "prometheus.yml")
    promtool("test", "rules", "kappa-alerts-test.yml")
    with open(os.path.join(FOLDER, "kappa-alerts-test.yml")) as file:
        fires = int(re.search(r"exp_samples: \[\{value: (\d+)\}\]\n?$", file.read())[1])
    with open(os.path.join(FOLDER, "kappa-alerts.yml")) as file:
        assert len(re.findall(r"- alert: ", file.read())) == fires, "each alert fires in the world where all is bad"


def names_in(expression):
    return set(re.findall(r"\b(?:kappa|process)_\w+", re.sub(r'"[^"]*"', "", expression)))


def exists(name):
    known = documented()
    base = re.sub(r"_(bucket|sum|count)$", "", name)
    return name in known and known[name] != "histogram" or known.get(base) == "histogram" and base != name


def test_what_is_watched_exists():
    with open(os.path.join(FOLDER, "kappa-alerts.yml")) as file:
        rules = names_in("".join(line for line in file if not re.match(r"\s*(#|summary|description|- name)", line)))
    assert len(rules) > 10 and not [name for name in rules if not exists(name)]
    with open(os.path.join(FOLDER, "grafana-kappa.json")) as file:
        dashboard = json.load(file)
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    names = set().union(*map(names_in, expressions))
    assert len(names) > 20 and not [name for name in names if not exists(name)]


def test_the_dashboards_queries_parse(tmp_path):
    """promtool reads queries as rules; Grafana's variables are put in as it does."""
    with open(os.path.join(FOLDER, "grafana-kappa.json")) as file:
        dashboard = json.load(file)
    rules = []
    for panel in dashboard["panels"]:
        assert panel["title"] and {"x", "y", "w", "h"} == set(panel["gridPos"])
        for target in panel["targets"]:
            query = target["expr"].replace("$processor", ".*").replace("$__rate_interval", "1m")
            assert "$" not in query, query
            rules.append({"record": f"test:{panel['id']}:{target['refId']}", "expr": query})
    path = tmp_path / "rules.json"
    path.write_text(json.dumps({"groups": [{"name": "queries", "rules": rules}]}))  # JSON is YAML
    promtool("check", "rules", str(path))
