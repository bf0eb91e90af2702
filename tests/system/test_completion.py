"""Completion of the command line: what bash would offer, asked through the script that users load."""

import os
import shutil
import subprocess

import pytest

import support

SQL = ("CREATE TABLE e (k text) WITH (topic='clicks'); CREATE MATERIALIZED VIEW by_key AS SELECT k, count(*) AS c FROM e"
       " GROUP BY k;")


def offered(platform, line):
    """What bash offers behind `line`, the last word of which is being typed."""
    words = [word.replace("DATA", platform.data) for word in line.split(" ")]
    script = ('. <("$0" completion bash); COMP_WORDS=("$0" "$@"); COMP_CWORD=$#; _kappa; printf "%s\\n" "${COMPREPLY[@]}"')
    result = subprocess.run(["bash", "-c", script, support.BIN, *words], env=platform.env, capture_output=True, text=True,
                            timeout=120, check=True)
    assert result.stderr == ""
    return result.stdout.split()


def need(shell):
    found = shutil.which(shell)
    if found is None:
        pytest.skip(f"no {shell} here")
    return found


def test_words(embedded):
    embedded.topic("clicks", 2)
    embedded.topic("claims", 1)
    embedded.deploy("counter", SQL, "--wait")
    assert offered(embedded, "sta") == ["status"]
    assert offered(embedded, "to") == ["topic"] and offered(embedded, "topic ") == ["create", "list", "set"]
    assert offered(embedded, "nonsense ") == [] == offered(embedded, "nonsense x ") == offered(embedded, "worker ")
    everything = offered(embedded, "")
    assert "deploy" in everything and "worker" not in everything and len(everything) == len(set(everything))
    assert offered(embedded, "deploy --na") == ["--name"] and "--data" in offered(embedded, "--")
    assert offered(embedded, "scan -o ") == ["text", "json"] == offered(embedded, "status --output ")
    assert offered(embedded, "help win") == ["windows"]
    assert offered(embedded, "help topic cr") == ["create"] and offered(embedded, "completion z") == ["zsh"]
    for line, words in (("wait counter 1 --for ", ["caught-up", "serving"]), ("deploy --swap m", ["manual"]), ("canary counter o", ["off"]),
                        ("access add x --role ", ["read", "write", "operate", "metrics"]), ("events --type swap", ["swapped", "swap_failed"]),
                        ("topic set clicks a", ["archive=on", "archive=off"]), ("deploy --set swap.max_d", ["swap.max_dead="])):
        assert offered(embedded, line) == words, line
    assert offered(embedded, "swap ") == ["counter"] and offered(embedded, "swap counter ") == ["1"]
    assert offered(embedded, "swap nobody ") == [] == offered(embedded, "swap counter 1 ")
    assert offered(embedded, "diff counter 1 ") == ["1"]
    assert offered(embedded, "get ") == ["by_key"] and offered(embedded, "get --version 1 b") == ["by_key"]
    assert sorted(offered(embedded, "cat cl")) == ["claims", "clicks"]
    assert offered(embedded, "rekey claims cli") == ["clicks"], "the last argument may repeat"
    assert offered(embedded, "--data DATA-none swap ") == [], "no server: nothing, and no error"
    assert offered(embedded, "--data DATA swap ") == ["counter"]


def test_fish(embedded):
    fish = need("fish")
    script = "source ($argv[1] completion fish | psub); complete -C 'kappa sta'; complete -C 'kappa topic '"
    path = {**embedded.env, "PATH": f"{os.path.dirname(support.BIN)}:{os.environ['PATH']}"}
    result = subprocess.run([fish, "-N", "-c", script, support.BIN], env=path, capture_output=True, text=True, timeout=120,
                            check=True)
    assert result.stdout.split() == ["status", "create", "list", "set"] and result.stderr == ""


def test_zsh(embedded):
    """In a terminal of zsh's own: the line is completed by a tab."""
    zsh = need("zsh")
    script = """zmodload zsh/zpty; export TERM=dumb
        zpty -b z zsh -f -i
        zpty -w z "PROMPT=; autoload -U compinit; compinit -u -D; . <(kappa completion zsh)"
        zpty -w z "echo rea''dy"; zpty -r z line '*ready*'
        zpty -w -n z $'kappa stat\\t #'; zpty -w z ' end'
        zpty -r z line '*kappa status*'; print -r -- $line"""
    path = {**embedded.env, "PATH": f"{os.path.dirname(support.BIN)}:{os.environ['PATH']}"}
    result = subprocess.run([zsh, "-f", "-c", script], env=path, capture_output=True, text=True, timeout=300, check=True)
    assert "kappa status" in result.stdout, result.stdout


def test_unknown_shell(embedded):
    assert embedded.run("completion", "tcsh", code=2).returncode == 2


def test_manual(embedded):
    """Every command and option is in the manual, and groff has nothing to say about it."""
    page = embedded.run("help", "--man").stdout
    for line in embedded.run("help").stdout.splitlines():
        if line.startswith("  --"):
            assert line.split()[0].replace("-", "\\-") in page, line
    if shutil.which("groff"):
        result = subprocess.run(["groff", "-man", "-Tascii", "-ww", "-z"], input=page, capture_output=True, text=True,
                                timeout=120, check=True)
        assert result.stderr == ""
