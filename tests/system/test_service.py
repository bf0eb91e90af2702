"""Run as a service: options from a file, and what the service manager is told."""

import os
import signal
import socket
import subprocess

import pytest

import support


def test_config_and_notify(tmp_path):
    data, told = tmp_path / "data", str(tmp_path / "told")
    config = tmp_path / "kappa.conf"
    config.write_text(f"# a comment\n\n data =  {data} \nhttp = 127.0.0.1:1\nproperty = x=y\n")
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(told)
    manager.settimeout(180)
    env = {**os.environ, "NOTIFY_SOCKET": told}
    env.pop("KAPPA_DATA", None)
    # The command line wins over the file; a property without --kafka is refused, so that it is seen to be read.
    refused = subprocess.run([support.BIN, "up", "--config", config], env=env, capture_output=True, text=True, timeout=180,
                             check=False)
    assert refused.returncode == 2 and "--kafka" in refused.stderr, refused.stderr
    config.write_text(config.read_text().replace("property", "# property"))
    with open(tmp_path / "err", "wb") as stderr:
        server = subprocess.Popen([support.BIN, "up", "--config", config, "--http", "127.0.0.1:0"], env=env, stderr=stderr)
    try:
        assert manager.recv(100) == b"READY=1"
        status = subprocess.run([support.BIN, "status", "--data", data], env=env, check=False, timeout=180,
                                stdout=subprocess.DEVNULL)
        assert status.returncode == 0
        server.send_signal(signal.SIGTERM)
        assert manager.recv(100) == b"STOPPING=1"
        assert server.wait(180) == 0
    finally:
        server.kill()
        server.wait()


@pytest.mark.parametrize(("line", "said"), [
    ("htpp = 1", 'line 2: there is no option "htpp"'), ("data", 'line 2: "data" is not "name = value"'),
    ("htpp = 1", "did you mean http?"), ("a\0=b", "not a file of options")])
def test_wrong_lines(tmp_path, line, said):
    config = tmp_path / "kappa.conf"
    config.write_text("# one\n" + line + "\n")
    result = subprocess.run([support.BIN, "up", "--config", config], capture_output=True, text=True, timeout=180, check=False)
    assert result.returncode == 2 and said in result.stderr and str(config) in result.stderr, result.stderr
