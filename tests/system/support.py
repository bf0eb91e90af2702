"""What the system tests share: a running platform, its command line, and independent oracles.

Nothing here knows how Kappa works inside: it starts the real binary, calls its commands and recounts the log.
Standard library only, since the demo uses it too.
"""

import contextlib
import datetime
import http.client
import json
import math
import os
import random
import re
import signal
import subprocess
import threading
import time

BIN = os.environ.get("KAPPA_BIN", os.path.abspath("build/release/kappa"))
EVENTS = os.environ.get("KAPPA_EVENTS", os.path.abspath("build/release/bench/events"))
ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))

FEATURES_INPUT = """CREATE TABLE user_events (
  user_id text, event_type text, product_id text, amount double precision, event_time timestamptz
) WITH (topic = '%s', format = 'json', event_time = 'event_time', watermark = '5 s', timestamp_unit = 'ms');
"""

FEATURES_VIEW = """CREATE MATERIALIZED VIEW %s WITH (retain = '1 h') AS
SELECT user_id, window_start, window_end,
       count(*) FILTER (WHERE %s) AS clicks,
       count(*) FILTER (WHERE event_type = 'view') AS views,
       sum(amount) FILTER (WHERE event_type = 'purchase') AS total_amount,
       count(DISTINCT product_id) AS distinct_products,
       max(event_time) AS last_update
FROM tumble(user_events, event_time, interval '5 minutes')
GROUP BY user_id, window_start, window_end;
"""

# Limits in the tests are of a machine that is fast enough; they only say when to give up, so that one that is much
# slower, or busy, has this many times as long.
PATIENCE = 6

# What a hold of two versions at one cut, two seconds at most, is refused for on a slow machine, or for a moment after a
# worker was killed; nothing has changed then.
TRY_AGAIN = re.compile(r" is not caught up: (lag|it is) |they cannot be held at one cut|the hold of \d+ ms ran out|"
                       r"the hold ran out before the commit|the worker of v\d+ is (not running|starting)|"
                       r"the lag of v\d+ is not known yet|its worker was killed by signal 9")
HOLDING = ("swap", "rollback", "canary", "diff")

CLICKS_WRONG = "event_type IN ('click', 'purchase')"
CLICKS_RIGHT = "event_type = 'click'"


def features_sql(topic, right=True, table="user_features"):
    """Scenario 1; right=False is the bug of scenario 13 (purchases counted as clicks)."""
    return FEATURES_INPUT % topic + FEATURES_VIEW % (table, CLICKS_RIGHT if right else CLICKS_WRONG)


def seed_for(name):
    """A seed that is printed, and given again by KAPPA_SEED."""
    seed = int(os.environ.get("KAPPA_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"{name}: KAPPA_SEED={seed}")
    return random.Random(seed), seed


class CommandFailed(AssertionError):
    def __init__(self, args, result):
        super().__init__(f"kappa {' '.join(args)}: exit {result.returncode}\n{result.stdout[-2000:]}"
                         f"\n{result.stderr[-4000:]}")
        self.result = result


class Platform:
    """One `kappa up` on a data directory of its own, and the commands against it."""

    def __init__(self, directory, kafka=None, env=None, args=()):
        self.data = os.path.join(directory, "data")
        self.directory = directory
        self.kafka = kafka
        self.env = {**os.environ, "KAPPA_DATA": self.data, "ASAN_OPTIONS": "detect_leaks=0", **(env or {})}
        self.env.pop("KAPPA_SERVER", None)
        self.args = list(args)
        self.process = None
        self.log_path = os.path.join(directory, "up.log")

    # -- life

    def up(self, wait=True, extra_env=None):
        command = [BIN, "up", "--data", self.data, "--http", "127.0.0.1:0", *self.args]
        if self.kafka:
            command += ["--kafka", self.kafka]
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(self.data, "server.json"))
        log = open(self.log_path, "ab")
        self.process = subprocess.Popen(command, stdout=log, stderr=log, env={**self.env, **(extra_env or {})})
        log.close()
        if wait:
            eventually(self.ready, 30, "the platform answers", on_poll=self._still_runs)
        return self

    def _still_runs(self):
        assert self.process.poll() is None, "kappa up ended: " + self.log_text()[-3000:]

    def ready(self):
        try:
            return self.http("GET", "/readyz")[0] == 200
        except (OSError, ValueError, KeyError, http.client.HTTPException):
            return False

    def log_text(self):
        with open(self.log_path, errors="replace") as log:
            return log.read()

    def down(self, timeout=180):
        """SIGTERM; the exit code."""
        if self.process is None:
            return None
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout)
        self.process = None
        return code

    def kill(self):
        """kill -9 of the controller (its workers die with it)."""
        self.process.kill()
        self.process.wait()
        self.process = None

    def close(self):
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    # -- commands

    def run(self, *args, stdin=None, code=0, timeout=300):
        """Runs a command, demands the exit code (None: any); the result with text output."""
        args = [str(arg) for arg in args]
        deadline = time.monotonic() + timeout
        while True:
            result = subprocess.run([BIN, *args], input=stdin, capture_output=True, text=True, env=self.env,
                                    timeout=timeout, cwd=self.directory)
            # On a slow machine a version may be behind just now, as somebody who swaps by hand would see.
            if (args[0] not in HOLDING or code != 0 or result.returncode == 0 or time.monotonic() > deadline
                    or not TRY_AGAIN.search(result.stdout + result.stderr)):
                break
            time.sleep(0.2)
        if code is not None and result.returncode != code:
            raise CommandFailed(args, result)
        return result

    def json(self, *args, **kwargs):
        return json.loads(self.run(*args, "-o", "json", **kwargs).stdout)

    def topic(self, name, partitions=4, *args):
        self.run("topic", "create", name, "--partitions", partitions, *args)
        return name

    def produce(self, topic, events, *args):
        """events: dicts or raw lines."""
        lines = "".join((e if isinstance(e, str) else json.dumps(e)) + "\n" for e in events)
        self.run("produce", topic, *args, stdin=lines)

    def deploy(self, name, sql, *args, code=0, **kwargs):
        path = os.path.join(self.directory, name + ".sql")
        with open(path, "w") as out:
            out.write(sql)
        return self.run("deploy", path, *args, code=code, **kwargs)

    def status(self, processor):
        return self.json("status", processor)["processors"][0]

    def version(self, processor, number):
        return next(v for v in self.status(processor)["versions"] if v["version"] == number)

    def wait(self, processor, number, what="serving", timeout="300s"):
        self.run("wait", processor, number, "--for", what, "--timeout", timeout)

    def scan(self, table, *args):
        out = self.run("scan", table, "-o", "json", *args).stdout
        return [json.loads(line) for line in out.splitlines()]

    def query(self, sql):
        """Rows of read-time SQL, as dicts."""
        status, answer, _ = self.http("POST", "/v1/sql", {"sql": sql, "limit": 10_000_000, "timeout_ms": 60_000})
        assert status == 200 and not answer["truncated"], answer
        names = [column["name"] for column in answer["columns"]]
        return [dict(zip(names, row)) for row in answer["rows"]]

    def cat(self, topic):
        """All records of a topic now, as the envelopes of cat -J."""
        out = self.run("cat", topic, "-J", "-e").stdout
        return [json.loads(line) for line in out.splitlines()]

    def server(self):
        with open(os.path.join(self.data, "server.json")) as file:
            return json.load(file)

    def http(self, method, path, body=None, headers=None):
        """(status, parsed body or text, headers)."""
        connection = http.client.HTTPConnection(self.server()["http"].replace("http://", ""), timeout=120)
        try:
            data = json.dumps(body) if isinstance(body, (dict, list)) else body
            head = {"Content-Type": "application/json"} if data is not None else {}
            connection.request(method, path, data, {**head, **(headers or {})})
            answer = connection.getresponse()
            text = answer.read().decode()
            with contextlib.suppress(ValueError):
                text = json.loads(text)
            return answer.status, text, dict(answer.getheaders())
        finally:
            connection.close()

    def worker_pids(self):
        """Processes whose parent is the controller."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                with open(f"/proc/{pid}/stat") as stat:
                    fields = stat.read().rsplit(")", 1)[1].split()
                if int(fields[1]) == self.process.pid:
                    found.append(int(pid))
        return found

    def kill_any(self, rng, share):
        """kill -9 of a worker in that share of the calls, else of the controller, which comes up again."""
        workers = self.worker_pids()
        if workers and rng.random() < share:
            with contextlib.suppress(ProcessLookupError):
                os.kill(rng.choice(workers), signal.SIGKILL)
        else:
            self.kill()
            self.up()


def eventually(condition, seconds, what, on_poll=None, every=0.03):
    """Polls until the condition holds; its value. seconds: on a machine that is fast enough."""
    end = time.monotonic() + seconds * PATIENCE
    while True:
        value = condition()
        if value:
            return value
        if on_poll:
            on_poll()
        if time.monotonic() > end:
            raise AssertionError(f"after {seconds * PATIENCE} s still not so: {what}")
        time.sleep(every)


def settled(platform, problems, seconds, what):
    """Polls until the recount finds no problems; the first ones, and the status, when time is over."""
    found = []

    def right():
        found[:] = problems()
        return not found

    try:
        eventually(right, seconds, what, every=0.3)
    except AssertionError:
        raise AssertionError(f"{len(found)} problems: {found[:5]}\n{platform.run('status').stdout}") from None


class Background(threading.Thread):
    """step(), again and again with a pause, until stopped; stop() fails when a step did."""

    def __init__(self, pause):
        super().__init__(daemon=True)
        self.pause = pause
        self.ended = threading.Event()
        self.error = None

    def run(self):
        try:
            while not self.ended.is_set():
                self.step()
                time.sleep(self.pause)
        except Exception as error:  # pylint: disable=broad-except
            self.error = error

    def stop(self):
        self.ended.set()
        self.join(300)
        assert not self.is_alive() and self.error is None, self.error


class Producer:
    """A steady stream of scenario 1 events into a topic until stopped."""

    def __init__(self, platform, topic, rate, users=200, seed=1, first=0, step_us=100, disorder_ms=3000, bad=0):
        self.generator = subprocess.Popen(
            [EVENTS, "--rate", str(rate), "--count", "0", "--users", str(users), "--seed", str(seed),
             "--first", str(first), "--step-us", str(step_us), "--disorder-ms", str(disorder_ms), "--bad", str(bad)],
            stdout=subprocess.PIPE)
        self.produce = subprocess.Popen([BIN, "produce", topic, "--key", "user_id"], stdin=self.generator.stdout,
                                        env=platform.env, stderr=subprocess.PIPE)
        self.generator.stdout.close()

    def stop(self):
        self.generator.terminate()
        self.generator.wait()
        _, error = self.produce.communicate(timeout=300)
        assert self.produce.returncode == 0, error.decode()


def events_lines(count, *, seed=1, users=1000, first=0, step_us=1000, disorder_ms=3000, bad=0):
    """Lines of the generator."""
    out = subprocess.run([EVENTS, "--count", str(count), "--seed", str(seed), "--users", str(users), "--first",
                          str(first), "--step-us", str(step_us), "--disorder-ms", str(disorder_ms), "--bad",
                          str(bad)], capture_output=True, text=True, check=True).stdout
    return out.splitlines()


# ---- The naive model of scenario 1: a loop over the records, and nothing clever.

WINDOW_MS = 300_000
RETAIN_MS = 3_600_000
BOUND_MS = 5_000


def rfc3339(ms):
    whole, fraction = divmod(ms, 1000)
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))
    return text + (f".{fraction:03d}Z" if fraction else "Z")


def ms_of(text):
    """Of a time as Kappa writes it: ms since 1970."""
    return round(datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() * 1000)


def features_model(records, cut, right=True):
    """records: cat -J envelopes; cut: next offset per partition. -> ({(window_end, user): row}, dead, late)"""
    types = {"user_id": str, "event_type": str, "product_id": str, "amount": (int, float),
             "event_time": (int, float)}
    parts = {}
    dead = late = 0
    for record in records:
        partition, offset = record["partition"], record["offset"]
        if offset >= cut[partition]:
            continue
        state = parts.setdefault(partition, {"seen": None, "rows": {}})
        event = record["value"]
        good = isinstance(event, dict) and event.get("event_time") is not None and all(
            event.get(k) is None or (isinstance(event[k], t) and not isinstance(event[k], bool))
            for k, t in types.items())
        if not good:
            dead += 1
            continue
        at = event["event_time"]
        end = at // WINDOW_MS * WINDOW_MS + WINDOW_MS
        if state["seen"] is not None and end <= state["seen"] - BOUND_MS:
            late += 1
        else:
            row = state["rows"].setdefault((end, event.get("user_id")), {
                "clicks": 0, "views": 0, "amounts": [], "products": set(), "last": at})
            kind = event.get("event_type")
            row["clicks"] += kind == "click" or (not right and kind == "purchase")
            row["views"] += kind == "view"
            if kind == "purchase" and event.get("amount") is not None:
                row["amounts"].append(event["amount"])
            if event.get("product_id") is not None:
                row["products"].add(event["product_id"])
            row["last"] = max(row["last"], at)
        state["seen"] = at if state["seen"] is None else max(state["seen"], at)
    merged = {}
    for partition in sorted(parts):
        state = parts[partition]
        for key, row in state["rows"].items():
            if key[0] + RETAIN_MS <= state["seen"] - BOUND_MS:
                continue
            into = merged.get(key)
            if into is None:
                merged[key] = row
                continue
            into["clicks"] += row["clicks"]
            into["views"] += row["views"]
            into["products"] |= row["products"]
            into["last"] = max(into["last"], row["last"])
            into["amounts"] += row["amounts"]
    rows = {key: {"user_id": key[1], "window_start": rfc3339(key[0] - WINDOW_MS), "window_end": rfc3339(key[0]),
                  "clicks": row["clicks"], "views": row["views"],
                  "total_amount": math.fsum(row["amounts"]) if row["amounts"] else None,
                  "distinct_products": len(row["products"]), "last_update": rfc3339(row["last"])}
            for key, row in merged.items()}
    return rows, dead, late


def by_window_and_user(rows):
    return {(row["window_end"], row["user_id"]): row for row in rows}


def assert_features_equal(rows, model):
    got = by_window_and_user(rows)
    want = {(row["window_end"], row["user_id"]): row for row in model.values()}
    assert len(got) == len(rows), "a row came twice"
    missing = sorted(set(want) - set(got), key=str)[:3]
    extra = sorted(set(got) - set(want), key=str)[:3]
    assert not missing and not extra, f"missing {missing}, extra {extra} of {len(want)}"
    wrong = [(got[k], want[k]) for k in want if got[k] != want[k]]
    assert not wrong, f"{len(wrong)} of {len(want)} rows differ, first: {wrong[0]}"


def applied_everything(platform, processor, number, topic, what="committed"):
    """The version has committed everything up to the end of the topic as it is now; what="next": or only applied it."""
    ends = {}
    for record in platform.cat(topic):
        ends[record["partition"]] = record["offset"] + 1

    def there():
        version = platform.version(processor, number)
        return all(s[what] >= ends.get(s["partition"], 0) for s in version["sources"] if s["topic"] == topic)

    eventually(there, 60, f"{processor} v{number} has come to the end of {topic}")


def normal_name(text):
    return re.sub(r"[^a-z0-9-]", "-", text.lower())[-40:].strip("-")
