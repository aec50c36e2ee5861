"""The network that TensorRT's ONNX parser makes of a model: the tensors a calibration asks for.

TensorRT calibrates the tensors of its network, not those of the ONNX file. Most are the same. The
parser adds some, named after the position of their layer: the hard sigmoid in a HardSwish, a
Gemm's product before its bias, constants, and what is reshaped to broadcast.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Literal

import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from calaudit.graph.contents import values_of
from calaudit.graph.fp16 import HALF, is_half, widen
from calaudit.graph.importer import Importer
from calaudit.graph.importer_rules import import_node
from calaudit.graph.model import Model, copy_of
from calaudit.graph.names import NewNames, name_of, tensor_names
from calaudit.graph.rules import STANDARD
from calaudit.graph.survey import survey
from calaudit.runtime.errors import Notice

Kind = Literal["observed", "derived", "constant"]
_SHOWN: Final = 3


@dataclass(frozen=True, slots=True)
class NetworkTensor:
    """One float tensor of the network."""

    name: str
    """As TensorRT's calibration caches call it."""
    kind: Kind
    """A tensor of the ONNX file; one that the parser adds and that depends on the inputs; or one
    that doesn't depend on them."""
    asked: bool = True
    """Whether a calibration of TensorRT's own gives it a range: not where it drops the tensor for
    the equal one before it."""


@dataclass(frozen=True)
class Network:
    """What TensorRT makes of one model."""

    given: Model
    """The model as given."""
    model: Model
    """In FP32, and with nodes at its end that compute every tensor of the network by its name."""
    tensors: tuple[NetworkTensor, ...]
    """In the network's order: inputs, then layer by layer."""
    guessed: frozenset[str]
    """Those named after the number of a layer that isn't certain."""
    notices: tuple[Notice, ...]
    """From where on names of the parser's own tensors may differ, and tensors without a range."""

    @property
    def names(self) -> tuple[str, ...]:
        """All tensors."""
        return tuple(each.name for each in self.tensors)

    @property
    def varying(self) -> tuple[str, ...]:
        """Tensors whose values depend on the sample."""
        return tuple(each.name for each in self.tensors if each.kind != "constant")

    @property
    def fixed(self) -> tuple[str, ...]:
        """Tensors that hold the same values for every sample."""
        return tuple(each.name for each in self.tensors if each.kind == "constant")

    @cached_property
    def _handed_on(self) -> dict[str, str]:
        nodes = (node for node in self.model.proto.graph.node if node.op_type == "Identity")
        return {node.output[0]: node.input[0] for node in nodes}

    def held(self, name: str) -> NDArray[Any] | None:
        """A constant's values where they are weights of the model; None where they are computed."""
        while name in self._handed_on:
            name = self._handed_on[name]
        weights = {tensor.name: tensor for tensor in self.model.proto.graph.initializer}
        return values_of(weights[name]) if name in weights else None


def import_network(model: Model) -> Network:
    """Follow TensorRT's parser through a model.

    The layers were read off the networks that the parser of TensorRT 8.5.3.1 makes.

    Parameters
    ----------
    model : Model
        As given, not folded: TensorRT names its tensors after the user's own file.
    """
    proto = widen(model.proto) if is_half(model.proto) else copy_of(model.proto)
    facts = survey(model)
    importer = Importer(facts, proto.graph)
    for value in proto.graph.input:
        importer.observe(value.name)
    for node in facts.nodes:
        if node.domain in STANDARD:
            import_node(importer, node)
        else:
            importer.unsure(node)
    added = {name for node in importer.extra for name in node.output}
    tensors = tuple(
        NetworkTensor(name, _kind(name, added, importer.fixed), name not in importer.merged)
        for name in importer.tensors
    )
    proto.graph.node.extend(_in_float(importer.extra, proto.graph))
    return Network(
        given=model,
        model=Model(proto, model.label, model.notices),
        tensors=tensors,
        guessed=frozenset(importer.guessed),
        notices=tuple(_notices(importer, model.label)),
    )


def _in_float(nodes: Sequence[onnx.NodeProto], graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """The nodes, after casts of those inputs and outputs that stay in half precision."""
    halves = {
        value.name
        for value in (*graph.input, *graph.output)
        if value.type.tensor_type.elem_type in HALF
    }
    names = NewNames(tensor_names(graph))
    casts: dict[str, str] = {}
    for node in nodes:
        for name in halves.intersection(node.input) - casts.keys():
            casts[name] = names.make(f"{name}/calaudit_float")
            yield helper.make_node("Cast", [name], [casts[name]], to=TensorProto.FLOAT)
        node.input[:] = [casts.get(name, name) for name in node.input]
        yield node


def _notices(importer: Importer, label: str) -> Iterator[Notice]:
    first = importer.first_unsure
    guessed = [name for name in importer.tensors if name in importer.guessed]
    if first is not None:
        named = f", as {_few(guessed)}" if guessed else ""
        message = (
            f"what layers TensorRT's parser makes of {first.op_type} {name_of(first)} isn't "
            "known: tensors that it adds there have no range, and from there on names that are "
            f"made of layers' numbers may differ{named}. The model's own tensors keep theirs"
        )
        yield Notice("names_unsure", message, label)
    untyped = list(importer.untyped)
    if untyped:
        message = f"nothing is known of the type of {_few(untyped)}: no range is observed"
        yield Notice("no_range", message, label)


def _few(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown}, … {len(names)} in all"


def _kind(name: str, added: Collection[str], fixed: Collection[str]) -> Kind:
    if name in fixed:
        return "constant"
    return "derived" if name in added else "observed"
