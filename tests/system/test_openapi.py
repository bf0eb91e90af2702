"""serve/openapi.json against the server: the same addresses, methods and parameters as the table of routes, and
answers that are as it says."""

import http.client
import json
import os
import re

import support

ROUTES = os.path.join(support.ROOT, "serve", "routes.c")


def routes_of_source():
    """{(method, path with * and **): (set of parameters, set of roles)} from the table in routes.c."""
    with open(ROUTES) as file:
        text = file.read()
    table = text[text.index("static const struct route routes[]"):]
    table = table[:table.index("};")]
    names = {"P": "/v1/processors", "T": "/v1/tables/*/rows"}
    found = {}
    for method, prefix, rest, query, roles in re.findall(
            r'\{"(\w+)",\s*([PT]\b)?\s*(?:"([^"]*)")?\s*,\s*"([^"]*)",\s*([A-Z |]+),', table):
        found[method, names.get(prefix, "") + rest] = (set(filter(None, query.split(","))),
                                                       set(roles.lower().split(" | ")) - {"open"})
    return found


class Schema:
    """The part of JSON Schema that the file uses."""

    def __init__(self, document):
        self.document = document

    def resolve(self, schema):
        while "$ref" in schema:
            at = self.document
            for name in schema["$ref"].removeprefix("#/").split("/"):
                at = at[name]
            schema = at
        return schema

    def problems(self, value, schema, where="$"):
        schema = self.resolve(schema)
        unknown = set(schema) - {"type", "properties", "required", "additionalProperties", "items", "enum", "oneOf",
                                 "minimum", "description"}
        assert not unknown, f"the test does not know {unknown}"
        if "oneOf" in schema:
            tried = [self.problems(value, one, where) for one in schema["oneOf"]]
            return [] if tried.count([]) == 1 else min(filter(None, tried), key=len)
        kinds = schema.get("type", [])
        kinds = [kinds] if isinstance(kinds, str) else kinds
        if kinds and not any(self.is_a(value, kind) for kind in kinds):
            return [f"{where}: {value!r} is not {kinds}"]
        found = [f"{where}: {value!r} is not one of {schema['enum']}"] if value not in schema.get("enum", [value]) else []
        if isinstance(value, dict):
            found += [f"{where}: no {name}" for name in schema.get("required", []) if name not in value]
            for name, one in value.items():
                other = schema.get("additionalProperties", {})
                inner = schema.get("properties", {}).get(name, other)
                if inner is False:
                    found.append(f"{where}: {name} is not described")
                elif isinstance(inner, dict):
                    found += self.problems(one, inner, f"{where}.{name}")
        if isinstance(value, list):
            for i, one in enumerate(value):
                found += self.problems(one, schema.get("items", {}), f"{where}[{i}]")
        return found

    @staticmethod
    def is_a(value, kind):
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return {"null": value is None, "string": isinstance(value, str), "boolean": isinstance(value, bool),
                "object": isinstance(value, dict), "array": isinstance(value, list), "number": number,
                "integer": number and value == int(value)}[kind]


def test_same_routes(embedded):
    status, document, headers = embedded.http("GET", "/v1/openapi.json")
    assert status == 200 and headers["Content-Type"] == "application/json"
    described = {}
    for path, methods in document["paths"].items():
        pattern = re.sub(r"\{\w+\}", "*", path.replace("{KEY}", "**"))
        for method, operation in methods.items():
            parameters = operation.get("parameters", [])
            assert [p["name"] for p in parameters if p["in"] == "path"] == re.findall(r"\{(\w+)\}", path)
            roles = {role for one in operation["security"] for role in one.get("token", [])}
            assert not roles or {} in operation["security"], "without --access nobody has a token"
            assert ({"401", "403"} <= set(operation["responses"])) == bool(roles), path
            described[method.upper(), pattern] = {p["name"] for p in parameters if p["in"] == "query"}, roles
    source = routes_of_source()
    assert len(source) > 30
    assert described == source


def test_answers_are_as_described(embedded):
    document = embedded.http("GET", "/v1/openapi.json")[1]
    schema = Schema(document)
    asked = set()

    def ask(method, path, body=None, status=None, headers=None, **names):
        operation = document["paths"][path][method.lower()]
        address = re.sub(r"\{(\w+)\}", lambda m: str(names[m.group(1)]), path)
        if names.get("query"):
            address += "?" + names["query"]
        if isinstance(body, dict) and "requestBody" in operation:
            (media,) = operation["requestBody"]["content"].values()
            assert schema.problems(body, media["schema"]) == [], (path, body)
        got, answer, headers = embedded.http(method, address, body, headers)
        wanted = [code for code in operation["responses"] if code not in ("401", "403", "default")]
        if status is not None:
            assert got == status, (path, answer)
            if got >= 400:
                error = schema.resolve(operation["responses"]["default"])["content"]["application/json"]["schema"]
                assert schema.problems(answer, error) == [], (path, answer)
            return answer
        assert [str(got)] == wanted, (path, got, answer)
        response = operation["responses"][str(got)]
        ((kind, media),) = response["content"].items()
        assert kind == "*/*" or headers["Content-Type"].split(";")[0] == kind, (path, headers)
        assert set(response.get("headers", {})) <= set(headers), (path, headers)
        if kind == "application/x-ndjson" and not isinstance(answer, dict):
            rows = [json.loads(line) for line in answer.splitlines()]
        else:
            rows = [answer]
        for row in rows:
            assert schema.problems(row, media["schema"]) == [], (path, row)
        asked.add((method, path))
        return answer

    lines = {"Content-Type": "application/x-ndjson"}
    p = "/v1/processors/{P}"
    least = {"/v1/processors": {"name": "q", "sql": "SELECT 1"}, "/v1/topics": {"name": "x"}, "/v1/sql": {"sql": "SELECT 1"},
             "/get-online-features": {"features": [], "entities": {}}, p + "/diff": {"a": 1, "b": 1},
             p + "/canary": {"share": 0}}
    ask("POST", "/v1/topics", {"name": "events", "partitions": 2})
    ask("POST", "/v1/topics", {"name": "events", "partitions": 2}, status=409)
    events = "\n".join(support.events_lines(500)) + '\n{"user_id":"u1","event_time":"never"}\n'
    assert ask("POST", "/v1/topics/{T}/records", events, T="events", query="key=user_id", headers=lines)["records"] == 501
    sql = support.features_sql("events", right=False) + (
        "CREATE MATERIALIZED VIEW total AS SELECT count(*) AS n FROM user_events;\n")
    ask("POST", "/v1/processors", {"name": "p", "sql": sql, "dry_run": True}, status=200)
    ask("POST", "/v1/processors", {"name": "p", "sql": "SELEC", "who": "test"}, status=400)
    ask("POST", "/v1/processors", {"name": "p", "sql": sql, "file": "v1.sql", "who": "test"})
    embedded.wait("p", 1)
    ask("POST", p + "/replay", {"swap": "manual", "who": "test"}, P="p")
    embedded.wait("p", 2, "caught-up")
    support.applied_everything(embedded, "p", 1, "events")
    for path in ("/", "/healthz", "/readyz", "/metrics", "/v1/openapi.json", "/v1/status", "/v1/processors", "/v1/topics",
                 "/v1/tables"):
        ask("GET", path)
    ask("GET", "/dashboard/{FILE}", FILE="main.js")
    ask("GET", p, P="p")
    ask("GET", p, P="none", status=404)
    ask("POST", p + "/diff", {"a": 1, "b": 2, "limit": 1}, P="p")
    ask("POST", p + "/canary", {"share": 12.5, "shadow": True, "who": "test"}, P="p")
    ask("GET", p, P="p")
    ask("POST", p + "/canary", {"share": 200}, P="p", status=400)
    ask("POST", p + "/canary", {"share": 0, "force": True}, P="p")
    ask("POST", p + "/swap", {"version": 2, "who": "test", "reason": "to see it"}, P="p")
    ask("POST", p + "/rollback", {"who": "test"}, P="p")
    ask("POST", p + "/rollback", {"who": "test"}, P="p", status=409)
    for word in ("pause", "resume"):
        ask("POST", p + "/versions/{N}/" + word, {"who": "test"}, P="p", N=2)
    for limit in ({"records_per_second": 1000000}, None):
        ask("POST", p + "/versions/{N}/limit", {"limit": limit, "who": "test"}, P="p", N=2, status=409)
    ask("POST", p + "/versions/{N}/verify", {}, P="p", N=1)
    assert len(ask("GET", p + "/history", P="p")["receipts"]) == 3
    assert len(ask("GET", "/v1/history")["receipts"]) == 3
    ask("GET", p + "/plots", P="p")
    ask("POST", p + "/snapshots", {"name": "one", "version": 1, "who": "test"}, P="p")
    ask("POST", p + "/snapshots", {"name": "one"}, P="p", status=409)
    assert len(ask("GET", p + "/snapshots", P="p")["snapshots"]) == 1
    ask("POST", p + "/drop-snapshot", {"snapshot": "one"}, P="p")
    ask("POST", p + "/corrected", {"version": 1, "epoch": 1, "replaced": 0, "added": 0, "retracted": 0}, P="p")
    assert len(ask("GET", p + "/versions/{N}/dead", P="p", N=1, query="limit=5")["dead"]) == 1
    ask("GET", p + "/versions/{N}/late", P="p", N=1)
    ask("GET", p + "/outbox", P="p")
    ask("POST", p + "/replay", {"swap": "manual"}, P="p")
    embedded.wait("p", 3, "caught-up")
    ask("POST", p + "/versions/{N}/limit", {"limit": {"records_per_second": 1000000}, "who": "test"}, P="p", N=3)
    for limit in ({"records_per_second": 1000000, "bytes_per_second": 10**9}, {"records_per_second": 1000000,
                                                                               "bytes_per_second": None}, None):
        ask("POST", "/v1/limit", {"limit": limit, "who": "test"})
        ask("GET", "/v1/status")
    assert ask("GET", p, P="p")["versions"][2]["limit"] == {"records_per_second": 1000000}
    some = {"records_per_second": None, "freshness_ms": None, "finish_by": None, "priority": 2}
    ask("POST", p + "/versions/{N}/limit", {"limit": some}, P="p", N=3)
    ask("GET", p, P="p")
    ask("POST", p + "/versions/{N}/abort", {}, P="p", N=3)
    ask("POST", p + "/versions/{N}/drop", {}, P="p", N=3)
    assert len(ask("GET", "/v1/topics/{T}/records", T="events", query="from=-3&partition=0").splitlines()) == 3
    embedded.run("topic", "set", "events", "archive=on")
    assert [topic["name"] for topic in ask("GET", "/v1/archive")["topics"]] == ["events"]
    rows = ask("GET", "/v1/tables/{T}/rows", T="user_features", query="limit=2").splitlines()
    row = json.loads(rows[0])
    ask("GET", "/v1/tables/{T}/rows/{KEY}", T="user_features", KEY=row["user_id"], query="at=" + row["window_start"])
    ask("GET", "/v1/tables/{T}/row", T="total")
    ask("POST", "/v1/tables/{T}/get", {"keys": [[row["user_id"]], ["nobody"]]}, T="user_features")
    ask("POST", "/v1/tables/{T}/get", {"keys": [{}]}, T="user_features", status=400)
    ask("POST", "/get-online-features", {"features": ["user_features:clicks"], "entities": {"user_id": [row["user_id"]]}})
    assert ask("GET", "/v1/events", query="limit=5")["events"]
    ask("POST", "/v1/gc", {"processor": "p", "dry_run": True})
    ask("POST", "/v1/sql", {"sql": "SELECT * FROM user_features WHERE clicks > ?", "params": [0], "limit": 3})
    ask("POST", "/v1/sql", {"sql": "SELECT nope"}, status=400)

    connection = http.client.HTTPConnection(embedded.server()["http"], timeout=120)
    event = None
    for path, table in (("/v1/status/stream", None), ("/v1/tables/{T}/changes", "user_features")):
        connection.request("GET", path.replace("{T}", table or ""))
        answer = connection.getresponse()
        assert answer.status == 200 and answer.getheader("Content-Type") == "text/event-stream"
        seen = set()
        while seen.isdisjoint({"status", "cut"}):
            line = answer.readline().decode()
            event = line[7:-1] if line.startswith("event: ") else event
            if line.startswith("data: "):
                data = json.loads(line[6:])
                name, data = ("Status", data) if event == "status" else ("Change", {event: data})
                assert schema.problems(data, document["components"]["schemas"][name]) == []
                seen.add(event)
        assert seen in ({"status"}, {"reset", "upsert", "cut"})
        connection.close()
        asked.add(("GET", path))

    # A member of another type is not taken for one that was left out.
    wrong = {"string": 7, "boolean": "true", "integer": "7"}
    for path, methods in document["paths"].items():
        body = methods.get("post", {}).get("requestBody", {"content": {}})
        assert body.get("required", True), path
        schema_of = body["content"].get("application/json", {}).get("schema", {"properties": {}})
        address = path.replace("{P}", "p").replace("{N}", "1").replace("{T}", "user_features")
        for name, one in schema_of["properties"].items():
            if isinstance(one.get("type"), str) and one["type"] in wrong:
                status, answer, _ = embedded.http("POST", address, {**least.get(path, {}), name: wrong[one["type"]]})
                assert status == 400 and name in answer["error"]["message"], (path, name, answer)
        if "application/json" in body["content"] and path != "/get-online-features":  # nor one that there is not
            status, answer, _ = embedded.http("POST", address, {**least.get(path, {}), "dryrun": True})
            assert status == 400 and '"dryrun"' in answer["error"]["message"], (path, answer)

    every = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert every - asked == set()
