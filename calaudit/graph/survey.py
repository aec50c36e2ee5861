"""What a graph says about its tensors: who makes them, who reads them, their types and shapes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import onnx
from onnx import TensorProto

from calaudit.calibration.scales import is_importer_made
from calaudit.graph.model import Model, ModelTensor, light_copy
from calaudit.graph.names import graphs_within, tensor_names
from calaudit.graph.rules import MOVES_VALUES, STANDARD

SMALL = 1024
"""Elements: constants up to this size may decide shapes, so inference sees their values."""
FREE_SIZE = 448
"""What free sizes are taken for where shapes must be fixed: no pooling by 2, 14 or 16 leaves 1."""

Shape = tuple[int | str | None, ...]
"""Sizes, names of free sizes, and None where nothing is known."""
Shapes = dict[str, Shape]

_PASSES = frozenset({
    "Cast", "Dropout", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze",
})  # fmt: skip
"""Ops that hand on their first input's values."""

_KEEPS_ONE: Final = MOVES_VALUES | {"Relu", "Abs", "Neg", "Cast", "Concat", "Where"}
"""Operators whose output can only end at exactly 1 because an input does."""
_BY_CONSTANT: Final = frozenset({"Add", "Sub", "Mul", "Div"})
_ENDS_AT_ONE: Final = frozenset({
    "Clip", "Sigmoid", "HardSigmoid", "Softmax", "Tanh", "Softsign", "Erf", "Sin", "Cos", "Sign",
    "LpNormalization", "OneHot", "Equal", "Less", "Greater", "And", "Or", "Not",
})  # fmt: skip
"""Operators whose output is bounded, so that a magnitude of exactly 1 says nothing."""


@dataclass(frozen=True, slots=True)
class Slot:
    """One input of one node."""

    node: int
    """Position of the node in the graph."""
    index: int
    """Position among the node's inputs."""


@dataclass(frozen=True, slots=True)
class Survey:
    """Facts about every tensor of a prepared model."""

    nodes: tuple[onnx.NodeProto, ...]
    producers: dict[str, int]
    """Tensor → position of the node that computes it; inputs and weights have none."""
    readers: dict[str, list[Slot]]
    captured: frozenset[str]
    """Tensors that graphs inside nodes name: what they read from outside is among them."""
    constants: dict[str, TensorProto]
    inputs: tuple[str, ...]
    outputs: frozenset[str]
    types: dict[str, int]
    """Tensor → ONNX element type, where inference found it."""
    shapes: Shapes
    """Tensor → shape with sizes or names of free sizes, where inference found it."""

    def is_float(self, tensor: str) -> bool:
        """Whether the tensor is float32, or of a type nothing is known about."""
        return self.types.get(tensor, TensorProto.FLOAT) == TensorProto.FLOAT


def survey(model: Model) -> Survey:
    """Look through a prepared model once."""
    graph = model.proto.graph
    producers: dict[str, int] = {}
    readers: dict[str, list[Slot]] = {}
    for position, node in enumerate(graph.node):
        producers.update((name, position) for name in node.output if name)
        for index, name in enumerate(node.input):
            if name:
                readers.setdefault(name, []).append(Slot(position, index))
    inner = [each for node in graph.node for each in graphs_within(node)]
    captured = {name for each in inner for node in each.node for name in node.input}
    captured.update(value.name for each in inner for value in each.output)
    types, shapes = _infer(model.proto)
    return Survey(
        nodes=tuple(graph.node),
        producers=producers,
        readers=readers,
        captured=frozenset(captured),
        constants={tensor.name: tensor for tensor in graph.initializer},
        inputs=tuple(value.name for value in graph.input),
        outputs=frozenset(value.name for value in graph.output),
        types=types,
        shapes=shapes,
    )


def sized_shapes(model: Model) -> Shapes:
    """Shapes of a model whose inputs' free sizes are `FREE_SIZE`, batches of 2 samples."""
    fixed = {spec.name: (2, *(FREE_SIZE for _ in spec.shape)) for spec in model.inputs}
    return _infer(model.proto, fixed)[1]


def sample_shapes(model: Model, samples: Mapping[str, Sequence[int | None]]) -> Shapes:
    """Shapes where the model takes one sample.

    Parameters
    ----------
    model : Model
    samples : mapping
        Input → shape of a sample, for inputs that leave it free. What is neither given nor in the
        model stays free, and so do the shapes that depend on it.
    """
    fixed = {spec.name: (1, *samples.get(spec.name, spec.shape)) for spec in model.inputs}
    return _infer(model.proto, fixed)[1]


def same_shape(facts: Survey, sized: Callable[[], Shapes], main: str, skip: str) -> bool:
    """Whether two tensors that are added have one shape, so that neither is broadcast.

    Parameters
    ----------
    facts : Survey
    sized : callable
        Shapes where the inputs have no free sizes, for where the graph leaves them open.
    main, skip : str
        The tensors.
    """
    shapes = facts.shapes
    if not (_is_fixed(shapes.get(main)) and _is_fixed(shapes.get(skip))):
        shapes = sized()
    return _may_be_equal(shapes.get(main), shapes.get(skip))


def _is_fixed(shape: Shape | None) -> bool:
    return shape is not None and all(isinstance(size, int) for size in shape)


def _may_be_equal(main: Shape | None, skip: Shape | None) -> bool:
    """Whether shapes that add up can be equal: an unknown size equals any but 1.

    Unless it is the skip's batch where the convolution's is 1: batches are of one sample then.
    """
    if main is None or skip is None:
        known = main if skip is None else skip
        return known is None or 1 not in known[1:]
    if len(main) != len(skip):
        return False
    pairs = list(zip(main, skip, strict=True))
    if pairs and pairs[0][0] == 1 and not isinstance(pairs[0][1], int):
        del pairs[0]
    return all(
        m == n or (1 not in {m, n} and not (isinstance(m, int) and isinstance(n, int)))
        for m, n in pairs
    )


def infer_shapes(
    proto: onnx.ModelProto, fixed: Mapping[str, Sequence[int | None]] | None = None
) -> onnx.GraphProto:
    """The graph with types and shapes of its tensors, but without its large weights.

    They go in as typed inputs, which keeps the message small.

    Parameters
    ----------
    proto : ModelProto
    fixed : mapping, optional
        Input → its sizes, batch included, that are taken where the model leaves them free.
    """
    light, _ = light_copy(proto, largest=SMALL)
    if fixed is not None:
        _fix_sizes(light.graph, fixed)
    return onnx.shape_inference.infer_shapes(light, data_prop=True).graph


def sized_outputs(
    model: Model, inputs: Mapping[str, Sequence[int | None]]
) -> tuple[ModelTensor, ...]:
    """A model's outputs with the shapes that inputs of some sizes give them.

    Exporters leave sizes open that follow from the inputs'.

    Parameters
    ----------
    model : Model
    inputs : mapping
        Input → its sizes per sample, without the batch.
    """
    if all(None not in output.shape for output in model.outputs):
        return model.outputs
    fixed = {name: (1, *shape) for name, shape in inputs.items()}
    _, shapes = _infer(model.proto, fixed)

    def sized(output: ModelTensor) -> ModelTensor:
        found = shapes.get(output.name, ())[1:]
        if len(found) != len(output.shape):
            return output
        told = zip(output.shape, found, strict=True)
        sizes = (new if old is None and isinstance(new, int) else old for old, new in told)
        return replace(output, shape=tuple(sizes))

    return tuple(map(sized, model.outputs))


def _infer(
    proto: onnx.ModelProto, fixed: Mapping[str, Sequence[int | None]] | None = None
) -> tuple[dict[str, int], Shapes]:
    """Types and shapes."""
    graph = infer_shapes(proto, fixed)
    types: dict[str, int] = {tensor.name: tensor.data_type for tensor in proto.graph.initializer}
    shapes: Shapes = {tensor.name: tuple(tensor.dims) for tensor in proto.graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        kind = value.type.tensor_type
        if kind.elem_type:
            types[value.name] = kind.elem_type
        if kind.HasField("shape"):
            shapes[value.name] = tuple(
                d.dim_value if d.HasField("dim_value") else d.dim_param or None
                for d in kind.shape.dim
            )
    return types, shapes


def _fix_sizes(graph: onnx.GraphProto, fixed: Mapping[str, Sequence[int | None]]) -> None:
    """Give the inputs' free sizes values, and forget the names of other free sizes."""
    for value in (*graph.input, *graph.value_info, *graph.output):
        sizes = fixed.get(value.name, ())
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            size = sizes[axis] if axis < len(sizes) else None
            if dim.HasField("dim_value") and dim.dim_value >= 0:
                continue
            dim.Clear()
            if size is not None:
                dim.dim_value = size


def closing_op(model: Model, output: str) -> str | None:
    """ONNX op type that computes an output's values; None where none of ONNX's own does.

    Ops that only reshape, cast or hand values on are looked through.
    """
    producers = {name: node for node in model.proto.graph.node for name in node.output}
    while (node := producers.get(output)) is not None:
        if node.domain not in STANDARD:
            return None
        if node.op_type not in _PASSES:
            return str(node.op_type)
        output = node.input[0]
    return None


@dataclass(frozen=True, slots=True)
class TensorNames:
    """The tensors of one model, as its file names them."""

    all: frozenset[str]
    """Inputs, weights, and everything a node computes, graphs inside nodes included."""
    not_float: frozenset[str]
    """Tensors of integers, truth values or text; no scale means anything for them."""
    ends_at_one: frozenset[str]
    """Tensors whose largest magnitude is naturally 1: inputs (images are often scaled to [0, 1]),
    outputs of Sigmoid, Softmax, Tanh, Clip and the like, and what only moves their values."""
    constants: frozenset[str]
    """Weights, and outputs of Constant nodes."""

    def has(self, name: str) -> bool:
        """Whether a calibration cache of this model may hold the name.

        TensorRT's importer makes names of its own: ``(Unnamed Layer* 12) [Constant]_output`` and
        ``<weight>_output``.
        """
        return (
            name in self.all
            or is_importer_made(name)
            or (name.endswith("_output") and name.removesuffix("_output") in self.constants)
        )


def name_tensors(model: Model) -> TensorNames:
    """Names and makers of all tensors of a model, prepared or not."""
    facts = survey(model)
    computed = set(facts.producers)
    every = tensor_names(model.proto.graph)
    constants = set(facts.constants) | {
        name for name in computed if _maker(facts, name).op_type == "Constant"
    }
    ends: set[str] = set(facts.inputs)
    for node in facts.nodes:
        if _ends_at_one(node, ends, constants):
            ends.update(name for name in node.output if name)
    return TensorNames(
        all=frozenset(every),
        not_float=frozenset(name for name in every if not _may_be_float(facts, name)),
        ends_at_one=frozenset(ends),
        constants=frozenset(constants),
    )


def _maker(facts: Survey, name: str) -> onnx.NodeProto:
    return facts.nodes[facts.producers[name]]


def _ends_at_one(node: onnx.NodeProto, ends: set[str], constants: set[str]) -> bool:
    if node.op_type in _ENDS_AT_ONE:
        return True
    if node.op_type == "Mul" and ends.issuperset(node.input):
        return True
    reads_one = any(name in ends for name in node.input)
    if node.op_type in _BY_CONSTANT:
        return reads_one and any(name in constants for name in node.input)
    return node.op_type in _KEEPS_ONE and reads_one


def _may_be_float(facts: Survey, name: str) -> bool:
    kind = facts.types.get(name)
    return kind is None or kind in {
        onnx.TensorProto.FLOAT,
        onnx.TensorProto.FLOAT16,
        onnx.TensorProto.BFLOAT16,
        onnx.TensorProto.DOUBLE,
    }
