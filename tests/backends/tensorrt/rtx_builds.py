"""Run in a process that can import TensorRT-RTX: builds engines on the CPU, prints JSON.

python -m tests.backends.tensorrt.rtx_builds ‹model file›…
"""

import json
import signal
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import onnx
from onnx import helper

from calaudit.audit.run import run_audit
from calaudit.backends.base import PrecisionProof
from calaudit.backends.health import Health, examine
from calaudit.backends.onnxruntime.sessions import OnnxruntimeBackend
from calaudit.backends.tensorrt import backend as trt_backend
from calaudit.backends.tensorrt.bars import Bars
from calaudit.backends.tensorrt.build import build_explicit
from calaudit.backends.tensorrt.kind import RtxKind
from calaudit.backends.tensorrt.knobs import Knobs
from calaudit.backends.tensorrt.location import Location
from calaudit.backends.tensorrt.precision import precision_notices, prove, read_layer_report
from calaudit.backends.tensorrt.profile import plan_profile
from calaudit.backends.tensorrt.session import session_of
from calaudit.formats.engine import plan_hash
from calaudit.graph.fp16 import convert_to_fp16
from calaudit.graph.load import load_model
from calaudit.graph.model import Model
from calaudit.graph.placement import plan_qdq
from calaudit.graph.prepare import prepare
from calaudit.graph.products import products
from calaudit.graph.qdq import apply_qdq
from calaudit.results.document import to_document, without_times
from calaudit.runtime.errors import BackendError, Notice
from tests.audit.world import AUDIT, make_world
from tests.graph import models
from tests.graph.running import minmax_scales, quantize

SKETCHES = ("residual", "depthwise_se", "attention", "gemms", "conv_1d")
CAPABILITIES = ("8.9", "12.0")


SESSION = session_of(Location("tensorrt_rtx"))


@dataclass(frozen=True)
class Built:
    """An engine that was built, and what its builder says that it would run in."""

    plan: bytes
    proof: PrecisionProof
    notices: tuple[Notice, ...]


def build(model: Model, capability: str = "8.9") -> Built:
    profile = plan_profile(model, max_batch=32)
    made = build_explicit(SESSION, model, profile, what="build", compute_capability=capability)
    assert made.layers is not None
    assert made.typed
    layers = read_layer_report(made.layers)
    proof = prove(products(model), layers, "builder's layer report")
    return Built(made.plan, proof, (*made.notices, *precision_notices(proof, model.label)))


def variants(model: Model) -> dict[str, Model]:
    prepared = prepare(model)
    return {
        "fp32": prepared,
        "fp16": convert_to_fp16(prepared)[0],
        "int8": quantize(model, models.feeds(model.proto, n=8))[1],
    }


def quantized(name: str) -> Model:
    source = Model(models.ALL[name](), name)
    return quantize(source, models.feeds(source.proto, n=8))[1]


def table(paths: list[str]) -> list[dict[str, Any]]:
    """Every model × precision × GPU: op → (asked, got), and what was warned of."""
    sources = {name: Model(models.ALL[name](), name) for name in SKETCHES}
    sources |= {path: load_model(Path(path)) for path in paths}
    rows = []
    for name, source in sources.items():
        for precision, graph in variants(source).items():
            for capability in CAPABILITIES:
                built = build(graph, capability)
                rows.append({
                    "model": name,
                    "precision": precision,
                    "capability": capability,
                    "bytes": len(built.plan),
                    "counts": built.proof.counts(precision),
                    "short": [node.node for node in built.proof.short_of()],
                    "notices": [notice.code for notice in built.notices],
                })  # fmt: skip
    return rows


def left_in_float() -> list[dict[str, Any]]:
    """Each product of a residual net left in float alone, and all but one: what the others run in.

    Convolutions in front of an Add, behind one, and the Gemm.
    """
    source = prepare(Model(models.residual(), "residual"))
    whole = plan_qdq(source)
    scales = minmax_scales(source, whole, models.feeds(source.proto, n=8))
    sets = [{op} for op in whole.int8_ops] + [set(whole.int8_ops) - {"node_c3"}]
    found = []
    for left in sets:
        graph = apply_qdq(source, plan_qdq(source, float_ops=left), scales)
        built = build(graph)
        found.append({
            "left": sorted(left),
            "got": {node.node: node.got for node in built.proof.nodes},
            "notices": [notice.code for notice in built.notices],
        })  # fmt: skip
    return found


def scales_along_inputs() -> dict[str, Any]:
    """A Conv whose weight scales run along its input channels: TensorRT builds it in float."""
    source = Model(models.conv_1d(), "conv")
    _, quantized = quantize(source, models.feeds(source.proto, n=8))
    proto = onnx.ModelProto()
    proto.CopyFrom(quantized.proto)
    weights = {tensor.name: tensor for tensor in proto.graph.initializer}
    for node in proto.graph.node:
        if node.op_type == "DequantizeLinear" and node.attribute:
            channels = weights[node.input[0]].dims[1]
            del node.attribute[:]
            node.attribute.append(helper.make_attribute("axis", 1))
            for name, values in (
                (node.input[1], np.full(channels, 0.01, np.float32)),
                (node.input[2], np.zeros(channels, np.int8)),
            ):
                weights[name].CopyFrom(onnx.numpy_helper.from_array(values, name))
    built = build(Model(proto, "conv"))
    return {
        "nodes": [[n.asked, n.got, n.reason] for n in built.proof.nodes],
        "notices": [str(notice) for notice in built.notices],
    }


def refused() -> dict[str, str]:
    """Errors in TensorRT's words."""
    s = models.Sketch()
    s.op("NoSuchOp", ["x"], "y", domain="elsewhere")
    unknown = Model(s.model({"x": ["b", 4]}, {"y": ["b", 4]}), "unknown.onnx")
    found = {}
    for name, work in (
        ("op", lambda: build(unknown)),
        ("capability", lambda: build(Model(models.gemms(), "m"), "8.8")),
    ):
        try:
            work()
        except BackendError as error:
            found[name] = str(error)
    return found


def interrupted() -> dict[str, bool]:
    """Ctrl-C, or a handler that exits, at a build's first step: raised, and the worker is gone."""
    graph = quantized("attention")
    show = Bars.show
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(number))
    raised = {}
    for number, ending in ((signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)):

        def interrupt(self: Bars, *_: Any, number: signal.Signals = number) -> None:
            Bars.show = show
            signal.raise_signal(number)

        Bars.show = interrupt
        worker = SESSION.perform(lambda worker: worker)
        try:
            build(graph)
        except ending:
            raised[number.name] = not worker.alive
    return {**raised, "builds_after": len(build(graph).plan) > 0}


def twice() -> dict[str, Any]:
    """The same graph built twice gives the same account."""
    graph = quantized("gemms")
    first, second = build(graph), build(graph)
    return {"same": first.proof == second.proof}


def examined(capability: str | None) -> dict[str, Any]:
    health = examine("tensorrt_rtx", compute_capability=capability)
    told = {name: list(map(str, getattr(health, name))) for name in ("missing", "obstacles")}
    return {**asdict(health), **told}


def turned() -> dict[str, str]:
    """What the compiler is told → hash of the plan that comes of it."""
    model = quantized("residual")
    every = (
        Knobs(), Knobs(optimization_level=0), Knobs(optimization_level=5), Knobs(sparsity=True),
        Knobs(tf32=True), Knobs(fixed_shapes=True),
    )  # fmt: skip
    found = {}
    for knobs in every:
        profile = plan_profile(model, max_batch=32, fixed_shapes=knobs.fixed_shapes)
        made = build_explicit(
            SESSION, model, profile, what="build", compute_capability="8.9", knobs=knobs
        )
        found[str(knobs)] = plan_hash(made.plan)
    return found


def audited() -> dict[str, Any]:
    """A whole audit whose engines RTX builds. A FAKE runs them: onnxruntime, given the graph."""
    gpu = "a fake GPU (compute capability 8.9)"
    health = Health("tensorrt_rtx", "RTX", gpu, (), (), ("calaudit",), ())
    keys = """precisions = ["int8", "fp16"]
backend = "tensorrt_rtx"
agree_with = ["onnxruntime"]
compute_capability = "8.9"
batch_size = 100"""
    with (
        tempfile.TemporaryDirectory() as folder,
        patch.object(RtxKind, "examine", lambda *_: health),
        patch.object(trt_backend.TensorrtBackend, "gpu", gpu),
        patch.object(trt_backend.TensorrtBackend, "inspect", lambda *_: None),
        patch.object(
            trt_backend.TensorrtBackend,
            "ready",
            lambda self, plan, model, *_: OnnxruntimeBackend(threads=1).load(model),
        ),
    ):
        path = make_world(Path(folder), audit=AUDIT.replace("batch_size = 100", keys))
        first, _ = run_audit(path)
        with patch.object(trt_backend.TensorrtBackend, "build", None):
            second, _ = run_audit(path)
        names = sorted(each.name for each in (path.parent / "audit" / "engines").glob("*.engine"))
    document = to_document(first)
    return {
        "engines": len(names),
        "again": without_times(to_document(second)) == without_times(document),
        "cells": document["cells"],
        "reference": document["reference"],
        "environment": document["audit"]["environment"],
        "agreement": document["agreement"],
        "warnings": [each["code"] for each in document["warnings"]],
    }


if __name__ == "__main__":
    answers = {
        "table": table(sys.argv[1:]),
        "left_in_float": left_in_float(),
        "scales_along_inputs": scales_along_inputs(),
        "refused": refused(),
        "interrupted": interrupted(),
        "twice": twice(),
        "turned": turned(),
        "audited": audited(),
        "doctor": examined(None),
        "doctor_for_hopper": examined("9.0"),
        "doctor_for_turing": examined("7.5"),
    }
    print("\n" + json.dumps(answers))
