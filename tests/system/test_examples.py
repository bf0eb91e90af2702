"""Every example is run as its README says, in a shell, and where that says what comes out, the answer is checked."""

import os
import shutil
import subprocess

import pytest

import support

EXAMPLES = os.path.join(support.ROOT, "examples")
ELSEWHERE = {"library"}  # test_library.py: it installs what the examples need
NAMES = sorted(name for name in os.listdir(EXAMPLES)
               if os.path.exists(os.path.join(EXAMPLES, name, "README.md")) and name not in ELSEWHERE)
FIRST = {"lambda-check": "user-features"}  # what its README says must be there
CHECKS = {
    "high-value": lambda p: sorted(r["value"]["amount"] for r in p.cat("fraud-alerts")) == [10000.01, 15000],
    "page-views": lambda p: p.json("get", "page_views", "/")["row"] | {"last_view": 0} ==
    {"url": "/", "views": 3, "users": 2, "last_view": 0},
    "hourly-value": lambda p: p.json("get", "hourly_value", "--at", "2026-01-05T10:30:00Z")["row"]["total"] == 4,
    "user-features": lambda p: p.json("get", "user_features", "u1")["row"]["user_id"] == "u1",
    "nexmark": lambda p: len(p.scan("q17")) == 5994,
    "training-set": lambda p: len(p.scan("training_set")) == 300,
    "fraud": lambda p: len(p.scan("fraud")) > 10,
    "fraud-plugin": lambda p: len(p.scan("judged")) > 10,
}


def commands(name):
    with open(os.path.join(EXAMPLES, name, "README.md")) as readme:
        lines = [line.strip() for line in readme if line.startswith("    ")]
    assert any("kappa " in line or ".py" in line for line in lines), name
    return lines


@pytest.mark.parametrize("name", NAMES)
def test_readme_of_the_example_works(embedded, name):
    shutil.copytree(EXAMPLES, os.path.join(embedded.directory, "examples"))
    os.symlink(os.path.join(support.ROOT, "include"), os.path.join(embedded.directory, "include"))
    path = os.path.dirname(support.BIN) + os.pathsep + os.environ["PATH"]
    script = "\n".join(commands(FIRST[name]) if name in FIRST else []) + "\n" + "\n".join(commands(name))
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=embedded.directory, timeout=600,
                          env={**embedded.env, "PATH": path}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{script}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"

    def holds():
        try:
            return CHECKS.get(name, lambda _: done.stdout.strip())(embedded)
        except support.CommandFailed:
            return False

    support.eventually(holds, 30, "it does what its README says")  # messages, for one, are sent a moment later
