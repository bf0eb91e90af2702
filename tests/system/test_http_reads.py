"""Reads over HTTP against a recount of the log: many keys at one cut, ranges, pages and times, features in Feast's
shape, tags that save an answer, and answers that are compressed."""

import contextlib
import gzip
import http.client
import json
import random
import shutil
import socket
import urllib.parse

import support

WINDOW_MS = support.WINDOW_MS


def tables(platform, count=4000, users=60):
    """The platform with scenario 1 applied to the end; its rows as recounted, by (window end, user)."""
    platform.topic("events", 2)
    platform.produce("events", support.events_lines(count, users=users, step_us=200_000), "--key", "user_id")
    platform.deploy("p", support.features_sql("events") + (
        "CREATE MATERIALIZED VIEW users AS SELECT user_id, count(*) AS n, max(amount) AS most FROM user_events "
        "GROUP BY user_id;\nCREATE VIEW busy AS SELECT * FROM users WHERE n > 5;\n"))
    platform.wait("p", 1)
    support.applied_everything(platform, "p", 1, "events")
    cut = platform.http("GET", "/v1/tables")[1]["tables"][0]["cut"]["events"]
    return support.features_model(platform.cat("events"), cut)[0]


def rows_of(platform, path, **parameters):
    query = urllib.parse.urlencode([(name, one) for name, value in parameters.items()
                                    for one in (value if isinstance(value, list) else [value])])
    status, text, headers = platform.http("GET", path + ("?" + query if query else ""))
    assert status == 200, text
    if isinstance(text, dict):
        return [text], headers
    return [json.loads(line) for line in text.splitlines()], headers


def test_many_keys_at_one_cut(platform):
    model = tables(platform)
    users = sorted({user for _, user in model})
    rng, _ = support.seed_for("many keys")
    asked = [rng.choice(users + ["nobody"]) for _ in range(300)]
    status, answer, headers = platform.http("POST", "/v1/tables/user_features/get", {"keys": [[u] for u in asked]})
    assert status == 200
    newest = {user: max(end for end, u in model if u == user) for user in users}
    assert answer["rows"] == [model[newest[u], u] if u in newest else None for u in asked]
    assert headers["X-Kappa-Version"] == "1" and json.loads(headers["X-Kappa-Cut"]) == answer["cut"]
    some = [rng.choice(list(model)) for _ in range(200)]
    at = [end - rng.randint(1, WINDOW_MS) for end, _ in some]
    answer = platform.http("POST", "/v1/tables/user_features/get", {"keys": [u for _, u in some], "at": at})[1]
    assert answer["rows"] == [model[key] for key in some]
    at = model[some[0]]["window_start"]
    answer = platform.http("POST", "/v1/tables/user_features/get", {"keys": [[some[0][1]], [None]], "at": at})[1]
    assert answer["rows"] == [model[some[0]], None]
    for body in ({}, {"keys": [["a", "b"]]}, {"keys": [[{}]]}, {"keys": [], "at": [1]}, {"keys": [], "limit": 1},
                 {"keys": [["u1"]], "at": "soon"}):
        status, answer, _ = platform.http("POST", "/v1/tables/user_features/get", body)
        assert status == 400 and answer["error"]["message"], body
    assert platform.http("POST", "/v1/tables/none/get", {"keys": []})[0] == 404


def test_ranges_pages_and_times(embedded):
    model = tables(embedded)
    users = sorted({user for _, user in model})
    path = "/v1/tables/user_features/rows"
    everything = rows_of(embedded, path)[0]
    assert everything == [model[key] for key in sorted(model)]
    ends = sorted({end for end, _ in model})
    rng = random.Random(1)
    for _ in range(30):
        low, high = sorted(rng.sample(users, 2))
        since, until = sorted(rng.sample(ends, 2))
        bounds = {"from": low, "below": high, "since": since, "until": support.rfc3339(until)}
        wanted = [model[key] for key in sorted(model) if since < key[0] <= until and low <= key[1] < high]
        assert rows_of(embedded, path, **bounds)[0] == wanted
        paged, after = [], None
        while True:
            rows, headers = rows_of(embedded, path, limit=rng.randint(1, 40), **bounds, **({"after": after} if after else {}))
            paged += rows
            after = headers.get("X-Kappa-Next")
            if after is None:
                break
        assert paged == wanted
    one = users[3]
    history = rows_of(embedded, path, key=one)[0]
    assert history == [model[key] for key in sorted(model) if key[1] == one]
    assert rows_of(embedded, path, prefix="u1")[0] == [model[k] for k in sorted(model) if k[1].startswith("u1")]
    assert rows_of(embedded, path, limit=0) [0] == []
    at = rng.choice(ends) - rng.randint(1, WINDOW_MS)
    assert rows_of(embedded, path, at=at)[0] == [model[key] for key in sorted(model) if key[0] - WINDOW_MS <= at < key[0]]
    # The command line's options are these parameters, with a server and without one.
    for given in ([one], ["--prefix", "u1", "--at", at], ["--from", low, "--below", high, "--since", since, "--until", until],
                  [one, "--where", f"window_end > '{support.rfc3339(since)}'", "--limit", 2]):
        names = {f"{name[2:]}": value for name, value in zip(given, given[1:]) if str(name).startswith("--")}
        wanted = rows_of(embedded, path, **names, **({"key": one} if given[0] == one else {}))[0]
        assert embedded.scan("user_features", *given) == wanted and (wanted or given[0] != one), given
        assert embedded.scan("user_features", *given, "--server", embedded.server()["http"]) == wanted, given
    for given in (["--at", "0", "--since", "1"], ["--prefix", "a", "--from", "b"], ["a", "b"], ["--until", "soon"]):
        assert embedded.run("scan", "user_features", *given, code=2).stderr
    assert "busy WHERE" in embedded.run("scan", "busy", "--where", "n > 1", code=2).stderr
    assert len(rows_of(embedded, "/v1/tables/busy/rows", limit=3)[0]) == 3
    made = rows_of(embedded, path, limit=2)[1]["X-Kappa-Next"].split(".")[1]
    for address in (path + "?after=1.2.3", path + "?key=a&key=b", path + "?prefix=a&from=b", path + f"?after=1.{made}.0.0.ff",
                    "/v1/tables/busy/rows?after=1.0.0.0.", "/v1/tables/users/rows?since=0", path + "?since=never",
                    path + "?at=1&until=2", "/v1/tables/users/rows?at=0"):
        status, answer, _ = embedded.http("GET", address)
        assert status == 400 and answer["error"]["message"], address
    after = rows_of(embedded, path, limit=2)[1]["X-Kappa-Next"]
    embedded.deploy("p", support.features_sql("events", right=False))
    embedded.wait("p", 2)
    status, answer, _ = embedded.http("GET", path + "?limit=2&after=" + after)
    assert status == 409 and "swapped" in answer["error"]["message"]
    assert rows_of(embedded, path, limit=2, after=after, version=1)[0] == everything[2:4]


def test_a_wiped_directory_is_another_one(embedded):
    """The same definition at the same cut over other records: what a client has kept is not taken for what is there."""
    sql = "CREATE TABLE c (k text, n bigint) WITH (topic = 'c'); CREATE MATERIALIZED VIEW t AS SELECT k, n FROM c;"
    for n in (1, 2):
        embedded.topic("c", 1)
        embedded.produce("c", [{"k": k, "n": n} for k in "abc"])
        embedded.deploy("p", sql, "--wait")
        if n == 1:
            first = embedded.http("GET", "/v1/tables/t/rows?limit=2")[2]
            embedded.down()
            shutil.rmtree(embedded.data)
            embedded.up()
    status, text, headers = raw(embedded, "/v1/tables/t/rows?limit=2", If_None_Match=first["ETag"])
    assert status == 200 and b'"n":2' in text and headers["X-Kappa-Cut"] == first["X-Kappa-Cut"]
    status, answer, _ = embedded.http("GET", "/v1/tables/t/rows?limit=2&after=" + first["X-Kappa-Next"])
    assert status == 409 and "another data directory" in answer["error"]["message"]


def test_features_as_feast_asks(embedded):
    model = tables(embedded)
    users = sorted({user for _, user in model})[:3]
    newest = {user: model[max(key for key in model if key[1] == user)] for user in users}
    asked = {"features": ["user_features:clicks", "user_features:total_amount", "users:n"],
             "entities": {"user_id": users + ["nobody"]}}
    # As Feast's remote store posts it: JSON with no content type.
    status, answer, headers = embedded.http("POST", "/get-online-features", asked, {"Content-Type": "text/plain"})
    assert status == 200 and headers["X-Kappa-Version"] == "1"
    names = answer["metadata"]["feature_names"]
    assert names == ["user_id", "clicks", "total_amount", "n"]
    (stamp,) = answer["metadata"]["stamps"]
    assert stamp["version"] == 1 and stamp["cut"] == json.loads(headers["X-Kappa-Cut"])
    results = dict(zip(names, answer["results"]))
    assert results["user_id"]["values"] == users + ["nobody"]
    for i, user in enumerate(users):
        assert results["clicks"]["values"][i] == newest[user]["clicks"]
        assert results["clicks"]["event_timestamps"][i] == newest[user]["window_end"]
        amount = newest[user]["total_amount"]
        assert results["total_amount"]["values"][i] == amount
        assert results["total_amount"]["statuses"][i] == ("PRESENT" if amount is not None else "NULL_VALUE")
    for name in names[1:]:
        assert results[name]["values"][3] is None and results[name]["statuses"][3] == "NOT_FOUND"
    full = embedded.http("POST", "/get-online-features", {**asked, "full_feature_names": True})[1]
    assert full["metadata"]["feature_names"][1] == "user_features__clicks"
    for wrong, code in (({"features": ["users"]}, 400), ({"features": ["users:none"]}, 404), ({"features": ["none:n"]}, 404),
                        ({"entities": {"other": ["u1"]}}, 400), ({"feature_service": "s"}, 400), ({"features": ["busy:none"]}, 404),
                        ({"features": ["users:n", "users:n"]}, 400), ({"entities": {"user_id": ["a"], "x": []}}, 400)):
        status, answer, _ = embedded.http("POST", "/get-online-features", {**asked, **wrong})
        assert status == code and answer["error"]["message"], (wrong, answer)


def test_features_are_bounded(embedded):
    """A small request for one large text many times is refused, and not held in memory."""
    embedded.topic("texts", 1)
    embedded.produce("texts", [json.dumps({"k": "a", "text": "x" * 500_000})])
    embedded.deploy("texts", "CREATE TABLE t (k text, text text) WITH (topic='texts');"
                    "CREATE MATERIALIZED VIEW texts AS SELECT k, max(text) AS longest FROM t GROUP BY k;", "--wait")
    asked = {"features": ["texts:longest"], "entities": {"k": ["a"] * 20}}
    status, answer, _ = embedded.http("POST", "/get-online-features", asked)
    assert status == 200 and len(answer["results"][1]["values"]) == 20
    asked["entities"]["k"] = ["a"] * 2000
    status, answer, _ = embedded.http("POST", "/get-online-features", asked)
    assert status == 413
    assert "64 MiB" in answer["error"]["message"] and "fewer" in answer["error"]["hint"]


def raw(platform, path, **headers):
    connection = http.client.HTTPConnection(platform.server()["http"], timeout=120)
    connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body, answer.headers


def test_tags_and_gzip(embedded):
    model = tables(embedded)
    user = next(iter(model))[1]
    path = f"/v1/tables/user_features/rows/{user}"
    status, body, headers = raw(embedded, path)
    tag = headers["ETag"]
    assert status == 200 and headers["Cache-Control"] == "no-cache" and tag.startswith('W/"')
    for known in (tag, tag[2:], '"x", ' + tag, "*"):
        status, body, headers = raw(embedded, path, If_None_Match=known)
        assert status == 304 and body == b"" and headers["ETag"] == tag and headers["X-Kappa-Cut"], known
    # Another user's event moves the cut, and leaves the row as it is.
    last = max(r["value"]["event_time"] for r in embedded.cat("events"))
    event = {"user_id": "stranger", "event_type": "click", "product_id": "p", "amount": 1.0, "event_time": last}
    before = headers["X-Kappa-Cut"]
    embedded.produce("events", [event], "--key", "user_id")
    support.applied_everything(embedded, "p", 1, "events")
    status, _, headers = raw(embedded, path, If_None_Match=tag)
    assert status == 304 and headers["X-Kappa-Cut"] != before
    end = max(end for end, name in model if name == user)
    embedded.produce("events", [{**event, "user_id": user, "event_time": max(last, end - 1)}], "--key", "user_id")
    support.applied_everything(embedded, "p", 1, "events")
    status, _, headers = raw(embedded, path, If_None_Match=tag)
    assert status == 200 and headers["ETag"] != tag

    path = "/v1/tables/user_features/rows"
    status, plain, headers = raw(embedded, path)
    assert headers["Content-Encoding"] is None
    for accept in ("gzip", "deflate, gzip;q=0.5, br", "*", "GZIP"):
        status, packed, headers = raw(embedded, path, Accept_Encoding=accept)
        assert status == 200 and headers["Content-Encoding"] == "gzip" and len(packed) * 3 < len(plain)
        assert gzip.decompress(packed) == plain
    for accept in ("identity", "gzip;q=0", "br", "", "*;q=0"):
        assert raw(embedded, path, Accept_Encoding=accept)[1] == plain
    assert raw(embedded, path, If_None_Match=headers["ETag"])[0] == 304
    assert raw(embedded, "/v1/tables/users/row/none", Accept_Encoding="gzip")[0] == 404
    # Larger than what stays in memory.
    lines = embedded.http("GET", path)[1]
    embedded.topic("wide", 1)
    embedded.produce("wide", [{"k": i, "text": f"{i} " * 300} for i in range(3000)])
    embedded.deploy("w", "CREATE TABLE wide (k bigint, text text) WITH (topic = 'wide', format = 'json');\n"
                    "CREATE MATERIALIZED VIEW wides AS SELECT k, text FROM wide;\n")
    embedded.wait("w", 1)
    support.applied_everything(embedded, "w", 1, "wide")
    plain = raw(embedded, "/v1/tables/wides/rows")[1]
    packed = raw(embedded, "/v1/tables/wides/rows", Accept_Encoding="gzip")
    assert len(plain) > 3_000_000 and gzip.decompress(packed[1]) == plain and lines


def test_how_requests_are_written(embedded):
    """What sends them: HTTP/1.0, pipelines, chunks, proxies; and what a proxy must not pass on."""
    place = embedded.server()["http"]
    sql = b'{"sql":"SELECT 1 AS x"}'
    post = b"POST /v1/sql HTTP/1.1\r\nHost: " + place.encode() + b"\r\nContent-Type: application/json\r\n"
    alive = b"GET /healthz HTTP/1.1\r\nHost: " + place.encode() + b"\r\n"
    end = alive + b"Connection: close\r\n\r\n"

    def statuses(*requests):
        """Of what is answered until the server closes the connection, and all it has sent."""
        host, port = place.rsplit(":", 1)
        with socket.create_connection((host, int(port)), timeout=60) as connection:
            connection.sendall(b"".join(requests))
            text = b""
            with contextlib.suppress(ConnectionResetError):  # what it refuses, it does not read to the end
                while got := connection.recv(65536):
                    text += got
        return [int(part[:3]) for part in text.split(b"HTTP/1.1 ")[1:]], text

    assert statuses(alive.replace(b"1.1", b"1.0") + b"\r\n")[0] == [200]
    assert statuses(*[alive + b"\r\n"] * 20, end)[0] == [200] * 21
    length = b"Content-Length: %d\r\n" % len(sql)
    assert statuses(post + length + b"Expect: 100-continue\r\n\r\n" + sql + end)[0] == [100, 200, 200]
    chunked = post + b"Transfer-Encoding: chunked\r\n\r\n5\r\n" + sql[:5] + b"\r\n%x;a=b\r\n" % (len(sql) - 5)
    assert statuses(chunked + sql[5:] + b"\r\n0\r\nX-Trailer: 1\r\n\r\n" + end)[0] == [200, 200]
    whole = end.replace(b"GET /", b"GET http://" + place.encode() + b"/")
    assert statuses(whole)[0] == [200]
    assert statuses(whole.replace(b"Host: 127.0.0.1", b"Host: example.org"))[0] == [403]
    # Where the body ends is said once, or nothing behind it is answered: it may be another client's.
    for twice in (length + b"Transfer-Encoding: chunked\r\n", length + b"Content-Length: 4\r\n", length + length):
        found, text = statuses(post + twice + b"\r\n" + sql + end)
        assert found == [400] and b"more than once how long" in text, twice
    found, text = statuses(alive + b"Host: other\r\n\r\n" + end)
    assert found[0] == 400 and b"more than one Host" in text
    packed = gzip.compress(sql)
    found, text = statuses(post + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed) + packed + end)
    assert found[0] == 415 and b"Content-Encoding gzip" in text
