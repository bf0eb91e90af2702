#!/bin/sh
# Every test, in the order of their price; stops at the first that fails. Called by `make test`.
# Prints the seconds that each part took.
set -eu
cd "$(dirname "$0")/.."
jobs=${JOBS:-$(nproc)}
at_once=$((jobs * 2)) # system tests: a third of their time is work, the rest is waiting for each other's processes

part() {
    name=$1
    shift
    echo "== $name"
    start=$(date +%s)
    "$@" || {
        echo "== $name FAILED" >&2
        exit 1
    }
    echo "== $name: $(($(date +%s) - start)) s"
}

part 'build' make -j"$jobs" WERROR=1 all
part 'source checks' make check
part 'unit tests' make -j"$jobs" WERROR=1 unit
part 'unit tests, ASan and UBSan' make -j"$jobs" SAN=address,undefined unit
part 'simulator' make sim RUNS=300
part 'simulator, ASan and UBSan' make SAN=address,undefined sim SEED=100001 RUNS=60
part 'system tests' make -j"$jobs" system PYTEST_ARGS="-n $at_once"
part 'system tests, ASan and UBSan' make -j"$jobs" SAN=address,undefined system PYTEST_ARGS="-n $at_once -m sanitized"
echo '== all tests passed'
