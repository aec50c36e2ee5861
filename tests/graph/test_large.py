import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.graph import large


@pytest.mark.slow
def test_a_model_of_more_than_2_gib_needs_less_memory_than_its_weights(tmp_path: Path) -> None:
    if sys.platform != "linux":
        pytest.skip("limits of memory and files with holes are tried on Linux")
    free = shutil.disk_usage(tmp_path).free
    if free < 6 << 30:
        pytest.skip(f"needs 6 GiB of disk for a large model, {free >> 30} GiB are free")
    try:
        done = subprocess.run(
            [sys.executable, "-m", large.__name__, str(tmp_path)],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "OMP_NUM_THREADS": "2"},
        )
    finally:
        shutil.rmtree(tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
