"""Pools, and folders of images, of the real data, built once for all processes of a test run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("CALAUDIT_DATA", ROOT.parent / "shared" / "data"))
MADE = {"speech": "speech", "ranking": "ranking.h5", "detection": "detection"}
"""Case → what its script makes: a folder of pools or images, or one pool."""


def build_pools(case: str, shared: Path) -> Path:
    """What the data's own script makes, to be read only; skips the test where that can't be.

    `shared` is a folder of the run, whichever process asks first.
    """
    script, out = DATA / case / "build", shared / MADE[case]
    if not script.exists():
        pytest.skip(f"the {case} data isn't there (set CALAUDIT_DATA; see examples/{case})")
    finished = shared / f"{case} is built"
    with FileLock(shared / f"{case}.lock"):
        if not finished.exists():
            done = subprocess.run(
                [sys.executable, str(script), str(out)], capture_output=True, text=True, check=False
            )
            if done.returncode:
                reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
                pytest.skip(f"the {case} pool can't be built here: {reason}")
            finished.touch()
    return out
