"""Running small models in tests: as the backend does, and by ONNX's own reference."""

from typing import Any

import numpy as np
import onnx
import onnx.version_converter
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

from calaudit.backends.onnxruntime.kind import Kernels
from calaudit.backends.onnxruntime.sessions import OnnxruntimeBackend
from calaudit.graph.model import Model
from calaudit.graph.placement import plan_qdq
from calaudit.graph.prepare import prepare
from calaudit.graph.qdq import QdqPlan, apply_qdq
from calaudit.graph.taps import with_taps

Arrays = dict[str, NDArray[Any]]


def run(model: Model, feeds: Arrays, kernels: Kernels = "emulated") -> Arrays:
    return OnnxruntimeBackend(threads=1, kernels=kernels).load(model).run(feeds)


def run_by_reference(model: Model, feeds: Arrays) -> Arrays:
    """ONNX's reference implementation in numpy, at the oldest opset it has DequantizeLinear for."""
    proto = onnx.version_converter.convert_version(model.proto, 21)
    values = ReferenceEvaluator(proto).run(None, feeds)
    return dict(zip((value.name for value in proto.graph.output), values, strict=True))


def minmax_scales(prepared: Model, plan: QdqPlan, feeds: Arrays) -> dict[str, float]:
    observed = run(with_taps(prepared, plan.taps), feeds)
    return {tap: float(np.abs(observed[tap]).max() / 127) for tap in plan.taps}


def quantize(model: Model, feeds: Arrays) -> tuple[QdqPlan, Model]:
    """Plan and min-max INT8 model of `model` on `feeds`."""
    prepared = prepare(model)
    plan = plan_qdq(prepared)
    return plan, apply_qdq(prepared, plan, minmax_scales(prepared, plan, feeds))
