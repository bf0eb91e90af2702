"""Versions side by side: the candidate by name in every reader, a share of keys from it, and what comes of it."""

import ctypes
import json
import os
import socket
import sys

import pytest

import support
from support import eventually

SQL = """CREATE TABLE orders (id text, amount bigint) WITH (topic = '%s', format = 'json');
CREATE MATERIALIZED VIEW totals AS SELECT id, count(*) AS n, sum(amount) * %d AS amount FROM orders GROUP BY id;
CREATE VIEW big AS SELECT id, amount FROM totals WHERE amount > 0;
"""
USERS = 200
LIB = os.environ.get("KAPPA_LIB", os.path.join(os.path.dirname(support.BIN), "libkappa.so.0"))
os.environ["KAPPA_LIB"] = LIB
sys.path.insert(0, os.path.join(support.ROOT, "bindings", "python"))

import kappa  # noqa: E402


def orders(count, first=0):
    return [{"id": f"u{i % USERS}", "amount": 1 + i} for i in range(first, first + count)]


def redis(platform, *commands):
    """The answers of Redis commands sent at once, as the bytes of RESP up to the end of each."""
    host, port = platform.server()["redis"].rsplit(":", 1)
    with socket.create_connection((host, int(port)), 30) as sock:
        file = sock.makefile("rwb")
        for command in commands:
            file.write(b"*%d\r\n" % len(command) + b"".join(b"$%d\r\n%s\r\n" % (len(w.encode()), w.encode()) for w in command))
        file.flush()
        return [redis_read(file) for _ in commands]


def redis_read(file):
    line = file.readline()
    kind, rest = line[:1], line[1:-2]
    if kind == b"$":
        return None if rest == b"-1" else file.read(int(rest) + 2)[:-2].decode()
    if kind in (b"*", b"%"):
        return [redis_read(file) for _ in range(int(rest) * (2 if kind == b"%" else 1))]
    return int(rest) if kind == b":" else rest.decode()


class Library:
    """libkappa, by ctypes: amounts of one scope."""

    def __init__(self, data):
        self.lib = lib = ctypes.CDLL(LIB)
        self.reader = ctypes.c_void_p()
        assert lib.kappa_reader_open(data.encode(), ctypes.byref(self.reader), None) == 0

    def version(self, name, key=None):
        scope, error = ctypes.c_void_p(), ctypes.create_string_buffer(4 + 1536 + 512)
        begin = self.lib.kappa_scope_begin if key is None else self.lib.kappa_scope_begin_for
        rc = begin(self.reader, name.encode(), *([] if key is None else [key.encode()]), ctypes.byref(scope), error)
        if rc != 0:
            return error.raw[4:].split(b"\0")[0].decode()
        stamp = (ctypes.c_uint64 * 16)()
        assert self.lib.kappa_scope_stamp(scope, stamp, None) == 0
        self.lib.kappa_scope_end(scope)
        return stamp[1] & 0xffffffff

    def close(self):
        assert self.lib.kappa_reader_close(self.reader, None) == 0


@pytest.fixture
def shop(tmp_path, topic):
    """v1 serves; v2 makes amounts ten times as large and is ready."""
    with support.Platform(str(tmp_path), args=["--redis", "127.0.0.1:0"]) as platform:
        platform.up()
        platform.topic(topic, 2)
        platform.produce(topic, orders(1000), "--key", "id")
        platform.deploy("shop", SQL % (topic, 1), "--wait")
        support.applied_everything(platform, "shop", 1, topic)
        platform.topic_name = topic
        yield platform


def candidate(platform):
    platform.deploy("shop", SQL % (platform.topic_name, 10), "--swap", "manual")
    platform.wait("shop", 2, "caught-up")
    support.applied_everything(platform, "shop", 2, platform.topic_name)


def everywhere(platform, name, user="u7"):
    """(version or None, amount) of a user by every reader that there is; the error's text where there is none."""
    def answer(status, body, *_):
        return (body["version"], body["row"]["amount"]) if status == 200 else body["error"]["message"]

    found = {"http path": answer(*platform.http("GET", f"/v1/tables/{name}/rows/{user}"))}
    table, _, version = name.partition("@")
    if version:
        found["http"] = answer(*platform.http("GET", f"/v1/tables/{table}/rows/{user}?version={version}"))
        for args in ([name, user], [table, user, "--version", version]):
            for server in ([], ["--server", platform.server()["http"]]):
                got = platform.run("get", *args, "-o", "json", *server, code=None)
                got = json.loads(got.stdout if got.returncode == 0 else got.stderr)
                found["get " + " ".join(args + server)] = \
                    (got["version"], got["row"]["amount"]) if "row" in got else got["error"]["message"]
        number = version if version == "candidate" else int(version)
        status, body, _ = platform.http("POST", f"/v1/tables/{table}/get", {"keys": [[user]], "version": number})
        found["get many"] = (body["version"], body["rows"][0]["amount"]) if status == 200 else body["error"]["message"]
    amount, = redis(platform, ["HGET", f"{name}:{user}", "amount"])
    found["redis"] = int(amount) if amount.isdigit() else amount
    queue = redis(platform, ["MULTI"], ["HGET", f"{name}:{user}", "amount"], ["EXEC"])[-1]
    found["multi"] = int(queue[0]) if isinstance(queue, list) and queue[0].isdigit() else str(queue)
    for view in ("totals", "big"):
        status, body, _ = platform.http("POST", "/v1/sql", {"sql": f"SELECT amount FROM {name.replace('totals', view)} "
                                                                   f"WHERE id = '{user}'"})
        found["sql " + view] = (body["stamps"][0]["version"], body["rows"][0][0]) if status == 200 else body["error"]["message"]
    return found


def test_candidate_by_name(shop):
    library = Library(shop.data)
    one = sum(order["amount"] for order in orders(1000) if order["id"] == "u7")
    none = everywhere(shop, "totals@candidate")
    for reader, said in none.items():
        assert "no candidate" in str(said), (reader, said)
    assert "no candidate" in library.version("totals@candidate")
    candidate(shop)
    for name, version, amount in (("totals", 1, one), ("totals@1", 1, one), ("totals@2", 2, 10 * one),
                                  ("totals@candidate", 2, 10 * one)):
        for reader, said in everywhere(shop, name).items():
            assert said in ((version, amount), amount), (name, reader, said)
        assert library.version(name) == version
    both = shop.query("SELECT a.amount AS a, b.amount AS b FROM totals a JOIN totals@candidate b USING (id)")
    assert len(both) == USERS and all(row["b"] == 10 * row["a"] for row in both)
    rows = [json.loads(line) for line in shop.run("scan", "totals@candidate", "-o", "json").stdout.splitlines()]
    assert len(rows) == USERS and sum(row["amount"] for row in rows) == 10 * sum(range(1, 1001))
    for wrong in ("totals@", "totals@0", "totals@newest", "totals@2@3", "totals@-1"):
        assert shop.http("GET", f"/v1/tables/{wrong}/rows/u7")[0] == 400, wrong
        assert "is no name" in redis(shop, ["HGET", wrong + ":u7", "amount"])[0]
    assert shop.http("GET", "/v1/tables/totals@2/rows/u7?version=2")[0] == 400
    assert shop.http("GET", "/v1/tables/totals/rows/u7?version=x")[0] == 400
    shop.run("swap", "shop", 2)
    assert "no candidate" in library.version("totals@candidate")
    assert library.version("totals") == 2
    library.close()


def version_of(platform, user, table="totals"):
    status, body, _ = platform.http("GET", f"/v1/tables/{table}/rows/{user}")
    assert status == 200, body
    return body["version"]


def canary_keys(platform):
    """Which users HTTP, Redis and kappa get read from v2; all must say the same."""
    users = [f"u{i}" for i in range(USERS)]
    by_http = {user for user in users if version_of(platform, user) == 2}
    amounts = redis(platform, *(["HGET", f"totals:{user}", "amount"] for user in users))
    one = {row["id"]: row["amount"] for row in platform.query("SELECT id, amount FROM totals@1")}
    by_redis = {user for user, amount in zip(users, amounts) if int(amount) != one[user]}
    assert by_redis == by_http
    library = Library(platform.data)
    assert {user for user in users if library.version("totals", user) == 2} == by_http
    library.close()
    with kappa.open(platform.data) as data:
        assert {user for user in users if int(data.get("totals", user)["amount"]) != one[user]} == by_http
    for user in users[:10]:  # a process of its own
        assert (platform.json("get", "totals", user)["version"] == 2) == (user in by_http)
    return by_http


def compared(platform):
    """The counters of the canary, by result."""
    found = {}
    for line in platform.http("GET", "/metrics")[1].splitlines():
        if line.startswith('kappa_canary_reads_total{processor="shop",version="2"'):
            found[line.split('result="')[1].split('"')[0]] = int(line.split()[-1])
    return found


def test_share_of_keys(shop):
    """The same keys in every reader; more keys with a larger share; scopes of several rows read one version."""
    assert "no candidate that is ready" in shop.run("canary", "shop", "10%", code=4).stderr
    candidate(shop)
    assert shop.run("canary", "shop", "20%", "--shadow").stdout.startswith("20 % of the keys of shop are compared with v2")
    assert canary_keys(shop) == set()
    shadow = compared(shop)
    assert shadow["different"] > 0 and shadow["failed"] == shadow["missing"] == shadow["added"] == 0, shadow
    shop.run("canary", "shop", "20%")
    some = canary_keys(shop)
    assert 10 <= len(some) <= 80, len(some)  # 40 of 200 by binomial chance of one fixed hash
    assert compared(shop)["different"] > shadow["different"]
    assert shop.status("shop")["canary"]["share"] == 20 and "20 % of keys from v2" in shop.run("status", "shop").stdout
    shop.run("canary", "shop", "50.5%")
    more = canary_keys(shop)
    assert some < more

    # Whatever reads several rows in one scope reads the serving version.
    ones = {row["id"]: row["amount"] for row in shop.query("SELECT id, amount FROM totals@1")}
    assert {row["id"]: row["amount"] for row in shop.query("SELECT id, amount FROM totals")} == ones
    assert {row["id"]: row["amount"] for row in shop.scan("totals")} == ones
    users = sorted(more)[:2] + sorted(set(ones) - more)[:2]
    status, body, _ = shop.http("POST", "/v1/tables/totals/get", {"keys": [[user] for user in users]})
    assert status == 200 and body["version"] == 1 and [row["amount"] for row in body["rows"]] == [ones[u] for u in users]
    queue = redis(shop, ["MULTI"], *(["HGET", f"totals:{user}", "amount"] for user in users), ["EXEC"])[-1]
    assert [int(amount) for amount in queue] == [ones[user] for user in users]
    many, one = redis(shop, ["MGET", *(f"totals:{user}" for user in users)], ["MGET", f"totals:{users[0]}"])
    assert [json.loads(row)["amount"] for row in many] == [ones[user] for user in users]
    assert json.loads(one[0])["amount"] != ones[users[0]]
    library = Library(shop.data)
    assert library.version("totals") == 1
    library.close()
    user = sorted(more)[0]
    assert shop.http("GET", f"/v1/tables/totals/rows/{user}?version=1")[1]["version"] == 1

    # It lives through a crash of the server, and ends with off.
    shop.kill()
    shop.up()
    eventually(lambda: shop.version("shop", 2)["lag"] == 0, 60, "v2 runs again")
    assert canary_keys(shop) == more
    eventually(lambda: shop.run("canary", "shop", "off", code=None).returncode == 0, 30, "it is ended")
    assert canary_keys(shop) == set() and shop.status("shop")["canary"] is None
    for wrong in ("0.001%", "101%", "10", "-1%", "x"):
        assert shop.run("canary", "shop", "--", wrong, code=2).stderr


@pytest.mark.parametrize("how", ["swap", "abort", "pause", "rollback"])
def test_ends_with_the_candidate(shop, how):
    candidate(shop)
    shop.run("canary", "shop", "100%")
    assert version_of(shop, "u7") == 2 and len(canary_keys(shop)) == USERS
    if how == "rollback":  # of another version: v2 becomes v1's successor first
        shop.run("swap", "shop", 2)
        shop.run("deploy", os.path.join(shop.directory, "shop.sql"), code=None)
        shop.run("replay", "shop", "--swap", "manual")
        shop.wait("shop", 3, "caught-up")
        shop.run("canary", "shop", "100%")
        assert version_of(shop, "u7") == 3
        shop.run("rollback", "shop")
        assert version_of(shop, "u7") == 1
    else:
        shop.run(how, "shop", 2)
        assert version_of(shop, "u7") == (2 if how == "swap" else 1)
    assert shop.status("shop")["canary"] is None


def test_another_key_is_no_failed_read(shop):
    """A candidate whose table has another key cannot answer: the serving version does, and it is counted."""
    shop.deploy("shop", SQL.replace("SELECT id, count", "SELECT id, amount AS one, count").replace("BY id", "BY id, amount")
                % (shop.topic_name, 10), "--swap", "manual")
    shop.wait("shop", 2, "caught-up")
    shop.run("canary", "shop", "100%")
    assert canary_keys(shop) == set()
    assert compared(shop)["failed"] > 0


def test_no_read_of_a_key_goes_back(shop):
    """While records come and the canary is set and taken back, the count of each key only grows, by HTTP and Redis."""
    candidate(shop)
    producer = support.Background(0)
    feed = iter(range(1000, 1 << 30, 20))
    producer.step = lambda: shop.produce(shop.topic_name, orders(20, next(feed)), "--key", "id")
    last, seen = {}, set()

    def look(reader, user, version, count):
        seen.add(version)
        assert count >= last.get((reader, user), 0), (reader, user, version, count, last[reader, user])
        last[reader, user] = count

    class Looks(support.Background):
        def step(self):
            for i in range(0, USERS, 20):
                user = f"u{i}"
                status, body, _ = shop.http("GET", f"/v1/tables/totals/rows/{user}")
                assert status == 200, body
                look("http", user, body["version"], body["row"]["n"])
                n, amount = redis(shop, ["HMGET", f"totals:{user}", "n", "amount"])[0]
                look("redis", user, None, int(n))

    looks = Looks(0)
    producer.start()
    looks.start()
    try:
        for share in ("40%", "80%", "off", "100%", "off", "60%"):
            # Held for 2 s at most: on a machine that is too slow for that, again.
            eventually(lambda: shop.run("canary", "shop", share, code=None).returncode == 0, 60, f"the canary is {share}")
            before = dict(last)
            eventually(lambda: all(last.get(key, 0) > n for key, n in before.items()), 60, "each key has grown")
    finally:
        looks.stop()
        producer.stop()
    assert {1, 2} <= seen
