"""`kappa apply`: a folder and the server agree afterwards, the second time there is nothing to do, what the server would
not take changes nothing, and exit codes are those that a pipeline expects."""

import os

COUNT = """CREATE TABLE %(topic)s (k text, n bigint) WITH (topic = '%(topic)s', format = 'json', key = 'k');
CREATE MATERIALIZED VIEW %(table)s AS SELECT k, %(what)s AS n FROM %(topic)s GROUP BY k;
"""
COPY = """CREATE TABLE first (k text, n bigint) WITH (topic = 'first', format = 'json', key = 'k');
CREATE TABLE second (k text, n bigint) WITH (topic = 'second', format = 'json', key = 'k');
INSERT INTO second SELECT k, n FROM first WHERE n > 0;
"""


class Folder:
    def __init__(self, platform):
        self.platform = platform
        self.path = os.path.join(platform.directory, "defs")
        os.mkdir(self.path)
        platform.topic("first", 2)
        platform.produce("first", [{"k": f"k{i % 5}", "n": i} for i in range(100)], "--key", "k")

    def write(self, name, text):
        with open(os.path.join(self.path, name), "w") as out:
            out.write(text)

    def plan(self, code):
        out = self.platform.run("diff-plan", self.path, "-o", "json", code=code).stdout
        return __import__("json").loads(out)

    def actions(self, answer):
        return {item["processor"]: item["action"] for item in answer["processors"]}

    def apply(self, *args, code=0):
        return self.platform.run("apply", self.path, *args, code=code)


def test_folder(embedded):
    folder = Folder(embedded)
    embedded.run("diff-plan", folder.path, code=3)  # no definitions: that is an error, and not a difference
    # By name a-late comes first, but it reads what copy makes.
    folder.write("a-late.sql", COUNT % {"topic": "second", "table": "late", "what": "sum(n)"})
    folder.write("copy.sql", COPY)
    folder.write("counts.sql", COUNT % {"topic": "first", "table": "counts", "what": "count(*)"})
    folder.write("notes.txt", "not SQL")
    plan = folder.plan(1)
    assert [item["processor"] for item in plan["processors"]] == ["copy", "a-late", "counts"]
    assert set(folder.actions(plan).values()) == {"create"} and plan["changes"] == 3 and not plan["applied"]
    assert "reads second, which copy makes" in folder.apply("--dry-run").stdout
    assert embedded.json("status")["processors"] == [], "a plan writes nothing"

    text = folder.apply("--wait").stdout
    assert text.count("serving") == 3
    assert folder.plan(0)["changes"] == 0
    assert "nothing to do" in folder.apply().stdout
    assert embedded.query("SELECT sum(n) AS n FROM counts") == [{"n": 100}]

    # One definition and one policy change; the rest stays.
    folder.write("counts.sql", COUNT % {"topic": "first", "table": "counts", "what": "2 * count(*)"})
    folder.write("copy.sql", "SET swap.max_dead = 0;\n" + COPY)
    assert folder.actions(folder.plan(1)) == {"counts": "new version", "copy": "policy", "a-late": "unchanged"}
    folder.apply("--wait")
    assert embedded.version("copy", 1)["policy"] == {"swap.max_dead": "0"}
    assert len(embedded.status("copy")["versions"]) == 1
    assert embedded.query("SELECT sum(n) AS n FROM counts") == [{"n": 200}]

    # The old definition again: its version stands by, and is swapped back in.
    folder.write("counts.sql", COUNT % {"topic": "first", "table": "counts", "what": "count(*)"})
    assert folder.actions(folder.plan(1))["counts"] == "swap back"
    folder.apply()
    assert embedded.status("counts")["serving"] == 1 and folder.plan(0)["changes"] == 0
    assert embedded.json("history", "counts")["receipts"][0]["reason"] == "kappa apply"

    # Another definition is on its way: that is said, and left to a person.
    other = folder.path + "/../other.sql"
    with open(other, "w") as out:
        out.write("SET swap.caught_up = '1 h';\n" + COUNT % {"topic": "first", "table": "counts", "what": "3 * count(*)"})
    embedded.run("deploy", other, "--name", "counts")
    assert "v3 has another definition" in folder.plan(0)["processors"][2]["warnings"][0]
    embedded.run("abort", "counts", 3)

    # A person rolled back: no pipeline undoes that.
    embedded.run("swap", "counts", 2)
    embedded.run("rollback", "counts")
    folder.write("counts.sql", COUNT % {"topic": "first", "table": "counts", "what": "2 * count(*)"})
    assert "was rolled back by a person" in folder.apply(code=4).stderr
    assert folder.actions(folder.plan(4))["counts"] == "rolled back"
    assert embedded.status("counts")["serving"] == 1


def test_nothing_is_done_when_one_is_wrong(embedded):
    folder = Folder(embedded)
    folder.write("good.sql", COUNT % {"topic": "first", "table": "good", "what": "count(*)"})
    folder.write("wrong.sql", COUNT % {"topic": "first", "table": "wrong", "what": "count(missing)"})
    folder.write("wrong2.sql", COUNT % {"topic": "nowhere", "table": "wrong2", "what": "count(*)"})
    failed = folder.apply(code=1)
    assert "wrong.sql:2:" in failed.stderr and "missing" in failed.stderr
    assert "refused: wrong2:" in failed.stdout
    assert embedded.json("status")["processors"] == []
    plan = folder.plan(2)  # not 1: that would say "a difference"
    assert folder.actions(plan) == {"good": "create", "wrong": "refused", "wrong2": "refused"}
    assert plan["processors"][1]["error"]["code"] == "sql"
    os.unlink(os.path.join(folder.path, "wrong.sql"))
    os.unlink(os.path.join(folder.path, "wrong2.sql"))
    # One file, by its name; a policy that says no ends the wait at once, with the reason.
    folder.write("good.sql", "SET swap.max_dead = 0;\n" + (COUNT % {"topic": "first", "table": "good", "what": "count(*)"}))
    embedded.produce("first", ["{}", '{"k": "k1", "n": "many"}'])
    said = embedded.run("apply", os.path.join(folder.path, "good.sql"), "--wait", "--timeout", "30s", code=4).stderr
    assert "swap.max_dead is 0" in said, said
    assert "processor good" in embedded.run("apply", folder.path, os.path.join(folder.path, "good.sql"), code=2).stderr
