"""Every example is run as its README says, and its last command's answer is checked."""

import os
import shlex

import pytest

import support


def commands(name):
    with open(os.path.join(support.ROOT, "examples", name, "README.md")) as readme:
        lines = [line.strip() for line in readme if line.startswith("    kappa ")]
    assert lines, name
    return [[word if not word.startswith("examples/") else os.path.join(support.ROOT, word)
             for word in shlex.split(line)[1:]] for line in lines]


@pytest.mark.parametrize("name, check", [
    ("high-value", lambda p: sorted(r["amount"] for r in p.scan("high_value")) == [10000.01, 15000]),
    ("page-views", lambda p: p.json("get", "page_views", "/")["row"] | {"last_view": 0} ==
     {"url": "/", "views": 3, "users": 2, "last_view": 0}),
    ("hourly-value", lambda p: p.json("get", "hourly_value", "--at", "2026-01-05T10:30:00Z")["row"]["total"] == 4),
    ("user-features", lambda p: p.json("get", "user_features", "u1")["row"]["user_id"] == "u1"),
])
def test_readme_of_the_example_works(embedded, name, check):
    for words in commands(name):
        embedded.run(*words)
    assert check(embedded)
