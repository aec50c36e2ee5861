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
TRIES = 3


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
    process = None
    for _ in range(TRIES):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        process = _started(folder, port)
        if process is not None:
            break
    assert process is not None, (folder / "sshd.log").read_text()
    try:
        yield folder / "ssh_config"
    finally:
        process.terminate()
        process.wait(120)


def _started(folder: Path, port: int) -> "subprocess.Popen[bytes] | None":
    """A server that answers; None where it ended, as where another process took its port."""
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
    end = time.monotonic() + 120
    while time.monotonic() < end and process.poll() is None:
        with socket.socket() as trial:
            if trial.connect_ex(("127.0.0.1", port)) == 0:
                return process
        time.sleep(0.05)
    process.kill()
    process.wait(120)
    return None
