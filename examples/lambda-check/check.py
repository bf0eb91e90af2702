#!/usr/bin/env python3
"""Compares the live table user_features with a batch over the archive at the same cut. Exit 0 when they are equal.

    python3 examples/lambda-check/check.py TOPIC        (KAPPA_DATA names the data directory)

The batch is sqlite3 over `kappa cat`: no code of the stream is used. Late events are those behind the watermark of
their partition when they came, as the definition says; windows are kept for an hour behind it.
"""

import http.client
import json
import os
import sqlite3
import subprocess
import sys

BATCH = """
WITH seen AS (
  SELECT *, event_time / 300000 * 300000 + 300000 AS ends,
         max(event_time) OVER (PARTITION BY partition ORDER BY offset ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
           - 5000 AS watermark
  FROM e),
newest AS (SELECT partition, max(event_time) - 5000 AS final FROM e GROUP BY partition),
kept AS (
  SELECT seen.* FROM seen JOIN newest USING (partition)
  WHERE (watermark IS NULL OR ends > watermark) AND ends + 3600000 > final)
SELECT user_id, strftime('%Y-%m-%dT%H:%M:%SZ', ends / 1000, 'unixepoch'),
       count(*) FILTER (WHERE event_type = 'click'), count(*) FILTER (WHERE event_type = 'view'),
       round(sum(amount) FILTER (WHERE event_type = 'purchase'), 6), count(DISTINCT product_id)
FROM kept GROUP BY user_id, ends
"""


def live():
    """The rows of the live table, and the cut at which they were read: {topic: [offset per partition]}."""
    data = os.environ.get("KAPPA_DATA", "kappa-data")
    with open(os.path.join(data, "server.json")) as file:
        address = json.load(file)["http"]
    connection = http.client.HTTPConnection(address, timeout=60)
    connection.request("GET", "/v1/tables/user_features/rows")
    answer = connection.getresponse()
    text = answer.read().decode()
    if answer.status != 200:
        raise SystemExit(text)
    return [json.loads(line) for line in text.splitlines()], json.loads(answer.headers["X-Kappa-Cut"])


def archive(topic, cut):
    """The records below the cut, as a table e."""
    db = sqlite3.connect(":memory:")
    db.execute("CREATE TABLE e (partition, offset, user_id, event_type, product_id, amount, event_time)")
    cat = subprocess.Popen(["kappa", "cat", topic, "-J", "-e"], stdout=subprocess.PIPE)
    for line in cat.stdout:
        record = json.loads(line)
        if record["offset"] < cut[record["partition"]]:
            db.execute("INSERT INTO e VALUES (?, ?, ?, ?, ?, ?, ?)", (
                record["partition"], record["offset"],
                *map(record["value"].get, ("user_id", "event_type", "product_id", "amount", "event_time"))))
    if cat.wait() != 0:
        raise SystemExit("kappa cat failed")
    return db


def main():
    topic = sys.argv[1] if len(sys.argv) > 1 else "user-events"
    rows, cut = live()
    db = archive(topic, cut[topic])
    stream = sorted((r["user_id"], r["window_end"], r["clicks"], r["views"],
                     r["total_amount"] and round(r["total_amount"], 6), r["distinct_products"]) for r in rows)
    batch = sorted(db.execute(BATCH))
    print(f"cut {cut[topic]}: {db.execute('SELECT count(*) FROM e').fetchone()[0]} records, "
          f"{len(stream)} rows live, {len(batch)} rows by the batch")
    different = sorted(set(stream) ^ set(batch), key=str)
    for row in different[:10]:
        print("different:", row)
    print("equal" if not different else f"{len(different)} rows differ")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
