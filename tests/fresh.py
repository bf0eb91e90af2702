#!/usr/bin/env python3
"""The README's first commands, the Dockerfile and the packages, tried in Debian 12 roots with nothing in them.

    make fresh                      as root; needs mmdebstrap; about 5 minutes. FRESH_ARGS="--test": all tests, too

There is no container daemon in it: the Dockerfile is read, and each of its steps done in a chroot as docker build
would. The packages' root is also booted, by systemd-nspawn where that is installed (systemd-container). A root has its own mounts, processes and (where nothing is to be installed) network; all of it goes at the end.
It uses the package sources of this machine. Steps of a kind that is not known here are an error, not passed over.
"""

import argparse
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def say(text):
    print(f"fresh: {text}", flush=True)


def command(root, argv, *, env=(), user=None, directory="/", network=True):
    """The command line that runs argv inside the root. Its mounts and processes end with it."""
    inside = ["chroot", *([f"--userspec={user}"] if user else []), root, "/usr/bin/env", "-i", f"PATH={PATH}", *env,
              "sh", "-c", 'cd "$0" && exec "$@"', directory, *argv]
    mounts = f"mount -t proc proc {shlex.quote(root)}/proc && mount --rbind /dev {shlex.quote(root)}/dev"
    if not network:
        mounts += " && ip link set lo up"
    return ["unshare", "--mount", "--pid", "--fork", "--kill-child", *([] if network else ["--net"]),
            "sh", "-c", f"{mounts} && exec {shlex.join(inside)}"]


def base_root(directory):
    """What debian:bookworm-slim has, and the way to the packages that this machine uses."""
    root = os.path.join(directory, "base")
    subprocess.run(["mmdebstrap", "--quiet", "--variant=minbase", "bookworm", root], check=True)
    if os.path.exists("/etc/apt/sources.list.d/debian.sources"):
        shutil.copy("/etc/apt/sources.list.d/debian.sources", f"{root}/etc/apt/sources.list.d/")
        os.remove(f"{root}/etc/apt/sources.list")
    ways = subprocess.run(["apt-config", "dump"], check=True, stdout=subprocess.PIPE, text=True).stdout
    with open(f"{root}/etc/apt/apt.conf.d/99fresh", "w") as file:
        file.writelines(line + "\n" for line in ways.splitlines() if line.startswith(("Acquire::http", "Acquire::https")))
    shutil.copy("/etc/resolv.conf", f"{root}/etc/resolv.conf")
    return root


def copy_root(base, name):
    root = os.path.join(os.path.dirname(base), name)
    subprocess.run(["cp", "-a", "--reflink=auto", base, root], check=True)
    return root


def put_sources(directory):
    """What is committed, without its history: as a container's build would be given it."""
    os.makedirs(directory, exist_ok=True)
    archive = subprocess.Popen(["git", "-C", ROOT, "archive", "HEAD"], stdout=subprocess.PIPE)
    subprocess.run(["tar", "-x", "-C", directory], stdin=archive.stdout, check=True)
    assert archive.wait() == 0


def clone_root(base, name):
    root = copy_root(base, name)
    subprocess.run(["git", "clone", "-q", ROOT, f"{root}/kappa"], check=True)
    return root


def readme(base, test):
    """The two commands of the README in a clone."""
    root = clone_root(base, "readme")
    for target in ["demo", "test"] if test else ["demo"]:
        say(f"./bootstrap {target}")
        subprocess.run(command(root, ["./bootstrap", target], env=["HOME=/root"], directory="/kappa"), check=True)


def packages(base):
    """`make deb`; what it made is installed in another root, and its service's command run as its user."""
    root = clone_root(base, "build")
    say("make deb")
    tools = "apt-get install -y -qq --no-install-recommends git build-essential debhelper lintian"
    steps = f"./bootstrap deps && {tools} >/dev/null && make deb"
    subprocess.run(command(root, ["sh", "-c", steps], env=["HOME=/root"], directory="/kappa"), check=True)
    image = Image(base, "deb")
    for name in os.listdir(f"{root}/kappa/build/deb"):
        if name.endswith(".deb") and "dbgsym" not in name:
            shutil.copy(f"{root}/kappa/build/deb/{name}", f"{image.root}/tmp/")
    install = "apt-get update -qq && apt-get install -y -qq --no-install-recommends /tmp/*.deb gcc libc6-dev pkg-config systemd-sysv"
    subprocess.run(image.command(["sh", "-c", f"{install} >/dev/null && mkdir /debs && mv /tmp/*.deb /debs"]), check=True)
    with open(f"{image.root}/tmp/reader.c", "w") as file:
        file.write("#include <kappa/reader.h>\nint main(void) { return kappa_reader_open == 0; }\n")
    compile_it = "cc /tmp/reader.c $(pkg-config --cflags --libs kappa) -o /tmp/reader && /tmp/reader"
    subprocess.run(image.command(["sh", "-c", compile_it]), check=True)
    with open(f"{image.root}/lib/systemd/system/kappa.service") as file:
        unit = dict(line.strip().split("=", 1) for line in file if re.match(r"[A-Z]\w+=", line))
    image.user = f"{unit['User']}:{unit['Group']}"
    image.env = ["KAPPA_DATA=/var/lib/kappa"]
    image.cmd = unit["ExecStart"].split()
    image.health = ["kappa", "status"]
    run(image)
    image.user = f"nobody:{unit['Group']}"
    read = subprocess.run(image.command(["kappa", "get", "sums", "a"]), stdout=subprocess.PIPE, text=True, check=True)
    assert re.search(r"n +8\b", read.stdout), f"one of the group reads: {read.stdout}"
    denied = subprocess.run(image.command(["cat", "/etc/kappa/kappa.conf"]), stderr=subprocess.PIPE, text=True, check=False)
    assert denied.returncode != 0 and "Permission denied" in denied.stderr, "the group reads tables, and no passwords"
    image.user = None
    booted(image.root)
    purge = "dpkg --purge kappa && [ -d /var/lib/kappa/versions ] && [ ! -e /etc/kappa ] && [ ! -e /usr/bin/kappa ]"
    subprocess.run(image.command(["sh", "-c", purge]), check=True)


# Runs as root in the booted machine: the unit as systemd runs it, with a plugin, an upgrade and settings that are wrong.
MACHINE = r"""
set -e
until systemctl is-active -q multi-user.target 2>/dev/null; do sleep 0.1; done
is() { [ "$1" = "$2" ] || { echo "$3: \"$1\" and not \"$2\"; $(journalctl -u kappa -n 30 --no-pager)" >&2; exit 1; }; }
pid() { systemctl show -p MainPID --value kappa; }
sums() { KAPPA_SERVER=127.0.0.1:8317 kappa get sums a -o json | sed 's/.*"n": *\([0-9]*\).*/\1/'; }
is "$(systemctl is-active kappa)" active 'the service after the boot'
is "$(sums)" 8 'a row of the version that came back'
is "$(sed -n 's/^NoNewPrivs:\t//p; s/^Seccomp:\t//p; s/^CapBnd:\t//p' /proc/$(pid)/status | tr '\n' ' ')" \
    '0000000000000000 1 2 ' 'no capabilities, no new privileges, a filter of system calls'
is "$(nsenter -m -t $(pid) sh -c 'echo > /etc/kappa/x' 2>&1 | grep -c Read-only)" 1 'the settings are out of reach'
cp -r /usr/share/doc/kappa/examples/fraud-plugin /srv && cd /srv/fraud-plugin
cc -shared -fPIC -O2 $(pkg-config --cflags kappa) -o fraud.so fraud.c -lm
as() { runuser -u kappa -- env KAPPA_DATA=/var/lib/kappa "$@"; }
as kappa topic create transactions && as kappa topic create plugin-alerts
echo '{"user_id":"u","amount":1,"lat":1,"lon":1,"ts":"2026-01-01T00:00:00Z"}' | as kappa produce transactions --key user_id
as kappa deploy fraud.sql --wait
as kappa status fraud | grep -q 'v1  *serving'
before=$(pid) && kill -9 $before
until [ "$(systemctl is-active kappa)" = active ] && [ "$(pid)" != $before ]; do sleep 0.1; done
is "$(sums)" 8 'a row after a crash'
before=$(pid) && dpkg -i /debs/kappa_*.deb >/dev/null
is "$(systemctl is-active kappa)" active 'the service after an upgrade' && [ "$(pid)" != $before ]
is "$(sums)" 8 'a row after an upgrade'
cp -p /etc/kappa/kappa.conf /root && echo 'htpp = 1' >> /etc/kappa/kappa.conf
! systemctl restart kappa 2>/dev/null
is "$(systemctl show -p NRestarts -p SubState --value kappa | tr '\n' ' ')" '0 failed ' 'wrong settings wait for a person'
cp -p /root/kappa.conf /etc/kappa/ && systemctl start kappa && systemctl stop kappa
is "$(systemctl show -p Result --value kappa)" success 'the stop'
"""


def booted(root):
    """Boots the root with systemd-nspawn, with a network of its own, and does in it what MACHINE says."""
    if not shutil.which("systemd-nspawn"):
        say("the unit is not run under systemd: that needs the package systemd-container")
        return
    say("the unit under systemd")
    machine = subprocess.Popen(["systemd-nspawn", "--quiet", f"--directory={root}", "--register=no", "--keep-unit",
                                "--private-network", "--console=pipe", "--boot"], stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while (leader := systemd_of(machine.pid)) is None:
            assert machine.poll() is None and time.monotonic() < deadline, "systemd-nspawn does not boot the root"
            time.sleep(0.1)
        inside = ["nsenter", "-t", leader, "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "env", "-i", f"PATH={PATH}"]
        subprocess.run([*inside, "sh", "-c", MACHINE], check=True, timeout=300)
        subprocess.run([*inside, "systemctl", "poweroff"], check=True, stderr=subprocess.DEVNULL)
        machine.wait(120)
    finally:
        machine.kill()
        machine.wait()


def systemd_of(nspawn):
    """The process that is the first one inside, once it is systemd: from then on its namespaces are whole."""
    with open(f"/proc/{nspawn}/task/{nspawn}/children") as file:
        for pid in file.read().split():
            with open(f"/proc/{pid}/comm") as name:
                if name.read() == "systemd\n":
                    return pid
    return None


class Image:
    """A stage of a Dockerfile as a root; and what it says about running it."""

    def __init__(self, base, number):
        self.root = copy_root(base, f"stage{number}")
        self.directory = "/"
        self.user = None
        self.env = []
        self.cmd = None
        self.health = None
        self.stop = "SIGTERM"

    def command(self, argv, **how):
        return command(self.root, argv, env=self.env, user=self.user, directory=self.directory, **how)


def steps(path):
    """(instruction, the rest) of each step; lines that go on are joined."""
    with open(path) as file:
        text = re.sub(r"\\\n", " ", "".join(line for line in file if not line.lstrip().startswith("#")))
    for line in filter(None, map(str.strip, text.splitlines())):
        word, _, rest = line.partition(" ")
        yield word, rest.strip()


def copy(rest, image, stages, context):
    words = rest.split()
    source = context
    if words[0].startswith("--from="):
        source = stages[words.pop(0).partition("=")[2]].root
    *names, target = words
    target = image.root + os.path.normpath(os.path.join(image.directory, target))
    for name in names:
        path = os.path.normpath(f"{source}/{name}")
        if os.path.isdir(path):
            shutil.copytree(path, target, dirs_exist_ok=True, symlinks=True)
        else:
            inside = os.path.isdir(target) or rest.endswith("/")
            shutil.copy(path, os.path.join(target, os.path.basename(path)) if inside else target)


def build(base, path, context):
    """All stages; the last one is the image."""
    stages = {}
    image = None
    for word, rest in steps(path):
        if word != "FROM":
            say(f"{word} {rest[:100]}")
        if word == "FROM":
            name, _, stage = rest.partition(" AS ")
            assert name == "debian:bookworm-slim", name
            image = Image(base, len(stages))
            stages[stage or len(stages)] = image
        elif word == "WORKDIR":
            image.directory = rest
            os.makedirs(image.root + rest, exist_ok=True)
        elif word == "COPY":
            copy(rest, image, stages, context)
        elif word == "RUN":
            subprocess.run(image.command(["sh", "-c", rest]), check=True)
        elif word == "USER":
            image.user = rest
        elif word == "ENV":
            image.env += shlex.split(rest)
        elif word == "CMD":
            image.cmd = json.loads(rest)
        elif word == "HEALTHCHECK":
            image.health = json.loads(rest.partition("CMD ")[2])
        elif word == "STOPSIGNAL":
            image.stop = rest
        elif word not in ("VOLUME", "EXPOSE"):
            sys.exit(f"fresh: {path} has a step of a kind that is not known here: {word}")
    return image


# Runs inside the image's network: starts its command, waits for health, uses it, stops it as docker stop does; prints
# what a user would see.
SESSION = r"""
"$@" & pid=$!
for i in $(seq 100); do eval "$HEALTH" >/dev/null 2>&1 && break; sleep 0.1; done
eval "$HEALTH" >/dev/null || exit 9
kappa topic create t --partitions 2 2>/dev/null
printf '{"k":"a","n":1}\n{"k":"b","n":2}\n{"k":"a","n":3}\n' | kappa produce t --key k
kappa deploy /tmp/sums.sql --wait 2>/dev/null
kappa scan sums -o json
id -un
kill -"$STOP" $pid; wait $pid; echo "exit $?"
"""
SUMS = """CREATE TABLE e (k text, n bigint) WITH (topic='t', format='json');
CREATE MATERIALIZED VIEW sums AS SELECT k, sum(n) AS n FROM e GROUP BY k;
"""


def run(image):
    """The image's command is healthy, does its work as its user, ends well, and finds its data again."""
    with open(f"{image.root}/tmp/sums.sql", "w") as file:
        file.write(SUMS)
    for total in (4, 8):
        image.env = [e for e in image.env if not e.startswith(("HEALTH=", "STOP="))]
        image.env += [f"HEALTH={shlex.join(image.health)}", f"STOP={image.stop.removeprefix('SIG')}"]
        result = subprocess.run(image.command(["sh", "-c", SESSION, "sh", *image.cmd], network=False),
                                stdout=subprocess.PIPE, text=True, timeout=120, check=False)
        say(result.stdout.strip().replace("\n", " | "))
        assert result.returncode == 0, f"the image's command did not become healthy: {result.returncode}"
        assert re.search(rf'"n": ?{total}\b', result.stdout), result.stdout
        assert "kappa\n" in result.stdout and result.stdout.endswith("exit 0\n"), result.stdout


def dockerfile(base):
    context = os.path.join(os.path.dirname(base), "context")
    put_sources(context)
    run(build(base, os.path.join(ROOT, "docker", "Dockerfile"), context))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=["docker", "deb", "readme"], help="docker, deb, readme (all)")
    parser.add_argument("--test", action="store_true", help="run ./bootstrap test, too")
    parser.add_argument("--dir", default=tempfile.gettempdir(), help="where the roots are made (5 GB)")
    options = parser.parse_args()
    if os.geteuid() != 0 or not shutil.which("mmdebstrap"):
        sys.exit("fresh: needs root, for chroot and mounts, and the package mmdebstrap")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory(prefix="kappa-fresh-", dir=options.dir) as directory:
        begin = time.monotonic()
        say("making a Debian 12 root")
        base = base_root(directory)
        if "docker" in options.parts:
            dockerfile(base)
        if "deb" in options.parts:
            packages(base)
        if "readme" in options.parts:
            readme(base, options.test)
        say(f"all of it held ({time.monotonic() - begin:.0f} s)")


main()
