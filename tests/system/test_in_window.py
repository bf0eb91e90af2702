"""--in-window: windows from a time on are those of a full replay, those before are the serving version's as they stood."""

import random

import support

BASE = 1_700_000_000_000
MINUTE = 60_000
SQL = """CREATE TABLE e (k text, n bigint, at timestamptz) WITH (topic = 'e', key = 'k', event_time = 'at', watermark = '2 min'%s);
CREATE MATERIALIZED VIEW sums WITH (retain = '10 days') AS SELECT k, window_start, window_end, count(*) AS c, sum(%s) AS s
FROM tumble(e, at, interval '5 minutes') %s GROUP BY k, window_start, window_end;
"""
OLD = SQL % ("", "n", "")
NEW = SQL % ("", "3 * n", "WHERE n % 7 <> 0")


def events(rng, first, count):
    """A second of event time each, out of order by at most a minute and a half, some a little late."""
    for i in range(first, first + count):
        late = rng.randrange(90) if rng.random() < 0.9 else rng.randrange(60 * 20)
        yield {"k": f"k{rng.randrange(20)}", "n": i, "at": BASE + 1000 * (i - min(late, i))}


def rows(platform, table):
    return {(r["k"], r["window_start"]): (r["c"], r["s"]) for r in platform.scan(table)}


def starts_at(row):
    return support.ms_of(row[1])


def fed(platform, rng, first, count, topic="e", version=1):
    platform.produce(topic, list(events(rng, first, count)), "--key", "k")
    support.applied_everything(platform, "sums", version, topic, "committed")


def expected(old, new, since):
    return {**{k: v for k, v in old.items() if starts_at(k) < since}, **{k: v for k, v in new.items() if starts_at(k) >= since}}


def test_only_what_is_touched(platform, topic, tmp_path):
    rng, _ = support.seed_for("in_window")
    old_sql, new_sql = (sql.replace("topic = 'e'", f"topic = '{topic}'") for sql in (OLD, NEW))
    platform.topic(topic, 3)
    fed_to = 0
    platform.deploy("sums", old_sql, "--wait")
    for _ in range(5):  # commits in between: there is where to begin
        fed(platform, rng, fed_to, 9000, topic)
        fed_to += 9000
    at = BASE + 1000 * rng.randrange(fed_to - 12000, fed_to - 3000)
    since = at - at % (5 * MINUTE)
    old = rows(platform, "sums")
    dry = platform.json("replay", "sums", "--dry-run", "--from", f"@{at}", "--in-window")
    assert dry["begins"]["with"] == "window" and support.rfc3339(since) in dry["begins"]["why"]

    made = platform.deploy("sums", new_sql, "--from", f"@{at}", "--in-window", "--wait").stdout
    assert "it begins with what serves: windows from " + support.rfc3339(since) in made
    version = platform.version("sums", 2)
    assert not version["complete"] and version["complete_since"] == support.rfc3339(since)
    support.applied_everything(platform, "sums", 2, topic, "committed")
    platform.deploy("whole", new_sql.replace("sums", "whole"), "--wait")
    support.applied_everything(platform, "whole", 1, topic, "committed")
    assert rows(platform, "sums") == expected(old, rows(platform, "whole"), since)
    # It did not read all: the index has places, one every 4,096 offsets and a commit of 3,000.
    assert version["worker"]["bytes"] < platform.version("whole", 1)["worker"]["bytes"] * 0.9
    # It goes on as the new definition says, and says what it cannot do.
    fed(platform, rng, fed_to, 2000, topic, version=2)
    support.applied_everything(platform, "whole", 1, topic, "committed")
    now, full = rows(platform, "sums"), rows(platform, "whole")
    assert {k: v for k, v in now.items() if starts_at(k) >= since} == {k: v for k, v in full.items() if starts_at(k) >= since}
    assert "took windows over from v1" in platform.run("verify", "sums", 2, code=4).stderr
    (tmp_path / "labels.csv").write_text("k,t\nk1,0\n")
    assert "took windows over from v1" in platform.run("export", "sums", "--labels", tmp_path / "labels.csv", "--time-column",
                                                       "t", "--out", tmp_path / "out.csv", code=4).stderr
    # And over that one again, by the same definition, from an earlier time: as if it had been from there at once.
    earlier = at - 40 * MINUTE
    platform.run("replay", "sums", "--from", f"@{earlier}", "--in-window", "--wait")
    support.applied_everything(platform, "sums", 3, topic, "committed")
    assert rows(platform, "sums") == expected(now, full, earlier - earlier % (5 * MINUTE))


def test_what_is_refused(embedded):
    embedded.topic("e", 1)
    embedded.produce("e", list(events(random.Random(1), 0, 100)), "--key", "k")
    at = f"@{BASE + 50_000}"

    def refused(words, sql, *args):
        failed = embedded.deploy("sums", sql, "--in-window", *args, code=None)
        assert failed.returncode != 0 and words in failed.stderr, failed.stderr

    refused("no version of sums serves", OLD, "--from", at)
    embedded.deploy("sums", OLD, "--wait")
    refused("--in-window needs --from @TIME", NEW)
    refused("--in-window needs --from @TIME", NEW, "--from", "-5")
    refused("without --empty-state", NEW, "--from", at, "--empty-state")
    refused("stores other rows", SQL % ("", "n), max(n", ""), "--from", at)
    refused("stores other rows", NEW.replace("5 minutes", "6 minutes"), "--from", at)
    refused("read their topics in the same way", SQL % (", lateness = '1 min'", "n", ""), "--from", at)
    refused("stores other rows", NEW.replace("tumble(e, at, interval '5 minutes')",
                                             "hop(e, at, interval '5 minutes', interval '5 minutes')"), "--from", at)
    refused("one that goes on at that time may have begun at any time before",
            NEW.replace("tumble(e, at, interval '5 minutes')", "session(e, at, interval '5 minutes')"), "--from", at)
    more = NEW + "CREATE MATERIALIZED VIEW plain AS SELECT k, count(*) AS n FROM e GROUP BY k;"
    refused("no table of tumbling or hopping windows", more, "--from", at)
    embedded.deploy("hops", hops_sql(OF_OLD, retain="1 day"), "--wait")
    failed = embedded.deploy("hops", hops_sql(OF_NEW, retain="2 days"), "--in-window", "--from", at, code=None)
    assert failed.returncode != 0 and "has let parts of them go" in failed.stderr, failed.stderr
    assert [v["version"] for v in embedded.status("sums")["versions"]] == [1]


# Panes of one slide, of parts of a slide, windows that are no whole number of slides, and no hop: minutes.
HOPS = {"whole": (5, 20, 0), "parts": (4, 10, 1), "broken": (3, 8, 0), "alone": (6, 6, 0)}
OF_OLD = ("n", "n >= 0")
OF_NEW = ("3 * n", "n % 7 <> 0")


def hops_sql(what, topic="e", watermark="30 min", lateness="0 s", retain="10 days"):
    value, condition = what
    return (f"CREATE TABLE e (k text, n bigint, at timestamptz) WITH (topic = '{topic}', key = 'k', event_time = 'at', "
            f"watermark = '{watermark}', lateness = '{lateness}');\n" + "".join(
                f"CREATE MATERIALIZED VIEW {name} WITH (retain = '{retain}') AS SELECT k, window_start, window_end, count(*) AS c, "
                f"sum({value}) AS s, min({value}) AS least, count(DISTINCT n % 10) AS d, array_agg({value}) AS l "
                f"FROM hop(e, at, interval '{slide} min', interval '{size} min', interval '{offset} min') "
                f"WHERE {condition} GROUP BY k, window_start, window_end;\n" for name, (slide, size, offset) in HOPS.items()))


class HopModel:
    """All windows of all tables as lists of the values that are in them, by arithmetic of its own."""

    def __init__(self, new):
        self.new = new
        self.windows = {name: {} for name in HOPS}

    def starts(self, name, at):
        slide, size, offset = (m * MINUTE for m in HOPS[name])
        last = (at - offset) // slide * slide + offset
        return [start for start in range(last, last - size, -slide) if start + size > at]

    def add(self, records):
        for r in records:
            if self.new and r["n"] % 7 == 0:
                continue
            for name, windows in self.windows.items():
                for start in self.starts(name, r["at"]):
                    windows.setdefault((r["k"], start), []).append((3 * r["n"] if self.new else r["n"], r["n"] % 10))

    def since(self, name, at):
        return min(self.starts(name, at))

    def taken_by(self, after, at):
        """What a version has that takes windows over from this one; after: all by the new definition."""
        taken = HopModel(True)
        for name, windows in self.windows.items():
            since = self.since(name, at)
            taken.windows[name] = {**{k: list(v) for k, v in windows.items() if k[1] < since},
                                   **{k: list(v) for k, v in after.windows[name].items() if k[1] >= since}}
        return taken

    def rows(self, name):
        return {key: (len(v), sum(n for n, _ in v), min(n for n, _ in v), len({d for _, d in v}),
                      [n for n, _ in v]) for key, v in self.windows[name].items()}


def hop_rows(platform, name):
    return {(r["k"], support.ms_of(r["window_start"])): (r["c"], r["s"], r["least"], r["d"], r["l"]) for r in platform.scan(name)}


def assert_hops(platform, model):
    for name in HOPS:
        assert hop_rows(platform, name) == model.rows(name), name


def test_hops(platform, topic):
    """Nothing is late: each window is the one definition's or the other's, whichever panes they share."""
    rng, _ = support.seed_for("in_window_hops")
    platform.topic(topic, 3)
    old, all_new, fed_to = HopModel(False), HopModel(True), 0

    def feed(count, version, *models):
        nonlocal fed_to
        records = list(events(rng, fed_to, count))
        platform.produce(topic, records, "--key", "k")
        support.applied_everything(platform, "hops", version, topic, "committed")
        for model in models:
            model.add(records)
        fed_to += count

    platform.deploy("hops", hops_sql(OF_OLD, topic), "--wait")
    for _ in range(4):
        feed(3000, 1, old, all_new)
    assert_hops(platform, old)
    at = BASE + 1000 * rng.randrange(fed_to - 6000, fed_to - 600)
    platform.deploy("hops", hops_sql(OF_NEW, topic), "--from", f"@{at}", "--in-window", "--wait")
    mixed = old.taken_by(all_new, at)
    support.applied_everything(platform, "hops", 2, topic, "committed")
    assert_hops(platform, mixed)
    key = sorted(mixed.windows["parts"])[len(mixed.windows["parts"]) // 2]  # and by its key
    got = platform.json("get", "parts", key[0], "--at", support.rfc3339(key[1] + 10 * MINUTE - 1))
    assert support.ms_of(got["row"]["window_start"]) <= key[1]
    # What comes from now on is the new definition's, in windows that were taken over, too.
    feed(1500, 2, mixed, all_new)
    assert_hops(platform, mixed)
    # Over that one: earlier, and in the middle of what it took over; then later, with parts of both kept.
    for number, at in ((3, at - rng.randrange(20 * MINUTE)), (4, at + rng.randrange(20 * MINUTE))):
        platform.run("replay", "hops", "--from", f"@{at}", "--in-window", "--wait")
        mixed = mixed.taken_by(all_new, at)
        support.applied_everything(platform, "hops", number, topic, "committed")
        assert_hops(platform, mixed)


def test_hops_of_the_same_definition(platform, topic):
    """Late rows, evictions, commits of any size: a version that takes over has the rows of a full replay."""
    rng, _ = support.seed_for("in_window_hops_same")
    platform.topic(topic, 4)
    sql = hops_sql(OF_OLD, topic, watermark="3 min", lateness="2 min", retain="2 h")
    platform.deploy("hops", sql, "--wait", "--shards", 2, "--cache-bytes", 200000)
    for i in range(4):
        platform.produce(topic, list(events(rng, 4000 * i, 4000)), "--key", "k")
        support.applied_everything(platform, "hops", 1, topic, "committed")
    at = BASE + 1000 * rng.randrange(12000, 15900)
    platform.run("replay", "hops", "--from", f"@{at}", "--in-window", "--wait")
    platform.produce(topic, list(events(rng, 16000, 2000)), "--key", "k")
    platform.deploy("again", sql.replace("VIEW ", "VIEW again_"), "--wait")
    support.applied_everything(platform, "hops", 2, topic, "committed")
    support.applied_everything(platform, "again", 1, topic, "committed")
    for name in HOPS:
        assert hop_rows(platform, name) == hop_rows(platform, "again_" + name), name


def test_a_crash_on_the_way(tmp_path):
    """kill -9 right before and behind taking over, of each shard: the same version comes of it."""
    rng, _ = support.seed_for("in_window_crash")
    with support.Platform(str(tmp_path)) as platform:
        platform.up()
        platform.topic("e", 4)
        platform.deploy("sums", OLD, "--shards", 2, "--wait")
        for i in range(3):
            fed(platform, rng, i * 5000, 5000)
        old = rows(platform, "sums")
        at = BASE + 1000 * 9000
        platform.down()
        platform.up(extra_env={"KAPPA_FAIL": "taken:1"})
        platform.deploy("sums", NEW, "--from", f"@{at}", "--in-window", "--swap", "manual")
        support.eventually(lambda: platform.version("sums", 2)["worker"]["restarts"] >= 1, 30, "it was killed")
        platform.kill()
        platform.up()
        platform.wait("sums", 2, "caught-up")
        platform.run("swap", "sums")
        support.applied_everything(platform, "sums", 2, "e", "committed")
        platform.deploy("whole", NEW.replace("sums", "whole"), "--wait")
        support.applied_everything(platform, "whole", 1, "e", "committed")
        assert rows(platform, "sums") == expected(old, rows(platform, "whole"), at - at % (5 * MINUTE))
