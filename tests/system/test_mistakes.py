"""What people do wrong: each is answered with what happened, where, and what to do, and with the right exit code."""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile

import pytest

import support

NOBODY = 65534


def kappa(*args, **kwargs):
    done = subprocess.run([support.BIN, *map(str, args)], capture_output=True, text=True, timeout=300, **kwargs)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("args, word", [
    (["deploy"], "FILE.sql"), (["drop"], "PROCESSOR"), (["drop", "p"], "VERSION"), (["diff", "p", "1"], "B"),
    (["get"], "TABLE"), (["apply"], "DIR|FILE.sql"), (["topic", "set", "t"], "NAME=VALUE")])
def test_what_is_missing_is_named(args, word):
    code, _, said = kappa(*args)
    assert code == 2
    assert f"{word} is missing\n" in said and "usage: kappa" in said


def test_a_folder_is_no_definition(tmp_path):
    code, _, said = kappa("explain", tmp_path)
    assert code == 2 and "is a folder" in said and f"kappa apply {tmp_path}" in said


def test_folders_in_a_folder(embedded, tmp_path):
    (tmp_path / "inner").mkdir()
    done = embedded.run("apply", tmp_path, code=3)
    assert "there is no .sql file" in done.stderr and "name them" in done.stderr


def up_and_down(data, *args):
    """(code, what it said); of a server that runs, after it was stopped."""
    server = subprocess.Popen([support.BIN, "up", "--data", str(data), "--http", "127.0.0.1:0", *args],
                              stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    said = ""
    for line in server.stderr:
        said += line
        if "serving " in line:
            server.terminate()
    return server.wait(300), said


def test_another_log_for_a_directory_that_is_unused(tmp_path):
    """Who forgets --kafka at first has lost nothing by it; with a topic in the embedded log it would be left behind."""
    for args, kind in [((), "embedded"), (("--kafka", "127.0.0.1:1"), "kafka"), ((), "embedded")]:
        code, said = up_and_down(tmp_path, *args)
        assert code == 0 and f"{kind} log" in said
    assert kappa("topic", "create", "t", "--data", tmp_path)[0] == 0
    code, said = up_and_down(tmp_path, "--kafka", "127.0.0.1:1")
    assert code == 4 and "made with the embedded log, not the kafka one" in said and "leave out --kafka" in said


def test_a_catalog_that_is_none(tmp_path):
    (tmp_path / "catalog").mkdir()
    (tmp_path / "catalog" / "data.mdb").write_bytes(b"no catalog\n" * 1000)
    code, said = up_and_down(tmp_path)
    assert code == 1 and "restore the data directory from a backup" in said
    assert "drop this version" not in said


def test_a_folder_that_is_something_else(tmp_path):
    (tmp_path / "thesis.tex").write_text("chapter 1")
    for command in (["up", "--http", "127.0.0.1:0"], ["topic", "create", "t"]):
        code, _, said = kappa(*command, "--data", tmp_path)
        assert code == 2 and "no data directory: there is thesis.tex in it" in said and f"{tmp_path}/kappa-data" in said
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_an_address_of_another_machine(tmp_path):
    code, _, said = kappa("up", "--data", tmp_path, "--http", "192.0.2.1:8317")
    assert code == 1 and "an address of this machine" in said


def another_user():
    """How kappa() runs it as a user who may write nothing of root's; as somebody else than root it is that one."""
    who = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
    try:
        if kappa("version", **who)[0] != 0:
            pytest.skip("another user may not run the program")
    except PermissionError:
        pytest.skip("another user may not run the program")
    return who


def test_the_data_of_another_user(tmp_path):
    """Its server runs perhaps: "is not running" would be wrong."""
    (tmp_path / "server.json").write_text("{}")
    (tmp_path / "server.json").chmod(0)
    who = another_user()
    for command in [["status"], ["topic", "list"]]:
        code, out, said = kappa(*command, "--data", tmp_path, **who)
        assert code == 6 and out == "" and "belongs to another user" in said and "--server" in said
    code, _, said = kappa("status", "--data", tmp_path, "-o", "json", **who)
    assert code == 6 and json.loads(said)["error"]["code"] == "forbidden"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can write into another user's folder")
def test_root_in_the_data_of_a_service(tmp_path):
    """What root made there its server could not open."""
    os.chown(tmp_path, NOBODY, NOBODY)
    for command in (["topic", "create", "t"], ["produce", "t"], ["nexmark", "--events", "1"], ["topic", "set", "t", "archive=on"],
                    ["up", "--http", "127.0.0.1:0"], ["corrections", "p"],
                    ["export", "t", "--labels", "l.csv", "--time-column", "at", "--out", tmp_path / "out.csv"]):
        code, out, said = kappa(*command, "--data", tmp_path, input="{}")
        assert code == 4 and out == "" and "belongs to" in said and "sudo -u" in said, command
        assert ("--server" in said) == (command[0] in ("topic", "produce", "nexmark") and command[1] != "set"), said
    assert not list(tmp_path.iterdir())


@pytest.fixture
def open_dir():
    """A folder that every user may enter."""
    folder = tempfile.mkdtemp(prefix="kappa-mistakes-")
    os.chmod(folder, 0o755)
    yield pathlib.Path(folder)
    shutil.rmtree(folder)


def after_a_reboot(data):
    """What the machine's memory held of the log is lost, and a backup leaves LMDB's lock files out."""
    for head in data.glob("log/*/*/head"):
        with open(head, "r+b") as file:
            file.seek(16)
            file.write(b"another boot")
    for path in [data / "log" / "~notify", *data.rglob("lock.mdb")]:
        path.unlink()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can write into another user's folder")
def test_root_reads_the_data_of_a_service(open_dir):
    """Also reading makes files: a log is recovered by who opens it first, an environment has a lock file."""
    data = open_dir / "data"
    assert kappa("topic", "create", "t", "--partitions", 2, "--data", data)[0] == 0
    assert kappa("produce", "t", "--data", data, input='{"n":1}\n{"n":2}\n')[0] == 0
    assert up_and_down(data)[0] == 0
    after_a_reboot(data)
    for path in [data, *data.rglob("*")]:
        os.chown(path, NOBODY, NOBODY)
    assert len(kappa("cat", "t", "--exit", "--data", data)[1].splitlines()) == 2
    assert kappa("topic", "list", "--data", data)[1].count("\n") > 1
    assert kappa("get", "none", "k", "--data", data)[0] == 3
    assert (data / "catalog" / "lock.mdb").exists() and (data / "log" / "~notify").exists()
    assert [str(path) for path in data.rglob("*") if path.stat().st_uid != NOBODY] == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has users beside it")
def test_who_may_only_read_after_a_reboot(open_dir):
    """The log is recovered by who opens it first, and that writes: who may not is told so, and reads when it is done."""
    who = another_user()
    assert kappa("topic", "create", "t", "--data", open_dir)[0] == 0
    for head in ("of another boot", "missing"):
        assert kappa("produce", "t", "--data", open_dir, input='{"n":1}\n')[0] == 0
        before = kappa("cat", "t", "--exit", "--data", open_dir, **who)
        assert before[0] == 0
        after_a_reboot(open_dir)
        if head == "missing":
            (open_dir / "log" / "t" / "0" / "head").unlink()
        code, out, said = kappa("cat", "t", "--exit", "--data", open_dir, **who)
        assert code == 1 and out == "" and "has not been opened since the machine started" in said, said
        assert "let the user to whom it belongs read" in said
        assert kappa("cat", "t", "--exit", "--data", open_dir) == before
        assert kappa("cat", "t", "--exit", "--data", open_dir, **who) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small tmpfs needs root")
def test_a_full_disk_says_what_went_in(tmp_path):
    """Partitions fill up at different records: what has to be sent again can be found out."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(tmp_path)], check=True)
    try:
        assert kappa("topic", "create", "t", "--partitions", 2, "--data", tmp_path / "d")[0] == 0
        lines = "".join(json.dumps({"n": n, "k": str(n % 7), "x": "x" * 300}) + "\n" for n in range(20000))
        code, _, said = kappa("produce", "t", "--key", "k", "--data", tmp_path / "d", input=lines)
        assert code == 1 and "No space left on device" in said
        assert said.count("partition") <= 2, said
        found = re.search(r"the first (\d+) records? went in; of the next (\d+) some may be in", said)
        assert found, said
        first, unsure = map(int, found.groups())
        code, out, _ = kappa("cat", "t", "--exit", "--data", tmp_path / "d")
        inside = {json.loads(line)["n"] for line in out.splitlines()}
        assert code == 0 and set(range(first)) <= inside and max(inside) < first + unsure
    finally:
        subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


def test_diff_says_how_many_rows_it_does_not_show(embedded, topic):
    embedded.topic(topic, 1)
    embedded.produce(topic, [{"k": f"k{n:02}", "n": n} for n in range(1, 26)])
    sql = (f"CREATE TABLE e (k text, n bigint) WITH (topic='{topic}');"
           f"CREATE MATERIALIZED VIEW {topic.replace('-', '_')}_t AS SELECT k, sum(%s) AS n FROM e %s GROUP BY k;")
    embedded.deploy(topic, sql % ("n", "WHERE n < 25"), "--wait")
    embedded.deploy(topic, sql % ("n + 1", "WHERE n > 12"), "--swap", "manual", "--wait")
    said = embedded.run("diff", topic, 1, 2).stdout
    assert "~ ... and 2 more" in said and "- ... and 2 more" in said and "+ ..." not in said
    assert "more (" not in embedded.run("diff", topic, 1, 2, "--limit", 25).stdout
    assert "more (" not in embedded.run("diff", topic, 1, 2, "--limit", 0).stdout


def test_versions_that_there_are_not(embedded, topic):
    embedded.topic(topic, 1)
    name = topic.replace("-", "_")
    embedded.deploy(topic, f"CREATE TABLE e (k text) WITH (topic='{topic}');"
                           f"CREATE MATERIALIZED VIEW {name}_t AS SELECT k, count(*) AS n FROM e GROUP BY k;", "--wait")
    for command in [["swap", topic, 9], ["drop", topic, 9], ["diff", topic, 1, 9], ["snapshot", topic, 9],
                    ["verify", topic, 9], ["canary", topic, "10%", "--version", 9], ["pause", topic, 9]]:
        done = embedded.run(*command, code=3)
        assert f"{topic} has no version 9" in done.stderr and f"kappa status {topic}" in done.stderr, command
    done = embedded.run("swap", topic, 1, code=4)
    assert f"v1 of {topic} is already serving" in done.stderr


def test_an_interrupted_wait(embedded, topic):
    """What was waited for goes on; the shell sees a command that Ctrl-C has ended."""
    embedded.topic(topic, 1)
    embedded.produce(topic, [{"k": "a"}])
    name = topic.replace("-", "_")
    embedded.deploy(topic, f"CREATE TABLE e (k text) WITH (topic='{topic}');"
                           f"CREATE MATERIALIZED VIEW {name}_t AS SELECT k, count(*) AS n FROM e GROUP BY k;",
                    "--swap", "manual", "--wait")
    for args, says in [([], True), (["-o", "json"], False)]:
        wait = subprocess.Popen([support.BIN, "wait", topic, "1", *args], env=embedded.env, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert "ready" in wait.stderr.readline()
        wait.send_signal(signal.SIGINT)
        out, said = wait.communicate(timeout=300)
        assert wait.returncode == -signal.SIGINT and out == ""
        assert (f"v1 of {topic} goes on: `kappa wait {topic} 1`" in said) == says
    assert embedded.version(topic, 1)["state"] == "ready"


def test_bad_records_are_shown_to_the_last_column(embedded, topic):
    embedded.topic(topic, 1)
    values = ["x" * 73, "x" * 74, "x" * 72 + "é" + "x"]
    embedded.run("produce", topic, stdin="".join(value + "\n" for value in values))
    name = topic.replace("-", "_")
    embedded.deploy(topic, f"CREATE TABLE e (k text) WITH (topic='{topic}');"
                           f"CREATE MATERIALIZED VIEW {name}_t AS SELECT k, count(*) AS n FROM e GROUP BY k;", "--wait")
    shown = [line.strip() for line in embedded.run("dead", topic, 1).stdout.splitlines() if line.startswith("    ")]
    assert shown == ["x" * 73, "x" * 73 + "...", "x" * 72 + "..."]


def test_segments_are_of_the_embedded_log():
    code, _, said = kappa("topic", "create", "t", "--segment-bytes", 65536, "--kafka", "127.0.0.1:1")
    assert code == 2 and "embedded log" in said and "segment.bytes" in said


def test_an_address_of_nothing(embedded):
    status, answer = embedded.http("GET", "/v1/tables/t")[:2]
    assert status == 404 and "/v1/openapi.json" in str(answer)
    assert embedded.http("GET", "/v1/openapi.json")[0] == 200


def test_keys_times_and_conditions(embedded, topic):
    """The columns that a key lacks are named; that there is no row at a time is not that there is none."""
    embedded.topic(topic, 1)
    embedded.produce(topic, [{"a": "x", "b": "y", "at": "2026-01-31T12:01:00Z"}])
    name = topic.replace("-", "_")
    embedded.deploy(topic, f"CREATE TABLE e (a text, b text, at timestamptz) WITH (topic='{topic}', event_time='at');"
                           f"CREATE MATERIALIZED VIEW {name}_t AS SELECT a, b, window_start, window_end, count(*) AS n "
                           "FROM tumble(e, at, interval '1 hour') GROUP BY a, b, window_start, window_end;", "--wait")
    table = f"{name}_t"
    assert 'give values for "a" and "b", in this order' in embedded.run("get", table, "x", code=2).stderr
    assert embedded.json("get", table, "x", "y", "--at", "2026-01-31T12:59:00Z")["row"]["n"] == 1
    said = embedded.run("get", table, "x", "y", "--at", "2026-01-31T14:00:00Z", code=3).stderr
    assert "has no row (x, y) at 2026-01-31T14:00:00Z" in said
    assert "has no row (x, z)\n" in embedded.run("get", table, "x", "z", code=3).stderr
    for condition in ["n >", "n >\n\n", "(n > 1"]:
        said = embedded.run("tail", table, "--where", condition, code=1).stderr
        assert "the condition is not complete: " + condition in said and ");" not in said, said
    assert "where:2:1" in embedded.run("tail", table, "--where", "n > 0 AND\nnope", code=1).stderr


def test_a_plan_with_a_refusal_is_not_nothing_to_do(embedded, tmp_path):
    (tmp_path / "bad.sql").write_text("CREATE TABLE t (k text;")
    for command, code in [("diff-plan", 2), ("apply", 1)]:
        done = embedded.run(command, tmp_path, code=code)
        assert "nothing is done" in done.stdout and "nothing to do" not in done.stdout
