#!/usr/bin/env python3
"""Seeded events for the examples, as lines on stdout:

    python3 examples/generate.py transactions --events 1000 --seed 7 | kappa produce transactions --key user_id

The same seed makes the same lines. Event times count from a fixed base (no clock); those of one topic are out of
order by less than the watermark that the examples declare, so that nothing is late.
"""

import argparse
import csv
import json
import random
import sys

BASE_MS = 1_760_000_000_000  # 2025-10-09T08:53:20Z, a Thursday
DAY_MS = 86_400_000


def times(rng, count, step_ms, disorder_ms=2000):
    for n in range(count):
        yield BASE_MS + n * step_ms - rng.randrange(min(disorder_ms, step_ms * 50) + 1)


def cents(rng, most):
    """An amount with two decimals, small ones more often."""
    return round(most ** rng.random(), 2)


def transactions(rng, count, step_ms=1000, users=40):
    """Now and then a user pays six times in a minute, from the other side of the world, or far more than usual."""
    homes = [(rng.uniform(-60, 60), rng.uniform(-180, 180)) for _ in range(users)]
    burst, who = 0, 0
    for ts in times(rng, count, step_ms):
        if burst == 0:
            who = rng.randrange(users)
            burst = rng.randrange(5, 9) if rng.random() < 0.005 else 0
        else:
            burst -= 1
        lat, lon = homes[who] if rng.random() > 0.01 else homes[rng.randrange(users)]
        amount = cents(rng, 2000) if rng.random() > 0.01 else round(9_000 + cents(rng, 30_000), 2)
        yield {"user_id": f"u{who}", "amount": amount, "lat": round(lat, 4), "lon": round(lon, 4),
               "merchant": f"m{rng.randrange(50)}", "category": rng.choice(["food", "travel", "books", "fuel", None]),
               "product": f"p{min(rng.randrange(100), rng.randrange(100))}", "ts": ts}


def history(rng, count, days=200):
    """Transactions over months, for windows of days. Amounts are quarters: sums are exact, so that ranks agree."""
    for row in transactions(rng, count, step_ms=days * DAY_MS // count):
        yield {**row, "amount": round(row["amount"] * 4) / 4}


def page_views(rng, count):
    """Tab-separated: time, user, url, status."""
    for ts in times(rng, count, 1000):
        url = rng.choice(["/", "/", "/shop", "/cart", "/ä", f"/item/{rng.randrange(20)}"])
        yield f"{ts}\tu{rng.randrange(30)}\t{url}\t{rng.choice([200, 200, 200, 304, 404, 500])}"


def clicks(rng, count, users=40):
    """Clicks in bouts, so that sessions begin and end."""
    online = {}
    for ts in times(rng, count, 700):
        if len(online) < 5 or rng.random() < 0.02:
            online[rng.randrange(users)] = True
        who = rng.choice(list(online))
        if rng.random() < 0.03:
            del online[who]
        yield {"user_id": f"u{who}", "url": f"/page/{rng.randrange(25)}", "dwell_ms": rng.randrange(50, 60_000),
               "status": rng.choice([200, 200, 200, 404]), "ts": ts}


def users(rng, count, known=30):
    """A topic of profiles: (key, row), the row None where the profile is deleted."""
    for _ in range(count):
        who = f"u{rng.randrange(known)}"
        gone = rng.random() < 0.1
        yield who, None if gone else {"user_id": who, "name": f"Name {rng.randrange(1000)}",
                                      "segment": rng.choice(["new", "regular", "vip"])}


def sales(rng, count):
    """Prices are decimals with cents."""
    for ts in times(rng, count, 60_000):
        yield {"product": f"p{rng.randrange(12)}", "quantity": rng.randrange(1, 6),
               "price": round(rng.uniform(0.05, 300), 2), "ts": ts, "region": rng.choice(["north", "south", "west"]),
               "store": f"s{rng.randrange(8)}", "campaign": rng.choice(["spring", "summer", None])}


def readings(rng, count):
    """A value now and then."""
    for ts in times(rng, count, 20_000):
        yield {"value": rng.choice([None, rng.randrange(-50, 50)]), "ts": ts}


def sensor_readings(rng, count):
    """Temperatures; some lines are malformed."""
    for ts in times(rng, count, 500):
        sensor = rng.randrange(8)
        reading = {"sensor_id": f"s{sensor}", "temperature": round(rng.gauss(22 + sensor / 2, 2.5), 1),
                   "timestamp": ts}
        if rng.random() < 0.02:
            yield rng.choice(["", "temperature=21", '{"sensor_id":"s1","temperature":"hot","timestamp":%d}' % ts,
                              json.dumps(reading)[:-7], '{"sensor_id":"s1","temperature":21.5}'])
        else:
            yield reading


def requests(rng, count):
    """Latencies of services, with a long tail."""
    for ts in times(rng, count, 300):
        yield {"service": rng.choice(["api", "search", "login"]), "latency_ms": round(rng.lognormvariate(3, 1), 3),
               "ts": ts}


def user_events(rng, count, users=20):
    """What users do in a shop; amounts are quarters, so that sums are exact."""
    for ts in times(rng, count, 3000):
        kind = rng.choice(["view", "view", "click", "purchase"])
        yield {"user_id": f"u{rng.randrange(users)}", "event_type": kind, "product_id": f"p{rng.randrange(40)}",
               "amount": rng.randrange(1, 2000) / 4 if kind == "purchase" else None, "event_time": ts}


def labels(rng, count, users=22):
    """What users turned out to be, at times within the first two hours; some users have no events."""
    for _ in range(count):
        yield {"user_id": f"u{rng.randrange(users)}", "label": rng.choice(["good", "good", "fraud"]),
               "label_time": BASE_MS + rng.randrange(7_200_000)}


TOPICS = {function.__name__: function for function in (
    transactions, history, page_views, clicks, users, sales, readings, sensor_readings, requests,
    user_events, labels)}


def lines(name, count, seed=1):
    """The lines of a topic; for users, (key, line or None) pairs."""
    made = TOPICS[name](random.Random(f"{name} {seed}"), count)
    if name == "users":
        return [(key, row if row is None else json.dumps(row)) for key, row in made]
    return [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in made]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("topic", choices=sorted(TOPICS))
    parser.add_argument("--events", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--csv", action="store_true", help="rows as CSV with a header")
    options = parser.parse_args()
    if options.csv:
        rows = [json.loads(line) for line in lines(options.topic, options.events, options.seed)]
        writer = csv.DictWriter(sys.stdout, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return
    for line in lines(options.topic, options.events, options.seed):
        if isinstance(line, tuple):
            line = json.dumps({"key": line[0], "value": line[1] and json.loads(line[1])})
        sys.stdout.write(line + "\n")


if __name__ == "__main__":
    main()
