"""Who may: `kappa up --access FILE`. Every address against every role, from openapi.json, so that none can be
forgotten; the command line's ways to a token; names in receipts; changes of the file."""

import contextlib
import hashlib
import http.client
import json
import os
import re
import stat
import threading

import pytest

import support

ROLES = ("read", "write", "operate", "metrics")


@pytest.fixture
def guarded(tmp_path):
    """A platform that asks for tokens: guarded.tokens has those of a person for each role, of one for all, of nobody."""
    access = tmp_path / "access"
    kappa = support.Platform(str(tmp_path), args=["--access", str(access)])
    kappa.access = str(access)
    kappa.env["HOME"] = str(tmp_path)
    kappa.env.pop("XDG_CONFIG_HOME", None)
    kappa.env.pop("KAPPA_TOKEN", None)
    kappa.tokens = {role: give(kappa, role, role) for role in ROLES}
    kappa.tokens["ann"] = give(kappa, "ann", "read,write,operate")
    with kappa.up():
        yield kappa


def give(kappa, name, roles):
    return kappa.json("access", "add", name, "--role", roles, "--access", kappa.access)["token"]


def bearer(token):
    return {"Authorization": "Bearer " + token} if token else {}


def ask(kappa, method, path, token=None, body=None):
    return kappa.http(method, path, body, bearer(token))


def status_of(kappa, method, path, token):
    """The status and headers alone: what is asked may be a stream without an end."""
    connection = http.client.HTTPConnection(kappa.server()["http"], timeout=120)
    try:
        body = None if method == "GET" else "{}"
        head = {} if body is None else {"Content-Type": "application/json"}
        connection.request(method, path, body, {**head, **bearer(token)})
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders())
    finally:
        connection.close()


def test_every_address_against_every_role(guarded):
    document = ask(guarded, "GET", "/v1/openapi.json")[1]
    scheme = document["components"]["securitySchemes"]["token"]
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    count = refused = 0
    for path, methods in document["paths"].items():
        address = re.sub(r"\{\w+\}", "7", path)  # there is nothing of this name: who is let in does no harm
        for method, operation in methods.items():
            wanted = {role for one in operation["security"] for role in one.get("token", [])}
            assert wanted <= set(ROLES)
            for role in (None, "nobody", *ROLES):
                token = guarded.tokens.get(role, "kappa_" + "0" * 64) if role else None
                status, headers = status_of(guarded, method.upper(), address, token)
                where = (method, path, role, status)
                challenge = headers.get("WWW-Authenticate")
                if not wanted or role in wanted:
                    assert status not in (401, 403) and challenge is None, where
                elif role is None:
                    assert status == 401 and challenge == 'Bearer realm="kappa"', where
                elif role == "nobody":
                    assert status == 401 and challenge == 'Bearer realm="kappa", error="invalid_token"', where
                else:
                    assert status == 403 and 'error="insufficient_scope"' in challenge, where
                    assert set(re.search('scope="(.*)"', challenge).group(1).split()) == wanted, where
                count += 1
                refused += status in (401, 403)
    assert count > 200 and refused > 150
    open_to_all = {path for path, methods in document["paths"].items()
                   for operation in methods.values() if not operation["security"]}
    assert open_to_all == {"/", "/dashboard/{FILE}", "/healthz", "/readyz", "/v1/openapi.json"}

    status, error, _ = ask(guarded, "POST", "/v1/gc", guarded.tokens["read"], {})
    assert status == 403 and error["error"]["code"] == "forbidden"
    assert error["error"]["message"] == "read lacks the role operate"
    status, error, _ = ask(guarded, "GET", "/v1/status")
    assert status == 401 and error["error"]["code"] == "unauthorized" and "token" in error["error"]["hint"]

    metrics = ask(guarded, "GET", "/metrics", guarded.tokens["metrics"])[1]
    counted = {reason: int(value) for reason, value in
               re.findall(r'kappa_access_refused_total\{reason="(\w+)"\} (\d+)', metrics)}
    assert set(counted) == {"no_token", "unknown_token", "role_missing"}
    assert sum(counted.values()) == refused + 2
    log = guarded.log_text()
    assert "refused: " in log and "with a token that nobody has" in log
    for token in guarded.tokens.values():
        assert token not in log and token[6:] not in log
    assert "0" * 64 not in log


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic {}", "bearer{}", "{}", "Bearer {} x", "Bearer {}0",
                                    "Bearer kappa_", "Bearer " + "a" * 600])
def test_headers_that_do_not_let_in(guarded, header):
    wrong = {"Authorization": header.format(guarded.tokens["read"])}
    assert guarded.http("GET", "/v1/status", headers=wrong)[0] == 401


def test_headers_that_do(guarded):
    for header in ("Bearer {}", "bearer {}", "BEARER   {}  "):
        assert guarded.http("GET", "/v1/status", headers={
            "Authorization": header.format(guarded.tokens["read"])})[0] == 200


def private(path, text, mode=0o600):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def test_command_line(guarded, tmp_path):
    """Where a token comes from, what is said without one, and that each has its exit code."""
    address = guarded.server()["http"]
    far = ("status", "--server", address)
    local = guarded.run("status")  # who can read the server's files needs no more
    assert local.returncode == 0
    none = guarded.run(*far, code=6)
    assert "KAPPA_TOKEN" in none.stderr and "--token-file" in none.stderr
    read = private(tmp_path / "read", "\n" + guarded.tokens["read"] + "\n\n")
    guarded.run(*far, "--token-file", read)
    assert "read lacks the role operate" in guarded.run("gc", "--server", address, "--token-file", read, code=6).stderr
    for mode in (0o644, 0o640, 0o604, 0o620):
        os.chmod(read, mode)
        assert "chmod 600" in guarded.run(*far, "--token-file", read, code=4).stderr
    assert "does not hold a token" in guarded.run(
        *far, "--token-file", private(tmp_path / "two", "one two\n"), code=2).stderr
    guarded.run(*far, "--token-file", tmp_path / "nothing", code=3)

    with environment(guarded, KAPPA_TOKEN=guarded.tokens["read"]):
        guarded.run(*far)
        guarded.run("gc", code=6)  # also where the server's own files could be used: a person who says who he is, is it
    with environment(guarded, KAPPA_TOKEN="kappa_" + "1" * 64):
        assert "not one that this server knows" in guarded.run(*far, code=6).stderr
        guarded.run(*far, "--token-file", private(tmp_path / "read", guarded.tokens["read"]))  # wins
    with environment(guarded, KAPPA_TOKEN="no\ntoken"):
        guarded.run(*far, code=2)

    home = tmp_path / ".config" / "kappa" / "token"
    private(home, guarded.tokens["read"] + "\n")
    guarded.run(*far)
    guarded.run("gc")  # the server of this machine: with its own token
    home.chmod(0o644)
    assert "chmod 600" in guarded.run(*far, code=4).stderr
    home.unlink()
    private(tmp_path / "xdg" / "kappa" / "token", guarded.tokens["read"])
    with environment(guarded, XDG_CONFIG_HOME=str(tmp_path / "xdg")):
        guarded.run(*far)

    mode = stat.S_IMODE(os.stat(os.path.join(guarded.data, "server.json")).st_mode)
    assert mode == 0o600
    token = guarded.server()["token"]
    assert ask(guarded, "GET", "/v1/status", token)[0] == 200
    guarded.down()
    guarded.up()
    assert guarded.server()["token"] != token and ask(guarded, "GET", "/v1/status", token)[0] == 401


@contextlib.contextmanager
def environment(kappa, **names):
    before = dict(kappa.env)
    kappa.env.update(names)
    try:
        yield
    finally:
        kappa.env = before


def test_who(guarded):
    """Receipts and events name who was let in, not who the client says it is."""
    ann = guarded.tokens["ann"]
    guarded.run("topic", "create", "events", "--partitions", 1)
    sql = support.features_sql("events")
    assert ask(guarded, "POST", "/v1/processors", guarded.tokens["read"], {"name": "p", "sql": sql})[0] == 403
    assert ask(guarded, "GET", "/v1/processors/p", ann)[0] == 404
    status, made, _ = ask(guarded, "POST", "/v1/processors", ann, {"name": "p", "sql": sql, "who": "the king"})
    assert status == 201 and made["who"] == "ann"
    guarded.wait("p", 1)
    guarded.run("replay", "p", "--swap", "manual")
    guarded.wait("p", 2, "caught-up")
    with environment(guarded, KAPPA_TOKEN=ann):
        guarded.run("swap", "p", 2)
    guarded.run("rollback", "p")
    receipts = guarded.json("history", "p")["receipts"]
    assert [receipt["who"] for receipt in receipts[:2]] == ["local", "ann"]
    events = ask(guarded, "GET", "/v1/events?limit=1000", ann)[1]["events"]
    assert "the king" not in json.dumps(events)
    assert {"ann", "local"} <= {event.get("who") or event.get("receipt", {}).get("who") for event in events}


def hash_line(name, roles, token):
    return f"{name} {roles} sha256:{hashlib.sha256(token.encode()).hexdigest()}\n"


def doctor(kappa):
    checks = json.loads(kappa.run("doctor", "-o", "json", code=None).stdout)["checks"]
    return next(check for check in checks if check["check"] == "access")


def test_file_is_read_again(guarded):
    """No restart for a name that comes, changes or goes; what is wrong changes nothing; streams end."""
    def lets_in(token, wanted):
        support.eventually(lambda: (ask(guarded, "GET", "/v1/status", token)[0] == 200) == wanted, 20,
                           f"let in: {wanted}")

    read = guarded.tokens["read"]
    lets_in(read, True)
    bob = json.loads(guarded.run("access", "add", "bob", "--role", "read", "-o", "json").stdout)["token"]
    lets_in(bob, True)  # the file was found by the server that runs
    ended = threading.Event()
    connection = http.client.HTTPConnection(guarded.server()["http"], timeout=300)
    connection.request("GET", "/v1/status/stream", headers=bearer(bob))
    answer = connection.getresponse()
    assert answer.status == 200 and answer.readline() == b"retry: 2000\n"

    def follow():
        while answer.readline():
            pass
        ended.set()

    follower = threading.Thread(target=follow, daemon=True)
    follower.start()
    guarded.run("access", "remove", "bob")
    lets_in(bob, False)
    assert ended.wait(240)
    follower.join()
    connection.close()
    guarded.run("access", "remove", "bob", code=3)
    names = [person["name"] for person in guarded.json("access", "ls")["people"]]
    assert names == [*ROLES, "ann"]
    assert doctor(guarded)["state"] == "ok" and doctor(guarded)["found"].startswith("5 names")

    with open(guarded.access) as file:
        before = file.read()
    with open(guarded.access, "w") as file:  # by hand, in place; a token of one's own
        file.write(before + hash_line("eve", "read", "sesame"))
    lets_in("sesame", True)
    with open(guarded.access, "a") as file:
        file.write("oops\n")
    support.eventually(lambda: "line 8" in guarded.log_text(), 20, "the log says what is wrong")
    lets_in("sesame", True)
    assert "line 8" in guarded.run("access", "ls", code=2).stderr
    assert doctor(guarded)["state"] == "fail" and "line 8" in doctor(guarded)["found"]
    with open(guarded.access, "w") as file:
        file.write(before + hash_line("eve", "write", "sesame"))
    lets_in("sesame", False)
    status, error, _ = ask(guarded, "GET", "/v1/status", "sesame")
    assert status == 403 and error["error"]["message"] == "eve lacks the role read"
    os.chmod(guarded.access, 0o644)
    support.eventually(lambda: "mode 0644" in guarded.log_text(), 20, "the log says what is wrong")
    lets_in(read, True)


def test_swap_who(guarded):
    """SET swap.who: of persons, only those it names swap and roll back; nothing overrules it; local may go back."""
    eve = give(guarded, "eve", "read,operate")
    guarded.run("topic", "create", "events", "--partitions", 1)
    guarded.deploy("p", support.features_sql("events"), "--wait")
    sql = "SET swap.who = 'ann, ops';\n" + support.features_sql("events", right=False)
    guarded.deploy("p", sql, "--swap", "manual")
    guarded.wait("p", 2, "caught-up")
    with environment(guarded, KAPPA_TOKEN=eve):
        support.eventually(lambda: guarded.run("status", code=None).returncode == 0, 20, "eve is known")
        refused = guarded.run("swap", "p", 2, code=6).stderr
        assert "only ann, ops may swap p (swap.who of v2), not eve" in refused
        guarded.run("swap", "p", 2, "--force", "--reason", "hurry", code=6)
        guarded.run("canary", "p", "10%", code=6)
    status, answer, _ = ask(guarded, "POST", "/v1/processors/p/swap", eve, {"version": 2, "who": "ann"})
    assert status == 403 and answer["error"]["code"] == "forbidden"
    with environment(guarded, KAPPA_TOKEN=guarded.tokens["ann"]):
        guarded.run("swap", "p", 2)
    with environment(guarded, KAPPA_TOKEN=eve):
        assert "may change swap.who" in guarded.deploy("p", support.features_sql("events"), code=6).stderr
        assert "only ann, ops may roll back p (swap.who of v2), not eve" in guarded.run("rollback", "p", code=6).stderr
        guarded.run("drop", "p", 1, code=6)
    guarded.run("rollback", "p")
    with environment(guarded, KAPPA_TOKEN=eve):
        assert "may change swap.who" in guarded.deploy("p", support.features_sql("events"), code=6).stderr
    assert [receipt["who"] for receipt in guarded.json("history", "p")["receipts"][:2]] == ["local", "ann"]


def test_start(tmp_path):
    """What a server with a wrong file says, and that one on all addresses warns."""
    access = str(tmp_path / "access")
    kappa = support.Platform(str(tmp_path))
    kappa.access = access
    up = ("up", "--data", kappa.data, "--http", "127.0.0.1:0", "--access", access)
    assert "kappa access add" in kappa.run(*up, code=3).stderr
    give(kappa, "ann", "read")
    kappa.run("access", "ls", code=2)
    os.chmod(access, 0o640)
    assert "chmod 600" in kappa.run(*up, code=4).stderr
    os.chmod(access, 0o600)
    config = tmp_path / "kappa.conf"
    config.write_text(f"access = {access}\nhttp = 0.0.0.0:0\n")
    kappa.args = ["--config", str(config), "--http", "0.0.0.0:0"]
    with kappa.up():
        assert ask(kappa, "GET", "/v1/status")[0] == 401
        kappa.run("topic", "create", "events")
        kappa.deploy("p", "SET swap.who = ann;\n" + support.features_sql("events"), "--wait")
        assert "without TLS" in kappa.log_text() and "without authentication" not in kappa.log_text()
    kappa.args = []
    with kappa.up():
        again = kappa.deploy("p", "SET swap.who = ann;\n" + support.features_sql("events", right=False), code=4)
        assert "--access FILE" in again.stderr
