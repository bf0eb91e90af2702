"""docker/: what can be said of the Dockerfile, the compose file and the unit of systemd without a daemon. tests/fresh.py does
the Dockerfile's steps in an empty root."""

import os
import re
import shlex
import shutil
import subprocess

import pytest

import support

DOCKER = os.path.join(support.ROOT, "docker")


def text_of(*path):
    with open(os.path.join(DOCKER, *path), encoding="utf-8") as file:
        return file.read()


def kappa(*args):
    return subprocess.run([support.BIN, *args], capture_output=True, text=True, timeout=300, check=True).stdout


def options_of(command):
    return set(re.findall(r"--[a-z-]+", kappa("help", command)))


def known(words):
    """Is it a command line of kappa, whose options there are?"""
    assert words[0] == "kappa", words
    return {word for word in words if word.startswith("--")} <= options_of(words[1])


def instructions():
    """(INSTRUCTION, text) of the Dockerfile, continued lines joined."""
    lines = re.sub(r"^\s*#.*\n", "", text_of("Dockerfile"), flags=re.MULTILINE).replace("\\\n", " ").splitlines()
    return [tuple(line.split(None, 1)) for line in lines if line.strip()]


def test_compose():
    yaml = pytest.importorskip("yaml")
    compose = yaml.safe_load(text_of("compose.yaml"))
    assert set(compose) == {"services", "volumes"}  # docker-compose 1.29, which Debian 12 has, knows no "name"
    allowed = {"image", "environment", "ports", "volumes", "healthcheck", "build", "command", "depends_on", "stop_grace_period",
               "restart"}
    for name, service in compose["services"].items():
        assert set(service) <= allowed, name
        for port in service["ports"]:
            assert re.fullmatch(r"127\.0\.0\.1:(\d+):\1", port), f"{name}: {port} is published to others"
        for volume in service["volumes"]:
            assert volume.split(":")[0] in compose["volumes"], volume
        assert all(isinstance(value, (str, int)) for value in service.get("environment", {}).values()), "false would be no text"
        for other, how in service.get("depends_on", {}).items():
            assert how == {"condition": "service_healthy"} and "healthcheck" in compose["services"][other]
    ours = compose["services"]["kappa"]
    assert os.path.exists(os.path.join(DOCKER, ours["build"]["context"], ours["build"]["dockerfile"]))
    assert known(ours["command"]) and ours["command"][1] == "up"
    kafka = compose["services"]["kafka"]["environment"]
    names = [listener.split(":")[0] for listener in kafka["KAFKA_LISTENERS"].split(",")]
    assert names == [pair.split(":")[0] for pair in kafka["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"].split(",")]
    inside = dict(listener.split("://") for listener in kafka["KAFKA_ADVERTISED_LISTENERS"].split(","))["INSIDE"]
    assert ours["command"][ours["command"].index("--kafka") + 1] == inside


def test_dockerfile():
    said = instructions()
    last = said[[i for i, (word, _) in enumerate(said) if word == "FROM"][-1]:]
    by_word = dict(last)
    assert by_word["USER"] == "kappa" and "USER" in [word for word, _ in last]
    for word in ("CMD", "HEALTHCHECK"):
        command = by_word[word].split("CMD", 1)[-1].strip()
        assert known([part.strip('",') for part in shlex.split(command.strip("[]").replace(",", " "))]), command
    data = re.search(r"KAPPA_DATA=(\S+)", by_word["ENV"])[1]
    assert by_word["VOLUME"] == data and f'"{data}"' in by_word["CMD"] and data in by_word["RUN"]
    # The packages hold every library that the program names.
    if shutil.which("readelf") and shutil.which("dpkg"):
        needed = re.findall(r"NEEDED.*\[(.+)\]", subprocess.run(["readelf", "-d", support.BIN], capture_output=True, text=True,
                                                                 timeout=300, check=True).stdout)
        assert len(needed) > 10
        lists = subprocess.run(["dpkg", "-S", *[f"*/{library}" for library in needed]], capture_output=True, text=True, timeout=300,
                               check=False).stdout
        packages = set(re.split(r"[\s\\]+", by_word["RUN"])) | {"libc6", "libgcc-s1"}
        for library in needed:
            owners = {line.split(":")[0] for line in lists.splitlines() if line.endswith("/" + library)}
            if owners:  # else it was not made by a package of Debian
                assert owners & packages, f"{library} is of {owners}, which the Dockerfile does not install"


def test_unit_of_systemd(tmp_path):
    unit = text_of("debian", "kappa.service")
    assert known(re.search(r"^ExecStart=/usr/bin/(.+)$", unit, re.MULTILINE)[1].split())
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        return
    copy = tmp_path / "kappa.service"
    copy.write_text(re.sub(r"^Documentation=.*\n", "", unit, flags=re.MULTILINE).replace("/usr/bin/kappa", support.BIN))
    result = subprocess.run([analyze, "verify", "--man=no", copy], capture_output=True, text=True, timeout=300, check=False)
    assert "kappa.service" not in result.stderr, result.stderr  # it may say something of the machine's own units
    result = subprocess.run([analyze, "security", "--offline=true", "--threshold=25", copy], capture_output=True, text=True,
                            timeout=300, check=False)
    assert result.returncode == 0, result.stdout


def test_settings_of_the_service():
    """kappa.conf names every option of kappa up, and nothing else."""
    named = set(re.findall(r"^#?([a-z-]+) = ", text_of("debian", "kappa.conf"), re.MULTILINE))
    own = kappa("help", "up").split("\noptions\n")[1].split("\noptions of all commands")[0]
    options = set(re.findall(r"^ {2,6}(?:-\w, +)?--([a-z-]+)", own, re.MULTILINE))
    assert named - {"data"} == options - {"config"}, named ^ options
