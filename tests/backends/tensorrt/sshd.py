"""A server of SSH for one test session: on this machine, on a port and with keys of its own."""

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

SSHD = Path("/usr/sbin/sshd")


@contextmanager
def running_sshd(folder: Path) -> Iterator[Path]:
    """A server; gives ssh's configuration file, in which it is called ``target``."""
    if not SSHD.exists() or shutil.which("ssh") is None:
        pytest.skip("there is no sshd to connect to")
    for name in ("host", "user"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(command, check=True)
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # which the system's own start script makes
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = folder / "sshd_config"
    server.write_text(
        f"""Port {port}
ListenAddress 127.0.0.1
HostKey {folder / "host"}
AuthorizedKeysFile {folder / "user.pub"}
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin yes
MaxStartups 100
"""
    )
    client = folder / "ssh_config"
    client.write_text(
        f"""Host target
  HostName 127.0.0.1
  Port {port}
  User {getpass.getuser()}
  IdentityFile {folder / "user"}
  IdentitiesOnly yes
  StrictHostKeyChecking no
  UserKnownHostsFile /dev/null
  LogLevel ERROR
"""
    )
    with (folder / "sshd.log").open("w") as log:
        process = subprocess.Popen([SSHD, "-D", "-e", "-f", str(server)], stderr=log)
        try:
            _wait(port, process, folder / "sshd.log")
            yield client
        finally:
            process.terminate()
            process.wait(10)


def _wait(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text()
        with socket.socket() as trial:
            if trial.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError(log.read_text())
