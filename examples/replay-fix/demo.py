#!/usr/bin/env python3
"""The main job in about a minute: a live stream, a bug in v1, the fix as v2, replay, exact swap, rollback, forward.

Starts its own platform on the embedded log (or on the broker of --kafka HOST:PORT) in a temporary folder. Four
reader processes ask for rows all the time and check that no read fails and none goes back. At the end every row of
the table is compared with an independent recount of the log. Exit 0 only if all of that held.
"""

import argparse
import http.client
import json
import multiprocessing
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "tests", "system"))

import support  # noqa: E402

TOPIC = "user-events"
TABLE = "user_features"
COLOUR = sys.stdout.isatty() and "NO_COLOR" not in os.environ


def paint(code, text):
    return f"\x1b[{code}m{text}\x1b[0m" if COLOUR else text


def say(text=""):
    print(text, flush=True)


def step(number, text):
    say(f"\n{paint('1;36', f'{number}.')} {paint('1', text)}")


def bar(ratio, width=24):
    full = int(min(1.0, max(0.0, ratio)) * width)
    return "█" * full + "·" * (width - full)


def short(number):
    if number is None:
        return "?"
    if number >= 1e6:
        return f"{number / 1e6:.2f} M"
    return f"{number / 1e3:.1f} k" if number >= 1e4 else f"{number:.0f}"


def seconds(value):
    return "-" if value is None else f"{value:.1f} s" if value < 60 else f"{value / 60:.0f} min"


def done(source):
    """How much of a partition is applied, 0 to 1."""
    if source["next"] is None or not source["end"]:
        return 0.0
    return (source["next"] - source["start"]) / max(1, source["end"] - source["start"])


class Watch:
    """The live picture of a replay: a bar per partition on a terminal, a line a second elsewhere."""

    def __init__(self):
        self.drawn = 0
        self.last_line = 0.0

    def show(self, version):
        eta = seconds(version.get("eta_seconds"))
        head = (f"   v{version['version']} {version['state']:<12} {short(version.get('rate') or 0):>8}/s   "
                f"lag {short(version['lag']):>8}   ETA {eta}")
        lines = [head]
        for source in version["sources"]:
            lines.append(f"   partition {source['partition']}  {bar(done(source))} "
                         f"{source['next'] or 0:>9} of {source['end'] or '?':<9} lag {short(source['lag'])}")
        if COLOUR:
            if self.drawn:
                sys.stdout.write(f"\x1b[{self.drawn}A")
            sys.stdout.write("".join(f"\x1b[2K{line}\n" for line in lines))
            sys.stdout.flush()
            self.drawn = len(lines)
        elif time.monotonic() - self.last_line > 0.5 or version["state"] == "serving":
            self.last_line = time.monotonic()
            say(head + "   " + " ".join(bar(done(s), 10) for s in version["sources"]))


def follow(platform, number, timeout=120):
    """Draws the replay until the version serves."""
    watch = Watch()
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        version = platform.version("features", number)
        watch.show(version)
        if version["state"] == "serving":
            return
        if version["state"] in ("failed", "aborted"):
            raise SystemExit(f"v{number} {version['state']}: {version.get('error')}")
        time.sleep(0.1)
    raise SystemExit(f"v{number} did not serve within {timeout} s: {platform.log_text()[-2000:]}")


def show_users(platform, users):
    say(f"   {'user':<8}{'window':<24}{'clicks':>7}{'views':>7}{'total':>10}{'products':>10}   version")
    for user in users:
        body = platform.json("get", TABLE, user)
        row = body["row"]
        total = "-" if row["total_amount"] is None else f"{row['total_amount']:.2f}"
        say(f"   {user:<8}{row['window_start']:<24}{row['clicks']:>7}{row['views']:>7}{total:>10}"
            f"{row['distinct_products']:>10}   v{body['version']}")


def show_receipt(receipt):
    say(f"   v{receipt['old']} -> v{receipt['new']}, epoch {receipt['epoch']}, held for {receipt['hold_ms']} ms "
        f"({receipt['why']})")
    say(f"   cut         {receipt['cut'][TOPIC]}")
    say(f"   old digest  {receipt['old_digest']}")
    say(f"   new digest  {receipt['new_digest']}")


def reader(address, users, stop, out, seed):
    """Asks for rows until told to stop; counts reads, failures, and cuts or epochs that went back."""
    rng = random.Random(seed)
    connection = http.client.HTTPConnection(address, timeout=20)
    reads = failed = back = 0
    cut, epoch = None, 0
    try:
        while not stop.is_set():
            connection.request("GET", f"/v1/tables/{TABLE}/rows/u{rng.randrange(users)}")
            answer = connection.getresponse()
            body = json.loads(answer.read())
            reads += 1
            if answer.status == 200:
                now = body["cut"][TOPIC]
                if cut is not None and (body["epoch"] < epoch or any(a < b for a, b in zip(now, cut))):
                    back += 1
                cut, epoch = now, body["epoch"]
            elif answer.status != 404:
                failed += 1
            time.sleep(0.001)
    except (OSError, ValueError, http.client.HTTPException) as error:
        failed += 1
        say(f"   a read failed: {error}")
    out.put((reads, failed, back))


def recount(platform, cut):
    """The table as a plain loop over the log says it must be."""
    cat = subprocess.Popen([support.BIN, "cat", TOPIC, "-J", "-e"], stdout=subprocess.PIPE, env=platform.env)
    count = 0

    def records():
        nonlocal count
        for line in cat.stdout:
            count += 1
            yield json.loads(line)

    model, _, _ = support.features_model(records(), cut, right=True)
    if cat.wait() != 0:
        raise SystemExit("kappa cat failed")
    return model, count


def run(options, platform):
    context = multiprocessing.get_context("fork")
    stop, out = context.Event(), context.Queue()
    step(1, "A platform, a topic of 4 partitions, and history: "
            f"{short(options.history)} events of {short(options.users)} users")
    platform.up()
    say(f"   kappa up --data {platform.data}" + (f" --kafka {options.kafka}" if options.kafka else
                                                 "   (embedded log, no broker)"))
    platform.topic(TOPIC, 4)
    begin = time.monotonic()
    step_us = 7_200e6 / options.history
    make = subprocess.Popen([support.EVENTS, "--count", str(options.history), "--users", str(options.users), "--seed",
                             str(options.seed), "--step-us", str(step_us), "--disorder-ms", "3000"],
                            stdout=subprocess.PIPE)
    subprocess.run([support.BIN, "produce", TOPIC, "--key", "user_id"], stdin=make.stdout, env=platform.env, check=True,
                   stderr=subprocess.DEVNULL)
    say(f"   produced in {time.monotonic() - begin:.1f} s; a live stream of {options.rate}/s goes on from here (seed "
        f"{options.seed})")
    producer = support.Producer(platform, TOPIC, rate=options.rate, users=options.users, first=options.history,
                                seed=options.seed, step_us=step_us)
    users = [f"u{n}" for n in (1, 2, 3, 5, 8)]

    step(2, "Deploy v1. It has a bug: purchases are counted as clicks")
    platform.deploy("features", support.features_sql(TOPIC, right=False))
    follow(platform, 1)
    show_users(platform, users)
    address = platform.server()["http"]
    readers = [context.Process(target=reader, args=(address, options.users, stop, out, n), daemon=True)
               for n in range(4)]
    for process in readers:
        process.start()

    step(3, "Deploy v2, the fix: the log is replayed beside v1, which goes on serving")
    platform.deploy("features", support.features_sql(TOPIC))
    follow(platform, 2)

    step(4, "Swapped at one exact cut. The receipt:")
    receipts = platform.json("history", "features")["receipts"]
    show_receipt(receipts[0])
    show_users(platform, users)

    step(5, "Roll back (v1 stayed warm), then forward again")
    show_receipt(platform.json("rollback", "features"))
    show_users(platform, users[:2])
    show_receipt(platform.json("swap", "features", 2))
    show_users(platform, users[:2])

    step(6, "Verified")
    time.sleep(0.5)
    stop.set()
    results = [out.get(timeout=30) for _ in readers]
    reads, failed, back = (sum(column) for column in zip(*results))
    producer.stop()
    support.eventually(lambda: platform.version("features", 2)["lag"] == 0, 60, "v2 stands at the end of the log")
    _, text, headers = platform.http("GET", f"/v1/tables/{TABLE}/rows")
    rows = [json.loads(line) for line in text.splitlines()]
    model, records = recount(platform, json.loads(headers["X-Kappa-Cut"])[TOPIC])
    say(f"   reads during all this: {reads}, failed: {failed}, went back: {back}")
    try:
        support.assert_features_equal(rows, model)
        equal = True
    except AssertionError as error:
        say(f"   {error}")
        equal = False
    say(f"   rows compared with a recount of {short(records)} records: {len(rows)}, "
        + ("all equal" if equal else "NOT EQUAL"))
    return failed == 0 and back == 0 and equal and reads > 0 and len(rows) > 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kafka", help="host:port of a broker instead of the embedded log")
    parser.add_argument("--history", type=int, default=5_000_000, help="events before v1 (default 5,000,000)")
    parser.add_argument("--rate", type=int, default=5000, help="live events a second (default 5000)")
    parser.add_argument("--users", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", action="store_true", help="keep the data directory")
    options = parser.parse_args()
    global TOPIC
    if options.kafka:
        TOPIC = f"kappa-demo-{os.getpid()}"
    directory = tempfile.mkdtemp(prefix="kappa-demo-")
    begin = time.monotonic()
    try:
        with support.Platform(directory, kafka=options.kafka) as platform:
            good = run(options, platform)
    finally:
        if options.keep:
            say(f"   kept: {directory}")
        else:
            shutil.rmtree(directory, ignore_errors=True)
    say()
    say((paint("1;32", "All of it held") if good else paint("1;31", "Something did not hold"))
        + f" ({time.monotonic() - begin:.0f} s).")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
