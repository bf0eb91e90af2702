"""What is measured over many queries: the scenarios 1, 5, 10 and 11 of the examples and the Nexmark queries, each with
its topics and the program of bench/peers/flink that does the same in Flink SQL."""

import dataclasses
import json
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.join(HERE, "..")
PEERS = os.path.join(HERE, "peers", "flink")
USERS = 10_000  # of the topics clicks and users
PROFILES = 20_000
sys.path.insert(0, os.path.join(ROOT, "tests", "system"))
sys.path.insert(0, os.path.join(ROOT, "examples"))

import generate  # noqa: E402
import nexmark_oracle  # noqa: E402
import support  # noqa: E402


@dataclasses.dataclass
class Job:
    name: str
    topics: list  # in the order of Flink's tables
    ddls: list  # one for each topic
    sql: str  # Kappa's definition
    table: str  # Kappa's table of the answers
    side: int = 0  # records that Kappa reads besides


def example(folder, file, only):
    """An example's definition, of its materialized views only these (and no views over them)."""
    with open(os.path.join(ROOT, "examples", folder, file)) as text:
        statements = re.sub(r"--[^\n]*", "", text.read()).split(";")
    kept = [s for s in statements if "CREATE TABLE" in s or any(f"VIEW {name} " in s for name in only)]
    return ";".join(kept) + ";\n"


def jobs():
    """All jobs by name: the scenarios, then the Nexmark queries."""
    found = [
        Job("features", ["events"], ["events"], support.features_sql("events", table="features"), "features"),
        Job("engagement", ["clicks", "users"], ["clicks", "users"],
            example("engagement", "engagement.sql", ["user_clicks", "profiles", "engagement"]), "engagement",
            side=PROFILES),
        Job("sessions", ["clicks"], ["clicks"], example("sessions", "sessions.sql", ["sessions"]), "sessions"),
        Job("latency", ["requests"], ["requests"], example("sliding-latency", "sliding_latency.sql", ["latency"]),
            "latency"),
    ]
    for name in nexmark_oracle.QUERIES:
        with open(os.path.join(PEERS, name + ".sql")) as file:
            several = re.search(r"event = '(person|auction)'", file.read())
        sql = nexmark_oracle.definition(name, "nexmark")
        found.append(Job(name, ["nexmark"], ["nexmark_all" if several else "nexmark"], sql,
                         "q5_count" if name == "q5" else name,
                         side=len(nexmark_oracle.side_rows()) if "nexmark-side" in sql else 0))
    return {job.name: job for job in found}


def lines_of(topic, events):
    """The lines of a topic of the scenarios, made by examples/generate.py."""
    rng = generate.random.Random(f"bench {topic}")
    if topic == "users":
        for key, row in generate.users(rng, PROFILES, known=USERS):
            yield json.dumps({"key": key, "value": row})
        return
    rows = generate.clicks(rng, events, users=USERS) if topic == "clicks" else generate.requests(rng, events)
    yield from map(json.dumps, rows)


def fill_topic(platform, topic, events):
    """Makes a topic of the scenarios other than the main one."""
    platform.topic(topic, 4)
    how = {"clicks": ["--key", "user_id"], "users": ["--envelope"], "requests": []}[topic]
    with subprocess.Popen([support.BIN, "produce", topic, *how], stdin=subprocess.PIPE, env=platform.env, text=True,
                          stderr=subprocess.DEVNULL) as produce:
        for line in lines_of(topic, events):
            produce.stdin.write(line + "\n")
    if produce.returncode != 0:
        raise SystemExit(f"produce {topic}: exit code {produce.returncode}")
