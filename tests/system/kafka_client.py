"""What tests ask of a Kafka beside what Kappa does, by nothing of Kappa's: its protocol, spoken here (where the
ends of a partition are, topics made and cut), kcat for what a reader sees, and a producer of transactions.

    admin = kafka_client.Admin("127.0.0.1:9092")
    admin.create_topic("t", 2, cleanup_policy="compact")
    admin.offset("t", 0, kafka_client.END, committed=False)      # the high watermark
    kafka_client.read("127.0.0.1:9092", "t")                     # what a committed reader gets

Standard library only.
"""

import ctypes
import json
import socket
import struct
import subprocess
import time

START, END = -2, -1  # in place of a time, as in the protocol
NONE = -1            # in place of an offset: no record is as new
SECONDS = 180

LIST_OFFSETS, CREATE_TOPICS, DELETE_TOPICS, DELETE_RECORDS, CREATE_PARTITIONS = 2, 19, 20, 21, 37
PASSES = {3, 5, 6, 7, 9, 14, 15, 36, 41, 89}  # a leader is being found, a topic is on its way in or out


class Refused(Exception):
    """The broker answered with an error code."""

    def __init__(self, what, code):
        super().__init__(f"{what}: Kafka says error {code}")
        self.code = code


def _text(value):
    data = value.encode()
    return struct.pack(">h", len(data)) + data


class _Answer:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, form):
        values = struct.unpack_from(">" + form, self.data, self.at)
        self.at += struct.calcsize(">" + form)
        return values[0] if len(values) == 1 else values

    def text(self):
        size = self.take("h")
        self.at += max(size, 0)


class Admin:
    """One connection per question, so that a broker that was restarted is found again."""

    def __init__(self, brokers):
        host, port = brokers.split(",")[0].split(":")
        self.address = (host, int(port))

    def _ask(self, api, version, body):
        head = struct.pack(">hhih", api, version, 1, 5) + b"tests"
        with socket.create_connection(self.address, SECONDS) as sock:
            sock.settimeout(SECONDS)
            sock.sendall(struct.pack(">i", len(head) + len(body)) + head + body)
            with sock.makefile("rb") as stream:
                size, _ = struct.unpack(">ii", stream.read(8))
                return _Answer(stream.read(size - 4))

    def _until_taken(self, what, ask):
        """ask() -> error code; asked again while it passes."""
        deadline = time.monotonic() + SECONDS
        while True:
            code = ask()
            if code == 0:
                return
            if code not in PASSES or time.monotonic() > deadline:
                raise Refused(what, code)
            time.sleep(0.1)

    def offset(self, topic, partition, when, committed=True):
        """The first offset with a record time >= when (ms), NONE without one; or of START or END: END of
        committed is the last stable offset, else the high watermark."""
        body = (struct.pack(">ib", -1, committed) + struct.pack(">i", 1) + _text(topic)
                + struct.pack(">iiq", 1, partition, when))
        found = []

        def ask():
            answer = self._ask(LIST_OFFSETS, 2, body)
            answer.take("ii")
            answer.text()
            _, _, code, _, offset = answer.take("iihqq")
            found[:] = [offset]
            return code

        self._until_taken(f"offsets of {topic} [{partition}]", ask)
        return found[0]

    def create_topic(self, name, partitions=1, **config):
        """config: topic settings with _ for . , e.g. cleanup_policy="compact"."""
        body = struct.pack(">i", 1) + _text(name) + struct.pack(">ihi", partitions, 1, 0) + struct.pack(">i", len(config))
        for key, value in config.items():
            body += _text(key.replace("_", ".")) + _text(str(value))
        body += struct.pack(">ib", SECONDS * 1000, 0)
        self._until_taken(f"making {name}", lambda: self._of_topic(CREATE_TOPICS, 2, body))
        for partition in range(partitions):
            self.offset(name, partition, END)  # it has its leader

    def delete_topic(self, name):
        body = struct.pack(">i", 1) + _text(name) + struct.pack(">i", SECONDS * 1000)
        self._until_taken(f"deleting {name}", lambda: self._of_topic(DELETE_TOPICS, 1, body))

    def add_partitions(self, name, partitions):
        """partitions: how many there are then."""
        body = struct.pack(">i", 1) + _text(name) + struct.pack(">ii", partitions, -1) + struct.pack(">ib", SECONDS * 1000, 0)
        self._until_taken(f"partitions of {name}", lambda: self._of_topic(CREATE_PARTITIONS, 0, body))
        self.offset(name, partitions - 1, END)

    def delete_records(self, topic, partition, before):
        """Moves the start, as retention does."""
        body = (struct.pack(">i", 1) + _text(topic) + struct.pack(">iiq", 1, partition, before)
                + struct.pack(">i", SECONDS * 1000))

        def ask():
            answer = self._ask(DELETE_RECORDS, 1, body)
            answer.take("ii")
            answer.text()
            return answer.take("iiqh")[3]

        self._until_taken(f"deleting records of {topic} [{partition}]", ask)

    def _of_topic(self, api, version, body):
        answer = self._ask(api, version, body)
        answer.take("ii")
        answer.text()
        return answer.take("h")


def read(brokers, topic, isolation="read_committed"):
    """What kcat gets of a topic, to its end: [{"partition", "offset", "ts", "key", "payload"}]."""
    done = subprocess.run(["kcat", "-b", brokers, "-C", "-t", topic, "-o", "beginning", "-e", "-q", "-J", "-X",
                           "isolation.level=" + isolation], capture_output=True, text=True, timeout=300, check=True)
    return sorted((json.loads(line) for line in done.stdout.splitlines()), key=lambda r: (r["partition"], r["offset"]))


def produce(brokers, topic, partition, records):
    """records: [(key or None, value or None for a tombstone)]; each kcat is a batch of its own."""
    lines = "".join(f"{key or ''}\t{'' if value is None else value}\n" for key, value in records)
    subprocess.run(["kcat", "-b", brokers, "-P", "-t", topic, "-p", str(partition), "-K", "\t", "-Z"], input=lines,
                   text=True, timeout=300, check=True)


class Producer:
    """A transactional producer, by librdkafka: what no command of Kappa is."""

    def __init__(self, brokers, name):
        self.lib = lib = ctypes.CDLL("librdkafka.so.1")
        for call in ("rd_kafka_conf_new", "rd_kafka_new", "rd_kafka_topic_new", "rd_kafka_init_transactions",
                     "rd_kafka_begin_transaction", "rd_kafka_commit_transaction", "rd_kafka_abort_transaction"):
            getattr(lib, call).restype = ctypes.c_void_p
        conf = ctypes.c_void_p(lib.rd_kafka_conf_new())
        error = ctypes.create_string_buffer(512)
        for key, value in {"bootstrap.servers": brokers, "transactional.id": name, "linger.ms": "0",
                           "transaction.timeout.ms": "600000"}.items():
            assert lib.rd_kafka_conf_set(conf, key.encode(), value.encode(), error, 512) == 0, error.value
        self.handle = ctypes.c_void_p(lib.rd_kafka_new(0, conf, error, 512))
        assert self.handle, error.value
        self._done(lib.rd_kafka_init_transactions(self.handle, 60000))

    @staticmethod
    def _done(error):
        assert not error, "a call of a transaction failed"

    def begin(self):
        self._done(self.lib.rd_kafka_begin_transaction(self.handle))

    def send(self, topic, partition, values):
        handle = ctypes.c_void_p(self.lib.rd_kafka_topic_new(self.handle, topic.encode(), None))
        for value in values:
            data = value.encode()
            assert self.lib.rd_kafka_produce(handle, ctypes.c_int32(partition), 2, data, ctypes.c_size_t(len(data)),
                                             None, ctypes.c_size_t(0), None) == 0
        assert self.lib.rd_kafka_flush(self.handle, 60000) == 0
        self.lib.rd_kafka_topic_destroy(handle)

    def commit(self):
        self._done(self.lib.rd_kafka_commit_transaction(self.handle, 60000))

    def abort(self):
        self._done(self.lib.rd_kafka_abort_transaction(self.handle, 60000))

    def close(self):
        self.lib.rd_kafka_destroy(self.handle)
