#!/bin/sh
# Every test, in the order of their price; stops at the first that fails. Called by `make test`.
# Prints the seconds that each part took.
set -eu
cd "$(dirname "$0")/.."
jobs=${JOBS:-$(nproc)}
at_once=$((jobs * 2)) # tests wait more than they work: for disks, brokers, each other's processes

part() {
    name=$1
    shift
    echo "== $name"
    start=$(date +%s)
    "$@" || {
        echo "== $name FAILED" >&2
        wait
        exit 1
    }
    echo "== $name: $(($(date +%s) - start)) s"
}

mkdir -p build
${PYTHON:-/usr/bin/python3} tests/system/kafka_broker.py fetch > build/kafka-fetch.log 2>&1 < /dev/null & # the tests wait for it
part 'build' make -j"$jobs" WERROR=1 all
part 'source checks' make check
part 'unit tests and simulator, without and with ASan and UBSan' make -j"$at_once" -O WERROR=1 unit-sim RUNS=300
part 'system tests' make -j"$jobs" system PYTEST_ARGS="-n $at_once"
part 'system tests, ASan and UBSan' make -j"$jobs" SAN=address,undefined system PYTEST_ARGS="-n $at_once -m sanitized"
echo '== all tests passed'
