"""Taps: tensors of a model that are made visible as outputs."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import onnx
from onnx import TensorProto, helper

from calaudit.graph.model import Model, copy_of
from calaudit.runtime.errors import ModelError, Problem, near

_SHAPED_BY_VALUES: Final = frozenset({"NonZero", "NonMaxSuppression", "Unique", "Compress"})
"""Operators that give as many results as the values they read ask for."""


def with_taps(model: Model, names: Sequence[str]) -> Model:
    """A model that returns its own outputs and then the tensors `names`.

    Parameters
    ----------
    model : Model
        The prepared FP32 model.
    names : sequence of str
        Tensors to observe: inputs, outputs or any float32 tensor between. Those that are outputs
        already aren't repeated.

    Raises
    ------
    ModelError
        Names the model doesn't have, all at once, with the near ones.
    """
    proto = copy_of(model.proto)
    _show(proto, model.label, names)
    return Model(proto, model.label)


@contextmanager
def tapped(model: Model, names: Sequence[str]) -> Iterator[Model]:
    """What `with_taps` gives, without a copy of the weights; `model` is whole again afterwards.

    Raises
    ------
    ModelError
        As `with_taps`.
    """
    n = len(model.proto.graph.output)
    try:
        _show(model.proto, model.label, names)
        yield Model(model.proto, model.label)
    finally:
        del model.proto.graph.output[n:]


def shaped_by_values(model: Model, names: Sequence[str]) -> frozenset[str]:
    """Those of the tensors `names` that come after an operator whose results the values count.

    Of such a tensor no shape tells how many of its values belong to which sample of a batch.
    """
    after: set[str] = set()
    for node in model.proto.graph.node:
        if node.op_type in _SHAPED_BY_VALUES or not after.isdisjoint(node.input):
            after.update(node.output)
    return frozenset(after.intersection(names))


def _show(proto: onnx.ModelProto, label: str, names: Sequence[str]) -> None:
    known = [value.name for value in proto.graph.input]
    known += [name for node in proto.graph.node for name in node.output if name]
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise ModelError.of(
            Problem(f"has no tensor {name!r}", label, near(name, known)) for name in unknown
        )
    inputs = {value.name: value for value in proto.graph.input}
    shown = {value.name for value in proto.graph.output}
    for name in dict.fromkeys(names):
        if name in shown:
            continue
        if name in inputs:
            proto.graph.output.append(inputs[name])
        else:
            proto.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
