"""Layers of a network as TensorRT's ONNX parser adds them, counted, and their tensors' names."""

from collections.abc import Sequence
from typing import Any, Final

import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from calaudit.graph.contents import values_of
from calaudit.graph.fp16 import HALF
from calaudit.graph.names import NewNames, node_names, tensor_names
from calaudit.graph.survey import Shape, Survey

FLOATS: Final = HALF | {TensorProto.FLOAT}
"""Element types of tensors that have ranges."""


class Importer:
    """What was imported so far of one model.

    Parameters
    ----------
    facts : Survey
        Of the model as given.
    graph : onnx.GraphProto
        The same model's in FP32; new tensors get names that it doesn't have.
    """

    def __init__(self, facts: Survey, graph: onnx.GraphProto) -> None:
        self.facts = facts
        self.tensors: dict[str, None] = {}
        """Float tensors of the network, in its order."""
        self.extra: list[onnx.NodeProto] = []
        """Nodes that compute those of them that the model hasn't."""
        self.fixed: set[str] = set(facts.constants)
        """Tensors of model and network that are the same for every sample."""
        self.weights: dict[str, TensorProto] = dict(facts.constants)
        """Constants that are no tensors of the network until a layer makes them one."""
        self.n_layers = 0
        self.first_unsure: onnx.NodeProto | None = None
        """The first node of which it isn't known how many layers it becomes."""
        self.guessed: set[str] = set()
        """Tensors that are named after the number of a layer behind it."""
        self.merged: set[str] = set()
        """Tensors that TensorRT drops for the equal one before them, before it calibrates."""
        self.untyped: dict[str, None] = {}
        """Tensors of which inference found no type."""
        self._node_names = NewNames(node_names(graph))
        self._taken = tensor_names(graph)
        self._floats: set[str] = set()
        self._constants: dict[str, str] = {}

    def layer(
        self,
        kind: str,
        op_type: str,
        inputs: Sequence[str],
        *,
        number: bool = False,
        **attributes: Any,
    ) -> str:
        """A layer whose output isn't a tensor of the model; gives the output's name.

        Parameters
        ----------
        kind : str
            What TensorRT calls the layer's type in brackets.
        op_type, inputs, **attributes
            ONNX operator that computes the output's values; their order doesn't matter.
        number : bool
            The output has no axes: TensorRT doesn't ask for its range.
        """
        output = f"(Unnamed Layer* {self.n_layers}) [{kind}]_output"
        self.n_layers += 1
        if not all(self.is_float(each) for each in inputs) or output in self._taken:
            return output
        name = self._node_names.make(output)
        self.extra.append(helper.make_node(op_type, list(inputs), [output], name, **attributes))
        if all(each in self.fixed for each in inputs):
            self.fixed.add(output)
        self._floats.add(output)
        if not number:
            self.tensors[output] = None
            if self.first_unsure is not None:
                self.guessed.add(output)
        return output

    def sizes(self, n: int) -> None:
        """So many layers that compute with sizes alone."""
        self.n_layers += n

    def result(self, node: onnx.NodeProto) -> None:
        """The layer that gives a node's outputs, under their own names."""
        self.n_layers += 1
        if node.op_type == "Shape" or all(each in self.fixed for each in node.input if each):
            self.fixed.update(node.output)
        self.observe(*node.output)

    def observe(self, *names: str) -> None:
        """Tensors of the model that are tensors of the network, those that are float."""
        for name in filter(None, names):
            if name not in self.facts.types:
                self.untyped[name] = None
            elif self.is_float(name) and self.rank(name) != 0:
                self.tensors.setdefault(name)

    def unsure(self, node: onnx.NodeProto) -> None:
        """A node of which it isn't known what layers it becomes."""
        self.first_unsure = self.first_unsure or node
        self.result(node)

    def tensor(self, name: str) -> str:
        """What holds a tensor of the model in the network: of weights, a layer's output.

        All that read the same weights share that layer.
        """
        if name not in self.weights:
            return name
        if name not in self._constants:
            number = not self.weights[name].dims
            self._constants[name] = self.layer("Constant", "Identity", [name], number=number)
        return self._constants[name]

    def broadcast(self, name: str, given: str, rank: int) -> str:
        """`name`, which holds the tensor `given` of the model, with as many axes as `rank`."""
        if self.rank(given) == rank:
            return name
        if not self.has_fixed_shape(given):
            self.sizes(3)
        return self.layer("Shuffle", "Identity", [name])

    def values(self, name: str) -> NDArray[Any] | None:
        """Those of a constant; None where it isn't one."""
        return values_of(self.weights[name]) if name in self.weights else None

    def is_float(self, name: str) -> bool:
        """Whether a tensor of model or network is float."""
        return name in self._floats or self.facts.types.get(name) in FLOATS

    def shape(self, name: str) -> Shape | None:
        """Of a tensor of the model; None where nothing is known."""
        return self.facts.shapes.get(name)

    def rank(self, name: str) -> int | None:
        """Number of axes of a tensor of the model; None where it isn't known."""
        shape = self.shape(name)
        return None if shape is None else len(shape)

    def has_fixed_shape(self, name: str) -> bool:
        """Whether every size of a tensor of the model is known."""
        shape = self.shape(name)
        return shape is not None and all(isinstance(size, int) for size in shape)

    def has_free_batch(self, name: str) -> bool:
        """Whether the first size of a tensor of the model is free, and no other."""
        shape = self.shape(name)
        return bool(shape) and [isinstance(size, int) for size in shape or ()] == [
            False, *[True] * (len(shape or ()) - 1)
        ]  # fmt: skip
