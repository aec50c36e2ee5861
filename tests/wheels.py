"""Packages from PyPI that can't be installed with the others: unpacked to folders of their own."""

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

PATIENCE = 240
"""Seconds that a download may take."""


def installed_wheel(requirement: str, cache: Path, *, python: str = "") -> Path:
    """The folder that a wheel was unpacked to, without what it depends on; kept in `cache`.

    `python` is the version that it is for, such as ``"3.8"``; default: this one.
    """
    folder = cache / (requirement.replace("=", "").replace("*", "x") + python)
    if folder.exists():
        return folder
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile"]
    command += ["--only-binary=:all:", "--disable-pip-version-check", "--retries=1"]
    command += ["--python-version", python] if python else []
    with tempfile.TemporaryDirectory(dir=cache) as made:
        site = Path(made, "site")
        try:
            done = subprocess.run(
                [*command, "--target", str(site), requirement],
                capture_output=True,
                text=True,
                check=False,
                timeout=PATIENCE,
            )
        except subprocess.TimeoutExpired:
            pytest.skip(f"pip needs more than {PATIENCE} seconds to get {requirement}")
        if done.returncode:
            pytest.skip(f"pip doesn't get {requirement}: {done.stderr.strip().splitlines()[-1:]}")
        if not folder.exists():
            site.rename(folder)
    return folder
