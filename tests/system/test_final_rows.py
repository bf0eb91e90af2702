"""INSERT INTO ... GROUP BY windows: a message per final row, exactly once, named by the record that closed the window,
through swaps, rollbacks and kills; compared with a recount of the log."""

import collections
import random
import time

import support
from support import eventually, seed_for
from test_outputs import NAME, next_version, spans, version_at

SQL = """CREATE TABLE payments (id bigint, user_id text, amount bigint, ts timestamptz)
  WITH (topic = '{topic}', event_time = 'ts', watermark = '2 s', lateness = '1 s', timestamp_unit = 'ms', key = 'user_id');
CREATE TABLE spent (user_id text, until timestamptz, n bigint, total bigint, what text, version text)
  WITH (topic = '{out}', key = 'user_id', headers = 'version');
INSERT INTO spent SELECT user_id, window_end, count(*), sum(amount), 'tumble', '{version}'
  FROM tumble(payments, ts, interval '5 seconds') GROUP BY user_id, window_start, window_end HAVING count(*) > 1;
INSERT INTO spent SELECT user_id, window_end, count(*), sum(amount), 'hop', '{version}'
  FROM hop(payments, ts, interval '3 seconds', interval '6 seconds') WHERE amount > 30 GROUP BY user_id, window_end;
INSERT INTO spent SELECT user_id, window_end, count(*), sum(amount), 'session', '{version}'
  FROM session(payments, ts, interval '1 second') GROUP BY user_id, window_end;
CREATE MATERIALIZED VIEW n AS SELECT user_id, count(*) AS n FROM payments GROUP BY user_id;
"""
BOUND, LATENESS = 2000, 1000
KINDS = ["tumble", "hop", "session"]
BASE = 1_700_000_000_000


class Payments(support.Background):
    """Payments out of order, some late, a few at a time until stopped."""

    def __init__(self, platform, topic, seed, pause=0.05, batch=60):
        super().__init__(pause)
        self.platform, self.topic, self.batch = platform, topic, batch
        self.rng, self.next = random.Random(seed), 0

    def payment(self):
        self.next += 1
        back = self.rng.randrange(12_000 if self.rng.random() < 0.03 else 2_500)
        user = self.rng.randrange(30)
        return {"id": self.next, "user_id": f"u{user}", "amount": self.rng.randrange(100),
                "ts": BASE + self.next * 25 - back}

    def produce(self, count):
        self.platform.produce(self.topic, [self.payment() for _ in range(count)], "--key", "user_id")

    def step(self):
        self.produce(self.batch)


class Recount:
    """What one partition's windows are, and which record closed them."""

    def __init__(self):
        self.limit = -1 << 60
        self.open = {kind: {} for kind in KINDS}  # tumble, hop: (end, user) -> [amount]; session: user -> [(s, e, [..])]
        self.late = 0
        self.messages = {}  # (offset, seq) -> (time, user, n, total, kind)

    def take(self, offset, value):
        t, user, amount = value["ts"], value["user_id"], value["amount"]
        self.limit = max(self.limit, t - BOUND - LATENESS)
        self.close(offset)
        self.late += not self.windows("tumble", t, user, amount, 5000, 5000)
        if amount > 30:
            self.late += not self.windows("hop", t, user, amount, 6000, 3000)
        self.late += not self.session(t, user, amount, 1000)

    def windows(self, kind, t, user, amount, size, slide):
        taken = False
        start = t // slide * slide
        while start + size > t:
            if start + size > self.limit:
                self.open[kind].setdefault((start + size, user), []).append(amount)
                taken = True
            start -= slide
        return taken

    def session(self, t, user, amount, gap):
        all_of = self.open["session"].setdefault(user, [])
        near = [s for s in all_of if s[0] < t + gap and s[1] > t]
        if not near and t + gap <= self.limit:
            return False
        for s in near:
            all_of.remove(s)
        all_of.append((min([t] + [s[0] for s in near]), max([t + gap] + [s[1] for s in near]),
                       [amount] + [a for s in near for a in s[2]]))
        return True

    def close(self, offset):
        for place, kind in enumerate(KINDS):
            if kind == "session":
                found = [(e, user, amounts) for user, all_of in self.open[kind].items() for _, e, amounts in all_of
                         if e <= self.limit]
                for user, all_of in self.open[kind].items():
                    all_of[:] = [s for s in all_of if s[1] > self.limit]
            else:
                found = [(end, user, self.open[kind].pop((end, user)))
                         for end, user in list(self.open[kind]) if end <= self.limit]
            number = 0
            for end, user, amounts in sorted(found):
                if kind == "tumble" and len(amounts) < 2:
                    continue
                self.messages[(offset, place + number * 3)] = (end, user, len(amounts), sum(amounts), kind)
                number += 1


def recount(platform, topic):
    partitions = collections.defaultdict(Recount)
    for record in sorted(platform.cat(topic), key=lambda r: (r["partition"], r["offset"])):
        partitions[record["partition"]].take(record["offset"], record["value"])
    return partitions


def problems(platform, topic, out):
    found = spans(platform, "final")
    if not found:
        return [("nothing serves",)]
    wanted = {(p, *place): message for p, r in recount(platform, topic).items() for place, message in r.messages.items()}
    seen = collections.Counter()
    last = {}
    wrong = []
    for record in platform.cat(out):
        headers = dict(record["headers"])
        name = NAME.match(headers["kappa-out"])
        assert name and name.group(1) == topic and name.group(4) == "0", record
        place = (int(name.group(2)), int(name.group(3)), int(name.group(5)))
        seen[place] += 1
        key = (record["partition"], place[0])
        if last.get(key, (-1,)) >= place[1:]:
            wrong.append(("order", key, last[key], place))
        last[key] = place[1:]
        value, message = record["value"], wanted.get(place)
        if message is None:
            wrong.append(("unknown", place, value))
            continue
        end, user, n, total, kind = message
        time_text = support.rfc3339(end)
        if value != {"user_id": user, "until": time_text, "n": n, "total": total, "what": kind} \
                or record["key"] != user or record["time"] != time_text:
            wrong.append(("value", place, record, message))
        version = version_at(found, topic, place[0], place[1])
        if headers["version"] != f"v{version}":
            wrong.append(("version", place, headers["version"], version))
    wrong += [("missing", place, wanted[place]) for place in wanted if place not in seen]
    wrong += [("double", place, count) for place, count in seen.items() if count > 1]
    return wrong


def all_sent(platform, topic, out):
    support.settled(platform, lambda: problems(platform, topic, out), 60, "every final row once")
    return by_place(platform, out)


def by_place(platform, out):
    """The topic's records; in which order those of several partitions are read is nobody's promise."""
    return sorted(platform.cat(out), key=lambda record: (record["partition"], record["offset"]))


def deploy(platform, topic, version, *arguments, **kwargs):
    return platform.deploy("final", SQL.format(topic=topic, out=topic + "-out", version=f"v{version}"), *arguments,
                           **kwargs)


def test_final_rows_leave_once(platform, topic):
    """History and live; late ones are counted; a version in another shape makes the same."""
    _, seed = seed_for("final_rows")
    out = topic + "-out"
    platform.topic(topic, 3)
    payments = Payments(platform, topic, seed)
    payments.produce(4000)
    deploy(platform, topic, 1, "--wait")
    payments.start()
    time.sleep(1)
    payments.stop()
    records = all_sent(platform, topic, out)
    assert {r["value"]["what"] for r in records} == set(KINDS) and len(records) > 1000
    support.applied_everything(platform, "final", 1, topic)
    late = sum(r.late for r in recount(platform, topic).values())
    assert eventually(lambda: platform.version("final", 1)["late"] == late, 20, "all late rows are counted")
    platform.run("replay", "final", "--shards", 2, "--cache-bytes", 3000)
    platform.wait("final", 2)
    receipt = platform.json("history", "final")["receipts"][0]
    assert receipt["old_digest"] == receipt["new_digest"]
    support.applied_everything(platform, "final", 2, topic)
    assert platform.json("verify", "final", 2)["verified"] is True
    assert by_place(platform, out) == records


def test_final_rows_through_swaps_and_kills(platform, topic):
    """Versions change places, workers and the controller die; windows are open across all of it."""
    rng, seed = seed_for("final_rows_kills")
    out = topic + "-out"
    platform.topic(topic, 3)
    payments = Payments(platform, topic, seed)
    payments.produce(2000)
    deploy(platform, topic, 1, "--wait")
    payments.start()
    for round_number in range(10):
        if round_number % 4 == 1:
            deploy(platform, topic, next_version(platform, "final"), code=None)
        if round_number % 4 == 3:
            platform.run("rollback", "final", code=None)
        time.sleep(rng.random() * 0.4)
        platform.kill_any(rng, 0.7)
    payments.stop()
    assert len(all_sent(platform, topic, out)) > 500


def test_groups_over_several_partitions_are_refused(embedded, topic):
    """Without the message key in GROUP BY the rows of a group may be anywhere; one partition is enough."""
    text = SQL.format(topic=topic, out=topic + "-out", version="v1").replace(", key = 'user_id');\nCREATE TABLE spent",
                                                                            ");\nCREATE TABLE spent")
    embedded.topic(topic, 2)
    refused = embedded.deploy("final", text, code=4)
    assert "one of the 2 partitions" in refused.stderr and "kappa rekey" in refused.stderr
    embedded.topic(topic + "-one", 1)
    embedded.deploy("final", text.replace(f"'{topic}'", f"'{topic}-one'"), "--wait")
