"""Ctrl-C in a program that has calaudit write HDF5 is an exception there, and harms nothing."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

START = """
import signal, sys
from pathlib import Path
import numpy as np
import calaudit
from calaudit.formats import writing

class Announced:
    # The file below HDF5: says when its n-th write begins, and waits in it to be interrupted.
    def __init__(self, file):
        self.file, self.n_writes = file, 0
    def write(self, data):
        self.n_writes += 1
        if self.n_writes == int(sys.argv[2]):
            print("writing", flush=True)
            sys.stdin.readline()
        return self.file.write(data)
    def __getattr__(self, name):
        return getattr(self.file, name)

Disk = writing._Disk
class AnnouncedDisk(Disk):
    def __init__(self, path):
        super().__init__(path)
        self._file = Announced(self._file)

writing._Disk = AnnouncedDisk
path = Path(sys.argv[1])
x = np.random.default_rng(0).random((4_000, 64)).astype(np.float32)
try:
"""
POOL = """
    with calaudit.PoolWriter(path) as writer:
        for start in range(0, len(x), 100):
            writer.append({"x": x[start : start + 100]})
"""
CHUNKS = """
    with writing.written_hdf5(path, check=lambda aside: None) as writer:
        held = writer.file.create_dataset("x", x.shape, np.float32, chunks=(64, 64))
        for start in range(0, len(x), 64):
            held[start : start + 64] = x[start : start + 64]
"""
END = """
    print("written", flush=True)
except KeyboardInterrupt:
    print("interrupted", flush=True)
writing._Disk = Disk
calaudit.write_pool(path, inputs={"x": x[:10]})
with calaudit.open_pool(path) as pool:
    print(len(pool), flush=True)
print(signal.getsignal(signal.SIGINT) is signal.default_int_handler, flush=True)
"""


@pytest.mark.parametrize(("body", "nth"), [(POOL, 1), (POOL, 3), (CHUNKS, 2), (CHUNKS, 40)])
def test_ctrl_c_in_a_script_is_raised_and_the_script_goes_on(
    tmp_path: Path, body: str, nth: int
) -> None:
    path = tmp_path / "pool.h5"
    script = subprocess.Popen(
        [sys.executable, "-c", START + body + END, str(path), str(nth)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert script.stdout is not None
    assert script.stdout.readline() == "writing\n"
    script.send_signal(signal.SIGINT)
    out, err = script.communicate("go on\n", timeout=300)
    assert (out.split(), err) == (["interrupted", "10", "True"], "")
    assert script.returncode == 0
    assert [each.name for each in tmp_path.iterdir()] == ["pool.h5"]
