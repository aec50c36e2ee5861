"""Build a graph: an engine whose layers run in the types that stand in the ONNX graph.

Where TensorRT has strongly typed networks (10, 11, RTX) FP32, FP16 and Q/DQ mean what they say.
Where it hasn't, the network is weakly typed and gets the flags of the types in its graph: INT8
without a calibrator for Q/DQ, FP16 for a graph of FP16. TF32, which TensorRT permits by default, is
switched off. Networks, configurations and caches are shared with implicit quantization.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from .errors import MEMORY, RefusedError, says_out_of_memory
from .line import as_array
from .watching import make_monitor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from .detect import TensorrtModule
    from .state import State
    from .watching import Heard

    Profile = Mapping[str, Sequence[Sequence[int]]]
    """Input → its smallest, optimal and largest shape."""

CANT_BUILD = "See docs/tensorrt.md for what each release can't build."


def explicit(
    state: State,
    arrays: dict[str, Any],
    *,
    profile: Profile,
    flags: Sequence[str],
    compute_capability: str | None,
    knobs: Mapping[str, Any],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Build an engine from a graph that says what runs in which type.

    Parameters
    ----------
    arrays
        ``model``, and ``weights`` where they are apart; ``timing`` where there is a timing cache.
    profile
        Of the inputs with free axes.
    flags
        ``"INT8"``, ``"FP16"``: types in the graph, which a weakly typed network is permitted.
    compute_capability
        RTX: the GPU to build for, such as ``"8.9"``, present or not; None: the one here.
    knobs
        See `make_config`.
    """
    found = state.library
    with state.ear.listening() as heard:
        network = parsed(state, arrays, typed=found.abilities.strongly_typed, heard=heard)
        config = make_config(state, knobs)
        if compute_capability is not None:
            _aim(found, config, compute_capability)
        if not found.abilities.strongly_typed:
            for flag in flags:
                config.set_flag(getattr(found.module.BuilderFlag, flag))
        if profile:
            config.add_optimization_profile(make_profile(state, profile))
        with timing_cache(state, config, arrays) as timed:
            plan = serialized(state, network, config, heard)
    return told(heard, typed=found.abilities.strongly_typed, timed=timed), {
        "plan": as_array(plan),
        **timed.arrays,
    }


def parsed(state: State, arrays: dict[str, Any], *, typed: bool, heard: Heard) -> Any:
    """An ``INetworkDefinition`` of an ONNX model.

    Raises
    ------
    RefusedError
        TensorRT refuses the graph: says why, and names the nodes.
    """
    if TYPE_CHECKING:
        import tensorrt as trt
    else:
        trt = state.library.module
    kinds = trt.NetworkDefinitionCreationFlag
    # Up to 9 a network has an implicit batch axis unless it is told otherwise; ONNX has none.
    wanted = "STRONGLY_TYPED" if typed else "EXPLICIT_BATCH"
    flag = getattr(kinds, wanted, None)
    network = state.builder.create_network(0 if flag is None else 1 << int(flag))
    parser = trt.OnnxParser(network, state.ear.logger)
    state.parser = parser
    if _parse(parser, arrays):
        return network
    reasons = dict.fromkeys(_reason(parser.get_error(at)) for at in range(parser.num_errors))
    raise RefusedError(
        f"{state.library.title} refuses the graph: {'; '.join(reasons) or heard.explain()}",
        "Export the model with operators that TensorRT's ONNX parser knows.",
    )


def _parse(parser: Any, arrays: dict[str, Any]) -> bool:
    if "weights" not in arrays:
        return bool(parser.parse(arrays["model"].tobytes()))
    with tempfile.TemporaryDirectory(prefix="calaudit-") as folder:
        path = os.path.join(folder, "model.onnx")
        arrays["model"].tofile(path)
        arrays["weights"].tofile(os.path.join(folder, "weights"))
        return bool(parser.parse_from_file(path))


def _reason(error: Any) -> str:
    text = " ".join(str(error.desc()).split())
    name = error.node_name() if hasattr(error, "node_name") else ""
    op = error.node_operator() if hasattr(error, "node_operator") else ""
    return f"{text} (node {name}{f', {op}' if op else ''})" if name else text


def make_config(state: State, knobs: Mapping[str, Any]) -> Any:
    """An ``IBuilderConfig`` that lets engines tell what their layers run in.

    `knobs` may have ``tf32`` and ``sparsity``, which are off unless they are true, and
    ``optimization_level``.
    """
    if TYPE_CHECKING:
        import tensorrt as trt
    else:
        trt = state.library.module
    config = state.builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if not knobs.get("tf32"):
        config.clear_flag(trt.BuilderFlag.TF32)
    if knobs.get("sparsity"):
        config.set_flag(trt.BuilderFlag.SPARSE_WEIGHTS)
    if knobs.get("optimization_level") is not None:
        config.builder_optimization_level = knobs["optimization_level"]
    sources = getattr(trt, "TacticSource", None)
    own = ("EDGE_MASK_CONVOLUTIONS", "JIT_CONVOLUTIONS")
    if hasattr(config, "set_tactic_sources") and all(hasattr(sources, name) for name in own):
        # Kernels of its own alone, as is NVIDIA's default after 8.5: cuBLAS and cuDNN needn't be
        # there, and 8.5 fails to build without them when it is let try.
        config.set_tactic_sources(sum(1 << int(getattr(sources, name)) for name in own))
    return config


def make_profile(state: State, shapes: Profile) -> Any:
    """An ``IOptimizationProfile``."""
    profile: Any = state.builder.create_optimization_profile()
    for name, (smallest, opt, largest) in shapes.items():
        profile.set_shape(name, tuple(smallest), tuple(opt), tuple(largest))
    return profile


def serialized(
    state: State,
    network: Any,
    config: Any,
    heard: Heard,
    *,
    wanted: Callable[[], bool] = lambda: True,
) -> bytes:
    """Build, telling the host of the phases; ends early, and in vain, once it isn't `wanted`.

    Raises
    ------
    RefusedError
        TensorRT can't build.
    """
    found = state.library
    if found.abilities.progress:
        config.progress_monitor = make_monitor(found, state.line, wanted)
    try:
        made = state.builder.build_serialized_network(network, config)
    finally:
        if found.abilities.progress:
            config.progress_monitor = None
    if made is not None:
        return bytes(memoryview(made))
    why = heard.explain()
    if says_out_of_memory(why):
        message = f"{found.title} can't build an engine: {why}{state.free_memory()}"
        raise RefusedError(message, MEMORY, kind="memory", fatal=True)
    raise RefusedError(f"{found.title} can't build an engine: {why}", CANT_BUILD)


def told(heard: Heard, *, typed: bool, timed: Timed) -> dict[str, Any]:
    """What the host hears of a build."""
    return {
        "layers": heard.layer_report,
        "warnings": list(dict.fromkeys(heard.warnings)),
        "typed": typed,
        "timing_refused": timed.refused,
    }


def _aim(found: TensorrtModule, config: Any, capability: str) -> None:
    """Build for a GPU that needn't be here."""
    known = compute_capabilities(found)
    if capability not in known:
        message = f"{found.title} can't build for compute capability {capability}"
        if known:
            raise RefusedError(message, kind="capability")
        raise RefusedError(
            f"{message}: only TensorRT-RTX builds for a GPU that isn't here",
            "Leave compute_capability out.",
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


class Timed:
    """What became of the timing cache of one build."""

    def __init__(self) -> None:
        self.arrays: dict[str, Any] = {}
        """``timing``: the cache after the build, to be kept; empty where there is none."""
        self.refused = ""
        """Why TensorRT didn't take the one that was there."""


@contextmanager
def timing_cache(state: State, config: Any, arrays: dict[str, Any]) -> Iterator[Timed]:
    """Let a build use the measurements of earlier ones, and keep its own."""
    found, timed = state.library, Timed()
    # RTX has the calls, but they do nothing there: it compiles for the GPU when it runs.
    if not found.abilities.timing_cache or found.library == "tensorrt_rtx":
        yield timed
        return
    given = arrays["timing"].tobytes() if "timing" in arrays else b""
    cache = _taken(state, config, given, timed) if given else None
    if cache is None:
        cache = config.create_timing_cache(b"")
        config.set_timing_cache(cache, False)
    yield timed
    kept = config.get_timing_cache().serialize()
    timed.arrays["timing"] = as_array(bytes(memoryview(kept)))


def _taken(state: State, config: Any, given: bytes, timed: Timed) -> Any:
    """The cache that was there, unless TensorRT refuses it.

    8.5 says of every cache "The timing cache will not be used!", since Myelin can't read its own
    part, and uses the rest all the same.
    """
    with state.ear.listening() as heard:
        try:
            cache = config.create_timing_cache(given)
        except Exception as error:  # noqa: BLE001  # bindings raise what they like
            cache, heard.errors = None, [*heard.errors, " ".join(str(error).split())]
        # True: measurements on another GPU of this model serve as well.
        if cache is not None and config.set_timing_cache(cache, True):
            return cache
    timed.refused = heard.explain()
    return None
