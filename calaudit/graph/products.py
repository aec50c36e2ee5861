"""Products (convolutions, matrix products) of a graph with the precision asked for each; probes.

Probes are models of one product that show what a backend can really build and run.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from calaudit.graph.fp16 import convert_to_fp16
from calaudit.graph.macs import count_macs
from calaudit.graph.model import Model
from calaudit.graph.names import name_of
from calaudit.graph.placement import plan_qdq
from calaudit.graph.qdq import apply_qdq
from calaudit.graph.rules import FLOAT_REASONS, is_product
from calaudit.graph.survey import Survey, survey

Asked = Literal["int8", "fp16", "fp32"]

_TWO_OPERANDS: Final = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
_NOT_QUANTIZED: Final = "the graph leaves its inputs in float"

_WIDTH: Final = 64
_SHAPES: Final = {"Conv": [_WIDTH, 8, 8], "Gemm": [_WIDTH], "MatMul": [4, _WIDTH]}
"""Per sample, of input and output alike."""
PROBED: Final = tuple(_SHAPES)
"""Op types that there is a probe of."""


@dataclass(frozen=True, slots=True)
class Product:
    """A node that multiplies matrices or convolves."""

    name: str
    op_type: str
    asked: Asked
    """INT8 where both operands come out of a DequantizeLinear, else the type they have."""
    reason: str
    """Why INT8 isn't asked for; empty where it is."""
    macs: int | None = None
    """Multiply-accumulates per sample, where the shapes tell."""
    groups: int = 1
    """Of a convolution."""
    tensors: tuple[str, ...] = ()
    """What it computes with and makes, weights and biases left out: its float tensors that need a
    range for INT8."""


def products(
    model: Model, samples: Mapping[str, Sequence[int | None]] | None = None
) -> tuple[Product, ...]:
    """Every product in a graph with Q/DQ in it, or in an FP32 or FP16 one, in graph order.

    Parameters
    ----------
    model : Model
    samples : mapping, optional
        Input → shape of a sample, for models that leave it free: what multiply-accumulates are
        counted by.
    """
    facts = survey(model)
    macs = count_macs(model, samples)
    return tuple(
        _product(node, facts, macs[name_of(node)]) for node in facts.nodes if is_product(node)
    )


def _product(node: onnx.NodeProto, facts: Survey, macs: int | None) -> Product:
    quantized = node.op_type in _TWO_OPERANDS and all(_quantized(x, facts) for x in node.input[:2])
    half = facts.types.get(node.input[0]) == TensorProto.FLOAT16
    asked: Asked = "int8" if quantized else "fp16" if half else "fp32"
    return Product(
        name_of(node),
        node.op_type,
        asked,
        "" if quantized else FLOAT_REASONS.get(node.op_type, _NOT_QUANTIZED),
        macs,
        next((each.i for each in node.attribute if each.name == "group"), 1),
        tuple(n for n in (*node.input[:2], *node.output) if n and n not in facts.constants),
    )


def _quantized(tensor: str, facts: Survey) -> bool:
    producer = facts.producers.get(tensor)
    return producer is not None and facts.nodes[producer].op_type == "DequantizeLinear"


def probe_model(op_type: str, precision: Asked) -> Model:
    """A model of one product with a weight, asked to run in `precision`.

    Parameters
    ----------
    op_type : str
        One of `PROBED`.
    precision : "fp32", "fp16" or "int8"
        What the graph asks for. Input ``x`` and output ``y`` are FP32 (batch, …) in any case.
    """
    model = Model(_one_product(op_type), f"a {op_type} in {precision.upper()}")
    if precision == "fp16":
        return Model(convert_to_fp16(model)[0].proto, model.label)
    if precision == "int8":
        plan = plan_qdq(model)
        return apply_qdq(model, plan, dict.fromkeys(plan.taps, 1 / 127))
    return model


def _one_product(op_type: str) -> onnx.ModelProto:
    shape = _SHAPES[op_type]
    kernel = [3, 3] if op_type == "Conv" else []
    rng = np.random.default_rng(0)
    weight = rng.uniform(-1, 1, [_WIDTH, _WIDTH, *kernel]).astype(np.float32)
    product = helper.make_node(op_type, ["x", "w"], ["y"], name="product")
    if kernel:
        product.attribute.append(helper.make_attribute("kernel_shape", kernel))
        product.attribute.append(helper.make_attribute("pads", [1, 1, 1, 1]))
    values = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ["b", *shape]) for n in "xy")
    graph = helper.make_graph(
        [product],
        "probe",
        [next(values)],
        [next(values)],
        [numpy_helper.from_array(weight, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
