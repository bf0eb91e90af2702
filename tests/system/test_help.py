"""The help: it fits a terminal, names what there is, and knows what was meant."""

import os
import re
import shutil
import subprocess

import pytest

import support

TOPICS = sorted(name[:-3] for name in os.listdir(os.path.join(support.ROOT, "docs", "help")))


def kappa(*args, code=0):
    result = subprocess.run([support.BIN, *args], capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == code, (args, result.stdout, result.stderr)
    return result.stdout if code == 0 else result.stderr


def section(text, name):
    """The words that begin the lines of a section of the overview."""
    body = text.split(f"\n{name}\n")[1].split("\n\n")[0]
    return re.findall(r"^  (\w\S*)", body, re.MULTILINE)


def test_topics():
    """Each page of docs/help is a topic, with its marks of Markdown taken away."""
    assert sorted(section(kappa("help"), "topics")) == sorted(TOPICS + ["functions"])
    for topic in TOPICS:
        text = kappa("help", topic)
        assert "```" not in text and "\n#" not in text and not text.startswith("#")
        with open(os.path.join(support.ROOT, "docs", "help", topic + ".md"), encoding="utf-8") as page:
            title = page.readline()[2:]
        assert title in text
    both = kappa("help", "swap")
    assert both.startswith("usage: kappa swap") and "RELEASE" in both, "a command and a topic of one name"


def test_all_help_fits_80_columns():
    overview = kappa("help")
    commands = re.findall(r"^  ([a-z]\S*)", overview.split("options of all commands")[0], re.MULTILINE)
    assert "deploy" in commands and len(commands) > 25
    pages = [[], ["topics"], ["functions"]] + [[name] for name in sorted(set(commands)) + TOPICS]
    listed = kappa("help", "functions")
    functions = sorted(set(re.findall(r"^  (\w+)\(", listed, re.MULTILINE)))
    assert "date_trunc" in functions and len(functions) > 100
    pages += [["functions", name] for name in functions]
    wide = [(page, line) for page in pages for line in kappa("help", *page).splitlines() if len(line) > 80]
    assert not wide


def test_manual_has_the_topics():
    """All topics are in kappa(1), as a reader of the manual sees it."""
    groff = shutil.which("groff")
    if groff is None:
        pytest.skip("no groff")
    result = subprocess.run([groff, "-man", "-Tutf8", "-ww", "-rLL=100n"], input=kappa("help", "--man"), capture_output=True, text=True,
                            timeout=300, check=True, env=os.environ | {"LC_ALL": "C.UTF-8", "GROFF_NO_SGR": "1"})
    assert result.stderr == ""
    text = re.sub(".\x08", "", result.stdout)  # bold
    words = " ".join(text.split())
    for topic in TOPICS:
        with open(os.path.join(support.ROOT, "docs", "help", topic + ".md"), encoding="utf-8") as file:
            lines = file.read().splitlines()
        assert re.search(rf"^ +{re.escape(lines[0][2:])}$", text, re.MULTILINE), lines[0]
        kept = [line.strip() for line in lines if line.startswith(("    ", "$ "))]
        assert all(" ".join(line.split()) in words for line in kept), topic
    for name in re.findall(r"^  ([a-z]\S*)", kappa("help").split("options of all commands")[0], re.MULTILINE):
        assert f"   kappa {name}" in text, name
    assert "KAPPA_DATA" in text and "EXIT STATUS" in text and "`" * 3 not in text


@pytest.mark.parametrize("args, hint", [
    (["deplyo"], "did you mean `kappa deploy`?"),
    (["delete", "p", "1"], "`kappa drop PROCESSOR VERSION`"),
    (["restart"], "SIGTERM"),
    (["topic", "crate"], "did you mean `kappa topic create`?"),
    (["events", "--type", "swaped"], "did you mean swapped?"), (["topic"], "one of: create, list, set;"),
    (["help", "windws"], "did you mean `kappa help windows`?"),
    (["help", "rolback"], "did you mean `kappa help rollback`?"),
    (["status", "--wach"], "did you mean --watch?"),
    (["scan", "t", "--order", "n"], "`kappa help scan` lists the options"),
    (["help", "functions", "summ"], "did you mean sum?"),
])
def test_did_you_mean(args, hint):
    assert hint in kappa(*args, code=2)


def test_no_guess():
    """Two letters of three are not the same word."""
    assert "did you mean" not in kappa("gxx", code=2)  # gc, get


def test_did_you_mean_names(embedded):
    embedded.topic("clicks", 1)
    embedded.deploy("counter", "CREATE TABLE c (k text) WITH (topic='clicks'); CREATE MATERIALIZED VIEW by_key AS "
                               "SELECT k, count(*) AS n FROM c GROUP BY k;", "--wait")
    for args in (["status", "conter"], ["swap", "conter"], ["diff", "conter", "1", "2"], ["history", "conter"], ["dead", "conter", "1"],
                 ["outbox", "conter"]):
        assert "did you mean counter?" in embedded.run(*args, code=3).stderr, args
    assert "lists the processors" in embedded.run("status", "something-else", code=3).stderr
    assert "no version 9 of counter" in embedded.run("dead", "counter", 9, code=3).stderr
    assert "did you mean by_key?" in embedded.run("get", "by_kye", "x", code=3).stderr
