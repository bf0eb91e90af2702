"""libkappa from outside: the Python module on a running platform, under swaps, and programs built against what
`make install` gives."""

import datetime
import decimal
import json
import multiprocessing
import os
import subprocess
import sys
import threading
import uuid

import pytest
import support

LIB = os.environ.get("KAPPA_LIB", os.path.join(support.ROOT, "build/release/libkappa.so.0"))
os.environ["KAPPA_LIB"] = LIB
sys.path.insert(0, os.path.join(support.ROOT, "bindings", "python"))

import kappa  # noqa: E402

TYPES = """
CREATE TABLE sales (id uuid, day date, price numeric(12,2), n smallint, ok boolean, x double precision, ratio real,
                    at timestamp, t timestamptz, took interval, raw bytea, doc jsonb, tags text[], ns bigint[], s text)
  WITH (topic='sales', format='json', event_time='t');
CREATE MATERIALIZED VIEW rows AS SELECT * FROM sales;
CREATE MATERIALIZED VIEW by_id AS SELECT id, count(*) AS n FROM sales GROUP BY id;
CREATE MATERIALIZED VIEW by_day AS SELECT day, price, sum(price) AS revenue FROM sales GROUP BY day, price;
CREATE MATERIALIZED VIEW hourly AS SELECT s, window_start, window_end, count(*) AS n
  FROM tumble(sales, t, interval '1 hour') GROUP BY s, window_start, window_end;
CREATE MATERIALIZED VIEW sliding AS SELECT s, window_end, count(*) AS n
  FROM hop(sales, t, interval '1 hour', interval '2 hours') GROUP BY s, window_end;
CREATE MATERIALIZED VIEW visits AS SELECT s, window_start, window_end, count(*) AS n
  FROM session(sales, t, interval '30 minutes') GROUP BY s, window_start, window_end;
CREATE MATERIALIZED VIEW top2 AS SELECT s, x FROM (SELECT s, x, row_number() OVER (PARTITION BY s ORDER BY x DESC) AS r
  FROM sales) AS q WHERE r <= 2;
"""
ID = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"
RECORDS = [
    {"id": ID, "day": "2026-01-31", "price": "-0.10", "n": -3, "ok": True, "x": 0.1, "ratio": 0.5,
     "at": "2026-01-31T10:00:00.25", "t": "2026-01-31T10:10:00Z", "took": "1 h", "raw": "\\x00ff",
     "doc": {"a": [1, None]}, "tags": ["x", None], "ns": [1, -2], "s": "é\u0000z"},
    {"t": "2026-01-31T10:20:00Z", "s": "a1", "x": 1},
    {"t": "2026-01-31T12:00:00Z", "s": "a1", "x": 2},
    {"t": "2026-01-31T12:05:00Z", "s": "a2", "x": 3, "day": "2026-02-01", "price": "1.50"},
    {"t": "2026-01-31T12:06:00Z", "s": "a1", "x": 5},
]
UTC = datetime.timezone.utc


@pytest.fixture
def types(tmp_path):
    with support.Platform(str(tmp_path)).up() as platform:
        platform.topic("sales", 1)
        platform.run("produce", "sales", stdin="".join(json.dumps(record) + "\n" for record in RECORDS))
        platform.deploy("sales", TYPES, "--wait")
        with kappa.open(platform.data) as data:
            yield platform, data


def at(hour, minute=0):
    return datetime.datetime(2026, 1, 31, hour, minute, tzinfo=UTC)


def test_values_and_keys(types):
    _, data = types
    with data.read("rows") as read:
        assert (read.processor, read.version, read.epoch, read.cut) == ("sales", 1, 1, {"sales": [5]})
        rows = list(read.table().scan())
        assert rows[0] == {
            "id": uuid.UUID(ID), "day": datetime.date(2026, 1, 31), "price": decimal.Decimal("-0.10"), "n": -3,
            "ok": True, "x": 0.1, "ratio": 0.5, "at": datetime.datetime(2026, 1, 31, 10, 0, 0, 250000),
            "t": at(10, 10), "took": datetime.timedelta(hours=1), "raw": b"\x00\xff", "doc": {"a": [1, None]},
            "tags": ["x", None], "ns": [1, -2], "s": "é\0z"}
        assert str(rows[0]["price"]) == "-0.10"
        assert rows[1]["id"] is None and rows[1]["tags"] is None
        assert read.table().key_names == ["partition", "offset"] and read.table().kind == "rows"
        class Whole:  # as numpy's are: no int
            def __init__(self, value):
                self.value = value

            def __index__(self):
                return self.value
        assert read.table().get((Whole(0), Whole(3)))["s"] == "a2" and read.table().get(("0", "9")) is None
        by_day = read.table("by_day")
        for day in (datetime.date(2026, 2, 1), "2026-02-01"):
            for price in (decimal.Decimal("1.5"), "1.50", 1.5):
                if isinstance(price, float):
                    with pytest.raises(kappa.KappaError, match="type"):
                        by_day.get((day, price))
                else:
                    assert by_day.get((day, price))["revenue"] == decimal.Decimal("1.50")
        assert by_day.get((None, None)) == {"day": None, "price": None, "revenue": None}
        assert [row["day"] for row in by_day.scan(start="2026-02-01")] == [datetime.date(2026, 2, 1)]
        assert read.table("by_id").get(uuid.UUID(ID))["n"] == 1
        assert read.table("by_id").get_many([ID, None, uuid.UUID(int=0)])[1:] == [{"id": None, "n": 4}, None]
        columns = by_day.columns()
        assert list(columns) == ["day", "price", "revenue"] and len(columns["day"]) == 3
        for name in ("rows", "by_id", "by_day", "hourly", "sliding", "visits", "top2"):
            columns, found = read.table(name).columns(), list(read.table(name).scan())
            assert [dict(zip(columns, row)) for row in zip(*columns.values())] == found and found, name
        beyond = kappa._Column("t", kappa.abi.TIMESTAMPTZ).values([(False, 253_402_300_800_000_000), (True, 0), (False, 0)], 0)
        assert beyond == ["253402300800000000", None, datetime.datetime(1970, 1, 1, tzinfo=UTC)]
        assert read.table("hourly").columns(key="nobody") == {name: [] for name in
                                                              ["s", "window_start", "window_end", "n"]}


def test_windows(types):
    _, data = types
    assert data.get("hourly", "a1") == {"s": "a1", "window_start": at(12), "window_end": at(13), "n": 2}
    assert data.get("hourly", "a1", at=at(10, 59))["n"] == 1
    assert data.get("hourly", "a1", at=at(11, 1)) is None
    with data.read("hourly") as read:
        hourly, sliding = read.table(), read.table("sliding")
        assert [row["n"] for row in hourly.scan("a1")] == [1, 2]
        assert [row["s"] for row in hourly.scan(prefix="a", window_least=at(12))] == ["a1", "a2"]
        assert [row["n"] for row in hourly.scan(window_most=at(11))] == [1, 1]
        assert sliding.get("a1")["n"] == 2
        everything = list(sliding.scan())
        for bounds in ({"prefix": "a"}, {"start": "a2"}, {"stop": "a2"}, {"key": "a1"}):
            keep = [row for row in everything if
                    row["s"].startswith(bounds.get("prefix", "")) and row["s"] >= bounds.get("start", "")
                    and row["s"] < bounds.get("stop", chr(0x10FFFF)) and row["s"] == bounds.get("key", row["s"])]
            assert list(sliding.scan(**bounds)) == keep and keep
        visits = read.table("visits")
        assert [(row["window_start"], row["n"]) for row in visits.scan(prefix="a1")] == [(at(10, 20), 1), (at(12), 2)]
        assert visits.get("a1", at=at(12, 10))["n"] == 2
        top = read.table("top2")
        assert top.key_names == ["s", "row_number"]
        assert [top.get(("a1", i))["x"] for i in (1, 2)] == [5, 2]
        with pytest.raises(kappa.KappaError, match="1 to 2"):
            top.get(("a1", 3))


def test_errors(types):
    platform, data = types
    for call, code, words in [
            (lambda: data.get("row", 1), "not_found", "did you mean"),
            (lambda: data.get("rows@7", (0, 1)), "not_found", "version 7"),
            (lambda: data.get("rows", 1), "invalid", "2 values"),
            (lambda: data.get("by_id", "x"), "invalid", "uuid"),
            (lambda: kappa.open(platform.directory), "not_found", "kappa up")]:
        with pytest.raises(kappa.KappaError, match=words) as caught:
            call()
        assert caught.value.code == code
    with data.read("rows") as read:
        with pytest.raises(kappa.KappaError) as caught:
            data.close()
        assert caught.value.code == "busy"
        rows = read.table().scan()
        assert next(rows)["n"] == -3
    with pytest.raises(kappa.KappaError) as caught:
        next(rows)
    assert caught.value.code == "closed"
    with pytest.raises(kappa.KappaError):
        read.table()
    assert {entry["table"] for entry in data.tables()} >= {"rows", "by_id", "hourly"}

    for call in (lambda: kappa.open(platform.data + "\0x"), lambda: data.read("rows\0x"), lambda: data.read("rows", "a\0x")):
        with pytest.raises(ValueError, match="NUL"):
            call()
    with kappa.open(os.fsencode(platform.data)) as other:
        assert other.get("rows", (0, 1))["s"] == "a1"

    missing = {**os.environ, "KAPPA_LIB": "/nowhere.so", "PYTHONPATH": os.path.join(support.ROOT, "bindings", "python")}
    said = subprocess.run([sys.executable, "-c", "import kappa; kappa.open('.')"], env=missing, capture_output=True, text=True)
    assert "KappaError" in said.stderr and "KAPPA_LIB=" in said.stderr

    def child():
        try:
            data.get("rows", (0, 1))
        except kappa.KappaError as error:
            good = error.code == "closed"
            with kappa.open(platform.data) as own:
                os._exit(0 if good and own.get("rows", (0, 1))["s"] == "a1" else 1)
        os._exit(2)
    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join(180)
    assert process.exitcode == 0 and data.get("rows", (0, 1))["s"] == "a1"


LATE = """
import atexit, sys
def late():  # registered first, it runs last: so may a daemon thread
    assert next(rows)["s"] == "a1" and data.get("rows", (0, 1))["s"] == "a1"
    print("read")
atexit.register(late)
import kappa
data = kappa.open(sys.argv[1])
read = data.read("rows")
rows = read.table().scan()
next(rows)
"""


def test_open_when_the_interpreter_exits(types):
    platform, _ = types
    env = {**os.environ, "PYTHONPATH": os.path.join(support.ROOT, "bindings", "python")}
    said = subprocess.run([sys.executable, "-c", LATE, platform.data], env=env, capture_output=True, text=True)
    assert (said.returncode, said.stdout, said.stderr) == (0, "read\n", "")


COUNTS = """CREATE TABLE ev (user_id text, amount double precision, event_time timestamptz)
  WITH (topic='live', format='json', event_time='event_time', watermark='5 s', timestamp_unit='ms');
CREATE MATERIALIZED VIEW everything AS SELECT count(*) AS n, {number} AS v FROM ev;
CREATE MATERIALIZED VIEW per_user AS SELECT user_id, count(*) AS n, {number} AS v FROM ev GROUP BY user_id;
"""


def test_swaps_under_load(tmp_path):
    """Readers in threads while records stream in and versions are swapped, rolled back and dropped: each snapshot's
    tables hold exactly the records below its cut, of one version; nothing goes back, nothing fails."""
    with support.Platform(str(tmp_path)).up() as platform:
        platform.topic("live", 4)
        platform.deploy("counts", COUNTS.format(number=1), "--wait")
        failures, reads, stop = [], [0], threading.Event()

        def reader(data):
            epoch, cut = 0, 0
            try:
                while not stop.is_set():
                    with data.read("everything") as read:
                        total = read.table().get()
                        users = read.table("per_user").columns()
                        below = sum(read.cut["live"])
                        assert below == sum(users["n"]) == (total["n"] if total else 0), (read.cut, total)
                        assert len({*users["v"], *([total["v"]] if total else [])}) <= 1
                        assert read.epoch >= epoch and below >= cut, (read.epoch, epoch, below, cut)
                        epoch, cut = read.epoch, below
                        reads[0] += 1
            except Exception as error:  # noqa: BLE001: reported below
                failures.append(repr(error))

        with kappa.open(platform.data) as data:
            threads = [threading.Thread(target=reader, args=(data,)) for _ in range(3)]
            for thread in threads:
                thread.start()
            stream = support.Producer(platform, "live", rate=2000, users=50)
            try:
                for number in (2, 3, 4):
                    platform.deploy("counts", COUNTS.format(number=number), "--wait")
                platform.run("rollback", "counts")
                platform.run("drop", "counts", 1)
            finally:
                stream.stop()
                stop.set()
                for thread in threads:
                    thread.join(300)
            assert not failures, failures
            assert reads[0] > 50, reads
            with data.read("everything") as read:
                assert read.epoch >= 5 and read.version == 3
            with pytest.raises(kappa.KappaError):
                data.read("everything@1")


def test_programs_built_against_what_is_installed(types, tmp_path):
    platform, _ = types
    if os.path.realpath(LIB) != os.path.realpath(os.path.join(support.ROOT, "build/release/libkappa.so.0")):
        pytest.fail("KAPPA_LIB is not the library of this build")
    prefix = tmp_path / "prefix"
    env = {**os.environ, "MAKEFLAGS": "", "PKG_CONFIG_PATH": str(prefix / "lib/pkgconfig"),
           "LD_LIBRARY_PATH": str(prefix / "lib")}

    def run(command, **kwargs):
        return subprocess.run(command, shell=True, check=True, capture_output=True, text=True, env=env,
                              cwd=tmp_path, timeout=1800, **kwargs).stdout
    run(f"make -C {support.ROOT} install wheel PREFIX={prefix}")
    source = os.path.join(support.ROOT, "examples/library/read.c")
    flags = "-std=c11 -Wall -Wextra -Werror -pedantic"
    run(f"cc {flags} {source} $(pkg-config --cflags --libs kappa) -o shared")
    run(f"cc {flags} {source} $(pkg-config --cflags kappa) -L{prefix}/lib -l:libkappa.a "
        "$(pkg-config --static --libs-only-l kappa | sed 's/-lkappa//') -o static")
    (tmp_path / "header.cc").write_text("#include <kappa/reader.h>\nint main() { return kappa_code_word(0)[0] != 'o'; }\n")
    run("c++ -std=c++17 -Wall -Wextra -Werror header.cc $(pkg-config --cflags --libs kappa) -o header && ./header")
    names = run(f"nm -D --defined-only {prefix}/lib/libkappa.so.0").split()[2::3]
    assert all(name.startswith(("kappa_", "KAPPA_0")) for name in names), names
    for program in ("./shared", "./static"):
        assert json.loads(run(f"{program} {platform.data} by_id {ID}").splitlines()[1]) == {"id": ID, "n": 1}
        assert len(run(f"{program} {platform.data} rows").splitlines()) == 1 + len(RECORDS)
    wheel = [name for name in os.listdir(os.path.join(support.ROOT, "build/release")) if name.endswith(".whl")][0]
    env["PYTHONPATH"] = os.path.join(support.ROOT, "build/release", wheel)
    env["KAPPA_LIB"] = ""
    script = os.path.join(support.ROOT, "examples/library/read.py")
    assert "'n': 1" in run(f"{sys.executable} {script} {platform.data} by_id {ID}")
