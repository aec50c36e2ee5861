"""Prepare: fold constants and BatchNormalization, so that placement sees plain weighted ops.

onnxscript does the folding: its constant folder and its three BatchNormalization rules can be run
alone, which leaves every other node and tensor name as it was. They fold into Conv (grouped and
depthwise too), ConvTranspose and Gemm, and refuse when the unfolded tensor is a model output or the
weight is shared.
"""

import onnx
import onnx_ir
from onnx_ir.passes import common as passes
from onnxscript import optimizer, rewriter
from onnxscript.rewriter.rules.common import (
    fuse_batchnorm_into_conv_rule,
    fuse_batchnorm_into_conv_transpose_rule,
    fuse_batchnorm_into_gemm_rule,
)

from calaudit.graph.model import Model
from calaudit.graph.widen import is_half, widen

_FOLD_LIMIT = 2**40
"""Elements: weights that an exporter transposes at run time are folded whatever their size."""

_BATCH_NORM_RULES = (
    fuse_batchnorm_into_conv_rule,
    fuse_batchnorm_into_conv_transpose_rule,
    fuse_batchnorm_into_gemm_rule,
)


def prepare(model: Model) -> Model:
    """Widen half-precision floats, inline functions, fold constants and BatchNormalization.

    The result computes the same up to rounding (1e-5 relative). Tensors that remain keep their
    names; equal input gives equal output.
    """
    proto = widen(model.proto) if is_half(model.proto) else model.proto
    graph = onnx_ir.serde.deserialize_model(proto)
    passes.InlinePass()(graph)
    optimizer.fold_constants_ir(graph, input_size_limit=_FOLD_LIMIT, output_size_limit=_FOLD_LIMIT)
    passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(graph)
    rewriter.rewrite(graph, _BATCH_NORM_RULES)
    passes.RemoveUnusedNodesPass()(graph)
    proto = onnx_ir.serde.serialize_model(graph)
    for value in graph.graph.initializers.values():
        # onnxscript's rules remember the last graph: not its weights, too.
        value.const_value = None
    _keep_node_names(model.proto.graph, proto.graph)
    return Model(proto, model.label)


def _keep_node_names(before: onnx.GraphProto, after: onnx.GraphProto) -> None:
    """Give every node its name of before, folded ones their Conv's or Gemm's; none stays unnamed.

    TensorRT's layer reports name the ONNX nodes, so the names must lead back to the user's file.
    """
    makers = {node.output[0]: node for node in before.node if node.output}
    taken: set[str] = set()
    for node in after.node:
        maker = makers.get(node.output[0])
        if maker is not None and maker.op_type != node.op_type and maker.input:
            maker = makers.get(maker.input[0], maker)
        name = node.output[0] if maker is None or not maker.name else maker.name
        node.name = name if name not in taken else f"{name}/{node.output[0]}"
        taken.add(node.name)
