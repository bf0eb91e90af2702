"""The Redis door with real clients: redis-cli and Debian's python3-redis; pipelines, swaps under load."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading

import pytest

import support
from support import eventually

sys.path.append("/usr/lib/python3/dist-packages")  # of Debian, when another Python runs the tests
redis = pytest.importorskip("redis")

SQL = ("CREATE TABLE e (k text, j text, n numeric) WITH (topic='e');"
       "CREATE MATERIALIZED VIEW one AS SELECT k, count(*) AS c, sum(n) AS s, %d AS v FROM e GROUP BY k;"
       "CREATE MATERIALIZED VIEW two AS SELECT k, j, count(*) AS c, %d AS v, max(n) AS m FROM e GROUP BY k, j;"
       "CREATE VIEW many AS SELECT k, c FROM one WHERE c > 1;")


@pytest.fixture
def door(tmp_path):
    with support.Platform(str(tmp_path), args=["--redis", "127.0.0.1:0"]) as platform:
        platform.up()
        platform.topic("e", 2)
        platform.produce("e", [{"k": f"k{i % 50}", "j": "a:b", "n": i + 0.25} for i in range(500)])
        platform.deploy("p", SQL % (1, 1), "--wait")
        with open(platform.data + "/server.json") as file:
            host, port = json.load(file)["redis"].split(":")
        platform.redis = (host, int(port))
        yield platform


def cli(door, *args, stdin=None):
    result = subprocess.run(["redis-cli", "-p", str(door.redis[1]), *args], capture_output=True, text=True, timeout=120,
                            input=stdin, stdin=None if stdin is not None else subprocess.DEVNULL)
    return result.stdout.strip()


def test_redis_cli(door):
    row = door.json("get", "one", "k7")["row"]
    assert json.loads(cli(door, "get", "one:k7")) == row
    for protocol in ["-2", "-3"]:
        text = cli(door, *([protocol] if protocol == "-3" else []), "--no-raw", "hgetall", r"two:k7:a\:b")
        assert '"a:b"' in text and '"10"' in text
    assert cli(door, "hget", "one:k7", "s") == f"{row['s']:.2f}"
    assert "READONLY" in cli(door, "set", "a", "b") and "SCAN" in cli(door, "keys", "*")
    assert cli(door, stdin="multi\nhget one:k7 c\nhget two:k7:a\\:b c\nexec\n").split() == [
        "OK", "QUEUED", "QUEUED", "10", "10"]
    assert sorted(cli(door, "--scan", "--pattern", "one:*").split()) == sorted(f"one:k{i}" for i in range(50))
    # What goes over all tables passes over views.
    names = sorted(cli(door, "--scan").split())
    assert len(names) == 100 and names == sorted(cli(door, "--scan", "--pattern", "*:k*").split())
    assert int(cli(door, "dbsize")) >= 100 and "is a view" in cli(door, "scan", "0", "match", "many:*")
    assert "Sampled 100 keys" in cli(door, "--bigkeys")
    assert cli(door, "hrandfield", "one:k7", "-5").split() == ["k", "c", "s", "v", "k"]
    assert cli(door, "-3", "--json", "hrandfield", "one:k7", "2", "withvalues") == '[["k","k7"],["c","10"]]'
    assert cli(door, "hrandfield", "one:none", "3") == "" and cli(door, "role").split() == ["master", "0"]
    assert cli(door, "slowlog", "len") == "0" and cli(door, "touch", "one:k7", "one:none") == "1"
    assert "hgetall" in cli(door, "command", "docs")
    assert door.http("GET", "/metrics")[0] == 200


def test_threads(tmp_path):
    with support.Platform(str(tmp_path), args=["--redis", "127.0.0.1:0", "--threads", "3"]) as platform:
        assert "--threads" in platform.run("up", "--threads", "65", code=2).stderr
        platform.up()
        folder = f"/proc/{platform.process.pid}/task"

        def counts():
            names = []
            for thread in os.listdir(folder):
                with contextlib.suppress(OSError), open(f"{folder}/{thread}/comm") as file:  # some end at any time
                    names.append(file.read().strip())
            return names.count("MHD-worker"), names.count("redis")

        # A thread has the name of who began it until it is run for the first time.
        eventually(lambda: counts() == (3, 3), 30, f"three threads of each kind: {counts()}")
        host, port = platform.server()["redis"].split(":")
        assert all(redis.Redis(host, int(port)).ping() for _ in range(9))


def test_python_client(door):
    client = redis.Redis(*door.redis)
    rows = {name: client.hgetall(name) for name in client.scan_iter("one:*")}
    assert len(rows) == 50 and all(row[b"c"] == b"10" for row in rows.values())
    pipe = client.pipeline(transaction=False)
    for i in range(1000):
        pipe.hgetall(f"one:k{i % 60}")
    answers = pipe.execute()
    assert [bool(a) for a in answers] == [i % 60 < 50 for i in range(1000)]
    with pytest.raises(redis.ReadOnlyError):
        client.set("a", "b")
    with pytest.raises(redis.ResponseError):
        client.hgetall("nosuch:1")
    assert json.loads(client.mget("one:k1", "one:none")[0])["c"] == 10


def test_what_clients_ask(door):
    """What libraries and tools of Redis look at, beside rows."""
    client = redis.Redis(*door.redis)
    cursor, names = client.scan(0, "one:*", 10)
    assert 0 < cursor < 2**53 and len(names) == 10  # node-redis 4 keeps cursors as doubles
    assert cli(door, "hscan", "one:k7", "0", "novalues", "match", "[ks]").split() == ["0", "k", "s"]
    assert cli(door, "hscan", "one:k7", "0", "match", "k", "count", "9").split() == ["0", "k", "k7"]
    for wrong in (["match"], ["count"], ["values"], ["novalues", "match"]):
        assert cli(door, "hscan", "one:k7", "0", *wrong).startswith("ERR write HSCAN")
    info = client.info("everything")
    assert info["db0"]["keys"] == client.dbsize() and info["cluster_enabled"] == 0 and info["blocked_clients"] == 0
    assert info["used_memory"] > 1000000 and info["used_cpu_user"] >= 0 and info["maxclients"] == 1024
    assert set(client.info("keyspace")) == {"db0"}
    assert "\ncluster_enabled:0\n" in cli(door, stdin="multi\ninfo\nget one:k7\nexec\n")
    about = json.loads(cli(door, "-3", "--json", "command", "info", "hget"))[0]
    assert len(about) == 10 and about[:2] == ["hget", 3] and about[3:6] == [1, 1, 1] and about[6] == ["@read"]
    assert client.acl_whoami() == "default" and client.execute_command("MODULE LIST") == []
    assert cli(door, "client", "tracking", "off") == "OK" and cli(door, "-3", "--json", "latency", "histogram") == "{}"


def test_refusals_say_why(door):
    for command, says in {"client tracking on": "ERR CLIENT TRACKING is refused", "subscribe a": "ERR there are no channels",
                          "publish a b": "kappa tail TABLE", "monitor": "ERR what others read", "save": "ERR nothing is to be",
                          "eval x 0": "ERR there are no scripts", "script load x": "ERR there are no scripts",
                          "cluster slots": "ERR This instance has cluster support disabled", "acl list": "ERR ACL takes WHOAMI",
                          "lrange one:k7 0 1": "WRONGTYPE", "zrange one:k7 0 1": "WRONGTYPE", "wait 1 1": "no replication",
                          "hsetex one:k7 fields 1 a b": "READONLY", "lrem a 1 b": "READONLY", "nosuch": "unknown command 'nosuch'",
                          "select 1": "there is 0 alone"}.items():
        answer = cli(door, *command.split())
        assert says in answer and "\n" not in answer, (command, answer)
    with pytest.raises(redis.ResponseError, match="no channels"):
        redis.Redis(*door.redis).execute_command("SUBSCRIBE", "a")
    with pytest.raises(redis.exceptions.RedisClusterException, match="luster mode is not enabled"):
        redis.cluster.RedisCluster(*door.redis)
    assert "EXECABORT" in cli(door, stdin="multi\nget one:k7\nsubscribe a\nexec\n")


def test_swaps_under_load(door):
    """No read fails, nobody goes back, MULTI and a pipeline see one version."""
    door.deploy("p", SQL % (2, 2), "--wait")
    stop, faults, seen = threading.Event(), [], set()

    def read(transaction):
        client = redis.Redis(*door.redis)
        last = 0
        try:
            while not stop.is_set():
                pipe = client.pipeline(transaction=transaction)
                pipe.hget("one:k1", "v").hget(r"two:k1:a\:b", "v").hget("one:k2", "v")
                versions = set(pipe.execute())
                now = int(versions.pop())
                assert not versions or not transaction, "mixed"
                seen.add(now)
                last = now
        except Exception as error:  # noqa: BLE001
            faults.append(repr(error))
        assert last

    threads = [threading.Thread(target=read, args=(n % 2 == 0,)) for n in range(3)]
    for thread in threads:
        thread.start()
    try:
        for n in range(10):
            seen.clear()
            door.run(*(["rollback", "p"] if n % 2 == 0 else ["swap", "p", 2]))
            eventually(lambda: faults or 1 + n % 2 in seen, 30, "they read what serves now")
    finally:
        stop.set()
    for thread in threads:
        thread.join()
    assert not faults, faults[0]


def test_bad_clients(door):
    """Half requests, garbage, huge lengths, someone who never reads: the door stays open for the others."""
    for text in [b"*3\r\n$4\r\nHGET\r\n$3\r\none", b"\x00\xff" * 5000 + b"\r\n", b"*1\r\n$999999999999\r\n", b"*99999999\r\n",
                 b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"POST / HTTP/1.1\r\n\r\n"]:
        with socket.create_connection(door.redis, 5) as other:
            other.sendall(text)
            other.shutdown(socket.SHUT_WR)
            other.settimeout(120)
            try:
                while other.recv(65536):
                    pass
            except ConnectionResetError:
                pass
    lazy = socket.create_connection(door.redis, 5)
    lazy.settimeout(1)
    try:
        for _ in range(2000):
            lazy.sendall(b"COMMAND DOCS\r\n" * 1000)
    except (TimeoutError, OSError):
        pass
    assert redis.Redis(*door.redis).ping()
    eventually(lambda: redis.Redis(*door.redis).info("clients")["connected_clients"] <= 2, 30, "cut off")
    lazy.close()


@pytest.fixture
def guarded(tmp_path):
    """One that asks for tokens: guarded.tokens[role]."""
    access = str(tmp_path / "access")
    platform = support.Platform(str(tmp_path), args=["--redis", "127.0.0.1:0", "--access", access])
    platform.tokens = {role: platform.json("access", "add", role, "--role", role, "--access", access)["token"]
                       for role in ("read", "write")}
    with platform.up():
        platform.topic("e", 1)
        platform.produce("e", [{"k": "k", "j": "a", "n": 1}])
        platform.deploy("p", SQL % (1, 1), "--wait")
        host, port = platform.server()["redis"].split(":")
        platform.redis = (host, int(port))
        eventually(lambda: platform.scan("one"), 30, "the row is there")
        yield platform


def dialogue(door, *lines):
    """The answers to some lines of one connection, a line each."""
    with socket.create_connection(door.redis, timeout=120) as peer:
        file = peer.makefile("rwb")
        answers = []
        for line in lines:
            file.write(line.encode() + b"\r\n")
            file.flush()
            answers.append(file.readline().decode().strip())
        return answers


def test_auth(guarded):
    read, write = guarded.tokens["read"], guarded.tokens["write"]
    wrong = "kappa_" + "0" * 64
    answers = dialogue(guarded, "GET one:k", "PING", "INFO", "MULTI", "EXEC", "COMMAND", "NOSUCH", "HELLO 3", f"AUTH {wrong}",
                       "GET one:k", f"AUTH nobody {read}", f"AUTH read {wrong}", "AUTH a b c", f"AUTH {read}", "PING",
                       f"AUTH {wrong}", "PING", "RESET", "PING", f"AUTH read {read}", "PING", f"AUTH default {read}",
                       f"AUTH {write}", "PING", "GET one:k")
    noauth, wrongpass = "-NOAUTH Authentication required.", (
        "-WRONGPASS invalid username-password pair or user is disabled.")
    assert answers[:6] == [noauth] * 6
    assert answers[6].startswith("-ERR unknown command") and answers[7].startswith("-NOAUTH HELLO must be called")
    assert answers[8:12] == [wrongpass, noauth, wrongpass, wrongpass]
    assert answers[12].startswith("-ERR")
    assert answers[13:17] == ["+OK", "+PONG", wrongpass, "+PONG"]  # a wrong AUTH takes nothing away, as with Redis
    assert answers[17:23] == ["+RESET", noauth, "+OK", "+PONG", "+OK", "+OK"]
    assert all(answer.startswith("-NOPERM User write has no permissions") for answer in answers[23:])
    answers = dialogue(guarded, f"HELLO 3 AUTH default {read} SETNAME me", "HELLO 2")
    assert answers[0].startswith("%")
    assert dialogue(guarded, f"HELLO 3 AUTH read {wrong}", "PING") == [wrongpass, noauth]

    assert cli(guarded, "-a", read, "--no-auth-warning", "hget", "one:k", "c") == "1"
    assert cli(guarded, "--user", "read", "--pass", read, "--no-auth-warning", "-3", "hget", "one:k", "c") == "1"
    client = redis.Redis(*guarded.redis, password=read)
    assert client.hget("one:k", "c") == b"1"
    assert redis.Redis(*guarded.redis, username="read", password=read).ping()
    with pytest.raises(redis.AuthenticationError):
        redis.Redis(*guarded.redis).ping()
    with pytest.raises(redis.RedisError, match="invalid username-password pair"):
        redis.Redis(*guarded.redis, username="write", password=read).ping()

    # Who is taken out is so in the midst of a connection.
    guarded.run("access", "remove", "read")

    def out():
        try:
            client.ping()
        except redis.RedisError as error:
            assert "Authentication required" in str(error) or "username-password" in str(error)
            return True
        return False

    eventually(out, 20, "the client is let in no more")
    metrics = guarded.http("GET", "/metrics", headers={"Authorization": "Bearer " + guarded.server()["token"]})[1]
    assert 'kappa_access_refused_total{reason="unknown_token"}' in metrics
    assert read not in guarded.log_text() and write not in guarded.log_text()


def test_auth_without_access(door):
    assert dialogue(door, "AUTH x", "PING")[0].startswith("-ERR AUTH called without any password")
    assert dialogue(door, "HELLO 3 AUTH default x")[0].startswith("-ERR AUTH called without any password")
