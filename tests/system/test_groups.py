"""Groups: processors that name one group change over together. A reader that joins their tables never sees one before
and the other after, whatever is killed meanwhile; what the tables hold afterwards is what a recount finds."""

import collections
import http.client

import support
from support import eventually

GROUP = "SET swap.in_group = 'shop';\n"
INPUT = "CREATE TABLE events (user_id text, event_type text) WITH (topic = '%s', format = 'json');\n"
VIEW = "CREATE MATERIALIZED VIEW %s AS SELECT user_id, count(*) AS n FROM events %s GROUP BY user_id;\n"
RIGHT = "WHERE event_type = 'click'"
WRONG = "WHERE event_type IN ('click', 'purchase')"


def tables(topic):
    stem = "".join(c if c.isalnum() else "_" for c in topic)[-40:]
    return f"a_{stem}", f"b_{stem}"


def sql_of(topic, table, where):
    return GROUP + INPUT % topic + VIEW % (table, where)


def first_versions(platform, topic, seed):
    a, b = tables(topic)
    platform.topic(topic, 3)
    platform.produce(topic, support.events_lines(3000, users=50, seed=seed % 1000), "--key", "user_id")
    platform.deploy("pa", sql_of(topic, a, WRONG), "--wait")
    platform.deploy("pb", sql_of(topic, b, WRONG), "--wait")
    return a, b


def serving(platform):
    return {p["name"]: p["serving"] for p in platform.json("status")["processors"]}


def recount(platform, topic, where):
    kinds = ("click",) if where == RIGHT else ("click", "purchase")
    return dict(collections.Counter(r["value"]["user_id"] for r in platform.cat(topic)
                                    if r["value"]["event_type"] in kinds))


class Joiner(support.Background):
    """Joins the tables of both processors, over and over; the answer says which versions it read."""

    def __init__(self, platform, a, b):
        super().__init__(0.002)
        self.platform = platform
        self.sql = f"SELECT count(*) AS rows FROM {a} x JOIN {b} y ON x.user_id = y.user_id"
        self.answers = 0
        self.seen = set()

    def step(self):
        try:
            status, answer, _ = self.platform.http("POST", "/v1/sql", {"sql": self.sql})
        except (OSError, ValueError, KeyError, http.client.HTTPException):
            return  # killed, or not up again
        if status == 503:
            return
        assert status == 200, answer
        stamps = {s["processor"]: (s["version"], s["epoch"]) for s in answer["stamps"]}
        versions = {v for v, _ in stamps.values()}
        assert len(stamps) == 2 and len(versions) == 1, f"mixed: {stamps}"
        self.answers += 1
        self.seen |= versions


def test_said_and_done(platform, topic):
    a, b = first_versions(platform, topic, 1)
    platform.deploy("pa", sql_of(topic, a, RIGHT))
    platform.wait("pa", 2, "caught-up")
    held = eventually(lambda: platform.version("pa", 2)["held_back"], 10, "pa v2 is held back")
    assert "pb has no version newer than v1" in held["message"]
    text = platform.run("swap", "pa", code=4).stderr
    assert "changes over with the group" in text and "--alone" in text
    one, all_of_them = platform.run("status", "pa").stdout, platform.run("status").stdout
    assert "group shop, with 1 other" in one and all_of_them.count("group shop, with 1 other") == 2
    assert "PARTITION" in one and "PARTITION" not in all_of_them and "`kappa status PROCESSOR`" in all_of_them
    platform.deploy("pb", sql_of(topic, b, RIGHT), "--wait")
    assert serving(platform) == {"pa": 2, "pb": 2}
    members = platform.json("history", "pa")["receipts"][0]["group"]["members"]
    assert members == {"pa": {"epoch": 2, "old": 1, "new": 2}, "pb": {"epoch": 2, "old": 1, "new": 2}}
    back = platform.run("rollback", "pb").stdout
    assert "pa v2 -> v1" in back and "pb v2 -> v1" in back
    assert serving(platform) == {"pa": 1, "pb": 1}
    assert platform.json("swap", "pa", 2)["group"]["name"] == "shop"
    receipt = platform.json("rollback", "pa", "--alone")
    assert receipt["alone"] and "group" not in receipt
    assert serving(platform) == {"pa": 1, "pb": 2}
    assert "has changed since" in platform.run("rollback", "pb", code=4).stderr


def test_never_mixed_whatever_is_killed(platform, topic):
    rng, seed = support.seed_for("test_never_mixed_whatever_is_killed")
    a, b = first_versions(platform, topic, seed)
    platform.deploy("pa", sql_of(topic, a, RIGHT))
    platform.deploy("pb", sql_of(topic, b, RIGHT), "--wait")
    joiner = Joiner(platform, a, b)
    joiner.start()
    producer = support.Producer(platform, topic, rate=800, users=50, first=3000, step_us=1000)
    for _ in range(14):
        forward = serving(platform)["pa"] == 1
        asked = support.Background(0.01)
        command = ("swap", "pa", 2) if forward else ("rollback", "pb")
        asked.step = lambda command=command, asked=asked: (platform.run(*command, code=None), asked.ended.set())
        asked.start()
        if rng.random() < 0.7:
            asked.ended.wait(rng.random() * 0.08)
            platform.kill_any(rng, 0.6)
        asked.join(300)
        now = serving(platform)
        assert now["pa"] == now["pb"], now
    for _ in range(2):  # once more each way, with nobody killed
        platform.run(*(("swap", "pa", 2) if serving(platform)["pa"] == 1 else ("rollback", "pb")))
        eventually(lambda: joiner.error or joiner.answers > 20 and serving(platform)["pa"] in joiner.seen, 60, "it is joined")
    producer.stop()
    joiner.stop()
    assert joiner.answers > 20 and joiner.seen == {1, 2}, (joiner.answers, joiner.seen)
    for processor, table in (("pa", a), ("pb", b)):
        version = serving(platform)[processor]
        support.applied_everything(platform, processor, version, topic)
        rows = {row["user_id"]: row["n"] for row in platform.scan(table)}
        assert rows == recount(platform, topic, RIGHT if version == 2 else WRONG)
    for receipt in platform.json("history", "pa")["receipts"]:
        for name, moved in receipt.get("group", {"members": {}})["members"].items():
            theirs = [r for r in platform.json("history", name)["receipts"] if r["epoch"] == moved["epoch"]]
            assert [(r["old"], r["new"]) for r in theirs] == [(moved["old"], moved["new"])]


def test_apply_of_a_group(embedded, topic, tmp_path):
    """A folder is applied as a whole: the versions of a group wait for each other, and go back together."""
    a, b = tables(topic)
    embedded.topic(topic, 2)
    embedded.produce(topic, support.events_lines(500, users=20), "--key", "user_id")
    folder = tmp_path / "defs"
    folder.mkdir()

    def write(where):
        (folder / "pa.sql").write_text(sql_of(topic, a, where))
        (folder / "pb.sql").write_text(sql_of(topic, b, where))

    for where in (WRONG, RIGHT, WRONG):
        write(where)
        embedded.run("apply", folder, "--wait", "--timeout", "300s")
        assert len(set(serving(embedded).values())) == 1
        assert "nothing to do" in embedded.run("apply", folder).stdout
    last = embedded.json("history", "pb")["receipts"][0]
    assert last["reason"] == "kappa apply" and set(last["group"]["members"]) == {"pa", "pb"}
    rows = {row["user_id"]: row["n"] for row in embedded.scan(a)}
    assert rows == recount(embedded, topic, WRONG)
