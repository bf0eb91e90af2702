#!/usr/bin/python3
"""A real Apache Kafka broker (KRaft, one node) for tests, benchmarks and demos.

    with KafkaBroker() as kafka:               # start; stop and remove its directory at the end
        kafka.create_topic("events", partitions=4)
        ... kafka.brokers ...                  # "127.0.0.1:PORT"

    python3 tests/system/kafka_broker.py run   # prints host:port, runs until SIGTERM or Ctrl-C
    python3 tests/system/kafka_broker.py fetch # only gets the jars and makes them ready
    python3 tests/system/kafka_broker.py exec COMMAND...   # with KAPPA_TEST_KAFKA=host:port set

The broker is Java from Maven artifacts (kafka/pom.xml), fetched once into build/kafka/lib under a
lock file, so that parallel tests share them. A first broker is started and ended there, too: it
leaves the classes it loaded, in the form in which the next ones map them (a CDS archive), and a
formatted directory to copy: that is most of what a start costs. A broker listens on loopback only,
keeps its data and its log in a fresh temporary directory, and dies with the process that started it.
Needs the Debian packages maven and openjdk-17-jre-headless; KafkaUnavailable says what is missing.

Standard library only.
"""

import base64
import contextlib
import ctypes
import fcntl
import hashlib
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import kafka_client

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
POM = HERE / "kafka" / "pom.xml"
LIB = Path(os.environ.get("KAPPA_KAFKA_LIB", ROOT / "build" / "kafka" / "lib"))
CLASSES = LIB / "classes.jsa"    # of the jars, as the first broker left them
FORMATTED = LIB / "formatted"    # the data directory of a broker that never ran

START_SECONDS = 300  # a cold start takes 3 s on an idle machine
STOP_SECONDS = 60
TOOL_SECONDS = 300
MAVEN_SECONDS = 300

# slf4j-simple writes to standard error; warnings are enough to see why a broker does not start.
LOGGING = ["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
           "-Dorg.slf4j.simpleLogger.showDateTime=true",
           "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS"]


# An archive of another Java or of other jars is passed over with a warning, which is no part of a tool's answer.
JAVA = ["java", "-Xlog:disable", "-Xlog:all=warning:stderr", *LOGGING, "-cp", f"{LIB}/*"]
READY = f"-XX:SharedArchiveFile={CLASSES}"
BRIEF = "-XX:TieredStopAtLevel=1"  # of what lives for seconds: the second compiler costs more than it gains there


class KafkaUnavailable(Exception):
    """No broker can be had on this machine: tests that need one are skipped, loudly."""


class KafkaError(Exception):
    """The broker or one of its tools failed."""


def jars():
    """The directory with the broker's jars, fetched and made ready when it is not there yet."""
    if shutil.which("java") is None:
        raise KafkaUnavailable("no java: install openjdk-17-jre-headless")
    wanted = hashlib.sha256(POM.read_bytes()).hexdigest()
    done = LIB / "complete"  # holds the hash of the pom the jars belong to
    LIB.parent.mkdir(parents=True, exist_ok=True)
    with open(LIB.parent / "lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists() or done.read_text(encoding="ascii") != wanted:
            _fetch_jars()
            done.write_text(wanted, encoding="ascii")
        if not CLASSES.exists():
            _make_ready()
    return LIB


def _fetch_jars():
    if shutil.which("mvn") is None:
        raise KafkaUnavailable("no mvn: install maven")
    shutil.rmtree(LIB, ignore_errors=True)
    command = ["mvn", "-q", "-B", "-f", str(POM), "dependency:copy-dependencies",
               "-DincludeScope=runtime", f"-DoutputDirectory={LIB}"]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=MAVEN_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise KafkaUnavailable(f"Maven did not finish in {MAVEN_SECONDS} s") from None
    if done.returncode != 0 or not any(LIB.glob("kafka_2.13-*.jar")):
        tail = done.stdout.decode(errors="replace").strip().splitlines()[-5:]
        raise KafkaUnavailable("Maven cannot get the jars of Kafka: " + " | ".join(tail))


def _make_ready():
    """A broker that is formatted, started and ended leaves FORMATTED and CLASSES."""
    shutil.rmtree(FORMATTED, ignore_errors=True)
    made = CLASSES.with_suffix(".made")
    with tempfile.TemporaryDirectory(prefix="kappa-kafka-") as directory:
        broker = KafkaBroker(directory=directory, first=True)
        broker.tool("kafka.tools.StorageTool", "format", "-t", _random_id(), "-c",
                    str(broker._properties_file()), bootstrap=False)
        shutil.copytree(broker.directory / "data", FORMATTED)
        broker.start(f"-XX:ArchiveClassesAtExit={made}")
        broker.create_topic("first")
        broker.stop(seconds=START_SECONDS)
    made.rename(CLASSES)


def _random_id():
    """What StorageTool random-uuid prints: 16 random bytes in URL-safe base64, no dash first."""
    while True:
        text = base64.urlsafe_b64encode(os.urandom(16)).decode().rstrip("=")
        if not text.startswith("-"):
            return text


def _free_ports(count):
    """Loopback ports that are free now, and that the kernel gives nobody: until the broker listens, and while it is
    stopped, others ask for any port. Held open together so that they differ."""
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as given:
        first = int(given.read().split()[0])
    below = range(10_240, first)
    with contextlib.ExitStack() as stack:
        ports = []
        while len(ports) < count:
            sock = stack.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                sock.bind(("127.0.0.1", random.choice(below) if len(below) > 1000 else 0))
                ports.append(sock.getsockname()[1])
        return ports


def _die_with_parent():
    """Child side: SIGTERM when the starting thread ends, whatever ends it (PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


class KafkaBroker:
    """One broker. start() and stop() may be called repeatedly: data and ports stay the same."""

    def __init__(self, heap_mb=512, properties=None, directory=None, brief=True, first=False):
        """properties: more lines of server.properties. directory: kept by the caller, else a
        temporary one that close() removes. brief: it starts sooner, and is not for measuring.
        first: it makes the jars ready, and is formatted by the caller."""
        if not first:
            jars()
        self.java = [*JAVA, *([] if first else [READY])]
        self.options = [f"-Xmx{heap_mb}m", "-Xms128m", "-XX:+UseSerialGC", *([BRIEF] if brief else [])]
        self.owns_directory = directory is None
        self.directory = Path(directory or tempfile.mkdtemp(prefix="kappa-kafka-"))
        self.directory.mkdir(parents=True, exist_ok=True)
        self.port, self.controller_port = _free_ports(2)
        self.brokers = f"127.0.0.1:{self.port}"
        self.log_file = self.directory / "broker.log"
        self.process = None
        self._write_properties(properties or {})
        if not first and not (self.directory / "data").exists():
            self._format()

    # ---- life

    def start(self, *options):
        """Starts the broker and waits until it answers. options: more of Java's."""
        if self.process is not None:
            raise KafkaError("the broker is already running")
        command = [*self.java, *self.options, *options, "kafka.Kafka", str(self._properties_file())]
        with open(self.log_file, "ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, start_new_session=True,
                                            preexec_fn=_die_with_parent, cwd=self.directory)
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self.process.poll() is not None:
                raise KafkaError(f"the broker ended with {self.process.returncode}: "
                                 + self.log_tail())
            if time.monotonic() > deadline:
                self.stop(kill=True)
                raise KafkaError(f"no answer within {START_SECONDS} s: " + self.log_tail())
            time.sleep(0.1)
        return self

    def stop(self, kill=False, seconds=STOP_SECONDS):
        """Ends the broker: SIGTERM writes a clean shutdown, kill=True is a crash."""
        process, self.process = self.process, None
        if process is None:
            return
        process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def restart(self, kill=False):
        """Stops and starts on the same data and ports."""
        self.stop(kill)
        return self.start()

    def suspend(self):
        """SIGSTOP: connections stay open, nothing answers."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def close(self):
        """Stops the broker and removes its directory."""
        if self.process is not None:
            self.stop(kill=self.owns_directory)  # nobody reads the data again
        if self.owns_directory:
            shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_):
        self.close()

    def log_tail(self, lines=15):
        try:
            return "\n".join(self.log_file.read_text(errors="replace").splitlines()[-lines:])
        except OSError:
            return "(no log)"

    # ---- topics

    def create_topic(self, name, partitions=1, **config):
        """config: topic settings with _ for . , e.g. cleanup_policy="compact"."""
        kafka_client.Admin(self.brokers).create_topic(name, partitions, **config)

    def delete_topic(self, name):
        kafka_client.Admin(self.brokers).delete_topic(name)

    def delete_records(self, topic, partition, before_offset):
        """Moves the log start, as retention does: offsets below before_offset are gone."""
        kafka_client.Admin(self.brokers).delete_records(topic, partition, before_offset)

    def tool(self, class_name, *arguments, stdin=None, timeout=TOOL_SECONDS, bootstrap=True):
        """Runs one of Kafka's command-line classes against this broker; its output."""
        command = [*self.java, BRIEF, "-Xmx256m", "-Dfile.encoding=UTF-8", class_name]
        if bootstrap:
            command += ["--bootstrap-server", self.brokers]
        try:
            done = subprocess.run(command + list(arguments), input=stdin, timeout=timeout,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
        except subprocess.TimeoutExpired:
            raise KafkaError(f"{class_name} did not finish in {timeout} s") from None
        output = done.stdout.decode(errors="replace")
        if done.returncode != 0:
            raise KafkaError(f"{class_name} failed: {output}"
                             + done.stderr.decode(errors="replace")[-2000:])
        return output

    # ---- files

    def _properties_file(self):
        return self.directory / "server.properties"

    def _write_properties(self, more):
        lines = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@127.0.0.1:{self.controller_port}",
            "listeners": f"PLAINTEXT://127.0.0.1:{self.port},"
                         f"CONTROLLER://127.0.0.1:{self.controller_port}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self.port}",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": str(self.directory / "data"),
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "1",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "transaction.state.log.num.partitions": "1",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
            "auto.create.topics.enable": "false",
            "message.max.bytes": str(20 << 20),
            "num.network.threads": "2",
            "num.io.threads": "2",
            # After a restart the controller keeps a broker fenced until its old session is over.
            "broker.session.timeout.ms": "2000",
            "broker.heartbeat.interval.ms": "500",
            # Many tests have records of years ago: nothing goes by its age, and the broker, which looks 30 s after its
            # start and every 5 minutes, does not act in the midst of a test where a topic has a retention of its own.
            "log.retention.ms": "-1",
            "log.retention.check.interval.ms": "86400000",
            "log.initial.task.delay.ms": "86400000",
            "log.cleaner.backoff.ms": "500",  # compaction looks for work twice a second, not every 15 s
        }
        lines.update(more)
        self._properties_file().write_text(
            "".join(f"{key}={value}\n" for key, value in lines.items()), encoding="ascii")

    def _format(self):
        """As StorageTool format does it: what it wrote once, with names of this broker's own."""
        data = shutil.copytree(FORMATTED, self.directory / "data")
        meta = data / "meta.properties"
        lines = dict(line.split("=", 1) for line in meta.read_text(encoding="ascii").splitlines() if "=" in line)
        lines.update({"cluster.id": _random_id(), "directory.id": _random_id()})
        meta.write_text("".join(f"{key}={value}\n" for key, value in lines.items()), encoding="ascii")

    def _answers(self):
        """An ApiVersions (18, v0) request gets an answer without an error code, and a Metadata
        (3, v1) request names a controller: the broker takes part in its cluster."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as sock:
                sock.settimeout(2)
                versions = self._request(sock, 18, 0, b"")
                metadata = self._request(sock, 3, 1, struct.pack(">i", 0))
        except OSError:
            return False
        if len(versions) < 2 or struct.unpack_from(">h", versions)[0] != 0:
            return False
        return struct.unpack_from(">i", metadata)[0] == 1

    @staticmethod
    def _request(sock, api, version, body):
        client = b"kappa-tests"
        head = struct.pack(">hhih", api, version, 1, len(client)) + client
        sock.sendall(struct.pack(">i", len(head) + len(body)) + head + body)
        size = struct.unpack(">i", _receive(sock, 4))[0]
        return _receive(sock, size)[4:]  # without the correlation id


def _receive(sock, size):
    data = b""
    while len(data) < size:
        piece = sock.recv(size - len(data))
        if not piece:
            raise OSError("the broker closed the connection")
        data += piece
    return data


def _run():
    done = []
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: done.append(True))
    with KafkaBroker(heap_mb=int(os.environ.get("KAPPA_KAFKA_HEAP_MB", "512")), brief=False) as kafka:
        print(kafka.brokers, flush=True)
        while not done and kafka.process.poll() is None:
            time.sleep(0.2)
        if not done:
            raise KafkaError("the broker ended: " + kafka.log_tail())


def _exec(command):
    with KafkaBroker() as kafka:
        return subprocess.run(command, check=False,
                              env={**os.environ, "KAPPA_TEST_KAFKA": kafka.brokers}).returncode


def main(arguments):
    try:
        if arguments == ["run"]:
            _run()
        elif arguments == ["fetch"]:
            print(jars())
        elif len(arguments) > 1 and arguments[0] == "exec":
            return _exec(arguments[1:])
        else:
            print(__doc__, file=sys.stderr)
            return 2
    except (KafkaUnavailable, KafkaError) as error:
        print(f"kafka_broker: {error}", file=sys.stderr)
        return 69 if isinstance(error, KafkaUnavailable) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
