"""Time per layer, from onnxruntime's own profile."""

import json
import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from calaudit.backends.onnxruntime.options import How
from calaudit.backends.onnxruntime.sessions import make_session
from calaudit.graph.layers import Layer, read_layers
from calaudit.graph.model import Model
from calaudit.results.bench import LayerTime

Event = Mapping[str, Any]

_TIMED: Final = "_kernel_time"
_FLOATS: Final = {"float": "fp32", "float16": "fp16", "double": "fp64"}
_INTEGER: Final = re.compile(r"^QLinear|Integer|^QGemm$|^QAttention$|^QEmbed|^QMoE$|NBits$")
"""Op types whose kernels compute in integers."""


def profile_layers(
    model: Model, how: How, feeds: Mapping[str, NDArray[Any]], runs: int
) -> tuple[LayerTime, ...]:
    """Median time of each layer over some runs, after one that isn't counted.

    Parameters
    ----------
    model : Model
    how : How
    feeds : mapping
        One batch; of a model that is fixed to batch 1 its first sample runs.
    runs : int
    """
    alone = {name: each[:1] for name, each in feeds.items()} if model.fixed_batch else dict(feeds)
    wanted = {each.name: np.ascontiguousarray(alone[each.name]) for each in model.inputs}
    with tempfile.TemporaryDirectory(prefix="calaudit-") as temporary:
        folder = Path(temporary)
        options = how.options()
        options.enable_profiling = True
        options.profile_file_prefix = str(folder / "profile")
        options.optimized_model_filepath = str(folder / "optimised.onnx")
        session = make_session(model, options)
        for _ in range(runs + 1):
            session.run(None, wanted)
        path = Path(session.end_profiling())
        events = json.loads(path.read_text(encoding="utf-8"))
        layers = read_layers(folder / "optimised.onnx", model)
    return tuple(_layer_times(_by_run(events, runs + 1)[1:], layers))


def _by_run(events: Iterable[Event], runs: int) -> list[list[Event]]:
    """Kernels' events run by run; those of subgraphs, which run within a node, are left out."""
    kernels = [
        each
        for each in events
        if each.get("cat") == "Node" and str(each.get("name", "")).endswith(_TIMED)
    ]
    kernels.sort(key=lambda each: (each["ts"], -each["dur"]))
    outer: list[Event] = []
    end = -1
    for each in kernels:
        if each["ts"] >= end:
            outer.append(each)
            end = each["ts"] + each["dur"]
    size = len(outer) // runs
    return [outer[i * size : (i + 1) * size] for i in range(runs)] if size else []


def _layer_times(runs: Sequence[Sequence[Event]], layers: Sequence[Layer]) -> Iterable[LayerTime]:
    if not runs:
        return
    first = runs[0]
    ms = np.median([[each["dur"] for each in run] for run in runs], axis=0) / 1e3
    total = float(ms.sum())
    known = _matched(first, layers)
    for place, (event, taken) in enumerate(zip(first, ms.tolist(), strict=True)):
        kind = str(event["args"].get("op_name", ""))
        yield LayerTime(
            name=str(event["name"]).removesuffix(_TIMED) or f"{kind} {place}",
            ms=taken,
            share=taken / total if total else 0.0,
            nodes=known[place],
            kind=kind,
            precision=_precision(kind, event["args"]),
        )


def _matched(events: Sequence[Event], layers: Sequence[Layer]) -> list[tuple[str, ...]]:
    """The model's nodes behind each event: by the layer's name, or by its place.

    Nodes without a name are called by their op type and index in the profile, which the optimised
    graph doesn't have. Where both run in one order their places tell.
    """
    same = len(events) == len(layers) and all(
        event["args"].get("op_name") == layer.kind
        for event, layer in zip(events, layers, strict=True)
    )
    if same:
        return [layer.nodes for layer in layers]
    named = {layer.name: layer.nodes for layer in layers if layer.name}
    return [named.get(str(each["name"]).removesuffix(_TIMED), ()) for each in events]


def _precision(kind: str, told: Mapping[str, Any]) -> str | None:
    """What a kernel computes in, by its op type and the types of its inputs."""
    if _INTEGER.search(kind):
        return "int8"
    if kind in {"QuantizeLinear", "DequantizeLinear"}:
        return None
    types = [name for each in told.get("input_type_shape", ()) for name in each]
    floats = [_FLOATS[each] for each in types if each in _FLOATS]
    return floats[0] if floats else None
