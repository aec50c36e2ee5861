"""Layers of a network as TensorRT's ONNX parser adds them, counted, and their tensors' names."""

from collections.abc import Sequence
from typing import Any

import onnx
from onnx import TensorProto, helper

from calaudit.graph.names import NewNames, node_names, tensor_names
from calaudit.graph.survey import Survey


class Importer:
    """What was imported so far of one model.

    Parameters
    ----------
    facts : Survey
        Of the model in FP32.
    graph : onnx.GraphProto
        The same model's; new tensors get names that it doesn't have.
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
        self.untyped: dict[str, None] = {}
        """Tensors of which inference found no type."""
        self._tensor_names = NewNames(tensor_names(graph))
        self._node_names = NewNames(node_names(graph))

    def layer(
        self,
        kind: str,
        *,
        name: str | None = None,
        of: tuple[str, Sequence[str]] | None = None,
        **attributes: Any,
    ) -> str:
        """A layer whose output isn't a tensor of the model; gives the output's name.

        Parameters
        ----------
        kind : str
            What TensorRT calls the layer's type in brackets.
        name : str, optional
            The layer's, where the parser gives it one.
        of : tuple of str and sequence of str, optional
            ONNX operator and inputs that compute the output; None where it isn't a float tensor.
        **attributes
            Of that operator.
        """
        output = f"{name or f'(Unnamed Layer* {self.n_layers}) [{kind}]'}_output"
        self.n_layers += 1
        if of is not None:
            op_type, inputs = of
            self._tensor_names.make(output)
            made = self._node_names.make(f"{output}/calaudit")
            self.extra.append(
                helper.make_node(op_type, list(inputs), [output], name=made, **attributes)
            )
            if all(each in self.fixed for each in inputs if each):
                self.fixed.add(output)
            self.tensors[output] = None
            if name is None and self.first_unsure is not None:
                self.guessed.add(output)
        return output

    def result(self, node: onnx.NodeProto) -> None:
        """The layer that gives a node's outputs, under their own names."""
        self.n_layers += 1
        self.observe(*node.output)

    def observe(self, *names: str) -> None:
        """Tensors of the model that are tensors of the network, those that are float."""
        for name in filter(None, names):
            if name not in self.facts.types:
                self.untyped[name] = None
            elif self.facts.types[name] == TensorProto.FLOAT:
                self.tensors.setdefault(name)

    def unsure(self, node: onnx.NodeProto) -> None:
        """A node of which it isn't known what layers it becomes."""
        self.first_unsure = self.first_unsure or node
        self.result(node)

    def tensor(self, name: str) -> str:
        """What holds a tensor of the model in the network: of weights, a layer's output."""
        if name not in self.weights:
            return name
        return self.layer("Constant", of=("Identity", [name]))
