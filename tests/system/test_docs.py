"""The documentation is run: each page is one session of bash in an empty folder, against the real binary.

How a page is written:

    ```console                 commands behind "$ ", each followed by what it prints, or by nothing when that does not
    $ kappa status             matter. A line "..." stands for any lines, "..." within a line for any text. Times, digests,
    ...                        durations, sizes and blanks may differ. A command must end with 0, unless `echo $?` follows.
    ```
    ```console digests         digests must be those of the page: its definitions and records are whole
    ```console kafka           needs a Kafka: kafka:9092 in it is the broker of the tests
    ```console secure-kafka    needs one with passwords: kafka:9093 is it, kafka:9092 its administrator's door. There are a
                               topic "payments", kafka-ca.pem and kafka-acls.sh
    ```console registry        needs a registry of schemas: registry:8081 is one that knows ORDER_SCHEMA as number 17
    ```console not-run=docker  is not run, for the reason that it says: one of NOT_RUN
    ```sql file=shop.sql       (any language) is written to that file
    ```sql                     by itself: `kappa explain` must take it; ```sql part: does not stand by itself

kappa/ in the folder is the repository. `kappa up ... &` is waited for. 127.0.0.1:8317, and 6379
of Redis, mean the ports that it really got. Commands that stand in no block of
these kinds are refused, so that nobody writes one that is not run.
"""

import collections
import contextlib
import glob
import http.client
import json
import os
import re
import selectors
import shlex
import shutil
import signal
import subprocess
import time

import pytest

import conftest
import kafka_secure
import support
from support import eventually
from test_formats import Registry

DOCS = os.path.join(support.ROOT, "docs")
GENERATED = {"COMMANDS.md", "FUNCTIONS.md", "METRICS.md"}  # their examples are templates
NOT_SESSIONS = {"ARCHITECTURE.md"}
NOT_RUN = {"docker", "root", "packages", "terminal", "account"}
PROGRAMS = ["curl", "mdb_copy", "mdb_stat", "promtool", "redis-cli", "openssl"]  # of Debian packages that `./bootstrap test` installs
ORDER_SCHEMA = {"type": "record", "name": "order", "fields": [{"name": "id", "type": "long"},
                                                              {"name": "city", "type": "string"}]}
COMMAND_SECONDS = 600
FOLLOW_SECONDS = 180
READS = re.compile(r"(kappa (get|scan|sql|status|dead|late|outbox|cat|events|history)|curl -s|redis-cli|python3)\b")

Block = collections.namedtuple("Block", "line language words text")


def pages():
    found = glob.glob(os.path.join(DOCS, "**", "*.md"), recursive=True)
    return ["../README.md"] + sorted(os.path.relpath(path, DOCS) for path in found
                                     if os.path.basename(path) not in GENERATED | NOT_SESSIONS)


def read(page):
    with open(os.path.join(DOCS, page), encoding="utf-8") as file:
        return file.read()


def blocks(text):
    """The fenced blocks of a page."""
    found, fence = [], None
    for number, line in enumerate(text.splitlines(), 1):
        if fence is None and line.startswith("```"):
            language, *words = line[3:].split() or [""]
            fence = Block(number, language, words, [])
        elif fence is not None and line.startswith("```"):
            found.append(fence)
            fence = None
        elif fence is not None:
            fence.text.append(line)
    assert fence is None, f"line {fence.line}: this block has no end"
    return found


def commands(block):
    """(line number, command, expected lines) of a console block."""
    found = []
    for number, line in enumerate(block.text, block.line + 1):
        if line.startswith("$ "):
            found.append((number, [line[2:]], []))
        elif found and found[-1][1][-1].endswith("\\") and not found[-1][2]:
            found[-1][1].append(line)
        else:
            assert found, f"line {number}: a console block begins with a command"
            found[-1][2].append(line)
    return [(number, "\n".join(command), expected) for number, command, expected in found]


# What differs from run to run, and from machine to machine.
DIGEST = re.compile(r"\b(?=[0-9a-f]*[a-f])(?=[0-9a-f]*\d)[0-9a-f]{12}([0-9a-f]{20})?\b|\b[0-9a-f]{32}\b")
VARIES = [
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?Z?"), "TIME"),
    (re.compile(r"(?<![\w.])\d[\d.,]*(e-\d+)? ?(us|ms|s|min|h|B|KiB|MiB|GiB|TiB)(?![\w])"), "AMOUNT"),
    (re.compile(r"\s+"), " "),
    (re.compile(r"-{2,}"), "--"),
]
PROGRESS = re.compile(r"^\S+ v\d+ \w+  .*records/s  lag ")  # drawn over on a terminal


def plain(line, digests=False):
    if not digests:
        line = DIGEST.sub("DIGEST", line)
    for pattern, instead in VARIES:
        line = pattern.sub(instead, line)
    return line.strip()


def matches(expected, output, digests=False):
    """digests: they must be the same."""
    want = "".join(
        r"(?:.*\n)*?" if line.strip() == "..." else
        ".*?".join(re.escape(plain(part, digests)) if part.strip() else "" for part in line.split("...")) + "\n"
        for line in expected)
    # A blank beside "..." may be part of what it stands for.
    want = want.replace(".*?", " *.*? *")
    return re.fullmatch(want, "".join(plain(line, digests) + "\n" for line in output)) is not None


class Session:
    """One bash, in a folder of its own."""

    def __init__(self, directory, addresses=None):
        """addresses: {as pages write it: as it is}"""
        self.home = os.path.join(directory, "home")
        self.addresses = {} if addresses is None else addresses
        self.code = 0
        tools = os.path.join(directory, "bin")
        os.mkdir(self.home)
        os.mkdir(tools)
        os.symlink(support.ROOT, os.path.join(self.home, "kappa"))  # "a clone of the repository"
        os.symlink(os.path.join(support.ROOT, "examples"), os.path.join(self.home, "examples"))  # of the README
        self.script = os.path.join(directory, "command")
        with open(os.path.join(tools, "kappa"), "w", encoding="utf-8") as file:
            # Sessions run beside each other: the port is a free one, and so is that of Redis.
            file.write(f"""#!/bin/sh
case "$*" in up*--redis*) set -- "$@" --redis 127.0.0.1:0 ;; esac
[ "$1" = up ] && set -- "$@" --http 127.0.0.1:0
exec {shlex.quote(support.BIN)} "$@"
""")
        os.chmod(os.path.join(tools, "kappa"), 0o755)
        keep = {name: value for name, value in os.environ.items() if not name.startswith("KAPPA_")}
        env = {**keep, "PATH": f"{tools}:{os.environ['PATH']}", "HOME": self.home, "LC_ALL": "C.UTF-8", "TZ": "UTC"}
        self.shell = subprocess.Popen(["bash", "--norc", "--noprofile"], cwd=self.home, env=env, stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.shell.stdout, selectors.EVENT_READ)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        """All processes of the session end."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.shell.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.shell.wait(1)
        self.shell.stdin.close()
        self.shell.stdout.close()

    def run(self, command):
        """The lines that it prints; self.code is how it ended."""
        starts = re.search(r"^kappa up\b.*&( *#.*)?$", command)
        data = re.search(r"--data[= ](\S+)", command)
        state = os.path.join(os.readlink(f"/proc/{self.shell.pid}/cwd"),
                             data.group(1) if starts and data else "kappa-data", "server.json")
        if starts:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(state)
        with open(self.script, "w", encoding="utf-8") as file:
            file.write(f"(exit {self.code})\n{self.real(command)}\n")
        mark = f"--end-{time.monotonic_ns()}--"
        self.shell.stdin.write(f". {shlex.quote(self.script)} </dev/null\nprintf '\\n%s %s\\n' {mark} $?\n".encode())
        self.shell.stdin.flush()
        output = self._until(mark)
        if starts:
            self._wait_for_server(state)
        for written, address in self.addresses.items():
            output = output.replace(address, written)
        return [line for line in output.replace(self.home, "~").splitlines() if not PROGRESS.match(line)]

    def real(self, text):
        """With the addresses of this session."""
        for written, address in self.addresses.items():
            text = text.replace(written, address)
        return text

    def _until(self, mark):
        got = b""
        end = time.monotonic() + COMMAND_SECONDS
        pattern = re.compile(rb"\n?" + re.escape(mark.encode()) + rb" (\d+)\n")
        while True:
            found = pattern.search(got)
            if found:
                self.code = int(found.group(1))
                return got[:found.start()].decode(errors="replace")
            left = end - time.monotonic()
            assert left > 0, f"not over after {COMMAND_SECONDS} s, so far: {got.decode(errors='replace')}"
            if self.selector.select(left):
                piece = os.read(self.shell.stdout.fileno(), 1 << 16)
                assert piece, f"the shell ended: {got.decode(errors='replace')}"
                got += piece

    def _wait_for_server(self, state):
        def ready():
            try:
                with open(state, encoding="utf-8") as file:
                    server = json.load(file)
                self.addresses["127.0.0.1:8317"] = server["http"]
                self.addresses["127.0.0.1:6379"] = server.get("redis", "127.0.0.1:6379")
                connection = http.client.HTTPConnection(self.addresses["127.0.0.1:8317"], timeout=300)
                try:
                    connection.request("GET", "/readyz")
                    return connection.getresponse().status == 200
                finally:
                    connection.close()
            except (OSError, ValueError, KeyError, http.client.HTTPException):
                return False

        eventually(ready, 60, "the server of the page answers")


def file_name(block):
    return next((word[5:] for word in block.words if word.startswith("file=")), None)


def run_console(session, page, block):
    todo = commands(block)
    digests = "digests" in block.words
    for i, (number, command, expected) in enumerate(todo):
        output = session.run(command)
        if expected and READS.match(command):  # tables follow the log within milliseconds, or when the machine is free
            end = time.monotonic() + FOLLOW_SECONDS
            while not matches(expected, output, digests) and time.monotonic() < end:
                time.sleep(0.1)
                output = session.run(command)
        told = i + 1 < len(todo) and todo[i + 1][1] == "echo $?"
        shown = f"docs/{page}:{number}: {command}\n" + "\n".join(output)
        assert session.code == 0 or told, f"{shown}\nended with {session.code}"
        if expected:
            assert matches(expected, output, digests), f"{shown}\n---- but the page says:\n" + "\n".join(expected)


def run_sql(session, page, block):
    with open(os.path.join(session.home, ".block.sql"), "w", encoding="utf-8") as file:
        file.write("\n".join(block.text))
    output = session.run("kappa explain .block.sql")
    assert session.code == 0, f"docs/{page}:{block.line}: this SQL is refused\n" + "\n".join(output)
    os.unlink(os.path.join(session.home, ".block.sql"))


def run_blocks(session, page, found):
    for block in found:
        name = file_name(block)
        if name:
            path = os.path.join(session.home, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8") as file:
                file.write(session.real("\n".join(block.text) + "\n"))
        elif block.language == "console" and not any(word.startswith("not-run=") for word in block.words):
            run_console(session, page, block)
        elif block.language == "sql" and "part" not in block.words:
            run_sql(session, page, block)


@pytest.mark.parametrize("page", pages())
def test_page(page, tmp_path):
    """All commands of a page, from above to below."""
    found = blocks(read(page))
    for program in PROGRAMS:
        used = any(re.search(rf"(^|[;&|] *){program} ", line) for block in found for line in block.text)
        if used and shutil.which(program) is None:
            pytest.skip(f"no {program} here")
    words = {word for block in found for word in block.words}
    with contextlib.ExitStack() as stack:
        if words & {"kafka", "secure-kafka"}:
            addresses = {"kafka:9092": conftest.need_kafka()}
        else:
            addresses = {}
        session = stack.enter_context(Session(str(tmp_path), addresses))
        if "secure-kafka" in words:
            broker = stack.enter_context(kafka_secure.SecureBroker())
            addresses.update({"kafka:9092": broker.brokers, "kafka:9093": broker.secure})
            shutil.copy(broker.ca, os.path.join(session.home, "kafka-ca.pem"))
            broker.acls(tmp_path / "bin" / "kafka-acls.sh")
            broker.create_topic("payments", 2)
            produce(broker, "payments", [("ann", 20.5), ("bob", 7), ("ann", 15000)])
        if "registry" in words:
            registry = stack.enter_context(Registry({17: ORDER_SCHEMA}))
            addresses["registry:8081"] = f"127.0.0.1:{registry.port}"
        run_blocks(session, page, found)


def produce(broker, topic, payments):
    """By somebody else."""
    lines = "".join(json.dumps({"user_id": user, "amount": amount}) + "\n" for user, amount in payments)
    subprocess.run([support.BIN, "produce", topic, "--key", "user_id", "--kafka", broker.brokers], input=lines, text=True,
                   check=True, capture_output=True, timeout=300)


def test_project_of_init(tmp_path):
    """What `kappa init` makes works at once: its README is run in it."""
    with Session(str(tmp_path)) as session:
        assert session.run("kappa init shop")[-1] == "shop/README.md says what to type next"
        session.run("cd shop")
        with open(os.path.join(session.home, "shop", "README.md"), encoding="utf-8") as file:
            run_blocks(session, "the README of init", blocks(file.read()))
        session.run("kappa get per_hour Oslo --at 2026-03-01T09:30:00Z && kappa scan ranking")
        assert session.code == 0
        before = session.run("cat processors/shop.sql README.md")
        assert "is there already" in session.run("kappa init")[0] and session.code == 1
        assert session.run("cat processors/shop.sql README.md") == before
        session.run("mkdir other && echo mine > other/kappa.conf && kappa init other")
        assert session.code == 1 and session.run("ls other") == ["kappa.conf"], "all or nothing"
        session.run("kappa init no/such/folder")
        assert session.code == 3


@pytest.mark.parametrize("page", pages())
def test_page_hides_no_command(page):
    """A command stands in a console block, and one that is not run says why."""
    text = read(page)
    for block in blocks(text):
        reasons = [word[8:] for word in block.words if word.startswith("not-run=")]
        assert all(reason in NOT_RUN for reason in reasons), f"docs/{page}:{block.line}: not-run= is one of {NOT_RUN}"
        if block.language == "console":
            assert commands(block), f"docs/{page}:{block.line}: no command"
        elif not file_name(block):
            for line in block.text:
                assert not re.match(r"\s*(\$ |kappa |redis-cli |curl )", line), f"docs/{page}:{block.line}: {line}"
    outside = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    hidden = re.search(r"^ {4,}(\$ |kappa ).*", outside, re.MULTILINE)
    assert not hidden, f"docs/{page}: a command in an indented block: {hidden.group(0)}"


@pytest.mark.parametrize("page", pages() + sorted(NOT_SESSIONS))
def test_links(page):
    """What a page links to within the repository is there."""
    for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", read(page)):
        path = os.path.join(os.path.dirname(os.path.join(DOCS, page)), target)
        assert os.path.exists(path), f"docs/{page}: {target}"


def test_matching():
    """The comparison itself: what may differ, and what may not."""
    assert matches(["a  1", "...", "z"], ["a 1", "b", "c", "z"])
    assert matches(["held for 0.8 ms", "total ... end"], ["held for  12 ms", "total 7 8 end"])
    assert matches(["old 2e41326463b1cc1399ac96eeee432f57"], ["old 5e8861e25dd25618220678b20f27cb01"])
    assert not matches(["old 2e41326463b1cc1399ac96eeee432f57"], ["old 5e8861e25dd25618220678b20f27cb01"], digests=True)
    assert matches(["at 2026-01-01T00:00:00Z"], ["at 2027-11-21 15:34:28"])
    assert not matches(["a"], ["a", "b"]) and not matches(["a", "b"], ["a"])
    assert not matches(["total 200.00"], ["total 120.00"])
    assert not matches(["a ... b"], ["a c"])


# What the examples of docs/COMMANDS.md are about.
EXAMPLES_SQL = """
CREATE TABLE e (user_id text, country text, clicks bigint, at timestamptz)
    WITH (topic = 'user-events', key = 'user_id', event_time = 'at');
CREATE MATERIALIZED VIEW user_features AS SELECT user_id, max(country) AS country, sum(clicks) AS clicks,
    count(*) FILTER (WHERE clicks > 1) AS clicks_5m, count(*) AS views FROM e GROUP BY user_id;
CREATE MATERIALIZED VIEW totals AS SELECT user_id AS k, sum(clicks) AS clicks, sum(clicks) AS amount FROM e GROUP BY user_id;
CREATE MATERIALIZED VIEW t AS SELECT user_id AS k, count(*) AS n FROM e GROUP BY user_id;
CREATE MATERIALIZED VIEW balance AS SELECT clicks, count(*) AS n FROM e GROUP BY clicks;
CREATE MATERIALIZED VIEW by_country_and_day AS SELECT country, date_trunc('day', at) AS day, count(*) AS n FROM e GROUP BY 1, 2;
CREATE MATERIALIZED VIEW hourly_value AS
    SELECT user_id, window_start, count(*) AS n FROM tumble(e, at, interval '1 hour') GROUP BY user_id, window_start;
CREATE MATERIALIZED VIEW clicks AS SELECT user_id, count(*) AS views FROM e GROUP BY user_id;
"""
EXAMPLES_SETUP = """
cat features.sql > v2.sql; mkdir processors ~/.config/kappa ~/.config/fish/completions -p; cat features.sql > processors/features.sql
printf '{"user_id":"%s","country":"DE","clicks":3,"at":"2026-01-05T10:20:00Z"}\\n' u1 alice sensor-7 > events.jsonl
printf 'user_id,k,at\\nu1,u1,2026-01-05T10:30:00Z\\n' > labels.csv; echo 'SELECT * FROM totals' > report.sql
for topic in users clicks profiles orders payments app-log; do kappa topic create $topic --partitions 2; done
kappa access add me --role read --access access
"""
EXAMPLES_DIFFER = [  # what cannot be run as it stands here, and what is run instead
    (r"/var/lib/kappa/", ""), (r"--events 1000000", "--events 1000"), (r"^tail -f app.log", "echo a line"), (r"\| less .*", ""),
    (r"less README.md", "true"), (r"my-cache", "cat"), (r"--kafka (localhost|broker):\d+", ""), (r" -X \S+", ""),
    (r"(alice) +as .*", r"\1"), (r"(-17) +a key.*", r"\1"), (r"--timeout \S+", "--timeout 10s"),
    (r"(--where \"country)", r"--table user_features \1"), (r"doctor.*", r"\g<0> || true")]
EXAMPLES_GO_ON = re.compile(r"--follow|--watch|kappa tail|--events 0|kappa cat (?!.*( -\S*e|--until))")


def examples_of_commands():
    """(command, example) of each example of docs/COMMANDS.md."""
    for section in re.split(r"^## kappa ", read("COMMANDS.md"), flags=re.MULTILINE)[1:]:
        for example in re.findall(r"^    ((?:.*\\\n)*.+)", section.partition("Examples:")[2], re.MULTILINE):
            yield section.splitlines()[0], example


def test_examples_of_commands(tmp_path):
    """The examples of `kappa help COMMAND` mean something: none is refused as wrong usage, or fails. That there is no such
    version, or that a safety check is in the way, is an answer."""
    with Session(str(tmp_path)) as session:
        with open(os.path.join(session.home, "features.sql"), "w", encoding="utf-8") as file:
            file.write(EXAMPLES_SQL)
        session.run(EXAMPLES_SETUP)
        assert session.code == 0
        session.run("kappa up --access access 2>up.log &")
        go_on = []
        for command, example in examples_of_commands():
            if command == "up":  # other tests start servers
                continue
            for pattern, instead in EXAMPLES_DIFFER:
                example = re.sub(pattern, instead, example)
            if EXAMPLES_GO_ON.search(example):
                go_on.append(example)
                continue
            output = session.run(f"( {example}\n)")
            assert session.code in (0, 3, 4, 7), f"{example}\nended with {session.code}\n" + "\n".join(output)
        assert len(go_on) > 5
        watch = [f"(timeout 2 bash -c {shlex.quote(example)} >said.{i} 2>&1; echo $? >code.{i}) &" for i, example in enumerate(go_on)]
        session.run("(" + "\n".join(watch) + "\nwait)")
        for i, example in enumerate(go_on):
            assert session.run(f"cat code.{i}") in [["0"], ["3"], ["124"]], "\n".join([example] + session.run(f"cat said.{i}"))


def test_commands_in_sentences():
    """`kappa ...` anywhere in a Markdown file of the repository is a command, with options that it has."""
    said = {}
    for path in glob.glob(os.path.join(support.ROOT, "[!b]*", "**", "*.md"), recursive=True) + glob.glob(f"{support.ROOT}/*.md"):
        with open(path, encoding="utf-8") as file:
            text = re.sub(r"^```.*?^```", "", file.read(), flags=re.DOTALL | re.MULTILINE)
        said.update((command, path) for command in re.findall(r"`+(kappa [^`]+)`+", text))
    assert len(said) > 100
    for command, path in said.items():
        words = [word for word in shlex.split(command) if word != "..."]
        asked = subprocess.run([support.BIN, "--help", *words[1:]], capture_output=True, text=True, timeout=300, check=False)
        assert asked.returncode == 0 or "needs a value" in asked.stderr, f"{path}: {command}\n{asked.stderr}"
