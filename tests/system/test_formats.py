"""How records are read: formats, what a record is besides its value, and what happens when too many are dead.

Oracles are Python's csv module and the records as they were produced."""

import base64
import csv
import http.server
import io
import json
import os
import random
import struct
import threading
import urllib.parse

import support

CSV = """CREATE TABLE lines (id bigint, name text, amount double precision, ok boolean, at timestamptz)
WITH (topic = '%s', format = 'csv', key = 'id', timestamp_unit = 's');
CREATE MATERIALIZED VIEW rows AS SELECT *, record_partition() AS p, record_offset() AS o, record_key() AS k,
record_timestamp() AS t, record_header('trace') AS trace, record_header('none') AS nothing FROM lines;
"""


def csv_line(row):
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerow(row)
    return out.getvalue()


def test_csv_as_python_writes_it(platform, topic):
    _, seed = support.seed_for("csv")
    rng = random.Random(seed)
    platform.topic(topic, 3)
    rows, envelopes = {}, []
    for n in range(500):
        name = "".join(rng.choice(["a", "B", ",", '"', "\n", "ä", " ", ";"]) for _ in range(rng.randrange(1, 8)))
        name = None if rng.random() < 0.1 else name
        amount = rng.choice([None, rng.uniform(-1e6, 1e6), float(n)])
        ok = rng.choice([None, True, False])
        at = 1_700_000_000 + n
        rows[n] = (name, amount, ok, at)
        envelopes.append(json.dumps({
            "key": str(n), "time": 1_600_000_000_000 + n, "headers": [["trace", "x"], ["trace", f"t{n}"]],
            "value": csv_line([n, name, amount, {None: "", True: "true", False: "false"}[ok], at])}))
    envelopes.append(json.dumps({"key": "1", "value": "2,x,,,"}))
    envelopes.append(json.dumps({"key": "1", "value": "1,x,,"}))
    platform.produce(topic, envelopes, "-J")
    platform.deploy("csv", CSV % topic, "--wait")
    where = {(r["partition"], r["offset"]): r for r in platform.cat(topic)}
    got = platform.scan("rows")
    assert len(got) == len(rows) and platform.version("csv", 1)["dead"] == 2
    for row in got:
        name, amount, ok, at = rows.pop(row["id"])
        assert (row["name"], row["amount"], row["ok"]) == (name, amount, ok)
        assert row["at"] == support.rfc3339(at * 1000)
        record = where[(row["p"], row["o"])]
        assert row["k"] == record["key"] == str(row["id"])
        assert row["t"] == support.rfc3339(1_600_000_000_000 + row["id"])
        assert (row["trace"], row["nothing"]) == (f"t{row['id']}", None)
    reasons = sorted(d["reason"] for d in platform.json("dead", "csv", 1)["dead"])
    assert "5 fields" in reasons[0] and 'key "1" is not' in reasons[1]


def test_time_of_the_record_is_event_time(platform, topic):
    platform.topic(topic, 2)
    platform.produce(topic, [json.dumps({"key": f"k{n % 7}", "time": 1_700_000_000_000 + 1000 * n, "value": f"line {n}"})
                             for n in range(100)], "-J")
    platform.deploy("raw", f"""CREATE TABLE raw (line text)
        WITH (topic = '{topic}', format = 'raw', event_time = 'record_timestamp()', watermark = '1 h');
        CREATE MATERIALIZED VIEW keys AS SELECT record_key() AS k, window_start, count(*) AS n, max(line) AS line
        FROM tumble(raw, record_timestamp(), interval '1 minute') GROUP BY record_key(), window_start;""", "--wait")
    want = {}
    for n in range(100):
        start = (1_700_000_000 + n) // 60 * 60
        count, line = want.get((f"k{n % 7}", start), (0, ""))
        want[(f"k{n % 7}", start)] = (count + 1, max(line, f"line {n}"))
    assert {(r["k"], r["window_start"]): (r["n"], r["line"]) for r in platform.scan("keys")} == \
        {(k, support.rfc3339(start * 1000)): v for (k, start), v in want.items()}


def test_too_many_dead_records_fail_the_version(platform, topic):
    platform.topic(topic, 2)
    good = [json.dumps({"n": n}) for n in range(300)]
    sql = """CREATE TABLE t (n bigint) WITH (topic = '%s', dead_limit = '%s');
             CREATE MATERIALIZED VIEW v AS SELECT count(*) AS n FROM t;"""
    platform.produce(topic, good + ["bad"] * 5, "--partition", 1)
    platform.deploy("limit", sql % (topic, "5"), "--wait")
    platform.deploy("limit", sql % (topic, "4"))
    version = support.eventually(lambda: (v := platform.version("limit", 2))["state"] == "failed" and v, 20, "it fails")
    assert "offset 304 of partition 1: 5 of the 305 records" in version["error"]["message"], version["error"]
    assert platform.status("limit")["serving"] == 1
    assert len(platform.json("dead", "limit", 2)["dead"]) == 5
    platform.produce(topic, ["bad"], "--partition", 0)
    platform.produce(topic, ["bad"], "--partition", 1)
    support.eventually(lambda: platform.version("limit", 1)["error"], 20, "the serving one says so")
    assert platform.scan("v") == [{"n": 300}]


# ---- Avro with a registry of schemas


def avro_long(value):
    bits, out = (value << 1) ^ (value >> 63), bytearray()
    while bits >= 0x80:
        out.append(bits & 0x7F | 0x80)
        bits >>= 7
    return bytes(out + bytes([bits]))


def avro(schema, value):
    """The binary encoding, by the specification; a union is (branch, value)."""
    if isinstance(schema, list):
        branch, value = value
        return avro_long(branch) + avro(schema[branch], value)
    kind = schema["type"] if isinstance(schema, dict) else schema
    if kind == "record":
        return b"".join(avro(field["type"], value[field["name"]]) for field in schema["fields"])
    if kind in ("int", "long"):
        return avro_long(value)
    if kind == "double":
        return struct.pack("<d", value)
    if kind == "boolean":
        return bytes([value])
    if kind == "bytes":
        return avro_long(len(value)) + value
    if kind == "string":
        return avro_long(len(value.encode())) + value.encode()
    if kind == "array":
        return b"".join(avro_long(1) + avro(schema["items"], item) for item in value) + b"\0"
    assert kind == "null", kind
    return b""


DECIMAL = {"type": "bytes", "logicalType": "decimal", "precision": 20, "scale": 2}
FIRST = {"type": "record", "name": "order", "namespace": "shop", "fields": [
    {"name": "id", "type": "int"}, {"name": "customer", "type": "string"}, {"name": "price", "type": DECIMAL},
    {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}}]}
SECOND = {"type": "record", "name": "order", "namespace": "shop", "fields": [
    {"name": "tags", "type": {"type": "array", "items": "string"}}, {"name": "id", "type": "long"},
    {"name": "buyer", "type": ["null", "string"]}, {"name": "price", "type": ["null", DECIMAL]},
    {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    {"name": "where", "type": ["null", {"type": "record", "name": "place", "fields": [
        {"name": "city", "type": "string"}, {"name": "lat", "type": "double"}]}]}]}


class Registry:
    """Confluent's interface, as far as it is asked."""

    def __init__(self, schemas, port=0, subjects=None, references=None):
        """subjects: {(subject, version): schema}; references: {number or (subject, version): [...]}"""
        self.asked = asked = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                asked.append(self.path)
                number = self.path.removeprefix("/schemas/ids/")
                wanted = int(number) if number.isdigit() else None
                if "/subjects/" in self.path:
                    _, _, subject, _, version = self.path.split("?")[0].split("/")
                    wanted = (urllib.parse.unquote(subject), int(version))
                found = {**schemas, **(subjects or {})}
                known = wanted in found
                body = {"schema": json.dumps(found[wanted])} if known else \
                    {"error_code": 40403, "message": f"Schema {number} not found"}
                if known and wanted in (references or {}):
                    body["references"] = [{"name": n, "subject": s, "version": v} for n, s, v in references[wanted]]
                self.send_response(200 if known else 404)
                self.end_headers()
                self.wfile.write(json.dumps(body).encode())

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def order(rng, n):
    """(framed bytes, row)"""
    cents = rng.randrange(-10**9, 10**9)
    price = cents.to_bytes(5, "big", signed=True)
    ms = 1_700_000_000_000 + n
    if n % 2 == 0:
        value = {"id": n, "customer": f"c{n}", "price": price, "at": ms}
        return b"\0" + struct.pack(">I", 17) + avro(FIRST, value), (n, f"c{n}", cents, ms, None)
    buyer = rng.choice([None, f"ä{n}"])
    city = rng.choice([None, "Köln"])
    paid = rng.random() < 0.8
    value = {"tags": ["x"] * rng.randrange(3), "id": n, "buyer": (0, None) if buyer is None else (1, buyer),
             "price": (1, price) if paid else (0, None), "at": ms * 1000,
             "where": (0, None) if city is None else (1, {"city": city, "lat": 1.5})}
    return b"\0" + struct.pack(">I", 70_000) + avro(SECOND, value), (n, buyer, cents if paid else None, ms, city)


def test_avro_with_a_registry(platform, topic):
    _, seed = support.seed_for("avro")
    rng = random.Random(seed)
    orders = [order(rng, n) for n in range(400)]
    rows = {row[0]: row for _, row in orders}
    bad = [b"\0\0\0\0\x63abc", b"\0\0\0\0\x11\x02", b"not framed", orders[0][0] + b"!"]
    lines = [json.dumps({"key": str(n), "value": base64.b64encode(data).decode(), "base64": ["value"]})
             for n, data in enumerate([data for data, _ in orders[:200]] + bad + [data for data, _ in orders[200:]])]
    platform.topic(topic, 2)
    platform.produce(topic, lines, "-J")
    with Registry({17: FIRST, 70_000: SECOND}) as registry:
        port = registry.port
    sql = f"""CREATE TABLE orders (id bigint, customer text, price numeric(12, 2), at timestamptz, city text)
        WITH (topic = '{topic}', format = 'avro', schema_registry = 'http://127.0.0.1:{port}/',
              rename = 'buyer=customer, where.city=city');
        CREATE MATERIALIZED VIEW rows AS SELECT * FROM orders;"""

    def same():
        got = {r["id"]: (r["id"], r["customer"], None if r["price"] is None else round(float(r["price"]) * 100),
                         r["at"], r["city"]) for r in platform.scan("rows")}
        assert got == {n: (*row[:3], support.rfc3339(row[3]), row[4]) for n, row in rows.items()}

    # The registry is away: the version waits and says so; nothing is dead because of it.
    platform.deploy("avro", sql)
    version = support.eventually(lambda: (v := platform.version("avro", 1))["trouble"] and v, 20, "the trouble is shown")
    assert "registry" in version["trouble"]["message"] and version["dead"] <= 1, version
    with Registry({17: FIRST, 70_000: SECOND}, port) as registry:
        platform.wait("avro", 1)
        same()
        assert platform.version("avro", 1)["dead"] == len(bad) and platform.version("avro", 1)["trouble"] is None
        assert sorted(set(registry.asked)) == sorted(registry.asked) == \
            [f"/schemas/ids/{n}" for n in (17, 70_000, 99)]
    reasons = {d["reason"] for d in platform.json("dead", "avro", 1)["dead"]}
    assert any("the registry does not have it" in reason for reason in reasons), reasons
    assert any("framing" in reason for reason in reasons) and any("more bytes" in reason for reason in reasons)
    # Away again: what it said once is kept, also that it does not have schema 99.
    platform.run("replay", "avro")
    platform.wait("avro", 2)
    same()
    receipt = platform.json("history", "avro")["receipts"][0]
    assert receipt["old_digest"] == receipt["new_digest"]
    assert platform.version("avro", 2)["dead"] == len(bad)


def test_avro_schemas_that_refer_to_others(platform, topic):
    """Types that lie in other schemas of the registry, and those that lie in others again."""
    money = {"type": "record", "name": "Money", "namespace": "shop", "fields": [
        {"name": "cents", "type": "long"}, {"name": "currency", "type": "string"}]}
    item = {"type": "record", "name": "Item", "namespace": "shop", "fields": [
        {"name": "price", "type": "shop.Money"}, {"name": "n", "type": "int"}]}
    sale = {"type": "record", "name": "Sale", "namespace": "shop", "fields": [
        {"name": "id", "type": "int"}, {"name": "first", "type": "Item"}, {"name": "fee", "type": "Money"}]}
    lost = {"type": "record", "name": "Lost", "fields": [{"name": "id", "type": "int"}, {"name": "x", "type": "gone"}]}
    subjects = {("shop/Item", 3): item, ("money ä", 1): money}
    needs_money = ("shop.Money", "money ä", 1)
    references = {5: [("shop.Item", "shop/Item", 3), needs_money], ("shop/Item", 3): [needs_money],
                  6: [("gone", "gone", 1)]}
    rows = [(n, n * 7 - 50, n % 3, n * 100) for n in range(300)]
    values = [b"\0\0\0\0\5" + avro_long(n) + avro_long(price) + avro("string", "EUR") + avro_long(count)
              + avro_long(fee) + avro("string", "ä") for n, price, count, fee in rows]
    lines = [json.dumps({"key": str(n), "value": base64.b64encode(value).decode(), "base64": ["value"]})
             for n, value in enumerate(values + [b"\0\0\0\0\6\2"])]
    platform.topic(topic, 2)
    platform.produce(topic, lines, "-J")
    with Registry({5: sale, 6: lost}, 0, subjects, references) as registry:
        platform.deploy("refers", f"""CREATE TABLE sales (id int, price bigint, n int, fee bigint) WITH (topic = '{topic}',
            format = 'avro', schema_registry = 'http://127.0.0.1:{registry.port}',
            rename = 'first.price.cents=price, first.n=n, fee.cents=fee');
            CREATE MATERIALIZED VIEW sold AS SELECT * FROM sales;""", "--wait")
        # Each schema is asked for once, also the one that two refer to.
        assert sorted(p for p in registry.asked if "gone" not in p and "/6" not in p) == [
            "/schemas/ids/5", "/subjects/money%20%C3%A4/versions/1?deleted=true",
            "/subjects/shop%2FItem/versions/3?deleted=true"]

    def same():
        assert sorted((r["id"], r["price"], r["n"], r["fee"]) for r in platform.scan("sold")) == rows
        assert [d["reason"] for d in platform.json("dead", "refers", 1)["dead"]] == \
            ["schema 6: the registry does not have it, or not all that it refers to"]

    same()
    platform.run("replay", "refers")  # the registry is away
    platform.wait("refers", 2)
    same()
    receipt = platform.json("history", "refers")["receipts"][0]
    assert receipt["old_digest"] == receipt["new_digest"]


def test_avro_with_a_schema_file(platform, topic):
    """The version is what the file said when it was deployed, whatever happens to the file."""
    sql = f"""CREATE TABLE orders (id bigint, customer text) WITH (topic = '{topic}', format = 'avro',
        avro_schema_file = 'schemas/{topic}.avsc'); CREATE MATERIALIZED VIEW filed AS SELECT * FROM orders;"""
    schema = {"type": "record", "name": "o", "fields": [{"name": "id", "type": "long"},
                                                        {"name": "customer", "type": "string"}]}
    rows = [{"id": n, "customer": f"c{n}"} for n in range(200)]
    platform.topic(topic, 2)
    platform.produce(topic, [json.dumps({"key": str(r["id"]), "base64": ["value"],
                                         "value": base64.b64encode(avro(schema, r)).decode()}) for r in rows], "-J")
    path = os.path.join(platform.directory, "schemas", topic + ".avsc")
    os.makedirs(os.path.dirname(path), exist_ok=True)

    def file(text):
        with open(path, "w") as out:
            out.write(text)

    def same():
        assert sorted(((r["id"], r["customer"]) for r in platform.scan("filed"))) == [(r["id"], r["customer"]) for r in rows]

    missing = platform.deploy("filed", sql, code=None)
    assert missing.returncode != 0 and "No such file" in missing.stderr and "beside the definition" in missing.stderr
    file(json.dumps(schema) + " " * 300_000)
    large = platform.deploy("filed", sql, code=None)
    assert large.returncode != 0 and "is larger than 256 KiB" in large.stderr and "^" in large.stderr
    file(json.dumps(schema))
    assert f"schemas/{topic}.avsc" in platform.run("explain", os.path.join(platform.directory, "filed.sql")).stdout
    platform.deploy("filed", sql, "--wait")
    same()
    file(json.dumps(schema, indent=4))
    assert "unchanged" in platform.deploy("filed", sql).stdout
    # Replays, verify and readers keep to what was deployed.
    file("{}")
    platform.run("replay", "filed")
    platform.wait("filed", 2)
    same()
    assert platform.run("verify", "filed", 2).returncode == 0
    receipt = platform.json("history", "filed")["receipts"][0]
    assert receipt["old_digest"] == receipt["new_digest"]
    # Fields in another order: another version, to which these records mean something else.
    status, answer, _ = platform.http("POST", "/v1/processors", {
        "name": "filed", "sql": sql, "swap": "manual", "files": {f"schemas/{topic}.avsc": json.dumps(
            {"type": "record", "name": "o", "fields": schema["fields"][::-1]})}})
    assert status == 201 and answer["version"] == 3, answer
    platform.wait("filed", 3, "caught-up")
    assert platform.version("filed", 3)["dead"] > 0
    status, answer, _ = platform.http("POST", "/v1/processors", {"name": "filed", "sql": sql})
    assert status == 400 and "did not come with the definition" in answer["error"]["message"], answer


def test_bytes_go_out_and_in_again(embedded, topic):
    """What is no text stands in cat -J as base64, and produce -J takes it so."""
    rng = random.Random(7)
    data = [rng.randbytes(n) for n in range(1, 40)] + [b"plain"]
    text = [base64.b64encode(d).decode() for d in data]
    embedded.topic(topic, 1)
    embedded.produce(topic, [json.dumps({"key": t, "value": t, "base64": ["key", "value"]}) for t in text], "-J")
    first = embedded.cat(topic)
    embedded.produce(topic, [json.dumps(record) for record in first], "-J")
    records = embedded.cat(topic)
    for n, record in enumerate(records):
        for member in ("key", "value"):
            encoded = member in record.get("base64", [])
            got = base64.b64decode(record[member]) if encoded else record[member].encode()
            assert got == data[n % len(data)], record
    assert len(records) == 2 * len(data)
