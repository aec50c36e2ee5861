"""Build a graph: an engine whose layers run in the types that stand in the ONNX graph.

One path for TensorRT ≥ 10, 11 and RTX. The network is strongly typed, so FP32, FP16 and Q/DQ mean
what they say, and TF32, which TensorRT permits by default, is switched off. Profiles and parsing
are shared with implicit quantization.
"""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from calaudit.backends.base import PrecisionProof
from calaudit.backends.tensorrt.detect import INSTALL_EXPLICIT, TensorrtModule
from calaudit.backends.tensorrt.precision import (
    precision_notices,
    prove,
    read_layer_report,
)
from calaudit.backends.tensorrt.watching import Heard, listening, watched
from calaudit.formats.writing import atomic_write
from calaudit.graph.model import Model, write_model
from calaudit.graph.products import products
from calaudit.runtime.errors import BackendError, Notice, Problem, near
from calaudit.runtime.interrupts import unbroken

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ShapeRange:
    """Shapes one input may have, batch axis included; ``opt`` is what kernels are chosen for."""

    smallest: Shape
    opt: Shape
    largest: Shape


def plan_profile(
    model: Model,
    *,
    max_batch: int,
    opt_batch: int | None = None,
    sizes: Mapping[str, Sequence[int]] | None = None,
) -> dict[str, ShapeRange]:
    """Shape ranges of the inputs that have a free axis; empty for a model without.

    Parameters
    ----------
    model : Model
        Its first axes are batch axes.
    max_batch : int
        Largest batch.
    opt_batch : int, optional
        The batch to choose kernels for; default: the largest.
    sizes : mapping, optional
        Input → per-sample shape (without the batch axis), needed where the model leaves it free.

    Raises
    ------
    BackendError
        An input has free axes besides the batch and no size is given for them. All at once.
    """
    given = sizes or {}
    opt = min(opt_batch or max_batch, max_batch)
    ranges: dict[str, ShapeRange] = {}
    problems: list[Problem] = []
    for spec, value in zip(model.inputs, model.proto.graph.input, strict=True):
        sample = tuple(given.get(spec.name, spec.shape))
        if None in sample or len(sample) != len(spec.shape):
            shown = "×".join("?" if size is None else str(size) for size in spec.shape)
            problems.append(
                Problem(
                    f"input {spec.name} leaves sizes open ({shown} per sample)",
                    model.label,
                    "Name the shape of its samples, as a pool does.",
                )
            )
            continue
        fixed = value.type.tensor_type.shape.dim[0].dim_value == 1
        if fixed and None not in spec.shape:
            continue
        batches = (1, 1, 1) if fixed else (1, opt, max_batch)
        made = [(batch, *(size for size in sample if size is not None)) for batch in batches]
        ranges[spec.name] = ShapeRange(*made)
    if problems:
        raise BackendError.of(problems)
    return ranges


def parse_onnx(
    found: TensorrtModule, network: Any, model: Model, logger: Any, heard: Heard
) -> None:
    """Fill `network` (an ``INetworkDefinition``) from `model`.

    Raises
    ------
    BackendError
        TensorRT refuses the graph: says why, and names the nodes.
    """
    if TYPE_CHECKING:
        import tensorrt as trt
    else:
        trt = found.module
    parser = trt.OnnxParser(network, logger)
    if _parsed(parser, model):
        return
    reasons = dict.fromkeys(_reason(parser.get_error(at)) for at in range(parser.num_errors))
    raise BackendError(
        f"{found.title} refuses the graph: {'; '.join(reasons) or heard.explain()}",
        where=model.label,
        next_step="Export the model with operators that TensorRT's ONNX parser knows.",
    )


def _parsed(parser: Any, model: Model) -> bool:
    if not model.oversized:
        return bool(parser.parse(model.serialize()))
    with tempfile.TemporaryDirectory(prefix="calaudit-") as folder:
        path = Path(folder) / "model.onnx"
        write_model(model, path, path.with_name("weights"), location="weights")
        return bool(parser.parse_from_file(str(path)))


def _reason(error: Any) -> str:
    text = " ".join(str(error.desc()).split())
    name = error.node_name() if hasattr(error, "node_name") else ""
    op = error.node_operator() if hasattr(error, "node_operator") else ""
    return f"{text} (node {name}{f', {op}' if op else ''})" if name else text


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOptions:
    """How an engine is built."""

    profile: Mapping[str, ShapeRange]
    """Shape ranges of the inputs with free axes."""
    compute_capability: str | None = None
    """RTX: the GPU to build for, such as ``"8.9"``, present or not; None: the one in this
    machine."""
    timing_cache: Path | None = None
    """TensorRT: kernel timings, read if the file exists and written after the build."""
    what: str = "build"
    """Name of the build on its progress bar."""


@dataclass(frozen=True, slots=True)
class BuiltPlan:
    """A serialized engine and what its builder said about it."""

    plan: bytes
    proof: PrecisionProof | None
    """None where the builder gave no layer report."""
    notices: tuple[Notice, ...]
    """The builder's warnings, and nodes that got less than the graph asked for."""


def build_plan(found: TensorrtModule, model: Model, options: BuildOptions) -> BuiltPlan:
    """Build an engine from a graph.

    Parameters
    ----------
    found : TensorrtModule
        TensorRT ≥ 10 or RTX.
    model : Model
        FP32, FP16 (`calaudit.graph.fp16.convert_to_fp16`) or with Q/DQ
        (`calaudit.graph.qdq.apply_qdq`).
    options : BuildOptions
        Profile, target and caches.

    Raises
    ------
    BackendError
        TensorRT is too old, doesn't know the compute capability, or refuses the graph: with its
        own words.
    KeyboardInterrupt
        The build was interrupted.
    """
    if not found.abilities.strongly_typed:
        raise BackendError(
            f"{found.title} has no strongly typed networks, so Q/DQ couldn't be held to its types",
            where=model.label,
            next_step=f"Run: {INSTALL_EXPLICIT}",
        )
    with listening(found) as (logger, heard):
        plan = _build(found, model, options, logger, heard)
    proof = None
    if heard.layer_report is not None:
        layers = read_layer_report(heard.layer_report)
        proof = prove(products(model), layers, "builder's layer report")
    notices = [
        Notice("tensorrt_warning", text, model.label) for text in dict.fromkeys(heard.warnings)
    ]
    notices += precision_notices(proof, model.label)
    return BuiltPlan(plan, proof, tuple(notices))


@unbroken
def _build(
    found: TensorrtModule, model: Model, options: BuildOptions, logger: Any, heard: Heard
) -> bytes:
    if TYPE_CHECKING:
        import tensorrt as trt
    else:
        trt = found.module
    builder = trt.Builder(logger)
    typed = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(typed)
    parse_onnx(found, network, model, logger, heard)
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    config.clear_flag(trt.BuilderFlag.TF32)
    if options.compute_capability is not None:
        _aim(found, config, options.compute_capability)
    if options.profile:
        # The bindings turn tuples into Dims; their stubs don't know.
        profile: Any = builder.create_optimization_profile()
        for name, shapes in options.profile.items():
            profile.set_shape(name, shapes.smallest, shapes.opt, shapes.largest)
        config.add_optimization_profile(profile)
    with _timing_cache(found, config, options), watched(found, config, options.what):
        serialized = builder.build_serialized_network(network, config)
    if serialized is None:
        raise BackendError(
            f"{found.title} can't build an engine: {heard.explain()}",
            where=model.label,
            next_step="See docs/tensorrt.md for what each release can't build.",
        )
    return bytes(memoryview(serialized))


def _aim(found: TensorrtModule, config: Any, capability: str) -> None:
    """Build for a GPU that needn't be here."""
    known = compute_capabilities(found)
    if capability not in known:
        raise BackendError(
            f"{found.title} can't build for compute capability {capability}"
            + ("" if known else ": only TensorRT-RTX builds for a GPU that isn't here"),
            next_step=near(capability, known) if known else "Leave compute_capability out.",
        )
    config.num_compute_capabilities = 1
    config.set_compute_capability(known[capability], 0)


def compute_capabilities(found: TensorrtModule) -> dict[str, Any]:
    """Compute capabilities that can be named, ``"8.9"`` → the library's own value."""
    if not found.abilities.builds_without_gpu:
        return {}
    names = found.module.ComputeCapability.__members__
    return {
        f"{name[2:-1]}.{name[-1]}": value
        for name, value in names.items()
        if name.startswith("SM") and name[2:].isdigit()
    }


@contextmanager
def _timing_cache(found: TensorrtModule, config: Any, options: BuildOptions) -> Iterator[None]:
    # RTX has the calls, but they do nothing there: it compiles for the GPU when it runs.
    path = options.timing_cache
    if path is None or not found.abilities.timing_cache or found.library == "tensorrt_rtx":
        yield
        return
    cache = config.create_timing_cache(path.read_bytes() if path.exists() else b"")
    config.set_timing_cache(cache, False)
    yield
    with atomic_write(path) as aside:
        aside.write_bytes(bytes(memoryview(config.get_timing_cache().serialize())))
