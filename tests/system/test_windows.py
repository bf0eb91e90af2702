"""Windows that overlap, that merge, that close and expire: hop, session, lateness, ttl, emit='final'. A plain model
over the records of each partition in offset order says what the tables must hold; live and replayed, same digest.
"""

import json
import math
import random

import pytest

import support
from nexmark_oracle import time_ms
from test_scenarios import Scenario

MINUTE = 60_000
DAY = 86_400_000
BASE = 1_760_000_000_000


@pytest.fixture
def scenario(platform, topic):
    _, seed = support.seed_for("windows")
    return Scenario(platform, topic, seed)


def partitions(records):
    """The values of each partition in offset order."""
    values = {}
    for record in sorted(records, key=lambda r: (r["partition"], r["offset"])):
        values.setdefault(record["partition"], []).append(record["value"])
    return values


class Watermarks:
    """The watermark of one partition, record by record."""

    def __init__(self, bound):
        self.bound = bound
        self.now = -1 << 60

    def take(self, t):
        self.now = max(self.now, t - self.bound)
        return self.now


def hops(records, key, *, slide, size, bound, lateness=0, retain=1 << 60):
    """{(end, key): values}, late records, the least watermark."""
    windows, late, least = {}, 0, 1 << 60
    for values in partitions(records).values():
        watermarks = Watermarks(bound)
        own = {}
        for value in values:
            now = watermarks.take(value["ts"])
            end = value["ts"] // slide * slide + slide
            in_any = False
            while end - size <= value["ts"]:
                if end + lateness > now:
                    own.setdefault((end, value[key]), []).append(value)
                    in_any = True
                end += slide
            late += not in_any
        least = min(least, watermarks.now)
        for (end, name), rows in own.items():
            if end + retain > watermarks.now:
                windows.setdefault((end, name), []).extend(rows)
    return windows, late, least


def sessions_of(values, *, gap, bound, lateness):
    """Sessions of one user in one partition: [start, end, values]; late records."""
    watermarks = Watermarks(bound)
    sessions, late = {}, 0
    for value in values:
        t = value["ts"]
        now = watermarks.take(t)
        mine = sessions.setdefault(value["user_id"], [])
        session = [t, t + gap, [value]]
        for other in [o for o in mine if o[1] + lateness > now and o[0] < t + gap and t < o[1]]:
            session = [min(session[0], other[0]), max(session[1], other[1]), session[2] + other[2]]
            mine.remove(other)
        if session[1] + lateness > now:
            mine.append(session)
        else:
            late += 1
    return sessions, late, watermarks.now


def merged(parts):
    """Sessions (partition, start, end, values) of a user: those of other partitions that overlap are one."""
    groups = []
    for part in parts:
        near = [g for g in groups
                if any(p[0] != part[0] and p[1] < part[2] and part[1] < p[2] for p in g)]
        groups = [g for g in groups if g not in near] + [sum(near, []) + [part]]
    for group in groups:
        yield min(p[1] for p in group), max(p[2] for p in group), sum((p[3] for p in group), [])


def sessions(records, *, gap, bound, lateness=0):
    """(user, start, end, clicks, pages) of all, late records, the least watermark."""
    users, late, least = {}, 0, 1 << 60
    for number, values in partitions(records).items():
        own, behind, watermark = sessions_of(values, gap=gap, bound=bound, lateness=lateness)
        late += behind
        least = min(least, watermark)
        for user, mine in own.items():
            users.setdefault(user, []).extend((number, *session) for session in mine)
    rows = [(user, start, end, len(values), len({v["url"] for v in values}))
            for user, parts in users.items() for start, end, values in merged(parts)]
    return rows, late, least


SESSION_KINDS = "user_id window_start:t window_end:t clicks pages"


@pytest.mark.parametrize("keyed", [True, False])
def test_sessions(scenario, keyed):
    lines = scenario.lines("clicks", 4000)
    prng = random.Random(scenario.seed)
    late = [json.loads(prng.choice(lines)) for _ in range(60)]  # far behind their time
    for value in late:
        lines.insert(prng.randrange(len(lines)), json.dumps(value))
    scenario.topic("clicks", lines, *(["--key", "user_id"] if keyed else []))

    def check():
        rows, behind, least = sessions(scenario.records("clicks"), gap=30_000, bound=5000, lateness=MINUTE)
        platform = scenario.platform
        assert platform.status("sessions")["versions"][-1]["late"] == 2 * behind and behind > 0
        scenario.same("sessions", SESSION_KINDS, rows)
        final = [row for row in rows if row[2] + MINUTE <= least]
        assert len(final) < len(rows)
        scenario.same("ended_sessions", SESSION_KINDS, final)
        ends = [row["window_end"] for row in platform.scan("sessions")]
        assert ends == sorted(ends)
        user = rows[0][0]
        mine = sorted((row for row in rows if row[0] == user), key=lambda row: row[2])
        newest = platform.json("get", "sessions", user)["row"]
        assert time_ms(newest["window_end"]) == mine[-1][2]
        _, start, end, clicks, _ = mine[len(mine) // 2]
        if sum(row[1] <= start < row[2] for row in mine) == 1:
            row = platform.json("get", "sessions", user, "--at", str(start))["row"]
            assert (time_ms(row["window_start"]), time_ms(row["window_end"]), row["clicks"]) == (start, end, clicks)
        platform.run("get", "sessions", user, "--at", str(mine[0][1] - 1), code=3)
        mine = [row for row in final if row[0] == user]
        if mine:
            newest = platform.json("get", "ended_sessions", user)["row"]
            assert time_ms(newest["window_end"]) == max(row[2] for row in mine)
        else:
            platform.run("get", "ended_sessions", user, code=3)

    scenario.run("sessions/sessions.sql", check)


def test_ended_sessions_leave_once(scenario):
    scenario.topic("clicks", scenario.lines("clicks", 9000), "--key", "user_id")
    scenario.output("session-ends")

    def check():
        want = []
        for values in partitions(scenario.records("clicks")).values():
            own, _, watermark = sessions_of(values, gap=30_000, bound=5000, lateness=MINUTE)
            want += [(len(rows), support.rfc3339(end), len({v["url"] for v in rows}), support.rfc3339(start), user)
                     for user, mine in own.items() for start, end, rows in mine if end + MINUTE <= watermark]
        sent = scenario.sent("session-ends", "clicks ended pages started user_id", len(want))
        assert sent == sorted(want) and len(want) > 100

    scenario.run("sessions/session_ends.sql", check)


def test_sliding_latency(scenario):
    scenario.topic("requests", scenario.lines("requests", 4000))

    def check():
        windows, late, _ = hops(scenario.records("requests"), "service", slide=MINUTE, size=5 * MINUTE, bound=5000,
                                retain=DAY)
        assert scenario.platform.status("sliding_latency")["versions"][-1]["late"] == late
        rows = [(service, end - 5 * MINUTE, end, len(values), math.fsum(v["latency_ms"] for v in values) / len(values),
                 max(v["latency_ms"] for v in values)) for (end, service), values in windows.items()]
        scenario.same("latency", "service window_start:t window_end:t requests mean worst", rows)
        for row in scenario.platform.scan("latency"):
            values = sorted(v["latency_ms"] for v in windows[time_ms(row["window_end"]), row["service"]])
            place = 0.99 * (len(values) - 1)
            low, high = values[math.floor(place)], values[math.ceil(place)]
            assert low * 0.991 <= row["p99"] <= high * 1.009, "within 0.8 % of what lies at 99 %"
        keys = [(row["window_end"], row["service"]) for row in scenario.platform.scan("latency")]
        assert keys == sorted(keys)
        last = max(v["ts"] for v in map(lambda r: r["value"], scenario.records("requests")) if v["service"] == "api")
        row = scenario.platform.json("get", "latency", "api")["row"]
        assert time_ms(row["window_end"]) == last // MINUTE * MINUTE + MINUTE
        some = BASE + 10 * MINUTE
        row = scenario.platform.json("get", "latency", "api", "--at", str(some))["row"]
        end = some // MINUTE * MINUTE + MINUTE
        assert (time_ms(row["window_end"]), row["requests"]) == (end, len(windows[end, "api"]))
        scenario.same_query("SELECT window_end, requests FROM latency WHERE service = 'api'", "window_end:t requests",
                            [(end, len(values)) for (end, service), values in windows.items() if service == "api"])

    scenario.run("sliding-latency/sliding_latency.sql", check)


HISTORY = """
CREATE TABLE t (user_id text, amount double precision, merchant text, ts timestamptz)
WITH (topic='TOPIC', event_time='ts', watermark='3 days', lateness='2 days');
CREATE MATERIALIZED VIEW history_90 AS
SELECT user_id, window_end, count(*) AS n, sum(amount) AS total, count(DISTINCT merchant) AS merchants
FROM hop(t, ts, interval '1 day', interval '90 days') GROUP BY user_id, window_end HAVING count(*) > 1;
CREATE MATERIALIZED VIEW history_7 WITH (retain='20 days', emit='final') AS
SELECT user_id, window_end, count(*) AS n FROM hop(t, ts, interval '1 day', interval '7 days')
GROUP BY user_id, window_end;
"""


def test_ninety_days_by_one_day(platform, topic):
    _, seed = support.seed_for("history")
    lines = Scenario(platform, topic, seed).lines("history", 3000)
    prng = random.Random(seed)
    lines = [line for _, line in sorted((i + prng.randrange(100) * (prng.random() < 0.1), line)
                                        for i, line in enumerate(lines))]
    platform.topic(topic, 2)
    platform.produce(topic, lines)
    platform.deploy("history", HISTORY.replace("TOPIC", topic), "--wait")
    records = platform.cat(topic)
    windows, late, _ = hops(records, "user_id", slide=DAY, size=90 * DAY, bound=3 * DAY, lateness=2 * DAY)
    week, _, least = hops(records, "user_id", slide=DAY, size=7 * DAY, bound=3 * DAY, lateness=2 * DAY,
                          retain=20 * DAY)
    assert late == 0
    rows = {(time_ms(row["window_end"]), row["user_id"]): row for row in platform.scan("history_90")}
    assert set(rows) == {key for key, values in windows.items() if len(values) > 1}
    for key, row in rows.items():
        values = windows[key]
        assert (row["n"], row["merchants"]) == (len(values), len({v["merchant"] for v in values}))
        assert row["total"] == pytest.approx(sum(v["amount"] for v in values))
    got = {(time_ms(row["window_end"]), row["user_id"]): row["n"] for row in platform.scan("history_7")}
    assert got == {key: len(values) for key, values in week.items() if key[0] + 2 * DAY <= least}
    user = records[-1]["value"]["user_id"]
    newest = max(r["value"]["ts"] for r in records if r["value"]["user_id"] == user)
    row = platform.json("get", "history_90", user)["row"]
    assert time_ms(row["window_end"]) == newest // DAY * DAY + DAY
    row = platform.json("get", "history_7", user)["row"]
    assert row["n"] == got[time_ms(row["window_end"]), user]
    platform.run("verify", "history", "1")


LATE = """
CREATE TABLE t (user_id text, ts timestamptz)
WITH (topic='TOPIC', event_time='ts', watermark='5 s', lateness='10 s', late='late');
CREATE MATERIALIZED VIEW minutes WITH (emit='final') AS SELECT user_id, window_end, count(*) AS n
FROM tumble(t, ts, interval '1 minute') GROUP BY user_id, window_end;
CREATE MATERIALIZED VIEW recent WITH (ttl='2 minutes') AS SELECT user_id, count(*) AS n FROM t GROUP BY user_id;
"""


def recent(records, ttl, bound):
    """Groups that expire: {user: n}, late records."""
    counts, late = {}, 0
    for values in partitions(records).values():
        watermarks = Watermarks(bound)
        groups = {}
        for value in values:
            t, user = value["ts"], value["user_id"]
            now = watermarks.take(t)
            last, n = groups.get(user, (None, 0))
            if last is not None and last + ttl <= now:
                last, n = None, 0
                del groups[user]
            if last is None and t + ttl <= now:
                late += 1
                continue
            groups[user] = (t if last is None else max(last, t), n + 1)
        for user, (last, n) in groups.items():
            if last + ttl > watermarks.now:
                counts[user] = counts.get(user, 0) + n
    return counts, late


def test_late_records_and_groups_that_expire(platform, topic):
    _, seed = support.seed_for("late")
    prng = random.Random(seed)
    lines = []
    for n in range(4000):
        back = prng.randrange(300_000) if prng.random() < 0.05 else prng.randrange(4000)
        lines.append(json.dumps({"user_id": f"u{prng.randrange(n // 40, n // 40 + 30)}", "ts": BASE + n * 300 - back}))
    platform.topic(topic, 3)
    platform.produce(topic, lines[:2000])
    platform.deploy("late", LATE.replace("TOPIC", topic), "--wait")
    platform.produce(topic, lines[2000:])
    support.applied_everything(platform, "late", 1, topic)
    records = platform.cat(topic)
    windows, behind, least = hops(records, "user_id", slide=MINUTE, size=MINUTE, bound=5000, lateness=10_000)
    groups, gone = recent(records, 2 * MINUTE, 5000)
    assert behind > 20 and gone > 2
    got = {(time_ms(row["window_end"]), row["user_id"]): row["n"] for row in platform.scan("minutes")}
    assert got == {key: len(values) for key, values in windows.items() if key[0] + 10_000 <= least}
    assert {row["user_id"]: row["n"] for row in platform.scan("recent")} == groups
    assert platform.version("late", 1)["late"] == behind + gone
    kept = platform.json("late", "late", "1", "--limit", "10000")["late"]
    assert sorted(item["table"] for item in kept) == ["minutes"] * behind + ["recent"] * gone
    record = next(r for r in records if (r["partition"], r["offset"]) == (kept[0]["partition"], kept[0]["offset"]))
    assert json.loads(kept[0]["value"]) == record["value"]
    assert " LATE " in platform.run("status", "late").stdout.splitlines()[1]
    assert "WITH (late='late')" in platform.run("late", "late", "1", "--limit", "0").stderr
    assert kept[0]["reason"].startswith("the window that ended at "), "the table stands beside, not in the reason"
    assert len(platform.http("GET", "/v1/processors/late/versions/1/late?limit=3")[1]["late"]) == 3
    platform.run("replay", "late")
    platform.wait("late", 2)
    receipt = platform.json("history", "late")["receipts"][0]
    assert receipt["old_digest"] == receipt["new_digest"]
    assert {row["user_id"]: row["n"] for row in platform.scan("recent")} == groups
