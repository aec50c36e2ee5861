"""Quantize a model by onnxruntime's own quantizer: four ways, as engines made elsewhere.

    python examples/engines/onnxruntimes.py MODEL.onnx SET.npz OUTDIR

SET.npz holds a calibration set by the model's inputs, as ``calaudit export`` writes it.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)


class Samples(CalibrationDataReader):
    """A set's samples, one at a time."""

    def __init__(self, path: str) -> None:
        with np.load(path) as arrays:
            inputs = {name: arrays[name] for name in arrays.files}
        n = len(next(iter(inputs.values())))
        self._feeds = iter([{k: v[i : i + 1] for k, v in inputs.items()} for i in range(n)])

    def get_next(self) -> dict[str, Any] | None:
        """The next sample."""
        return next(self._feeds, None)


WAYS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "per-channel": {"per_channel": True},
    "qoperator": {
        "quant_format": QuantFormat.QOperator,
        "activation_type": QuantType.QUInt8,
    },
    # what TensorRT takes: zero points of 0, biases in float, Q/DQ at products alone
    "for-tensorrt": {
        "per_channel": True,
        "op_types_to_quantize": ["Conv", "Gemm", "MatMul"],
        "extra_options": {
            "ActivationSymmetric": True,
            "WeightSymmetric": True,
            "QuantizeBias": False,
            "AddQDQPairToWeight": True,
        },
    },
}


def main(model: str, samples: str, out: str) -> None:
    """Write ``onnxruntime-‹way›.onnx`` for each way, and one of dynamic quantization."""
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    for name, options in WAYS.items():
        path = folder / f"onnxruntime-{name}.onnx"
        quantize_static(model, str(path), Samples(samples), **options)
    quantize_dynamic(model, str(folder / "onnxruntime-dynamic.onnx"))


if __name__ == "__main__":
    main(*sys.argv[1:])
