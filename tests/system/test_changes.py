"""The changes of a table: who applies the events holds, at each cut, the rows of a scan at that cut, across commits,
deletions, swap, rollback, broken connections and a killed server."""

import contextlib
import http.client
import itertools
import json
import socket
import subprocess
import threading
import time
import urllib.parse

import support


class Follower(threading.Thread):
    """Applies the events of a table; connects again by the id of the last cut whenever the stream ends."""

    def __init__(self, platform, table, **parameters):
        super().__init__(daemon=True)
        self.platform, self.table, self.parameters = platform, table, parameters
        self.rows = {}         # by key, as applied so far
        self.at = None         # (version, cut, rows) of the last cut
        self.seen = []         # the same of every cut
        self.last_id = None
        self.events = []       # (event, data) but for upserts, deletes and cuts
        self.connects = 0
        self.error = None
        self.sock = None
        self.stopping = False
        self.pause = threading.Event()
        self.pause.set()
        self.start()

    def run(self):
        while not self.stopping:
            self.pause.wait()
            try:
                self.connect()
            except (OSError, http.client.HTTPException, KeyError, ValueError):
                time.sleep(0.05)
            except AssertionError as error:
                self.error = error
                return

    def connect(self):
        connection = http.client.HTTPConnection(self.platform.server()["http"], timeout=300)
        query = urllib.parse.urlencode(self.parameters)
        headers = {} if self.last_id is None else {"Last-Event-ID": self.last_id}
        connection.request("GET", f"/v1/tables/{self.table}/changes" + ("?" + query if query else ""), headers=headers)
        self.sock = connection.sock
        answer = connection.getresponse()
        if answer.status == 503:  # it is stopping
            raise ConnectionError
        assert answer.status == 200, answer.read()
        self.connects += 1
        self.rows = dict(self.at[2]) if self.at else {}  # what came behind the last cut comes again
        fields = {}
        for line in iter(answer.readline, b""):
            line = line.decode().rstrip("\n")
            if line and not line.startswith(":"):
                name, value = line.split(": ", 1)
                fields[name] = value
            elif "data" in fields:
                self.apply(fields["event"], json.loads(fields["data"]), fields.get("id"))
                fields = {}

    def apply(self, event, data, id_of_cut):
        if event in ("upsert", "delete"):
            key = json.dumps(data["key"])
            if event == "upsert":
                assert self.rows.get(key) != data["row"], f"{key} comes again as it was"
                self.rows[key] = data["row"]
            else:
                del self.rows[key]
        elif event == "cut":
            assert data["table"] == self.table and id_of_cut and data["version"] > 0
            self.at = (data["version"], data["cut"], dict(self.rows))
            self.seen.append(self.at)
            self.last_id = id_of_cut
        else:
            self.events.append((event, data))
            if event == "reset":
                self.rows = {}

    def count(self, event):
        return sum(one == event for one, _ in self.events)

    def cut_off(self):
        """As a network does."""
        with contextlib.suppress(OSError, AttributeError):
            self.sock.shutdown(socket.SHUT_RDWR)

    def stop(self):
        self.stopping = True
        self.pause.set()
        self.cut_off()
        self.join(180)
        assert self.error is None, self.error


def scan(platform, table):
    """(version, cut, rows) of the serving version."""
    status, text, headers = platform.http("GET", f"/v1/tables/{table}/rows")
    assert status == 200, text
    rows = [text] if isinstance(text, dict) else [json.loads(line) for line in text.splitlines()]
    return int(headers["X-Kappa-Version"]), json.loads(headers["X-Kappa-Cut"]), rows


def holds_chosen(follower, platform, chosen):
    """Waits until the follower of some rows stands where a scan does; it has those rows of it."""
    def there():
        assert follower.error is None, follower.error
        found, at = scan(platform, follower.table), follower.at
        return (found, at) if at is not None and at[:2] == found[:2] else None

    found, at = support.eventually(there, 60, f"the follower of rows of {follower.table} stands where a scan does")
    assert as_set(at[2].values()) == as_set(row for row in found[2] if chosen(row))


def as_set(rows):
    return sorted(json.dumps(row) for row in rows)


def holds(follower, platform):
    """Waits until the follower stands where a scan does; they have the same rows. The version."""
    def there():
        assert follower.error is None, follower.error
        found, at = scan(platform, follower.table), follower.at
        return (found, at) if at is not None and at[:2] == found[:2] else None

    found, at = support.eventually(there, 60, f"the follower of {follower.table} stands where a scan does")
    assert as_set(at[2].values()) == as_set(found[2])
    return found[0]


def test_a_follower_holds_what_a_scan_gives(platform, topic):
    rng, _ = support.seed_for("changes")
    lines = support.events_lines(6000, users=40, step_us=2_000_000, seed=rng.randrange(1000))
    produced = 0

    def produce(count):
        nonlocal produced
        platform.produce(topic, lines[produced:produced + count], "--key", "user_id")
        produced += count

    def at_rest(version):
        support.applied_everything(platform, "p", version, topic)
        assert holds(follower, platform) == version

    platform.topic(topic, 3)
    produce(1000)
    platform.deploy("p", support.features_sql(topic, right=False))
    platform.wait("p", 1)
    follower = Follower(platform, "user_features")
    at_rest(1)
    for count in (1, 500, 1000):  # the windows of an hour ago go
        produce(count)
        at_rest(1)
    platform.deploy("p", support.features_sql(topic))
    platform.wait("p", 2)
    at_rest(2)
    assert [(data["from"], data["to"]) for event, data in follower.events if event == "swap"] == [(1, 2)]
    produce(300)
    platform.run("rollback", "p")
    at_rest(1)
    produce(300)
    at_rest(1)
    assert follower.count("reset") == 1 and follower.count("swap") == 2

    # Away for a moment: what came meanwhile is there.
    other = Follower(platform, "user_features")
    holds(other, platform)
    follower.pause.clear()
    follower.cut_off()
    produce(500)
    support.applied_everything(platform, "p", 1, topic)
    holds(other, platform)
    follower.pause.set()
    at_rest(1)
    assert follower.connects == 2 and follower.count("reset") == 1

    # A killed server: who stands where it stands goes on; what else happened is made good by a reset.
    connects = follower.connects
    platform.kill()
    platform.up()
    support.eventually(lambda: follower.connects > connects, 60, "the follower connects again")
    at_rest(1)
    produce(700)
    at_rest(1)
    assert follower.count("reset") == 1
    other.stop()
    follower.pause.clear()
    platform.kill()
    platform.up()
    produce(700)
    support.applied_everything(platform, "p", 1, topic)
    follower.pause.set()
    at_rest(1)
    assert follower.count("end") == 0
    follower.stop()

    # Every cut on the way against a recount of the log.
    log = platform.cat(topic)
    for version, cut, rows in rng.sample(follower.seen, min(12, len(follower.seen))) + other.seen[:2]:
        model = support.features_model(log, cut[topic], right=version == 2)[0]
        support.assert_features_equal(list(rows.values()), model)
    assert len({json.dumps(cut) for _, cut, _ in follower.seen}) >= 6


SHAPES = """
CREATE TABLE ev (u text, k bigint, n numeric, t timestamptz)
  WITH (topic = 'ev', format = 'json', event_time = 't', watermark = '1 s', timestamp_unit = 'ms');
CREATE MATERIALIZED VIEW each AS SELECT u, k, n FROM ev WHERE k % 2 = 0;
CREATE MATERIALIZED VIEW by_two AS SELECT u, k, count(*) AS c, sum(n) AS s, max(n) AS m FROM ev GROUP BY u, k;
CREATE MATERIALIZED VIEW no_key AS SELECT u AS who, sum(k) AS s FROM ev GROUP BY u HAVING count(*) % 3 > 0;
CREATE MATERIALIZED VIEW total AS SELECT count(*) AS c FROM ev;
CREATE MATERIALIZED VIEW hops WITH (retain = '1 m') AS SELECT u, window_end, count(*) AS c
  FROM hop(ev, t, interval '10 s', interval '30 s') GROUP BY u, window_start, window_end;
CREATE MATERIALIZED VIEW sessions WITH (retain = '1 m') AS SELECT u, window_start, window_end, count(*) AS c
  FROM session(ev, t, interval '3 s') GROUP BY u, window_start, window_end;
CREATE MATERIALIZED VIEW closed WITH (retain = '1 m', emit = 'final') AS SELECT u, window_end, count(*) AS c
  FROM tumble(ev, t, interval '20 s') GROUP BY u, window_start, window_end;
CREATE VIEW computed AS SELECT * FROM total;
CREATE VIEW longer AS SELECT u, window_end, c FROM sessions WHERE c > 1;
CREATE VIEW joined AS SELECT b.u, b.k, h.window_end, h.c FROM by_two AS b JOIN hops AS h ON h.u = b.u WHERE b.k < 3;
CREATE VIEW doubled AS SELECT u, c FROM longer UNION ALL SELECT u, c FROM longer UNION ALL SELECT u, 1 FROM by_two;
CREATE VIEW ranked AS SELECT k, sum(s) AS s, rank() OVER (ORDER BY sum(s)) AS r FROM by_two GROUP BY k;
CREATE VIEW clocked AS SELECT u, now() AS t FROM by_two;
CREATE VIEW of_clocked AS SELECT u FROM clocked;
"""
SHAPE_TABLES = ("each", "by_two", "no_key", "total", "hops", "sessions", "closed",
                "computed", "computed@1", "longer", "joined", "doubled", "ranked")


def test_tables_of_every_shape(embedded):
    rng, _ = support.seed_for("shapes of changes")
    embedded.topic("ev", 3)
    embedded.deploy("p", SHAPES)
    embedded.wait("p", 1)
    followers = [Follower(embedded, table) for table in SHAPE_TABLES]
    now = 1_000_000
    for batch in range(6):
        events = []
        for _ in range(rng.choice((1, 40, 400))):
            now += rng.choice((0, 100, 100, 1000))
            events.append({"u": rng.choice(("a", "b", "c/d", "", None, "é")), "k": rng.randrange(8), "t": now,
                           "n": rng.choice((None, 1, 0.5, "1.50", 123456789012345.678))})
        embedded.produce("ev", events)
        support.applied_everything(embedded, "p", 1, "ev")
        for follower in followers:
            holds(follower, embedded)
        if batch == 3:
            for follower in followers:
                follower.cut_off()
    for follower in followers:
        assert follower.count("reset") == 1
        follower.stop()
    keys = {follower.table: follower.rows for follower in followers}
    assert list(keys["computed"]) == ["[]"] and all(len(json.loads(key)) == 2 for key in keys["longer"])
    assert any(len(json.loads(key)) == 3 for key in keys["doubled"])


def test_some_rows_of_a_table(embedded):
    """What is chosen of a table by keys or a condition is followed as if it were a table."""
    rng, _ = support.seed_for("some rows")
    sql = ("CREATE TABLE ev (u text, k bigint, n bigint) WITH (topic = 'ev', format = 'json');\n"
           "CREATE MATERIALIZED VIEW sums AS SELECT u, k, sum(n)%s AS s FROM ev GROUP BY u, k;\n")
    embedded.topic("ev", 2)
    embedded.deploy("p", sql % "")
    embedded.wait("p", 1)
    choices = (({"key": "a"}, lambda row: row["u"] == "a"),
               ({"key": "a", "from": 3}, lambda row: row["u"] == "a" and row["k"] >= 3),
               ({"prefix": "b"}, lambda row: row["u"].startswith("b")),
               ({"where": "s > 5 AND u <> 'c'"}, lambda row: row["s"] > 5 and row["u"] != "c"),
               ({"prefix": "b", "where": "s % 2 = 0"}, lambda row: row["u"].startswith("b") and row["s"] % 2 == 0))
    followers = [(Follower(embedded, "sums", **parameters), chosen) for parameters, chosen in choices]

    def at_rest(version):
        support.applied_everything(embedded, "p", version, "ev")
        for follower, chosen in followers:
            holds_chosen(follower, embedded, chosen)

    def produce(count):
        embedded.produce("ev", [{"u": rng.choice(("a", "b", "bb", "c")), "k": rng.randrange(6),
                                 "n": rng.randrange(-4, 6)} for _ in range(count)], "--key", "u")

    for count in (1, 50, 5):
        produce(count)
        at_rest(1)
    embedded.deploy("p", sql % " + 3")
    embedded.wait("p", 2)
    at_rest(2)
    for follower, _ in followers:
        follower.pause.clear()
        follower.cut_off()
    produce(20)
    support.applied_everything(embedded, "p", 2, "ev")
    for follower, _ in followers:
        follower.pause.set()
    at_rest(2)
    for follower, _ in followers:
        assert follower.count("reset") == 1 and follower.count("swap") == 1
        follower.stop()

    embedded.produce("ev", [{"u": "z", "k": 1, "n": 50}], "--key", "u")
    support.applied_everything(embedded, "p", 2, "ev")
    lines = embedded.run("tail", "sums", "z", "--where", "s > 50", "--rows", "-n", "1", "-o", "json").stdout
    assert [json.loads(line)["event"] for line in lines.splitlines()] == ["reset", "upsert"]
    assert json.loads(lines.splitlines()[1])["row"] == {"u": "z", "k": 1, "s": 53}
    refused = embedded.run("tail", "sums", "--where", "nothing > 1", code=1).stderr
    assert "where:1:1" in refused and "nothing" in refused
    assert "has no key column 3" in embedded.run("tail", "sums", "a", "1", "2", code=2).stderr
    assert "is no text" in embedded.run("tail", "sums", "a", "--prefix", "1", code=2).stderr


def test_what_begins_anew_and_what_ends(embedded):
    embedded.topic("wide", 1)
    embedded.produce("wide", [{"k": i, "text": f"{i:05d} " * 500} for i in range(3500)])
    sql = ("CREATE TABLE wide (k bigint, text text) WITH (topic = 'wide', format = 'json');\n"
           "CREATE MATERIALIZED VIEW w AS SELECT k, max(text%s) AS text%s FROM wide GROUP BY k;\n")
    embedded.deploy("w", sql % ("", ""))
    embedded.wait("w", 1)
    support.applied_everything(embedded, "w", 1, "wide")
    follower = Follower(embedded, "w")
    changes_only = Follower(embedded, "w", rows=0)
    holds(follower, embedded)
    # Ten megabytes of differences are not kept for anybody: the rows come again.
    embedded.deploy("w", sql % (" || 'x'", ""))
    embedded.wait("w", 2)
    holds(follower, embedded)
    # Another column: likewise.
    embedded.deploy("w", sql % (" || 'x'", ", count(*) AS c"))
    embedded.wait("w", 3)
    holds(follower, embedded)
    resets = [data for event, data in follower.events if event == "reset"]
    assert [version for version, _ in itertools.groupby(data["version"] for data in resets)] == [1, 2, 3]
    assert all(data["rows"] for data in resets)
    reasons = " ".join(data["why"] for data in resets)
    assert "more differs" in reasons and "columns" in reasons
    support.eventually(lambda: changes_only.at and changes_only.at[0] == 3, 30, "the other one is there too")
    assert changes_only.rows == {} and all(not d["rows"] for e, d in changes_only.events if e == "reset")
    embedded.produce("wide", [{"k": 7, "text": "zzz"}])
    holds(follower, embedded)
    support.eventually(lambda: changes_only.rows == {"[7]": {"k": 7, "text": "zzzx", "c": 2}}, 30, "the change comes")
    # A client that reads nothing holds nobody up.
    deaf = socket.create_connection(embedded.server()["http"].split(":"), timeout=120)
    deaf.sendall(b"GET /v1/tables/w/changes HTTP/1.1\r\nHost: localhost\r\n\r\n")
    embedded.produce("wide", [{"k": 8, "text": "zzz"}])
    holds(follower, embedded)
    deaf.close()

    for path, status in (("none", 404), ("w/changes?rows=2", 400), ("w/changes?version=1", 400)):
        path = path if "/" in path else path + "/changes"
        got, answer, _ = embedded.http("GET", "/v1/tables/" + path)
        assert got == status and answer["error"]["message"], path
    embedded.deploy("v", SHAPES.replace("'ev'", "'wide'"), "--swap", "auto")
    embedded.wait("v", 1)
    for path in ("clocked/changes", "of_clocked/changes", "computed/changes?where=c+%3E+1", "computed/changes?key=1"):
        got, answer, _ = embedded.http("GET", "/v1/tables/" + path)
        assert got == 409 and "view" in answer["error"]["message"] and answer["error"]["hint"], path
    # The server ends with all its streams.
    assert embedded.down() == 0
    follower.stop()
    changes_only.stop()


def test_the_command(embedded):
    embedded.topic("ev", 2)
    embedded.produce("ev", [{"u": "a", "n": 1}, {"u": "b", "n": 2}], "--key", "u")
    sql = ("CREATE TABLE ev (u text, n bigint) WITH (topic = 'ev', format = 'json');\n"
           "CREATE MATERIALIZED VIEW totals AS SELECT u, sum(n)%s AS s FROM ev GROUP BY u;\n")
    embedded.deploy("p", sql % "")
    embedded.wait("p", 1)
    support.applied_everything(embedded, "p", 1, "ev")
    lines = [json.loads(line) for line in
             embedded.run("tail", "totals", "--rows", "-n", "2", "-o", "json").stdout.splitlines()]
    assert [line["event"] for line in lines] == ["reset", "upsert", "upsert"]
    assert lines[1] == {"event": "upsert", "key": ["a"], "row": {"u": "a", "s": 1}}

    tail = subprocess.Popen([support.BIN, "tail", "totals", "-n", "4", "-o", "json"], env=embedded.env, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    watchdog = threading.Timer(180, tail.kill)
    watchdog.start()
    first = [json.loads(tail.stdout.readline()) for _ in range(2)]
    assert [line["event"] for line in first] == ["reset", "cut"] and first[0]["rows"] is False
    embedded.produce("ev", [{"u": "a", "n": 5}], "--key", "u")
    changed = [json.loads(tail.stdout.readline()) for _ in range(2)]
    assert changed[0]["row"] == {"u": "a", "s": 6} and changed[1]["event"] == "cut"
    embedded.kill()
    embedded.up()
    embedded.produce("ev", [{"u": "c", "n": 1}], "--key", "u")
    support.applied_everything(embedded, "p", 1, "ev")
    embedded.deploy("p", sql % " + 1")
    embedded.wait("p", 2)
    rest = [json.loads(line) for line in tail.communicate(timeout=300)[0].splitlines()]
    watchdog.cancel()
    rows = [line["row"] for line in rest if line["event"] == "upsert"]
    assert tail.returncode == 0 and len(rows) == 3
    assert all(row["s"] in {"a": (7,), "b": (3,), "c": (1, 2)}[row["u"]] for row in rows)
    # A version by its number does not move on with the swap.
    old = Follower(embedded, "totals@1")
    embedded.produce("ev", [{"u": "d", "n": 9}], "--key", "u")
    support.eventually(lambda: old.rows.get('["d"]') == {"u": "d", "s": 9}, 60, "version 1 reads on")
    embedded.run("rollback", "p")
    embedded.produce("ev", [{"u": "d", "n": 1}], "--key", "u")
    support.eventually(lambda: old.rows.get('["d"]') == {"u": "d", "s": 10}, 60, "version 1 reads on")
    assert old.count("swap") == 0 and old.count("reset") == 1
    old.stop()
    assert "no candidate" in embedded.run("tail", "totals@candidate", code=3).stderr
    assert "there is no table" in embedded.run("tail", "nope", code=3).stderr
    assert embedded.run("tail", "totals", "--after", "x y", code=2).stderr
    embedded.down()
    assert "not running" in embedded.run("tail", "totals", code=5).stderr
