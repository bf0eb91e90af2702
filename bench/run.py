#!/usr/bin/env python3
"""The main benchmark: one JSON line a figure, ratios within one run. `make bench`, or parts by name:

    make bench BENCH_ARGS="--events 2000000 embedded live swap"

    embedded   replay of the main scenario from the embedded log
    kafka      the same from a real Kafka (started here), against plain librdkafka on the same topic
    streams    the same by a Kafka Streams program, when --streams DIR names one (mvn compiled, see --help)
    archive    reading and replaying an archive against the same from a real Kafka, and what archiving costs the worker
               of a version that reads --rate events/s (of CPU time, with archive=on and off in turn)
    live       produce to readable, at --rate events/s
    governed   freshness of what serves, at --rate events/s: idle, beside a replay with a goal of freshness, and beside
               one as fast as it can (produce to readable, and the worker's own count); its asked ratio is 1.5
    deploy     from the call that deploys to the first row that can be read; asked are 100 ms
    swap       swaps and rollbacks under four readers: hold, failed reads, reads that went back
    diff       two versions of which 100 rows differ, by digests of key ranges and by reading all rows; as many rows as
               half of --events
    store      what leaves cost a version's writer: the same commits with and without them
    reader     rows by key of 2 M keys through libkappa, against plain LMDB on the same bytes
    redis      HGETALL/s by redis-benchmark with pipelines of 1 and 16, and CPU time for each, next to redis-server, which
               redis-tools has; medians of turns. Rows whose records have the key lie in one partition; others in four, and are merged
    http       rows by key over HTTP by wrk, 32 connections, next to libmicrohttpd answering a constant of the same size;
               likewise
    scale      rows by key with one and with two threads: through libkappa from this process, and over Redis from servers
               with --threads 1 and 2 beside each other. On a machine of two cores the client takes most of one, so there
               CPU time a read says more than the rate: it should not grow
    fresh      live at --rate events/s: idle, beside two threads of libkappa that read as much as they can, and beside
               redis-benchmark doing so; the ratio to idle should stay near 1 (TMPDIR=/dev/shm: without the disk,
               whose syncs wait for a CPU, too)
    nexmark    scenarios 1, 5, 10, 11 (features, engagement, sessions, latency) and every Nexmark query, or those of
               --queries, from the embedded log; per second of the worker's CPU time too, which other programs on the
               machine disturb less
    flink      the same queries by Flink SQL (bench/peers/flink) and by Kappa from one topic of a real Kafka. Four
               ratios: of wall time and of CPU time (per core), with the start of Flink's job and without it. What
               Kappa does when a table is read (some joins) is not in its times: see the comments of the programs.
               With --rows the sizes of both results and no times.

Figures depend on the machine and on what else runs on it; the ratios are what counts.
"""

import argparse
import contextlib
import json
import multiprocessing
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "tests", "system"))

import flink_peer  # noqa: E402
import jobs  # noqa: E402
import support  # noqa: E402

BENCH = os.environ.get("BENCH_DIR", os.path.join(HERE, "..", "build", "release", "bench"))
USERS = 100_000


def out(**figures):
    print(json.dumps(figures), flush=True)


def quantiles(values):
    values = sorted(values)
    return {"p50": round(statistics.median(values), 2), "p99": round(values[int(len(values) * 0.99)], 2),
            "max": round(values[-1], 2), "samples": len(values)}


def fill(platform, topic, options, users=USERS):
    """Puts the events of the main scenario into the topic; seconds it took."""
    platform.topic(topic, 4)
    begin = time.monotonic()
    make = subprocess.Popen([support.EVENTS, "--count", str(options.events), "--users", str(users), "--step-us", "100",
                             "--disorder-ms", "2000"], stdout=subprocess.PIPE)
    subprocess.run([support.BIN, "produce", topic, "--key", "user_id"], stdin=make.stdout, env=platform.env, check=True,
                   stderr=subprocess.DEVNULL)
    return time.monotonic() - begin


@contextlib.contextmanager
def live_events(platform, topic, options):
    """Events of now, --rate a second, into the topic."""
    make = subprocess.Popen([support.EVENTS, "--now", "--rate", str(options.rate), "--count", "0", "--users", "1000"],
                            stdout=subprocess.PIPE)
    produce = subprocess.Popen([support.BIN, "produce", topic, "--key", "user_id"], stdin=make.stdout, env=platform.env,
                               stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        make.terminate()
        make.wait()
        produce.wait()


@contextlib.contextmanager
def filled_kafka(options):
    """A real Kafka with the events of the main scenario, and a server on it: (broker, platform)."""
    import kafka_broker
    with kafka_broker.KafkaBroker(heap_mb=1024, brief=False) as broker:
        with support.Platform(options.dir, kafka=broker.brokers) as platform:
            platform.up()
            fill(platform, "events", options)
            yield broker, platform


def cpu_seconds(pid):
    """User and system time of a process so far; 0 when it is gone."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def replay(platform, topic, name, options, sql=None, events=None):
    """Deploys the main scenario, or this definition, and waits until everything is applied: (events/s, figures)."""
    path = os.path.join(platform.directory, name + ".sql")
    with open(path, "w") as file:
        file.write(sql or support.features_sql(topic, table=name))
    events = events or options.events
    begin = time.monotonic()
    platform.run("deploy", path, "--swap", "manual")
    deployed = time.monotonic()
    first = None
    rss = 0
    while True:
        version = platform.version(name, 1)
        rss = max(rss, (version.get("worker") or {}).get("rss_bytes") or 0)
        if first is None and version["records"] > 0:
            first = time.monotonic()
        if version["records"] >= events:
            cpu = cpu_seconds((version.get("worker") or {}).get("pid"))
            break
        if version["state"] in ("failed", "aborted"):
            raise SystemExit(f"{name}: {version}")
        time.sleep(0.02)
    end = time.monotonic()
    platform.wait(name, 1, "caught-up", "300s")
    sealed = time.monotonic()
    return events / (end - begin), {
        "cpu_seconds": round(cpu, 2), "seconds": round(end - begin, 2), "deploy_seconds": round(deployed - begin, 3),
        "to_ready_seconds": round(sealed - begin, 2), "rss_mb": round(rss / 1e6)}


def bench_embedded(options, results):
    with support.Platform(options.dir) as platform:
        platform.up()
        seconds = fill(platform, "events", options)
        out(bench="embedded_produce", events_per_s=round(options.events / seconds))
        for run in range(options.runs):
            rate, figures = replay(platform, "events", f"run{run}", options)
            results.setdefault("embedded", []).append(rate)
            out(bench="embedded_replay", events_per_s=round(rate), **figures)
            platform.run("abort", f"run{run}", 1, code=None)


def plain_kafka(brokers, topic, options):
    """events/s of plain librdkafka with one client, by bench/kafka_read."""
    text = subprocess.run([os.path.join(BENCH, "kafka_read"), brokers, topic, str(options.events)], check=True,
                          capture_output=True, text=True).stdout
    figures = json.loads(text.splitlines()[-1])
    return figures["records_per_s"]


def streams(brokers, topic, options):
    """events/s of the Kafka Streams program in --streams (its main class Features prints `... M/s`)."""
    text = subprocess.run(["java", "-Xmx4g", "-cp", "target/classes:target/lib/*", "Features", brokers, topic,
                           str(options.events), "2", "memory"], cwd=options.streams, check=True, capture_output=True,
                          text=True).stdout
    return float(re.search(r"([0-9.]+) M/s", text).group(1)) * 1e6


def bench_kafka(options, results):
    with filled_kafka(options) as (broker, platform):
        for run in range(options.runs):
            plain = plain_kafka(broker.brokers, "events", options)
            rate, figures = replay(platform, "events", f"run{run}", options)
            results.setdefault("kafka_ratio", []).append(rate / plain)
            out(bench="kafka_replay", events_per_s=round(rate), plain_client_events_per_s=round(plain),
                ratio=round(rate / plain, 3), **figures)
            platform.run("abort", f"run{run}", 1, code=None)
        if options.streams:
            rate = streams(broker.brokers, "events", options)
            out(bench="kafka_streams_peer", events_per_s=round(rate))
            results["streams"] = [rate]


def archived_all(platform, topic, records):
    """Waits until the archive has so many records; seconds."""
    begin = time.monotonic()
    while sum(p["records"] for p in platform.json("archive", "ls", topic)["topics"][0]["partitions"]) < records:
        time.sleep(0.2)
    return time.monotonic() - begin


def log_read(config, topic, records):
    """(records/s, CPU seconds) of bench/log_read."""
    before = os.times()
    text = subprocess.run([os.path.join(BENCH, "log_read"), json.dumps(config), topic, str(records)], check=True,
                          capture_output=True, text=True).stdout
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return json.loads(text.splitlines()[-1])["records_per_s"], cpu


def archive_reading(platform, broker, options):
    """The reader alone: what replays wait for."""
    folder = os.path.join(platform.data, "archive")
    for _ in range(options.runs):
        plain, plain_cpu = log_read({"kind": "kafka", "brokers": broker.brokers}, "events", options.events)
        rate, cpu = log_read({"kind": "archive", "archive": folder}, "events", options.events)
        out(bench="archive_read", records_per_s=round(rate), kafka_records_per_s=round(plain),
            ratio=round(rate / plain, 2), cpu_ratio=round(plain_cpu / cpu, 2))


def archive_cost(platform, options):
    """CPU time per record of a worker at the live end, with archive=on and off in turn; that of the server beside."""
    platform.topic("live", 4)
    platform.deploy("served", support.features_sql("live", table="served"), "--wait")
    used = {"on": [0.0, 0.0, 0], "off": [0.0, 0.0, 0]}
    with live_events(platform, "live", options):
        for archive in ("off", "on", "on", "off") * max(options.runs // 2, 1):  # trends cancel out
            platform.run("topic", "set", "live", "archive=" + archive)
            if archive == "on":
                archived_all(platform, "live", platform.version("served", 1)["records"])
            time.sleep(2)
            version = platform.version("served", 1)
            pids = version["worker"]["pid"], platform.process.pid
            begin = [cpu_seconds(pid) for pid in pids]
            time.sleep(options.seconds / 4)  # of the worker and of the server
            spent = [cpu_seconds(pid) - b for pid, b in zip(pids, begin)]
            records = platform.version("served", 1)["records"] - version["records"]
            used[archive] = [a + b for a, b in zip(used[archive], [*spent, records])]
    worker = {key: 1e6 * value[0] / max(value[2], 1) for key, value in used.items()}
    server = {key: 1e6 * value[1] / max(value[2], 1) for key, value in used.items()}
    out(bench="archive_cost", rate=options.rate, records=used["on"][2], worker_us_per_record=round(worker["on"], 3),
        worker_us_without=round(worker["off"], 3), ratio=round(worker["on"] / worker["off"], 3),
        server_us_per_record=round(server["on"], 3), server_us_without=round(server["off"], 3))


def bench_archive(options, _):
    with filled_kafka(options) as (broker, platform):
        plain, plain_figures = replay(platform, "events", "plain", options)
        platform.run("abort", "plain", 1, code=None)
        platform.run("topic", "set", "events", "archive=on")
        seconds = archived_all(platform, "events", options.events)
        found = platform.json("archive", "ls")["topics"][0]["partitions"]
        out(bench="archive_write", records_per_s=round(options.events / seconds),
            compression=round(sum(p["raw_bytes"] for p in found) / sum(p["bytes"] for p in found), 2))
        rate, figures = replay(platform, "events", "archived", options)
        platform.run("abort", "archived", 1, code=None)
        out(bench="archive_replay", events_per_s=round(rate), kafka_events_per_s=round(plain),
            ratio=round(rate / plain, 2), cpu_ratio=round(plain_figures["cpu_seconds"] / figures["cpu_seconds"], 2))
        archive_reading(platform, broker, options)
        archive_cost(platform, options)


def bench_live(options, _):
    """Latency from the event time of a live event (the generator's clock) to its row being readable."""
    with support.Platform(os.path.join(options.dir, "live")) as platform:
        os.makedirs(platform.directory, exist_ok=True)
        platform.up()
        platform.topic("events", 4)
        platform.deploy("features", support.features_sql("events"), "--wait")
        with live_events(platform, "events", options):
            time.sleep(1)
            latencies = watch_latency(platform, options.seconds)
        rate = platform.version("features", 1)["records"]
        out(bench="live_produce_to_readable_ms", rate=options.rate, records=rate, **quantiles(latencies))


def watch_latency(platform, seconds):
    """Polls one user's row; each new last_update is one sample: now - event time, ms (an upper bound: the poll's
    own time is in it)."""
    import datetime
    import http.client
    connection = http.client.HTTPConnection(platform.server()["http"], timeout=10)
    seen, samples, polls = {}, [], 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        user = f"u{polls % 8}"
        polls += 1
        connection.request("GET", f"/v1/tables/user_features/rows/{user}")
        answer = connection.getresponse()
        body = json.loads(answer.read())
        now = time.time() * 1000
        if answer.status != 200:
            continue
        last = body["row"]["last_update"]
        if user in seen and last != seen[user]:
            at = datetime.datetime.fromisoformat(last.replace("Z", "+00:00")).timestamp() * 1000
            samples.append(now - at)
        seen[user] = last
    return samples


FRESHNESS_MS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 20000)


def counted_p99(counts):
    """Of the worker's classes of freshness, about: ms."""
    rank, below, low = 0.99 * sum(counts), 0, 0
    for count, high in zip(counts, FRESHNESS_MS):
        if count and below + count >= rank:
            return round(low + (high - low) * (rank - below) / count, 2)
        below, low = below + count, high
    return None


def watch_replays(platform, seconds, limit, found):
    """Live events while replays with this limit (None: no replay, "": no limit) run, one after another. Adds to
    found: latencies, the replays' records and seconds, the worker's own counts."""
    def counts():
        return platform.version("features", 1)["worker"]["freshness"]["counts"]

    begin, before = time.monotonic(), counts()
    while time.monotonic() - begin < seconds:
        number = None
        if limit is not None:
            args = ["--limit", limit] if limit else []
            number = platform.json("replay", "features", "--swap", "manual", *args)["version"]
        while time.monotonic() - begin < seconds:
            found["latencies"] += watch_latency(platform, 1)
            if number and platform.version("features", number)["state"] == "ready":
                break
        if number:
            found["records"] += platform.version("features", number)["records"]
            platform.run("abort", "features", number)
            platform.run("drop", "features", number)
    found["seconds"] += time.monotonic() - begin
    found["counts"] = [f + b - a for f, a, b in zip(found["counts"], before, counts())]
    time.sleep(1)


def bench_governed(options, _):
    """In turns, so that what else runs on the machine is in all of them."""
    turns = 5
    kinds = ("idle", "governed", "not_governed")
    found = {kind: {"latencies": [], "records": 0, "seconds": 0, "counts": [0] * len(FRESHNESS_MS)} for kind in kinds}
    with support.Platform(options.dir) as platform:
        platform.up()
        fill(platform, "events", options)
        platform.deploy("features", support.features_sql("events"), "--wait", timeout=600)
        with live_events(platform, "events", options):
            time.sleep(2)
            for turn in range(turns):
                for kind in kinds:
                    goal = max(1, round(1.25 * counted_p99(found["idle"]["counts"]))) if kind != "idle" else 0
                    limit = {"idle": None, "governed": f"freshness={goal}ms", "not_governed": ""}[kind]
                    watch_replays(platform, max(5, options.seconds / turns), limit, found[kind])
    figures = {}
    for kind, of in found.items():
        figures[kind] = quantiles(of["latencies"])["p99"], counted_p99(of["counts"])
        out(bench="governed_produce_to_readable_ms", beside=kind, live_rate=options.rate,
            replay_records_per_s=round(of["records"] / of["seconds"]), counted_p99=figures[kind][1],
            **quantiles(of["latencies"]))
    for kind in kinds[1:]:
        out(bench="governed_ratio", beside=kind, p99=round(figures[kind][0] / figures["idle"][0], 2),
            counted_p99=round(figures[kind][1] / figures["idle"][1], 2), goal_ms=goal)


def bench_deploy(options, _):
    """Polls over HTTP; a row can be read when its record was applied and committed."""
    import http.client
    with support.Platform(options.dir) as platform:
        platform.up()
        platform.topic("few", 4)
        platform.produce("few", [json.loads(line) for line in support.events_lines(100, users=100)])
        connection = http.client.HTTPConnection(platform.server()["http"], timeout=10)
        took = []
        for n in range(20):
            body = {"name": f"first{n}", "swap": "manual", "sql": support.features_sql("few", table=f"first{n}")}
            begin = time.monotonic()
            connection.request("POST", "/v1/processors", json.dumps(body), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            assert answer.status == 201, answer.read()
            answer.read()
            while True:
                connection.request("GET", f"/v1/tables/first{n}/rows?version=1&limit=1")
                answer = connection.getresponse()
                if answer.read() and answer.status == 200:
                    break
                time.sleep(0.001)
            took.append((time.monotonic() - begin) * 1000)
            for command in ("abort", "drop"):
                platform.run(command, f"first{n}", 1)
        out(bench="deploy_to_first_row_ms", **quantiles(took))


def sync_ms(directory):
    """One write of a page and its fdatasync, as a commit has two of them."""
    path = os.path.join(directory, "sync")
    with open(path, "r+b" if os.path.exists(path) else "wb") as file:
        begin = time.monotonic()
        file.write(os.urandom(4096))
        file.flush()
        os.fdatasync(file.fileno())
        return 1000 * (time.monotonic() - begin)


def swapped(platform, command):
    """The receipt; None while the version that stands by has fallen behind."""
    done = platform.run(*command, "-o", "json", code=None)
    return json.loads(done.stdout) if done.returncode == 0 else None


def bench_swap(options, _):
    sys.path.insert(0, os.path.join(HERE, "..", "tests", "system"))
    import test_main_job
    with support.Platform(os.path.join(options.dir, "swap")) as platform:
        os.makedirs(platform.directory, exist_ok=True)
        platform.up()
        platform.topic("events", options.partitions)
        producer = support.Producer(platform, "events", rate=options.rate, users=1000, step_us=100)
        platform.deploy("features", support.features_sql("events", right=False), "--wait")
        platform.deploy("features", support.features_sql("events"), "--wait")
        for _ in range(options.replays):
            platform.run("replay", "features", "--wait", "--timeout", "120s")
        caught = [receipt["caught_up_ms"] for receipt in platform.json("history", "features")["receipts"]
                  if "caught_up_ms" in receipt]
        out(bench="caught_up_to_serving_ms", rate=options.rate, partitions=options.partitions, **quantiles(caught))
        readers = test_main_job.Readers(platform, "user_features", 1000, count=options.readers)
        newest = platform.status("features")["serving"]
        first, begin = platform.version("features", newest)["records"], time.monotonic()
        holds = []
        steps = {}
        disk = []
        for n in range(options.swaps):
            word = ["rollback", "features"] if n % 2 == 0 else ["swap", "features", newest]
            receipt = support.eventually(lambda word=word: swapped(platform, word), 120, "a swap under this load")
            holds.append(receipt["hold_ms"])
            for step, took in receipt.get("steps_ms", {}).items():
                steps.setdefault(step, []).append(took)
            disk.append(sync_ms(platform.directory))
            time.sleep(options.every)
        rate = round((platform.version("features", newest)["records"] - first) / (time.monotonic() - begin))
        reads, _ = readers.stop()  # fails when a read failed or went back
        producer.stop()
        out(bench="swap_hold_ms", rate=options.rate, partitions=options.partitions, reads=reads, failed_reads=0,
            backward_reads=0, **quantiles(holds), events_per_second=rate)
        out(bench="swap_disk_ms", what="4 KiB written and synced in the same place", **quantiles(disk))
        for step, took in steps.items():
            out(bench="swap_step_ms", step=step, **quantiles(took))


def bench_diff(options, _):
    """v2 counts 100 users otherwise; v3 the same with one more column, so that all rows have to be read."""
    others = ", ".join(f"'u{i}'" for i in range(100))
    sql = ("CREATE TABLE ev (user_id text, amount double precision, event_time timestamptz) WITH (topic = 'events', "
           "format = 'json', event_time = 'event_time', timestamp_unit = 'ms');\n"
           "CREATE MATERIALIZED VIEW totals AS SELECT user_id, count(*) AS n, sum(amount) %s AS total, "
           "max(event_time) AS newest %s FROM ev GROUP BY user_id;\n")
    definitions = [sql % ("", ""), sql % (f"FILTER (WHERE user_id NOT IN ({others}))", "")]
    definitions.append(definitions[1].replace(" AS newest ", " AS newest, min(event_time) AS oldest"))
    with support.Platform(options.dir) as platform:
        platform.up()
        fill(platform, "events", options, users=options.events // 2)
        for number, text in enumerate(definitions, 1):
            with open(os.path.join(options.dir, "totals.sql"), "w") as file:
                file.write(text)
            platform.run("deploy", os.path.join(options.dir, "totals.sql"), "--swap", "manual")
            platform.run("wait", "totals", number, "--for", "caught-up", "--timeout", "1800s", timeout=1800)
        for _ in range(options.runs):
            by = {"digests": platform.json("diff", "totals", 1, 2),
                  "digests_exact": platform.json("diff", "totals", 1, 2, "--exact"),
                  "all_rows": platform.json("diff", "totals", 1, 3)}
            tables = {name: answer["tables"][0] for name, answer in by.items()}
            table = tables["all_rows"]
            for other in tables.values():
                assert other["changed"] == table["changed"], tables
                assert other["equal"] <= table["equal"] <= other.get("equal_most", other["equal"]), tables
            out(bench="diff", rows=table["equal"] + table["changed"], changed=table["changed"],
                **{name + "_ms": round(1000 * answer["seconds"], 1) for name, answer in by.items()},
                ratio=round(by["all_rows"]["seconds"] / by["digests"]["seconds"]))


def bench_store(*_):
    done = subprocess.run([os.path.join(BENCH, "store_put")], capture_output=True, text=True, check=True)
    for line in done.stdout.splitlines():
        out(bench="store", **json.loads(line))


def bench_reader(*_):
    """kappa_get in one scope, a scope for each get, 16 at once; medians in ns and their ratios to mdb_get."""
    done = subprocess.run([os.path.join(BENCH, "reader_get")], capture_output=True, text=True, check=True)
    out(bench="reader", **json.loads(done.stdout))


@contextlib.contextmanager
def read_events(options, *args, keyed=False):
    """A server with rows of 100 users to read: a platform. keyed: the records of a user lie in one partition, and the
    definition says so, so that a row is in one place instead of four."""
    with support.Platform(options.dir, args=args) as platform:
        platform.up()
        platform.topic("events", 4)
        events = [json.loads(line) for line in support.events_lines(5000, users=100)]
        platform.produce("events", events, *(["--key", "user_id"] if keyed else []))
        sql = support.features_sql("events")
        if keyed:
            sql = sql.replace("(topic =", "(key = 'user_id', partitioner = 'murmur2', topic =", 1)
        platform.deploy("features", sql, "--wait")
        yield platform


def redis_port(platform):
    return int(platform.server()["redis"].rsplit(":", 1)[1])


def redis_hgetalls(port, count, pipeline, clients=50):
    """HGETALLs a second by redis-benchmark."""
    text = subprocess.run(["redis-benchmark", "-p", str(port), "-n", str(count), "-c", str(clients), "-P", str(pipeline),
                           "--csv", "hgetall", "user_features:u1"], capture_output=True, text=True, timeout=600,
                          check=True).stdout
    return float(text.splitlines()[-1].split(",")[1].strip('"'))


def reader_load(platform, threads, seconds):
    """Figures of bench/reader_load."""
    text = subprocess.run([os.path.join(BENCH, "reader_load"), platform.data, "user_features", "100", str(threads),
                           str(seconds)], check=True, capture_output=True, text=True).stdout
    return json.loads(text)


def bench_redis(options, _):
    """Rows in one partition, as they are where records have the key, and rows with a part in each of four."""
    for keyed in (True, False):
        folder = argparse.Namespace(dir=os.path.join(options.dir, str(keyed)))
        os.makedirs(folder.dir)
        with read_events(folder, "--redis", "127.0.0.1:0", keyed=keyed) as platform:
            redis_beside_peer(redis_port(platform), platform.process.pid, "one" if keyed else "four")


def process_clock(pid):
    """CPU seconds of a process so far, exactly."""
    return time.clock_gettime(~pid << 3 | 2)


def hgetalls_cpu(pid, port, count, pipeline):
    """(requests/s, CPU time of the server for each, us)"""
    before = process_clock(pid)
    rate = redis_hgetalls(port, count, pipeline)
    return rate, 1e6 * (process_clock(pid) - before) / count


def redis_beside_peer(port, pid, parts):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        other = free.getsockname()[1]
    # Debian's redis-check-rdb is the server under another name.
    peer = subprocess.Popen(["redis-server", "--port", str(other), "--save", ""], executable="/usr/bin/redis-check-rdb",
                            stdout=subprocess.DEVNULL)
    try:
        support.eventually(lambda: subprocess.run(["redis-cli", "-p", str(other), "ping"], capture_output=True)
                           .stdout.strip() == b"PONG", 10, "redis-server answers")
        fields = subprocess.run(["redis-cli", "-p", str(port), "hgetall", "user_features:u1"], capture_output=True,
                                text=True).stdout.split()
        subprocess.run(["redis-cli", "-p", str(other), "hset", "user_features:u1", *fields], capture_output=True)
        for pipeline, count in ((1, 40_000), (16, 200_000)):
            turns = [(*hgetalls_cpu(pid, port, count, pipeline), *hgetalls_cpu(peer.pid, other, count, pipeline))
                     for _ in range(5)]
            ours, cpu, theirs, their_cpu = (statistics.median(turn[i] for turn in turns) for i in range(4))
            out(bench="redis_hgetall", pipeline=pipeline, partitions_of_a_row=parts, fields=len(fields) // 2,
                per_s=round(ours), redis_server_per_s=round(theirs), ratio=round(ours / theirs, 2),
                cpu_us=round(cpu, 2), redis_server_cpu_us=round(their_cpu, 2), cpu_ratio=round(their_cpu / cpu, 2),
                load=round(os.getloadavg()[0], 1))
    finally:
        peer.terminate()
        peer.wait()


def bench_scale(options, _):
    """In turns, medians."""
    turns = range(max(options.runs, 3))
    with contextlib.ExitStack() as stack:
        servers = {}
        for threads in (1, 2):
            folder = argparse.Namespace(dir=os.path.join(options.dir, str(threads)))
            os.makedirs(folder.dir)
            servers[threads] = stack.enter_context(read_events(folder, "--redis", "127.0.0.1:0", "--threads",
                                                             str(threads)))
        found = {"library": {1: [], 2: []}, "redis": {1: [], 2: []}}
        for _ in turns:
            for threads, platform in servers.items():
                figures = reader_load(servers[1], threads, 2)
                found["library"][threads].append((figures["reads_per_s"], figures["cpu_us"]))
                before, count = cpu_seconds(platform.process.pid), 200_000
                rate = redis_hgetalls(redis_port(platform), count, 16)
                found["redis"][threads].append((rate, 1e6 * (cpu_seconds(platform.process.pid) - before) / count))
    for door, of in found.items():
        rates, cpu = ({n: statistics.median(pair[i] for pair in of[n]) for n in of} for i in (0, 1))
        out(bench="reads_scale", by=door, cores=os.cpu_count(), load=round(os.getloadavg()[0], 1),
            one_thread_per_s=round(rates[1]), two_threads_per_s=round(rates[2]), ratio=round(rates[2] / rates[1], 2), one_thread_cpu_us=round(cpu[1], 2),
            two_threads_cpu_us=round(cpu[2], 2), cpu_ratio=round(cpu[2] / cpu[1], 2))


@contextlib.contextmanager
def reading(kind, platform):
    """A reader that takes all it can, until the end."""
    if kind == "idle":
        yield
        return
    command = ([os.path.join(BENCH, "reader_load"), platform.data, "user_features", "1000", "2", "1e6"]
               if kind == "library" else
               ["redis-benchmark", "-p", str(redis_port(platform)), "-l", "-n", "1000000", "-c", "50", "-P", "16",
                "hgetall", "user_features:u1"])
    reader = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        time.sleep(0.5)
        assert reader.poll() is None, command
        yield
    finally:
        reader.kill()
        reader.wait()


def bench_fresh(options, _):
    """In turns, so that what else runs on the machine is in all of them."""
    turns = 5
    found = {kind: {"latencies": [], "counts": [0] * len(FRESHNESS_MS)} for kind in ("idle", "library", "redis")}

    def counts():
        return platform.version("features", 1)["worker"]["freshness"]["counts"]

    with support.Platform(options.dir, args=["--redis", "127.0.0.1:0"]) as platform:
        platform.up()
        platform.topic("events", 4)
        platform.deploy("features", support.features_sql("events"), "--wait")
        with live_events(platform, "events", options):
            time.sleep(2)
            for _ in range(turns):
                for kind, of in found.items():
                    with reading(kind, platform):
                        before = counts()
                        of["latencies"] += watch_latency(platform, max(2, options.seconds / turns))
                        of["counts"] = [f + b - a for f, a, b in zip(of["counts"], before, counts())]
    idle = {"p50": statistics.median(found["idle"]["latencies"]), **{k: v for k, v in quantiles(
        found["idle"]["latencies"]).items() if k == "p99"}, "counted_p99": counted_p99(found["idle"]["counts"])}
    for kind, of in found.items():
        figures = {**quantiles(of["latencies"]), "counted_p99": counted_p99(of["counts"])}
        out(bench="fresh_produce_to_readable_ms", beside=kind, rate=options.rate, load=round(os.getloadavg()[0], 1),
            **figures, **{name + "_ratio": round(figures[name] / idle[name], 2) for name in idle})


def bench_http(options, _):
    def rate(port, path):
        text = subprocess.run(["wrk", "-t1", "-c32", "-d2s", f"http://127.0.0.1:{port}{path}"], capture_output=True,
                              text=True, timeout=60, check=True).stdout
        assert "Non-2xx" not in text, text
        return float(re.search(r"Requests/sec:\s*([0-9.]+)", text).group(1))
    path = "/v1/tables/user_features/rows/u1"
    for keyed in (True, False):
        folder = argparse.Namespace(dir=os.path.join(options.dir, str(keyed)))
        os.makedirs(folder.dir)
        with read_events(folder, keyed=keyed) as platform:
            port = int(platform.server()["http"].rsplit(":", 1)[1])
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}") as answer:
                size = len(answer.read())
            peer = subprocess.Popen([os.path.join(BENCH, "http_constant"), str(size), "2"], stdin=subprocess.PIPE,
                                    stdout=subprocess.PIPE, text=True)
            try:
                other = int(peer.stdout.readline())
                pairs = [(rate(port, path), rate(other, "/")) for _ in range(5)]
            finally:
                peer.communicate("\n")
        ours, theirs = (statistics.median(pair[i] for pair in pairs) for i in (0, 1))
        out(bench="http_row", bytes=size, partitions_of_a_row="one" if keyed else "four", per_s=round(ours),
            constant_per_s=round(theirs), ratio=round(ours / theirs, 2), load=round(os.getloadavg()[0], 1))


def wanted_jobs(options):
    known = jobs.jobs()
    names = options.queries.split(",") if options.queries else list(known)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise SystemExit(f"no such query: {', '.join(unknown)}")
    return [known[name] for name in names]


def fill_jobs(platform, wanted, options):
    """Makes the topics that the jobs read."""
    topics = {topic for job in wanted for topic in job.topics}
    for topic in sorted(topics):
        if topic == "events":
            fill(platform, topic, options)
        elif topic == "nexmark":
            platform.run("nexmark", "--events", options.events, "--topic", topic, "--partitions", 4, timeout=3600)
        else:
            jobs.fill_topic(platform, topic, options.events)
    if any(job.name == "q13" for job in wanted):
        import test_nexmark
        test_nexmark.fill_side(platform, "nexmark")


def bench_nexmark(options, _):
    wanted = wanted_jobs(options)
    with support.Platform(options.dir) as platform:
        platform.up()
        begin = time.monotonic()
        fill_jobs(platform, wanted, options)
        out(bench="nexmark_produce", seconds=round(time.monotonic() - begin))
        rates = {}
        for job in wanted:
            rate, figures = replay(platform, job.topics[0], job.name, options, job.sql, options.events + job.side)
            rates[job.name] = options.events / max(0.01, figures["cpu_seconds"])
            out(bench="nexmark", query=job.name, events_per_s=round(rate), events_per_cpu_s=round(rates[job.name]),
                **figures)
            for command in ("abort", "drop"):
                platform.run(command, job.name, 1, code=None)
        slowest = min(rates, key=rates.get)
        out(bench="nexmark_slowest", query=slowest, events_per_cpu_s=round(rates[slowest]), queries=len(rates))


def flink_rows(platform, brokers, directory, job, options):
    """Sizes of the results of both sides, and no times."""
    platform.deploy(job.name, job.sql, "--wait", timeout=600)
    status, answer, _ = platform.http("POST", "/v1/sql", {"sql": f"SELECT count(*) FROM {job.table}",
                                                          "timeout_ms": 60_000})
    platform.run("pause", job.name, code=None)
    peer = flink_peer.run(directory, brokers, job, options.dir, "rows")
    out(bench="flink_rows", job=job.name, rows=int(answer["rows"][0][0]) if status == 200 else answer,
        flink_rows=int(peer["rows"]))


def flink_times(platform, brokers, directory, job, options):
    """The four ratios: of wall time and of CPU time (per core), with Flink's start of the job and without it. Kappa's
    deployment and the start of its worker are always in its times."""
    events = options.events
    kappa, figures = replay(platform, job.topics[0], job.name, options, job.sql, events + job.side)
    for command in ("abort", "drop"):
        platform.run(command, job.name, 1, code=None)
    peer = flink_peer.run(directory, brokers, job, options.dir)
    kappa *= events / (events + job.side)
    wall, start = peer["seconds"], peer["start_seconds"]
    kappa_cpu = events / max(0.01, figures["cpu_seconds"])
    peer_cpu = events / (peer["cpu_seconds"] - peer["start_cpu_seconds"])
    out(bench="flink_peer", job=job.name, events_per_s=round(kappa), flink_events_per_s=round(events / wall),
        ratio=round(kappa / (events / wall), 1), ratio_without_start=round(kappa / (events / (wall - start)), 1),
        events_per_cpu_s=round(kappa_cpu), flink_events_per_cpu_s=round(peer_cpu),
        cpu_ratio=round(kappa_cpu / (events / peer["cpu_seconds"]), 1),
        cpu_ratio_without_start=round(kappa_cpu / peer_cpu, 1), flink_start_seconds=start,
        flink_start_cpu_seconds=peer["start_cpu_seconds"], flink_cpu_seconds=peer["cpu_seconds"],
        flink_records=int(peer["records"]), flink_rows_out=int(peer["rows"]), **figures)
    return (kappa / (events / wall), kappa / (events / (wall - start)), kappa_cpu / (events / peer["cpu_seconds"]),
            kappa_cpu / peer_cpu)


def bench_flink(options, _):
    import kafka_broker
    wanted = wanted_jobs(options)
    directory = flink_peer.build()
    with kafka_broker.KafkaBroker(heap_mb=1024, brief=False) as broker:
        with support.Platform(options.dir, kafka=broker.brokers) as platform:
            platform.up()
            fill_jobs(platform, wanted, options)
            compare = flink_rows if options.rows else flink_times
            ratios = {job.name: compare(platform, broker.brokers, directory, job, options) for job in wanted}
    if not options.rows:
        for n, what in enumerate(("ratio", "ratio_without_start", "cpu_ratio", "cpu_ratio_without_start")):
            least = min(ratios, key=lambda name: ratios[name][n])
            out(bench="flink_peer_smallest", what=what, job=least, value=round(ratios[least][n], 1), jobs=len(ratios))


PARTS = {"embedded": bench_embedded, "kafka": bench_kafka, "archive": bench_archive, "live": bench_live,
         "governed": bench_governed, "deploy": bench_deploy, "swap": bench_swap,
         "diff": bench_diff, "store": bench_store, "reader": bench_reader,
         "redis": bench_redis, "http": bench_http, "scale": bench_scale, "fresh": bench_fresh, "nexmark": bench_nexmark,
         "flink": bench_flink}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; all but flink unless given")
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--rate", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--swaps", type=int, default=40)
    parser.add_argument("--replays", type=int, default=10, help="of `swap`: swapped in by themselves")
    parser.add_argument("--readers", type=int, default=4, help="of `swap`, each reading as fast as it can")
    parser.add_argument("--partitions", type=int, default=4, help="of the topic of `swap`")
    parser.add_argument("--every", type=float, default=0, help="seconds between swaps of `swap`")
    parser.add_argument("--queries", help="of `nexmark` and `flink`, such as q0,q17; all unless given")
    parser.add_argument("--rows", action="store_true", help="`flink` compares the sizes of the results")
    parser.add_argument("--streams", help="folder of a compiled Kafka Streams program to compare with "
                                          "(target/classes and target/lib; class Features BROKERS TOPIC EVENTS THREADS STORE)")
    options = parser.parse_args()
    unknown = [p for p in options.parts if p not in PARTS]
    if unknown:
        parser.error(f"no such part: {', '.join(unknown)}")
    results = {}
    base = tempfile.mkdtemp(prefix="kappa-bench-")
    try:
        for name in options.parts or [part for part in PARTS if part != "flink"]:
            options.dir = os.path.join(base, name)
            os.makedirs(options.dir)
            PARTS[name](options, results)
            shutil.rmtree(options.dir, ignore_errors=True)
    finally:
        shutil.rmtree(base, ignore_errors=True)
    if "embedded" in results and "streams" in results:
        out(bench="embedded_vs_streams", ratio=round(statistics.median(results["embedded"]) / results["streams"][0], 1))


if __name__ == "__main__":
    multiprocessing.set_start_method("fork")
    main()
