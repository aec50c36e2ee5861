"""Predicted implicit engines, held against what TensorRT 8.5.3.1 built and answered on an H200."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from calaudit.backends.onnxruntime.sessions import OnnxruntimeBackend
from calaudit.formats.trt_cache import open_trt_cache
from calaudit.graph.implicit import implicit_graph, plan_implicit
from calaudit.graph.load import load_model
from calaudit.graph.model import Model
from calaudit.graph.prepare import prepare
from calaudit.graph.qdq import QdqPlan
from calaudit.graph.survey import survey
from tests.graph.models import Sketch, depthwise_se, gemms, residual
from tests.graph.random_nets import NETS, samples
from tests.graph.real_caches import real_cache
from tests.graph.real_models import DATA, real_model

ENGINES = json.loads(Path(__file__).with_name("real_engines.json").read_text())
"""Tensors that real engines hold in int8, as their inspector says; classes that the speech engines
gave the 3,600 evaluated rows. All by TensorRT 8.5.3.1 on an NVIDIA H200."""


@cache
def speech_rows(path: Path) -> NDArray[Any]:
    """Every fifth evaluated row."""
    with h5py.File(path) as pool:
        chosen = pool["meta/split"].asstr()[:] == "evaluation"
        rows: NDArray[Any] = pool["inputs/x"][:][chosen]
    return rows[::5]


@pytest.mark.slow
@pytest.mark.parametrize("name", list(ENGINES["speech"]))
def test_a_predicted_engine_answers_as_the_real_one(
    name: str, real_pools: Callable[[str], Path]
) -> None:
    model = load_model(real_model("power"))
    graph, _ = implicit_graph(model, open_trt_cache(real_cache(name)).scales)
    if not (DATA / "speech" / "audio.h5").is_file():
        pytest.skip("the speech recordings aren't beside the project")
    engine = OnnxruntimeBackend().load(graph)
    rows = speech_rows(real_pools("speech") / "power" / "pool.h5")
    found = np.concatenate(
        [engine.run({"x": rows[at : at + 64]})["y"] for at in range(0, len(rows), 64)]
    )
    real = np.array(list(ENGINES["speech"][name]), np.int64)[::5]
    assert (found.argmax(axis=1) == real).mean() >= 0.99


def planned(model: Model) -> tuple[QdqPlan, set[str]]:
    """The plan where every tensor has a range, and the tensors that hold int8."""
    prepared = prepare(model)
    facts = survey(prepared)
    plan = plan_implicit(prepared, {*facts.inputs, *facts.producers})
    return plan, {each.scale_of or each.tensor for each in plan.activations}


@pytest.mark.parametrize("name", ["power", "ranking"])
def test_the_tensors_that_a_real_engine_holds_in_int8_are_predicted(name: str) -> None:
    _, found = planned(load_model(real_model(name)))
    assert found == set(ENGINES["rounded"][name])


def test_so_are_a_detectors_but_for_what_is_copied_unchanged() -> None:
    """Resizing copies int8 values; parts of a Concat are written into it."""
    _, found = planned(load_model(real_model("detection")))
    real = set(ENGINES["rounded"]["detection"])
    concats = {f"/m/Concat{end}_output_0" for end in ("", "_1", "_2")}
    assert real - found == {"/m/Resize_output_0", "/m/Resize_1_output_0"}
    assert found - real <= concats


def test_a_convolution_takes_in_the_add_and_the_relu_behind_it() -> None:
    plan, found = planned(Model(residual(), "residual"))
    facts = survey(prepare(Model(residual(), "residual")))
    added = {node.output[0] for node in facts.nodes if node.op_type == "Add"}
    convolved = {node.output[0] for node in facts.nodes if node.op_type == "Conv"}
    assert added
    # "down" is added to another convolution, which takes in the Add.
    assert found & (added | convolved) == {"down"}
    assert {d.action for d in plan.decisions if d.op_type == "Conv"} == {"quantized"}


def test_what_lies_inside_a_pointwise_layer_is_not_rounded() -> None:
    _, found = planned(Model(depthwise_se(), "se"))
    nodes = survey(prepare(Model(depthwise_se(), "se"))).nodes
    gates = {node.output[0] for node in nodes if node.op_type in {"HardSigmoid", "Sigmoid"}}
    assert gates
    assert found.isdisjoint(gates)


def test_a_tensor_without_a_range_leaves_its_readers_in_float() -> None:
    model = prepare(Model(residual(), "residual"))
    facts = survey(model)
    first = next(node for node in facts.nodes if node.op_type == "Conv")
    every = {*facts.inputs, *facts.producers}
    plan = plan_implicit(model, every - {first.input[0]})
    floats = {d.subject: d.reason for d in plan.decisions if d.action == "float"}
    assert floats[first.name or first.output[0]] == "its input has no range"
    assert first.input[1] not in {each.tensor for each in plan.weights}


def test_what_a_network_computes_before_its_first_product_stays_in_float() -> None:
    s = Sketch()
    s.op("Mul", ["x", s.array("half", np.float32(0.5))], "m")
    s.conv(s.op("Sigmoid", ["m"], "g"), "y", 3, 8)
    _, found = planned(Model(s.model({"x": ("n", 3, 6, 6)}, {"y": ("n", 8, 6, 6)}), "m"))
    assert found == {"g"}


def test_small_products_stay_float_unless_nothing_else_is_there() -> None:
    plan, found = planned(Model(gemms(), "gemms"))
    assert {d.action for d in plan.decisions} == {"quantized"}
    s = Sketch()
    s.op("Flatten", [s.op("ReduceMean", [s.conv("x", "c", 3, 8)], "r", axes=[2, 3])], "f")
    s.gemm("f", "y", 8, 4)
    plan, found = planned(Model(s.model({"x": ("n", 3, 6, 6)}, {"y": ("n", 4)}), "m"))
    assert {d.op_type: d.action for d in plan.decisions} == {"Conv": "quantized", "Gemm": "float"}
    assert found == {"x"}


def test_an_overwritten_part_of_a_concat_takes_the_concats_scale() -> None:
    s = Sketch()
    s.conv("x", "a", 3, 8)
    s.conv("x", "b", 3, 8)
    s.op("Concat", ["a", "b"], "c", axis=1)
    s.conv("c", "y", 16, 8)
    plan, _ = planned(Model(s.model({"x": ("n", 3, 6, 6)}, {"y": ("n", 8, 6, 6)}), "m"))
    assert {a.tensor: a.scale_of for a in plan.activations} == {
        "x": None, "a": "c", "b": "c", "c": None
    }  # fmt: skip


@pytest.mark.parametrize("ranges", ["minmax", "entropy"])
@pytest.mark.parametrize("name", list(NETS))
def test_networks_that_no_rule_was_read_off_are_predicted(name: str, ranges: str) -> None:
    kept = np.load(Path(__file__).with_name("random_nets.npz"))
    real, exact = kept[f"{name}/{ranges}/y"], kept[f"{name}/fp32/y"]
    names, values = kept[f"{name}/{ranges}/names"], kept[f"{name}/{ranges}/scales"]
    scales = dict(zip(names.tolist(), values.tolist(), strict=True))
    graph, _ = implicit_graph(Model(NETS[name](), name), scales)
    x = samples(len(real))[name]
    found = OnnxruntimeBackend().load(graph).run({"x": x})["y"]

    def apart(one: NDArray[Any], other: NDArray[Any]) -> float:
        return float(np.square(one - other.astype(np.float32)).mean() ** 0.5)

    # Of the resnet's engines the first convolution ran in float, fused with its pooling.
    least = 0.9 if name == "resnet" else 0.2
    assert apart(found, real) < least * apart(real, exact)
    assert np.array_equal(found.argmax(axis=1), real.argmax(axis=1)) or name == "unet"
