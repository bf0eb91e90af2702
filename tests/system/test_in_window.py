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


def fed(platform, rng, first, count, processor="sums", version=1):
    platform.produce("e", list(events(rng, first, count)), "--key", "k")
    support.applied_everything(platform, processor, version, "e", "committed")


def expected(old, new, since):
    return {**{k: v for k, v in old.items() if starts_at(k) < since}, **{k: v for k, v in new.items() if starts_at(k) >= since}}


def test_only_what_is_touched(platform, tmp_path):
    rng, _ = support.seed_for("in_window")
    platform.topic("e", 3)
    fed_to = 0
    platform.deploy("sums", OLD, "--wait")
    for _ in range(5):  # commits in between: there is where to begin
        fed(platform, rng, fed_to, 9000)
        fed_to += 9000
    at = BASE + 1000 * rng.randrange(fed_to - 12000, fed_to - 3000)
    since = at - at % (5 * MINUTE)
    old = rows(platform, "sums")
    dry = platform.json("replay", "sums", "--dry-run", "--from", f"@{at}", "--in-window")
    assert dry["begins"]["with"] == "window" and support.rfc3339(since) in dry["begins"]["why"]

    made = platform.deploy("sums", NEW, "--from", f"@{at}", "--in-window", "--wait").stdout
    assert "it begins with what serves: windows from " + support.rfc3339(since) in made
    version = platform.version("sums", 2)
    assert not version["complete"] and version["complete_since"] == support.rfc3339(since)
    support.applied_everything(platform, "sums", 2, "e", "committed")
    platform.deploy("whole", NEW.replace("sums", "whole"), "--wait")
    support.applied_everything(platform, "whole", 1, "e", "committed")
    assert rows(platform, "sums") == expected(old, rows(platform, "whole"), since)
    # It did not read all: the index has places, one every 4,096 offsets and a commit of 3,000.
    assert version["worker"]["bytes"] < platform.version("whole", 1)["worker"]["bytes"] * 0.9
    # It goes on as the new definition says, and says what it cannot do.
    fed(platform, rng, fed_to, 2000, version=2)
    support.applied_everything(platform, "whole", 1, "e", "committed")
    now, full = rows(platform, "sums"), rows(platform, "whole")
    assert {k: v for k, v in now.items() if starts_at(k) >= since} == {k: v for k, v in full.items() if starts_at(k) >= since}
    assert "took windows over from v1" in platform.run("verify", "sums", 2, code=4).stderr
    (tmp_path / "labels.csv").write_text("k,t\nk1,0\n")
    assert "took windows over from v1" in platform.run("export", "sums", "--labels", tmp_path / "labels.csv", "--time-column",
                                                       "t", "--out", tmp_path / "out.csv", code=4).stderr
    # And over that one again, by the same definition, from an earlier time: as if it had been from there at once.
    earlier = at - 40 * MINUTE
    platform.run("replay", "sums", "--from", f"@{earlier}", "--in-window", "--wait")
    support.applied_everything(platform, "sums", 3, "e", "committed")
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
    refused("no table of tumbling windows", NEW.replace("tumble(e, at, interval '5 minutes')",
                                                        "hop(e, at, interval '5 minutes', interval '10 minutes')"), "--from", at)
    more = NEW + "CREATE MATERIALIZED VIEW plain AS SELECT k, count(*) AS n FROM e GROUP BY k;"
    refused("no table of tumbling windows", more, "--from", at)
    assert [v["version"] for v in embedded.status("sums")["versions"]] == [1]


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
