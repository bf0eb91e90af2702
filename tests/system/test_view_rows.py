"""Rows of views (CREATE VIEW) by their keys over Redis, POST /v1/tables/V/get and POST /get-online-features: beside
sqlite3 over the records, at one cut with the tables that are read with them, bounded, and refused where there is no key."""

import json
import re
import sqlite3
import sys
import threading

import pytest

import support
from support import eventually, seed_for

sys.path.append("/usr/lib/python3/dist-packages")  # of Debian, when another Python runs the tests
redis = pytest.importorskip("redis")

INPUT = "CREATE TABLE e (u text, n bigint, ok boolean, b bytea, t timestamptz, x numeric) WITH (topic='e', event_time='t', watermark='1000 s');"
TABLES = {
    "sums": "SELECT u, count(*) AS c, sum(n) AS s, max(t) AS last FROM e GROUP BY u",
    "kinds": "SELECT u, n, ok, count(*) AS c FROM e GROUP BY u, n, ok",
    "odd": "SELECT b, t, x, count(*) AS c FROM e GROUP BY b, t, x",
    "minutes": "SELECT u, window_start, window_end, count(*) AS c FROM tumble(e, t, interval '1 minute') "
               "GROUP BY u, window_start, window_end",
    "records": "SELECT u, n FROM e",
}
VIEWS = {
    "busy": "SELECT u, c * 2 AS twice, last, s FROM sums WHERE c > 3",
    "ranked": "SELECT u, c, rank() OVER (ORDER BY c DESC, u) AS place FROM sums",
    "top": "SELECT r.place, r.u, b.twice FROM ranked r LEFT JOIN busy b ON b.u = r.u",
    "flags": "SELECT ok, n, u, c + 1 AS more FROM kinds",
    "users": "SELECT u, sum(c) AS c FROM kinds GROUP BY u",
    "oddly": "SELECT b, x, t, c FROM odd",
    "recent": "SELECT u, window_end, c, window_start FROM minutes WHERE c > 1",
    "parts": "SELECT u, c FROM kinds",
    "late": "SELECT u, c FROM minutes",
    "all_of_it": "SELECT sum(c) AS c FROM sums",
    "single": "SELECT u, n FROM records",
    "endless": "WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r) SELECT u, (SELECT count(*) FROM r) AS n FROM sums",
}
SQL = (INPUT + "".join(f"CREATE MATERIALIZED VIEW {name} AS {text};" for name, text in TABLES.items()) +
       "".join(f"CREATE VIEW {name} AS {text};" for name, text in VIEWS.items()))
START_MS = 1_767_225_600_000


@pytest.fixture
def door(tmp_path):
    with support.Platform(str(tmp_path), args=["--redis", "127.0.0.1:0"]) as platform:
        platform.up()
        host, port = platform.server()["redis"].split(":")
        platform.client = lambda **more: redis.Redis(host, int(port), decode_responses=True, **more)
        yield platform


def make_events(rng, count):
    users = ["a", "b", "a:b", r"a\b", "it's", "ä", "日本", "", "zz", None]
    return [{"u": rng.choice(users), "n": rng.choice([0, 7, -9007199254740993]), "ok": rng.random() < 0.5,
             "b": rng.choice(["\\x", "\\x00ff", "\\xab"]), "t": support.rfc3339(START_MS + 1000 * rng.randrange(400)),
             "x": rng.choice(["1.5", "100", "12345678901234567.89", "12345678901234567.91"])} for _ in range(count)]


def oracle(events):
    """The same definition in sqlite3, where a tumbling window is a number of minutes."""
    db = sqlite3.connect(":memory:")
    db.row_factory = sqlite3.Row
    db.execute("CREATE TABLE e (u text, n bigint, ok boolean, b text, t text, x text)")
    db.executemany("INSERT INTO e VALUES (:u, :n, :ok, :b, :t, :x)", events)
    for name, text in TABLES.items():
        text = text.replace("tumble(e, t, interval '1 minute')", "(SELECT *, strftime('%Y-%m-%dT%H:%M:00Z', t) AS window_start, "
                            "strftime('%Y-%m-%dT%H:%M:00Z', t, '+1 minute') AS window_end FROM e)")
        db.execute(f"CREATE TABLE {name} AS {text}")
    for name, text in VIEWS.items():
        db.execute(f"CREATE VIEW {name} AS {text}")
    return db


def plain(row):
    """Values as texts, true as 1, and decimals as doubles: JSON has lost their last digits in Python."""
    def text(value):
        value = str(int(value) if isinstance(value, bool) else value)
        return str(float(value)) if re.fullmatch(r"-?[0-9.]+(e[+-]?[0-9]+)?", value) and not value.isdigit() else value
    return row and {name: text(value) for name, value in row.items() if value is not None}


def many(door, view, keys, code=200, **more):
    status, body, _ = door.http("POST", f"/v1/tables/{view}/get", {"keys": keys, **more})
    assert status == code, body
    return body["rows"] if code == 200 else body["error"]


def features(door, names, entities, code=200):
    status, body, _ = door.http("POST", "/get-online-features",
                                {"features": names, "entities": entities, "full_feature_names": True})
    assert status == code, body
    return dict(zip(body["metadata"]["feature_names"], body["results"])) if code == 200 else body["error"]


def spelled(key):
    def text(value):
        return str(value).lower() if isinstance(value, bool) else str(value)
    if len(key) == 1:
        return text(key[0])
    return ":".join(text(value).replace("\\", "\\\\").replace(":", "\\:") for value in key)


# View: columns of its key, in the order of the table's.
KEYS = {"busy": ["u"], "ranked": ["u"], "top": ["u"], "flags": ["u", "n", "ok"], "users": ["u"], "recent": ["u"],
        "oddly": ["b", "t", "x"]}


def test_rows_equal_sqlite(door):
    rng, _ = seed_for("test_rows_equal_sqlite")
    events = make_events(rng, 400)
    door.topic("e", 3)
    door.produce("e", events)
    door.deploy("p", SQL, "--wait")
    support.applied_everything(door, "p", 1, "e")
    db = oracle(events)
    client = door.client()
    for view, columns in KEYS.items():
        wanted = {}
        order = " ORDER BY window_end DESC" if view == "recent" else ""
        for row in db.execute(f"SELECT * FROM {view}{order}"):
            row = dict(row)
            row.update({"ok": bool(row["ok"])} if "ok" in row else {})
            wanted.setdefault(tuple(row[c] for c in columns), row)
        keys = [key for key in wanted if None not in key]
        missing = [{"n": 5, "ok": True, "t": "2020-01-01T00:00:00Z", "x": "3"}.get(c, "\\x99" if c == "b" else "no") for c in columns]
        asked = [*keys, missing, [None] * len(columns)]
        rng.shuffle(asked)
        want = [plain(wanted.get(tuple(key))) if None not in key else None for key in asked]
        assert [plain(row) for row in many(door, view, asked)] == want, view
        assert [plain(row) for row in many(door, view + "@1", asked)] == want, view
        assert [plain(row) for row in many(door, view, asked, version=1)] == want, view
        got = features(door, [f"{view}:{name}" for name in wanted[keys[0]]],
                       {c: [key[i] for key in asked] for i, c in enumerate(columns)})
        for i, row in enumerate(want):
            for name in wanted[keys[0]]:
                result = got[f"{view}__{name}"]
                assert plain({name: result["values"][i]}) == ({name: row[name]} if row and name in row else {}), (view, name)
                assert result["statuses"][i] == ("NOT_FOUND" if row is None else "PRESENT" if name in row else "NULL_VALUE")
                if view == "recent" and row:
                    assert result["event_timestamps"][i] == row["window_end"]
        named = [key for key in asked if None not in key]
        name = view + rng.choice(["", "@1"])
        names = [f"{name}:{spelled(key)}" for key in named]
        want = [row for key, row in zip(asked, want) if None not in key]
        got = [row for i in range(0, len(names), 40) for row in client.mget(names[i:i + 40])]  # each within a second
        assert [plain(row and json.loads(row)) for row in got] == want, view
        for name, row in zip(names, want):
            held = {c: {"true": True, "false": False}.get(v, v) for c, v in client.hgetall(name).items()}
            assert plain(held) == (row or {}), name
            assert client.exists(name) == (1 if row else 0) and client.type(name) == ("hash" if row else "none")
            assert client.hmget(name, ["nope", columns[0]])[0] is None and client.hlen(name) == len(row or {})
            assert set(client.hscan(name)[1]) == set(row or {})
    mixed = ["ranked:a", "ranked:zz", "sums:a", "busy:zz", "busy:no", "ranked@1:b", "ranked:a:b"]
    assert [plain(row and json.loads(row)) for row in client.mget(mixed)] == [
        plain(row and json.loads(row)) for row in (client.get(name) for name in mixed)]
    # What `kappa get` gives is the same; a window at a time; a view of one row.
    for key in ["a:b", "zz"]:
        row = door.json("get", "ranked", key)["row"]
        assert row == json.loads(client.get(f"ranked:{key}")) == many(door, "ranked", [[key]])[0]
    first = dict(db.execute("SELECT * FROM recent WHERE u = 'a' ORDER BY window_end").fetchone())
    ms = support.ms_of(first["window_start"])
    assert json.loads(client.get(f"recent@t{ms + 59_999}:a")) == first == many(door, "recent", ["a"], at=ms)[0]
    both = many(door, "recent", ["a", "a", "a"], at=[ms, None, 0])
    assert both[0] == first and both[1]["window_end"] > first["window_end"] and both[2] is None
    assert json.loads(client.get("all_of_it"))["c"] == 400 and many(door, "all_of_it", [[]]) == [{"c": 400}]


def test_refused(door):
    door.topic("e", 2)
    door.produce("e", [{"u": "a", "n": n, "ok": True, "t": support.rfc3339(START_MS + 60_000 * n)} for n in range(8)])
    door.deploy("p", SQL, "--wait")
    client = door.client()

    def refusal(name):
        with pytest.raises(redis.ResponseError) as caught:
            client.hgetall(name)
        return str(caught.value)

    for view, why in (("parts", "several rows of the key"), ("late", "several rows of the key"), ("single", "no key to ask by"),
                      ("all_of_it", "no key to ask by")):
        error = many(door, view, [["a"]], code=409)
        assert why in error["message"] and "kappa sql" in error["hint"]
        error = features(door, [f"{view}:c" if view != "single" else "single:n"], {"u": ["a"]}, code=409)
        assert why in error["message"] and "kappa sql" in error["hint"]
        assert why in refusal(f"{view}:a") and "kappa sql" in refusal(f"{view}:a")
        assert why in door.run("get", view, "a", code=None).stderr
    assert "a row per record" in refusal("single:a") and "sums" in refusal("all_of_it:a")
    assert many(door, "parts", [["nobody"]]) == [None]
    assert "1 column in its key, 2" in many(door, "busy", [["a"], ["a", "b"]], code=400)["message"]
    pipe = client.pipeline(transaction=True)  # of what was asked with another nothing is left
    answers = pipe.mget(["flags:a:1:true", "flags:a:2:perhaps"]).mget(["flags:a:9:true"]).execute(raise_on_error=False)
    assert "which is boolean" in str(answers[0]) and answers[1] == [None]
    assert "which is boolean" in refusal("flags:a:1:perhaps") and client.exists("flags:a:1:perhaps") == 0
    assert "takes no time" in refusal(f"busy@t{START_MS}:a")
    assert "has no column nope" in features(door, ["busy:nope"], {"u": ["a"]}, code=404)["message"]
    assert "is read by u" in features(door, ["busy:s"], {"v": ["a"]}, code=400)["message"]
    assert "is a view" in str(pytest.raises(redis.ResponseError, client.scan, 0, match="busy:*").value)
    assert all(name.split("@")[0].split(":")[0] in TABLES for name in client.scan_iter(count=1000))


def test_a_long_view_holds_nobody_up(door):
    """A view that takes for ever ends with a reason, one or many of them at once, and others are answered."""
    door.topic("e", 1)
    door.produce("e", [{"u": u, "n": 1, "ok": True, "t": support.rfc3339(START_MS)} for u in "abcd"])
    door.deploy("p", SQL, "--wait")
    for ask in (lambda: door.client().hgetall("endless:a"), lambda: door.client().mget([f"endless:{u}" for u in "abcd"])):
        with pytest.raises(redis.ResponseError) as caught:
            ask()
        assert "takes too long here" in str(caught.value) and "/v1/tables/endless/get" in str(caught.value)
    pipe = door.client().pipeline(transaction=True)
    answers = pipe.get("endless:a").get("sums:a").get("endless:b").get("busy:a").execute(raise_on_error=False)
    assert all("takes too long" in str(answers[i]) for i in (0, 2, 3)) and json.loads(answers[1])["c"] == 1
    pipe = door.client().pipeline(transaction=False)  # each has its own turn
    answers = pipe.get("endless:a").get("ranked:a").get("endless:b").get("ranked:b").execute(raise_on_error=False)
    assert [json.loads(answers[i])["u"] for i in (1, 3)] == ["a", "b"] and "too long" in str(answers[2])


SWAPPED = """
CREATE TABLE e (u text) WITH (topic='e');
CREATE MATERIALIZED VIEW counts AS SELECT u, count(*) AS c, %d AS v FROM e GROUP BY u;
CREATE VIEW seen AS SELECT u, c, v, (SELECT sum(c) FROM counts) AS everything, %d AS w FROM counts;
"""


def test_one_cut(door):
    """A view is of the cut and version of the tables that are read with it, while records come and versions are swapped."""
    door.topic("e", 2)
    door.produce("e", [{"u": u} for u in "abc"])
    door.deploy("p", SWAPPED % (1, 1), "--wait")
    door.deploy("p", SWAPPED % (2, 2), "--wait")
    faults, seen, stop = [], set(), threading.Event()

    def check(rows, cut=None):
        table, view, other = rows
        seen.add(view["v"])
        if {view["v"], view["w"], other["v"], other["w"]} != {table["v"]} or table["c"] != view["c"] or \
           view["everything"] != other["everything"] or cut not in (None, view["everything"]):
            faults.append(rows)

    def over_redis():
        pipe = door.client().pipeline(transaction=True)
        check([json.loads(row) for row in pipe.get("counts:a").get("seen:a").get("seen:b").execute()])

    def over_http():
        _, body, _ = door.http("POST", "/v1/tables/seen/get", {"keys": ["a", "a", "b"]})
        check(body["rows"], sum(body["cut"]["e"]))

    def as_features():
        names = ["counts:c", "counts:v", "seen:c", "seen:v", "seen:everything", "seen:w"]
        got = {name: result["values"] for name, result in features(door, names, {"u": ["a", "b"]}).items()}
        rows = [{name.split("__")[1]: got[name][i] for name in got if name.startswith(table)}
                for table, i in (("counts", 0), ("seen", 0), ("seen", 1))]
        check(rows)

    def again(what):
        try:
            while not stop.is_set() and not faults:
                what()
        except Exception as error:  # noqa: BLE001
            faults.append(repr(error))

    def produce():
        door.produce("e", [{"u": u} for u in "abcab"])

    threads = [threading.Thread(target=again, args=(what,)) for what in (over_redis, over_http, as_features, produce)]
    for thread in threads:
        thread.start()
    try:
        for n in range(8):
            seen.clear()
            door.run(*(["rollback", "p"] if n % 2 == 0 else ["swap", "p", 2]))
            eventually(lambda: faults or 1 + n % 2 in seen, 60, "they read what serves now")
    finally:
        stop.set()
    for thread in threads:
        thread.join()
    assert not faults, faults[0]
