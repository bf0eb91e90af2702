"""The Redis door with real clients: redis-cli and Debian's python3-redis; pipelines, swaps under load."""

import json
import socket
import subprocess
import sys
import threading
import time

import pytest

import support
from support import eventually

sys.path.append("/usr/lib/python3/dist-packages")  # of Debian, when another Python runs the tests
redis = pytest.importorskip("redis")

SQL = ("CREATE TABLE e (k text, j text, n numeric) WITH (topic='e');"
       "CREATE MATERIALIZED VIEW one AS SELECT k, count(*) AS c, sum(n) AS s, %d AS v FROM e GROUP BY k;"
       "CREATE MATERIALIZED VIEW two AS SELECT k, j, count(*) AS c, %d AS v, max(n) AS m FROM e GROUP BY k, j;")


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
    result = subprocess.run(["redis-cli", "-p", str(door.redis[1]), *args], capture_output=True, text=True, timeout=30,
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
    assert "hgetall" in cli(door, "command", "docs")
    assert door.http("GET", "/metrics")[0] == 200


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
    for n in range(10):
        door.run(*(["rollback", "p"] if n % 2 == 0 else ["swap", "p", 2]))
        time.sleep(0.02)
    stop.set()
    for thread in threads:
        thread.join()
    assert not faults and seen == {1, 2}


def test_bad_clients(door):
    """Half requests, garbage, huge lengths, someone who never reads: the door stays open for the others."""
    for text in [b"*3\r\n$4\r\nHGET\r\n$3\r\none", b"\x00\xff" * 5000 + b"\r\n", b"*1\r\n$999999999999\r\n", b"*99999999\r\n",
                 b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"POST / HTTP/1.1\r\n\r\n"]:
        with socket.create_connection(door.redis, 5) as other:
            other.sendall(text)
            other.shutdown(socket.SHUT_WR)
            other.settimeout(10)
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
