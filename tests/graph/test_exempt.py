"""Products left in float as asked: by Q/DQ and as predicted, and the patterns that name them."""

import re
from collections.abc import Callable

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calaudit.graph.exempt import given_names, match_products, within
from calaudit.graph.implicit import implicit_graph, plan_implicit
from calaudit.graph.model import Model
from calaudit.graph.names import name_of
from calaudit.graph.placement import plan_qdq
from calaudit.graph.prepare import prepare
from calaudit.graph.qdq import QdqPlan, apply_qdq
from calaudit.graph.rules import AS_ASKED
from calaudit.graph.survey import survey
from calaudit.runtime.errors import SettingsError
from tests.graph import models
from tests.graph.models import Sketch
from tests.graph.running import minmax_scales, run


def prepared(make: Callable[[], onnx.ModelProto]) -> Model:
    return prepare(Model(make(), "sketch"))


def pairs_read_by(engine: Model, names: set[str]) -> set[str]:
    """Tensors from a DequantizeLinear that these nodes read."""
    facts = survey(engine)
    dequantized = {n.output[0] for n in facts.nodes if n.op_type == "DequantizeLinear"}
    read = {tensor for node in facts.nodes if name_of(node) in names for tensor in node.input}
    return read & dequantized


def reasons(plan: QdqPlan) -> dict[str, str]:
    return {d.subject: d.reason for d in plan.decisions if d.kind == "node"}


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(sorted(models.ALL)), st.data())
def test_what_is_left_in_float_reads_no_qdq_and_asks_for_no_new_range(
    name: str, data: st.DataObject
) -> None:
    model = prepared(models.ALL[name])
    whole = plan_qdq(model)
    left = {op for op in whole.int8_ops if data.draw(st.booleans(), op)}
    plan = plan_qdq(model, float_ops=left)
    assert set(plan.taps) <= set(whole.taps)
    assert plan.int8_ops == tuple(op for op in whole.int8_ops if op not in left)
    engine = apply_qdq(model, plan, dict.fromkeys(whole.taps, 0.05))
    onnx.checker.check_model(engine.proto, full_check=True)
    assert pairs_read_by(engine, left) == set()
    read = {node.input[0] for node in survey(engine).nodes if node.op_type == "QuantizeLinear"}
    assert read == set(plan.taps)
    nodes = {name_of(node): node for node in engine.proto.graph.node}
    for op in plan.int8_ops:
        assert len(pairs_read_by(engine, {op})) == 2, nodes[op]
    assert {op for op, reason in reasons(plan).items() if reason == AS_ASKED} == left


@pytest.mark.parametrize("make", models.ALL.values(), ids=models.ALL)
def test_with_every_product_in_float_the_engine_answers_as_fp32(
    make: Callable[[], onnx.ModelProto],
) -> None:
    model = prepared(make)
    feeds = models.feeds(model.proto)
    engine = apply_qdq(model, plan_qdq(model, float_ops=plan_qdq(model).int8_ops), {})
    for name, values in run(model, feeds).items():
        np.testing.assert_array_equal(run(engine, feeds)[name], values)


def test_leaving_nothing_changes_nothing() -> None:
    model = prepared(models.residual)
    plain, same = plan_qdq(model), plan_qdq(model, float_ops=())
    assert same.decisions == plain.decisions
    scales = dict.fromkeys(plain.taps, 0.1)
    assert apply_qdq(model, same, scales).serialize() == apply_qdq(model, plain, scales).serialize()


def test_a_tensor_that_others_read_in_int8_is_still_quantized_for_them_alone() -> None:
    model = prepared(models.residual)
    plan = plan_qdq(model, float_ops={"node_down"})
    assert "ra1" in plan.taps
    engine = apply_qdq(model, plan, dict.fromkeys(plan.taps, 0.1))
    inputs = {name_of(node): list(node.input) for node in engine.proto.graph.node}
    assert inputs["node_down"][:2] == ["ra1", "down.w"]
    assert inputs["node_c3"][0] == "ra1_dequantized"
    (why,) = (d for d in plan.decisions if d.subject == "ra1" and d.kind == "activation")
    assert why.reason == "input of Conv node_c3"


def test_what_a_float_convolution_is_added_to_is_not_rounded() -> None:
    """The Add fuses with c4 while that is in INT8, and then reads the shortcut from int8."""
    model = prepared(models.residual)
    assert "down" in plan_qdq(model).taps
    plan = plan_qdq(model, float_ops={"node_c4"})
    assert "down" not in plan.taps
    assert reasons(plan)["node_a2"] == "its convolution is left in float"


def test_a_weight_that_two_products_share_is_float_for_one_and_int8_for_the_other() -> None:
    model = prepared(models.shared_weights)
    whole = plan_qdq(model)
    shared = next(w for w in whole.weights if len(w.slots) > 1)
    one, other = (name_of(model.proto.graph.node[slot.node]) for slot in shared.slots[:2])
    plan = plan_qdq(model, float_ops={one})
    engine = apply_qdq(model, plan, dict.fromkeys(plan.taps, 0.1))
    inputs = {name_of(node): list(node.input) for node in engine.proto.graph.node}
    assert shared.tensor in inputs[one]
    assert shared.tensor not in inputs[other]


def test_an_op_alone_in_int8_is_the_only_one_that_rounds() -> None:
    model = prepared(models.conv_bn_relu)
    whole = plan_qdq(model)
    alone = plan_qdq(model, float_ops=set(whole.int8_ops) - {"node_y"})
    assert alone.int8_ops == ("node_y",)
    assert alone.taps == ("flat",)


def test_a_node_that_the_model_lacks_is_a_bug_of_the_caller() -> None:
    with pytest.raises(ValueError, match="no node 'nope'"):
        plan_qdq(prepared(models.gemms), float_ops={"nope"})


def test_left_in_float_the_guilty_layer_costs_nothing() -> None:
    """One channel of c2's input is scaled by 1,000 and back: only this product suffers in INT8."""
    s = Sketch(3)
    s.op("Relu", [s.conv("x", "c1", 4, 8, bias=False)], "r1")
    scale = np.ones((8, 1, 1), np.float32)
    scale[0] = 1000
    s.op("Mul", ["r1", s.array("up", scale)], "m")
    s.conv("m", "c2", 8, 8)
    s.initializers[-2].CopyFrom(
        onnx.numpy_helper.from_array(
            onnx.numpy_helper.to_array(s.initializers[-2]) / scale.reshape(1, 8, 1, 1), "c2.w"
        )
    )
    s.conv("c2", "y", 8, 4)
    model = prepare(Model(s.model({"x": ["b", 4, 6, 6]}, {"y": ["b", 4, 6, 6]}), "planted"))
    feeds = models.feeds(model.proto, n=16)
    wanted = run(model, feeds)["y"]
    scales = minmax_scales(model, plan_qdq(model), feeds)

    def error(*left: str) -> float:
        engine = apply_qdq(model, plan_qdq(model, float_ops=left), scales)
        return float(np.square(run(engine, feeds)["y"] - wanted).mean() / np.square(wanted).mean())

    assert error("node_c2") < 0.01 * error()
    assert error("node_c1", "node_y") > 0.5 * error()


def ranged(model: Model) -> set[str]:
    facts = survey(model)
    return {*facts.inputs, *facts.producers}


def test_a_predicted_engine_leaves_the_layer_in_float_too() -> None:
    model = prepared(models.residual)
    plain = plan_implicit(model, ranged(model))
    plan = plan_implicit(model, ranged(model), float_ops={"node_c3"})
    assert set(plain.int8_ops) - set(plan.int8_ops) == {"node_c3"}
    assert reasons(plan)["node_c3"] == AS_ASKED
    scales = dict.fromkeys(ranged(model), 0.05)
    graph, _ = implicit_graph(model, scales, float_ops={"node_c3"})
    onnx.checker.check_model(graph.proto, full_check=True)
    assert {w.tensor for w in plain.weights} - {w.tensor for w in plan.weights} == {"c3.w"}


def test_a_predicted_engine_takes_the_names_of_the_users_file() -> None:
    model = Model(unnamed_conv_bn(), "sketch")
    scales = dict.fromkeys(ranged(prepare(model)), 0.05)
    _, plan = implicit_graph(model, scales, float_ops={"c1"})
    assert AS_ASKED in reasons(plan).values()


def unnamed_conv_bn() -> onnx.ModelProto:
    s = Sketch()
    s.batch_norm(s.conv("x", "c1", 3, 8, bias=False), "n1", 8)
    s.conv("n1", "y", 8, 8)
    for node in s.nodes:
        node.name = "" if node.output[0] == "c1" else node.name
    return s.model({"x": ["b", 3, 8, 8]}, {"y": ["b", 8, 8, 8]})


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("node_c1", ("node_c1",)),
        ("node_n1", ("node_c1",)),
        ("node_c?", ("node_c1", "node_c2")),
        ("*", ("node_c1", "node_c2", "node_y")),
        ("node_[xy]", ("node_y",)),
    ],
)
def test_patterns_mean_products_and_what_was_folded_into_them(
    pattern: str, found: tuple[str, ...]
) -> None:
    model = Model(models.conv_bn_relu(), "sketch")
    assert match_products([pattern], model, prepare(model), where="here") == found


def test_a_name_with_brackets_means_itself() -> None:
    proto = models.conv_bn_relu()
    proto.graph.node[0].name = "features[0]"
    model = Model(proto, "sketch")
    assert match_products(["features[0]"], model, prepare(model), where="") == ("features[0]",)


def test_an_unnamed_product_goes_by_what_it_makes_before_and_after_folding() -> None:
    model = Model(unnamed_conv_bn(), "sketch")
    folded = prepare(model)
    (product,) = match_products(["c1"], model, folded, where="")
    assert product in plan_qdq(folded).int8_ops
    assert match_products([product], model, folded, where="") == (product,)
    assert given_names([product], model, folded) == ("node_n1", "c1")
    assert within(["c1"], model, folded) == {product}


def test_patterns_that_match_no_product_are_told_at_once_with_near_names() -> None:
    model = Model(models.conv_bn_relu(), "nets/small.onnx")
    with pytest.raises(SettingsError) as caught:
        match_products(["node_c11", "node_r1", "*"], model, prepare(model), where="audit.float_ops")
    unknown, activation = caught.value.problems
    assert unknown.message.startswith("'node_c11' names no convolution")
    assert "Did you mean node_c1" in str(unknown.next_step)
    assert "calaudit build nets/small.onnx --explain" in str(unknown.next_step)
    assert unknown.where == "audit.float_ops"
    assert activation.message.endswith("the node of that name is a Relu")


def test_the_next_step_of_an_unknown_name_does_name_every_product() -> None:
    plan = plan_qdq(prepared(models.matmul_kinds))
    told = " ".join(d.reason for d in plan.decisions if d.kind != "node")
    told += " ".join(d.subject for d in plan.decisions if d.weighted and d.action == "float")
    products = [d.subject for d in plan.decisions if d.kind == "node" and d.weighted]
    assert products
    assert all(re.search(rf"\b{re.escape(name)}\b", told) for name in products)
