"""Pools, and folders of images, of the real data, built once for all processes of a test run."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from filelock import FileLock

from tests.cli.running import calaudit

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("CALAUDIT_DATA", ROOT.parent / "shared" / "data"))
MADE = {"speech": "speech", "ranking": "ranking.h5", "detection": "detection"}
"""Case → what its script makes: a folder of pools or images, or one pool."""
FAST = """
import runpy, struct, sys, zlib
import numpy as np
from PIL import Image

save = Image.Image.save

def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

def stored(image, path, *args, **how):
    if image.mode != "RGB" or not str(path).endswith(".png"):
        return save(image, path, *args, **how)
    header = struct.pack(">IIBBBBB", *image.size, 8, 2, 0, 0, 0)
    rows = np.asarray(image).reshape(image.height, -1)
    data = zlib.compress(np.pad(rows, ((0, 0), (1, 0))).tobytes(), 0)
    with open(path, "wb") as file:
        file.write(b"\\x89PNG\\r\\n\\x1a\\n" + chunk(b"IHDR", header))
        file.write(chunk(b"IDAT", data) + chunk(b"IEND", b""))

Image.Image.save = stored
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""Runs a script that writes PNG: the same pixels, neither filtered nor compressed."""


def build_pools(case: str, shared: Path) -> Path:
    """What the data's own script makes, to be read only; skips the test where that can't be.

    `shared` is a folder of the run, whichever process asks first.
    """
    script, out = DATA / case / "build", shared / MADE[case]
    if not script.exists():
        pytest.skip(f"the {case} data isn't there (set CALAUDIT_DATA; see examples/{case})")
    with made_once(shared, case) as is_made:
        if not is_made:
            done = subprocess.run(
                [sys.executable, "-c", FAST, str(script), str(out)],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
                pytest.skip(f"the {case} pool can't be built here: {reason}")
    return out


def import_detection(shared: Path) -> Path:
    """The pool of the detection data, imported by a command, to be read only."""
    lights, out = build_pools("detection", shared), shared / "detection.h5"
    with made_once(shared, "detection pool") as is_made:
        if not is_made:
            made = calaudit(
                "pool", "import", lights / "annotations.json", out, "--images", lights / "images",
                "--input", "images", "--size", "240x320", "--meta", lights / "images.csv",
            )  # fmt: skip
            assert made.status == 0, made.err
    return out


@contextmanager
def made_once(shared: Path, what: str) -> Iterator[bool]:
    """Whether a process of this run has made it; the first is told no, and others wait for it."""
    finished = shared / f"{what} is made"
    with FileLock(shared / f"{what}.lock"):
        yield finished.exists()
        finished.touch()
