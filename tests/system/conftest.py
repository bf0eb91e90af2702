"""Fixtures of the system tests.

`platform` runs on both logs: each test that takes it runs once on the embedded log and once on a real Kafka,
which this file starts (one for all parallel workers). Where Kafka cannot be had, its tests are skipped with a
loud count, and with KAPPA_NO_SKIPS=1 the run fails.
"""

import os
import signal
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))

import kafka_broker  # noqa: E402
import support  # noqa: E402
from postgres import Postgres, PostgresUnavailable  # noqa: E402

broker = None

# Of 7 s and more, nearly all of it waiting.
LONG = ("test_archive.py", "test_every_operator_on_both_logs", "test_kafka_shows_the_same_figures", "test_all_queries_on_kafka",
        "test_broker_restarts", "test_export.py::test_archive", "test_limit.py::test_all", "test_dashboard.py",
        "test_log_kafka.py", "test_only_what_is_touched", "test_topic_again.py", "test_kill")

# A shell that runs the tests in the background lets SIGINT be ignored, by all that they start, too.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser):
    parser.addoption("--no-kafka", action="store_true", help="leave the tests on a real Kafka out")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """A worker is given the next test when it has one left, not a share of all that are left: so that it has not the
    long ones of the last minute alone."""
    from xdist.scheduler import LoadScheduling

    class OneByOne(LoadScheduling):
        def _send_tests(self, node, num):
            super()._send_tests(node, min(num, 2 - len(self.node2pending[node])))

    return OneByOne(config, log) if config.getvalue("dist") == "load" else None


def pytest_collection_modifyitems(items):
    """The long ones first: what comes last keeps all workers busy."""
    items.sort(key=lambda item: not any(name in item.nodeid for name in LONG))


def pytest_configure(config):
    config.addinivalue_line("markers", "sanitized: a short selection that also runs with sanitizers")
    config.addinivalue_line("markers", "slow: takes long under sanitizers")
    if hasattr(config, "workerinput") or config.getoption("--no-kafka") or "KAPPA_TEST_KAFKA" in os.environ:
        return
    global broker
    try:
        broker = kafka_broker.KafkaBroker()
        broker.start()
        os.environ["KAPPA_TEST_KAFKA"] = broker.brokers
    except kafka_broker.KafkaUnavailable as error:
        os.environ["KAPPA_KAFKA_ABSENT"] = str(error)


def pytest_unconfigure(config):
    if broker is not None and not hasattr(config, "workerinput"):
        broker.close()


def pytest_terminal_summary(terminalreporter):
    skipped = len(terminalreporter.stats.get("skipped", []))
    if skipped:
        terminalreporter.write_sep("!", f"{skipped} TESTS WERE SKIPPED: "
                                   + os.environ.get("KAPPA_KAFKA_ABSENT", "see above"), red=True)


def pytest_sessionfinish(session, exitstatus):
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("KAPPA_NO_SKIPS") and reporter and reporter.stats.get("skipped") and exitstatus == 0:
        session.exitstatus = 1


def need_kafka():
    address = os.environ.get("KAPPA_TEST_KAFKA")
    if not address:
        pytest.skip("no Kafka: " + os.environ.get("KAPPA_KAFKA_ABSENT", "left out by --no-kafka"))
    return address


@pytest.fixture(scope="module")
def postgres():
    """A PostgreSQL to compare with."""
    try:
        with Postgres() as server:
            yield server
    except PostgresUnavailable as error:
        pytest.skip(str(error))


@pytest.fixture
def kafka():
    """host:port of the shared real broker."""
    return need_kafka()


@pytest.fixture
def own_broker():
    """A real broker of this test alone, to be stopped and cut as it likes."""
    need_kafka()
    with kafka_broker.KafkaBroker() as running:
        yield running


@pytest.fixture(params=["embedded", "kafka"])
def platform(request, tmp_path):
    """A running platform on each log."""
    address = need_kafka() if request.param == "kafka" else None
    with support.Platform(str(tmp_path), kafka=address) as running:
        running.up()
        yield running


@pytest.fixture
def embedded(tmp_path):
    """A running platform on the embedded log."""
    with support.Platform(str(tmp_path)) as running:
        running.up()
        yield running


@pytest.fixture
def topic(request, tmp_path):
    """A topic name that no other test uses (tests share the broker)."""
    return support.normal_name(f"{tmp_path.name}-{os.getpid()}")
