"""Quantize a model by NNCF's post-training quantization, as an engine made elsewhere.

    python examples/engines/nncfs.py MODEL.onnx SET.npz OUT.onnx

In an environment of its own: ``pip install nncf onnx onnxruntime``.
"""

import sys

import nncf
import numpy as np
import onnx


def main(model: str, samples: str, out: str) -> None:
    """Quantize on all samples of the set, with NNCF's defaults."""
    with np.load(samples) as arrays:
        inputs = {name: arrays[name] for name in arrays.files}
    n = len(next(iter(inputs.values())))
    data = nncf.Dataset([{k: v[i : i + 1] for k, v in inputs.items()} for i in range(n)])
    onnx.save(nncf.quantize(onnx.load(model), data, subset_size=n), out)


if __name__ == "__main__":
    main(*sys.argv[1:])
