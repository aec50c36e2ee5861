"""Layers that implicit quantization is to leave in float, by their precision and output type."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .state import State

FLAGS = ("OBEY_PRECISION_CONSTRAINTS", "STRICT_TYPES")
"""Builder flags that make a layer's precision binding: since 8.2, and before."""
PRODUCTS = frozenset({
    "CONVOLUTION", "DECONVOLUTION", "FULLY_CONNECTED", "MATRIX_MULTIPLY", "EINSUM",
})  # fmt: skip
BETWEEN = frozenset({"ELEMENTWISE", "SCALE", "SHUFFLE", "IDENTITY"})
"""Kinds of layer that the parser makes of one node besides its product: biases, folded norms."""


def hold_in_float(
    state: State, network: Any, config: Any, ops: Sequence[Mapping[str, str]]
) -> None:
    """Set precision and output type of the layers of nodes to float32, and bind the builder to it.

    Parameters
    ----------
    ops
        Nodes of the model: ``node``, its name, and ``makes``, its first output.

    Raises
    ------
    RefusedError
        The library has no flag that binds it, or a node's layers aren't found.
    """
    if not ops:
        return
    found = state.library
    flags = getattr(found.module, "BuilderFlag", None)
    flag = next((getattr(flags, name) for name in FLAGS if hasattr(flags, name)), None)
    if flag is None:
        raise RefusedError(
            f"{found.title} has no builder flag that holds a layer to float32",
            'Leave float_ops out there, or audit with int8 = "explicit".',
        )
    layers = [network.get_layer(at) for at in range(network.num_layers)]
    makers = {
        layer.get_output(at).name: layer for layer in layers for at in range(layer.num_outputs)
    }
    named = {layer.name: layer for layer in layers}
    for op in ops:
        held = _back_to_product(op["makes"], makers) or [
            layer for layer in (named.get(op["node"]),) if layer is not None
        ]
        if not held:
            raise RefusedError(
                f"{found.title} has no layer for {op['node']}, which is to stay in float",
                'Leave it out of float_ops, or audit with int8 = "explicit".',
            )
        for layer in held:
            _hold(state, layer)
    config.set_flag(flag)


def _back_to_product(tensor: str, makers: Mapping[str, Any]) -> list[Any]:
    """The layers from a tensor back to the product behind it; none where there is none so near."""
    layer = makers.get(tensor)
    kind = "" if layer is None else layer.type.name
    if kind in PRODUCTS:
        return [layer]
    if layer is None or kind not in BETWEEN:
        return []
    for at in range(layer.num_inputs):
        read = layer.get_input(at)
        before = [] if read is None else _back_to_product(read.name, makers)
        if before:
            return [layer, *before]
    return []


def _hold(state: State, layer: Any) -> None:
    if TYPE_CHECKING:
        import tensorrt as trt
    else:
        trt = state.library.module
    layer.precision = trt.DataType.FLOAT
    for at in range(layer.num_outputs):
        layer.set_output_type(at, trt.DataType.FLOAT)
