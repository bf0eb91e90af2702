"""Runs a job (bench/jobs.py) in Flink SQL: the program bench/peers/flink/JOB.sql over one Kafka topic to its end.

Flink tells itself when it began to read, so that its rate without the start of its job can be had too.
"""

import os
import re
import resource
import subprocess

from jobs import PEERS, ROOT

PARALLELISM = 2


def build():
    """Compiles bench/peers/flink with Maven into build/flink; that directory."""
    directory = os.path.abspath(os.path.join(ROOT, "build", "flink"))
    subprocess.run(["mvn", "-q", "-B", "-f", os.path.join(PEERS, "pom.xml"), "compile",
                    "dependency:copy-dependencies"], check=True, stdin=subprocess.DEVNULL)
    return directory


def run(directory, brokers, job, scratch, *args):
    """What FlinkSql prints for a job, as a dict of numbers, and `process_cpu_seconds` with the start of Java."""
    sql = ""
    for topic, ddl in zip(job.topics, job.ddls):
        with open(os.path.join(PEERS, ddl + ".ddl")) as file:
            sql += file.read().replace("$TOPIC", topic).replace("$BROKERS", brokers)
    with open(os.path.join(PEERS, job.name + ".sql")) as file:
        sql += file.read()
    path = os.path.join(scratch, job.name + "-flink.sql")
    with open(path, "w") as file:
        file.write(sql)
    opens = [f"--add-opens=java.base/java.{package}=ALL-UNNAMED" for package in ("util", "lang", "time")]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(["java", *opens, "-Xmx6g", "-cp", f"{directory}/classes:{directory}/lib/*", "FlinkSql", path,
                           str(PARALLELISM), *args], capture_output=True, text=True, timeout=3600, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    figures = {name: float(value) for name, value in re.findall(r"^([a-z_]+) ([0-9.]+)$", done.stdout, re.MULTILINE)}
    if done.returncode != 0 or "rows" not in figures:
        raise SystemExit(f"flink {job.name}: {done.stdout[-2000:]}{done.stderr[-4000:]}")
    figures["process_cpu_seconds"] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return figures
