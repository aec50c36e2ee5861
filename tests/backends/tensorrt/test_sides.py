"""What stands beside TensorRT and the GPU can be imported where ONNX and HDF5 aren't."""

import subprocess
import sys

import calaudit.backends.tensorrt as folder

BESIDE_THE_GPU = ("detect", "cuda", "pipeline", "runner", "watching", "feed", "calibration")
ABSENT = (
    "onnx", "onnxruntime", "onnxscript", "h5py", "polars", "scipy", "numba", "tensorrt", "pycuda"
)  # fmt: skip


def test_the_side_of_the_gpu_needs_neither_onnx_nor_hdf5() -> None:
    modules = ", ".join(f"calaudit.backends.tensorrt.{name}" for name in BESIDE_THE_GPU)
    code = f"import sys; sys.modules.update(dict.fromkeys({ABSENT})); import {modules}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert all(f"`{name}`" in str(folder.__doc__) for name in BESIDE_THE_GPU)
