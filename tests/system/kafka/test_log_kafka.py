"""log/log_kafka on a real broker: runs tests/unit/log/test_log_kafka.c against it, and does to the
broker what a C program cannot: stop it in mid-read, and write with Kafka's own Java client."""

import fcntl
import os
import subprocess
import threading
import time

import pytest

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))
KAPPA = os.environ.get("KAPPA_BIN", os.path.join(ROOT, "build", "release", "kappa"))
BUILD = os.path.dirname(os.path.abspath(KAPPA))


def built(name):
    """A test program, of the same variant as the binary under test."""
    path = os.path.join(BUILD, "tests", "unit", "log", name)
    variant = os.path.basename(BUILD)
    command = ["make", "-s", os.path.relpath(path, ROOT)]
    if variant != "release":
        command.append("SAN=" + variant.replace("-", ","))
    with open(os.path.join(BUILD, "test_log_kafka.lock"), "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # parallel workers
        subprocess.run(command, cwd=ROOT, check=True)
    return path


@pytest.fixture(scope="session")
def program():
    return built("test_log_kafka")


def start(program, brokers, only=None, **env):
    env = {**os.environ, **env, "KAPPA_TEST_KAFKA": brokers}
    if only:
        env["KAPPA_TEST_ONLY"] = only
    return subprocess.Popen([program], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            text=True)


def finish(process):
    try:
        output, _ = process.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        process.kill()
        output, _ = process.communicate()
        pytest.fail("the test program hangs:\n" + output)
    assert process.returncode == 0, output
    return output


def test_suite(program, kafka):
    output = finish(start(program, kafka))
    assert "SKIPPED" not in output


def test_senders(kafka):
    output = finish(start(built("test_log_sender"), kafka))
    assert "SKIPPED" not in output


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_broker_away(program, own_broker, tmp_path, how):
    """The reader is in the middle of a topic; the broker is gone for some seconds."""
    gone = tmp_path / "gone"
    process = start(program, own_broker.brokers, "test_broker_away", KAPPA_TEST_AWAY=str(gone))
    watchdog = threading.Timer(60, process.kill)
    watchdog.start()
    for line in process.stdout:
        if line.startswith("BROKER AWAY NOW"):
            break
    watchdog.cancel()
    assert process.poll() is None, process.stdout.read()
    own_broker.stop(kill=how == "kill")
    gone.touch()
    time.sleep(3)
    own_broker.start()
    finish(process)


def test_java_keys(program, own_broker):
    """Java's default partitioner and ours put every key into the same partition."""
    own_broker.create_topic("keys", 7)
    keys = [f"user-{i}" for i in range(1500)] + ["k" * i for i in range(1, 200)]
    keys += [chr(0xE0 + i % 32) * (i % 9 + 1) + str(i) for i in range(500)]
    lines = "".join(f"{key}\t{{}}\n" for key in keys).encode()
    own_broker.tool("org.apache.kafka.tools.ConsoleProducer", "--topic", "keys",
                    "--property", "parse.key=true", stdin=lines)
    output = finish(start(program, own_broker.brokers, "test_java_keys",
                          KAPPA_TEST_JAVA_TOPIC="keys"))
    assert "[  PASSED  ] 1 test" in output
