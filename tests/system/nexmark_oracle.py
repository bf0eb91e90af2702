"""Nexmark by sqlite3: what each query of examples/nexmark must give, computed over the printed events.

Nothing of Kappa is used here but `kappa nexmark --print`. A join inside the log is as of the record's place in
its partition; an auction and its bids share one, so the number n of an event orders them.
"""

import functools
import hashlib
import json
import os
import re
import sqlite3
import subprocess
from decimal import Decimal

import support

DIRECTORY = os.path.join(support.ROOT, "examples", "nexmark")
COLUMNS = ("event id date_time extra name email credit_card city state item_name description initial_bid reserve"
           " expires seller category bidder price channel url").split()
TABLES = """
CREATE TABLE e (n INTEGER PRIMARY KEY, %s);
CREATE VIEW person AS SELECT * FROM e WHERE event = 'person';
CREATE VIEW auction AS SELECT * FROM e WHERE event = 'auction';
CREATE VIEW bid AS SELECT *, id AS auction FROM e WHERE event = 'bid';
CREATE INDEX auction_id ON e (id, n) WHERE event = 'auction';
"""

RANKS = ("{x} FILTER (WHERE price < 10000), {x} FILTER (WHERE price >= 10000 AND price < 1000000),"
         " {x} FILTER (WHERE price >= 1000000)")
STATISTICS = ", ".join(f"{x}, {RANKS.format(x=x)}"
                       for x in ("count(*)", "count(DISTINCT bidder)", "count(DISTINCT auction)"))
STATISTIC_NAMES = " ".join(f"total_{x}:n rank1_{x}:n rank2_{x}:n rank3_{x}:n" for x in ("bids", "bidders", "auctions"))
WINNING = "b.event = 'bid' AND a.n < b.n AND b.date_time BETWEEN a.date_time AND a.expires"
BID_ROW = "auction:n bidder:n price:n channel url date_time:t extra"

# Name: (columns as name or name:kind, sqlite's query). Kinds: n number, t time, m thousandths of a number, else
# text. The query gives times as ms and thousandths as whole numbers.
QUERIES = {
    "q0": ("auction:n bidder:n price:n date_time:t extra", "SELECT auction, bidder, price, date_time, extra FROM bid"),
    "q1": ("auction:n bidder:n price:m date_time:t extra",
           "SELECT auction, bidder, price * 908, date_time, extra FROM bid"),
    "q2": ("auction:n price:n", "SELECT auction, price FROM bid WHERE auction % 123 = 0"),
    "q3": ("name city state id:n",
           "SELECT p.name, p.city, p.state, a.id FROM auction a JOIN person p ON p.id = a.seller"
           " WHERE a.category = 10 AND p.state IN ('OR', 'ID', 'CA')"),
    "q4": ("category:n average:f",
           "SELECT category, avg(final) FROM (SELECT a.id, a.category, max(b.price) AS final FROM auction a"
           f" JOIN e b ON b.id = a.id AND {WINNING} GROUP BY a.id, a.category) GROUP BY category"),
    "q5": ("auction:n num:n window_end:t",
           "WITH k(k) AS (VALUES (0), (1), (2), (3), (4)), c AS (SELECT auction, (date_time / 2000 - k) * 2000 + 10000"
           " AS ends, count(*) AS num FROM bid, k GROUP BY 1, 2) SELECT auction, num, ends FROM c"
           " WHERE num = (SELECT max(num) FROM c AS o WHERE o.ends = c.ends)"),
    "q7": ("auction:n price:n bidder:n date_time:t",
           "SELECT auction, price, bidder, date_time FROM (SELECT *, max(price) OVER (PARTITION BY date_time / 10000)"
           " AS most FROM bid) WHERE price = most"),
    "q8": ("id:n name window_start:t",
           "SELECT DISTINCT p.id, p.name, p.date_time / 10000 * 10000 FROM person p JOIN auction a"
           " ON a.seller = p.id AND a.date_time / 10000 = p.date_time / 10000"),
    "q9": ("id:n item_name description initial_bid:n reserve:n date_time:t expires:t seller:n category:n bidder:n"
           " price:n bid_date_time:t",
           "SELECT id, item_name, description, initial_bid, reserve, date_time, expires, seller, category, bidder,"
           " price, at FROM (SELECT a.id, a.item_name, a.description, a.initial_bid, a.reserve, a.date_time, a.expires,"
           " a.seller, a.category, b.bidder, b.price, b.date_time AS at, row_number() OVER (PARTITION BY a.id"
           " ORDER BY b.price DESC, b.date_time, b.n) AS place FROM auction a JOIN e b ON b.id = a.id"
           f" AND {WINNING}) WHERE place = 1"),
    "q11": ("bidder:n window_start:t window_end:t bids:n",
            "WITH g AS (SELECT *, date_time - lag(date_time) OVER (PARTITION BY bidder ORDER BY date_time, n) AS gap"
            " FROM bid), s AS (SELECT *, sum(gap IS NULL OR gap >= 10000) OVER (PARTITION BY bidder"
            " ORDER BY date_time, n) AS session FROM g)"
            " SELECT bidder, min(date_time), max(date_time) + 10000, count(*) FROM s GROUP BY bidder, session"),
    "q13": ("auction:n bidder:n price:n date_time:t value",
            "SELECT auction, bidder, price, date_time, 'side ' || (auction % 10000) FROM bid"),
    "q14": ("auction:n bidder:n price:m bid_time_type date_time:t extra c_counts:n",
            "SELECT auction, bidder, price * 908, CASE WHEN date_time / 3600000 % 24 BETWEEN 8 AND 18 THEN 'dayTime'"
            " WHEN date_time / 3600000 % 24 NOT BETWEEN 7 AND 19 THEN 'nightTime' ELSE 'otherTime' END, date_time,"
            " extra, length(extra) - length(replace(extra, 'c', '')) FROM bid"
            " WHERE price * 908 > 1000000000 AND price * 908 < 50000000000"),
    "q15": ("day:t " + STATISTIC_NAMES,
            f"SELECT date_time / 86400000 * 86400000, {STATISTICS} FROM bid GROUP BY 1"),
    "q16": ("channel day:t minute:t " + STATISTIC_NAMES,
            f"SELECT channel, date_time / 86400000 * 86400000, max(date_time) / 60000 * 60000, {STATISTICS} FROM bid"
            " GROUP BY 1, 2"),
    "q17": ("auction:n day:t total_bids:n rank1_bids:n rank2_bids:n rank3_bids:n min_price:n max_price:n avg_price:f"
            " sum_price:n",
            f"SELECT auction, date_time / 86400000 * 86400000, count(*), {RANKS.format(x='count(*)')}, min(price),"
            " max(price), avg(price), sum(price) FROM bid GROUP BY 1, 2"),
    "q18": (BID_ROW,
            "SELECT auction, bidder, price, channel, url, date_time, extra FROM (SELECT *, row_number() OVER"
            " (PARTITION BY bidder, auction ORDER BY date_time DESC, n) AS place FROM bid) WHERE place = 1"),
    "q19": (BID_ROW + " place:n",
            "SELECT auction, bidder, price, channel, url, date_time, extra, place FROM (SELECT *, row_number() OVER"
            " (PARTITION BY auction ORDER BY price DESC, n) AS place FROM bid) WHERE place <= 10"),
    "q20": (BID_ROW + " item_name description initial_bid:n reserve:n auction_date_time:t expires:t seller:n category:n"
            " auction_extra",
            "SELECT b.id, b.bidder, b.price, b.channel, b.url, b.date_time, b.extra, a.item_name, a.description,"
            " a.initial_bid, a.reserve, a.date_time, a.expires, a.seller, a.category, a.extra FROM auction a"
            " JOIN e b ON b.event = 'bid' AND b.id = a.id AND b.n > a.n WHERE a.category = 10"),
    "q21": ("auction:n bidder:n price:n channel channel_id",
            "SELECT auction, bidder, price, channel, CASE lower(channel) WHEN 'apple' THEN '0' WHEN 'google' THEN '1'"
            " WHEN 'facebook' THEN '2' WHEN 'baidu' THEN '3' ELSE channel_id(url) END AS c FROM bid WHERE c IS NOT NULL"),
    "q22": ("auction:n bidder:n price:n channel dir1 dir2 dir3",
            "SELECT auction, bidder, price, channel, part(url, 4), part(url, 5), part(url, 6) FROM bid"),
}


def definition(name, topic):
    """The query with the schema, reading this topic; q13's side table is TOPIC-side."""
    text = ""
    for file in ("schema", name):
        with open(os.path.join(DIRECTORY, file + ".sql")) as sql:
            text += sql.read()
    return text.replace("'nexmark-side'", f"'{topic}-side'").replace("'nexmark'", f"'{topic}'")


def side_rows():
    return [{"key": key, "value": f"side {key}"} for key in range(10000)]


def printed(events, *args):
    """Bytes of `kappa nexmark --print`."""
    return subprocess.run([support.BIN, "nexmark", "--print", "--events", str(events), *map(str, args)],
                          capture_output=True, check=True).stdout


@functools.lru_cache(maxsize=2)
def database(events, *args):
    db = sqlite3.connect(":memory:")
    db.create_function("part", 2, lambda text, n: text.split("/")[n - 1])
    db.create_function("channel_id", 1, lambda url: (re.search("[&]channel_id=([^&]*)", url) or [None, None])[1])
    db.executescript(TABLES % ", ".join(COLUMNS))
    rows = (json.loads(line) for line in printed(events, *args).splitlines())
    db.executemany(f"INSERT INTO e VALUES (?{', ?' * len(COLUMNS)})",
                   ((n, *map(row.get, COLUMNS)) for n, row in enumerate(rows)))
    return db


def kinds(name):
    return [(column.partition(":")[0], column.partition(":")[2]) for column in QUERIES[name][0].split()]


def time_ms(text):
    whole, _, fraction = text.rstrip("Z").partition(".")
    import calendar
    import time
    return calendar.timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S")) * 1000 + int((fraction + "000")[:3])


def plain(value, kind):
    """A value of a table as the oracle writes it."""
    if value is None or kind == "":
        return value
    if kind == "t":
        return time_ms(value)
    if kind == "m":
        return round(Decimal(str(value)) * 1000)
    return round(float(value), 4) if kind == "f" else int(value)


def wanted(name, events, *args):
    """The rows that sqlite3 gives, sorted."""
    floats = [kind == "f" for _, kind in kinds(name)]
    return sorted(tuple(round(v, 4) if f else v for v, f in zip(row, floats))
                  for row in database(events, *args).execute(QUERIES[name][1]))


def given(name, rows):
    """Rows of the platform (dicts) in the same form, sorted."""
    return sorted(tuple(plain(row[column], kind) for column, kind in kinds(name)) for row in rows)


def digest(rows):
    return hashlib.sha256(json.dumps(rows, separators=(",", ":")).encode()).hexdigest()[:16]
