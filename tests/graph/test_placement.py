from collections.abc import Callable, Iterable

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from calaudit.graph.model import Model
from calaudit.graph.placement import plan_qdq
from calaudit.graph.prepare import prepare
from calaudit.graph.qdq import Decision, QdqPlan, explain
from calaudit.runtime.errors import ModelError
from tests.graph import models
from tests.graph.models import Sketch


def plan_of(proto: onnx.ModelProto) -> QdqPlan:
    return plan_qdq(prepare(Model(proto, "sketch")))


def why(plan: QdqPlan, subject: str, kind: str = "node") -> Decision:
    (found,) = (d for d in plan.decisions if d.subject == subject and d.kind == kind)
    return found


def axes(plan: QdqPlan) -> dict[str, int | None]:
    return {weight.tensor: weight.axis for weight in plan.weights}


def float_weighted(plan: QdqPlan) -> list[str]:
    return [d.op_type for d in explain(plan) if d.kind == "node"]


def subjects(decisions: Iterable[Decision], kind: str) -> list[str]:
    return [d.subject for d in decisions if d.kind == kind]


@pytest.mark.parametrize("make", models.ALL.values(), ids=models.ALL)
def test_every_node_tap_and_weight_has_one_decision_with_a_reason(
    make: Callable[[], onnx.ModelProto],
) -> None:
    prepared = prepare(Model(make(), "sketch"))
    plan = plan_qdq(prepared)
    assert all(d.reason for d in plan.decisions)
    nodes = [node.name for node in prepared.proto.graph.node]
    assert sorted(subjects(plan.decisions, "node")) == sorted(nodes)
    assert subjects(plan.decisions, "activation") == list(plan.taps)
    assert len(set(plan.taps)) == len(plan.taps)
    assert subjects(plan.decisions, "weight") == [w.tensor for w in plan.weights]


def test_nothing_is_placed_between_conv_and_relu() -> None:
    plan = plan_of(models.conv_bn_relu())
    assert plan.taps == ("x", "p1", "flat")
    assert float_weighted(plan) == []


def test_only_the_skip_input_of_a_residual_add_is_quantized() -> None:
    plan = plan_of(models.residual())
    assert plan.taps == ("x", "r0", "r1", "ra1", "down", "r3", "flat")
    assert "skip input of Add node_a1, which fuses with c2" in why(plan, "r0", "activation").reason
    assert (
        "skip input of Add node_a2, which fuses with c4" in why(plan, "down", "activation").reason
    )
    assert why(plan, "node_a1").action == "quantized"


def test_a_convolution_read_twice_doesnt_fuse_so_it_can_be_the_skip_input() -> None:
    s = Sketch()
    s.conv("x", "c1", 3, 3)
    s.conv("c1", "c2", 3, 3)
    s.op("Add", ["c2", "c1"], "y")
    plan = plan_of(s.model({"x": ["b", 3, 5, 5]}, {"y": ["b", 3, 5, 5]}))
    assert plan.taps == ("x", "c1")
    assert "skip input" in why(plan, "c1", "activation").reason


@pytest.mark.parametrize("other", ["constant", "broadcast", "output", "relu"])
def test_adds_that_dont_fuse_with_a_convolution_stay_float(other: str) -> None:
    s = Sketch()
    s.conv("x", "c1", 3, 3)
    outputs: dict[str, list[int | str]] = {"y": ["b", 3, 5, 5]}
    if other == "constant":
        s.op("Add", ["c1", s.weight("k", 3, 1, 1)], "y")
    elif other == "broadcast":
        s.op("GlobalAveragePool", ["x"], "pool")
        s.op("Add", ["c1", "pool"], "y")
    elif other == "output":
        outputs["c1"] = ["b", 3, 5, 5]
        s.op("Add", ["c1", "x"], "y")
    else:
        s.op("Add", [s.op("Relu", ["c1"], "r"), "x"], "y")
    plan = plan_of(s.model({"x": ["b", 3, 5, 5]}, outputs))
    assert plan.taps == ("x",)
    assert why(plan, "node_y").action == "float"


def test_depthwise_squeeze_excitation_block_quantizes_convolutions_alone() -> None:
    plan = plan_of(models.depthwise_se())
    assert plan.taps == ("x", "h1", "mean", "r", "scaled", "flat")
    assert set(axes(plan).values()) == {0}
    for node in ("node_h1", "node_gate", "node_scaled", "node_mean", "node_pool"):
        assert why(plan, node).action == "float"
    assert "fuses with project" in why(plan, "x", "activation").reason


def test_gemm_scales_run_along_its_output_axis_in_both_layouts() -> None:
    plan = plan_of(models.gemms())
    assert axes(plan) == {"g1.w": 0, "y.w": 1}
    assert [weight.scales.size for weight in plan.weights] == [20, 6]


def test_alpha_beta_and_a_transposed_input_dont_keep_a_gemm_in_float() -> None:
    assert axes(plan_of(models.scaled_gemm(alpha=0.5, beta=2.0))) == {"y.w": 0}
    assert plan_of(models.transposed_gemm()).taps == ("xt",)


def test_matmul_of_two_activations_quantizes_both() -> None:
    plan = plan_of(models.attention())
    assert plan.taps == ("n1", "q", "v", "kt", "probs", "context", "n2", "m2")
    assert why(plan, "node_scores").reason == "both inputs"
    assert float_weighted(plan) == ["LayerNormalization", "LayerNormalization"]
    assert why(plan, "node_probs").action == "float"
    assert axes(plan) == dict.fromkeys(("wq", "wk", "wv", "wo", "w1", "w2"), 1)


def test_gemm_of_two_activations_quantizes_both_and_not_its_bias() -> None:
    plan = plan_of(models.gemm_of_activations())
    assert set(plan.taps) == {"x", "xt", "t", "xx"}


def test_an_activation_gets_one_pair_however_many_ops_read_it() -> None:
    plan = plan_of(models.attention())
    (n1,) = (a for a in plan.activations if a.tensor == "n1")
    assert len(n1.slots) == 3


def test_stacked_left_and_vector_weights_get_one_scale() -> None:
    plan = plan_of(models.matmul_kinds())
    assert axes(plan) == {"stack": None, "left": None, "vector": None}
    assert all(weight.scales.shape == () for weight in plan.weights)


def test_integer_inputs_and_lookups_stay_as_they_are() -> None:
    plan = plan_of(models.embedding())
    assert plan.taps == ("both", "r")
    assert why(plan, "node_looked").action == "float"
    assert axes(plan) == {"h.w": 0, "table": 0}


def test_integer_matmul_stays_as_it_is() -> None:
    s = Sketch()
    s.op("MatMul", ["i", s.array("w", np.ones((4, 2), np.int64))], "m")
    s.op("MatMul", ["i", "j"], "n")
    types = dict.fromkeys(("i", "j", "m", "n"), TensorProto.INT64)
    proto = s.model({"i": ["b", 4], "j": [1, 4, 2]}, {"m": ["b", 2], "n": [1, "b", 2]}, types=types)
    plan = plan_of(proto)
    assert plan.taps == ()
    assert why(plan, "node_m").reason == "its weight w is int64, not float32"
    assert why(plan, "node_n").reason == "its input i isn't float32"


def test_transposed_convolution_stays_float() -> None:
    plan = plan_of(models.conv_transpose())
    assert plan.taps == ("x",)
    assert float_weighted(plan) == ["ConvTranspose"]


def test_a_kernel_that_isnt_constant_keeps_its_convolution_in_float() -> None:
    plan = plan_of(models.dynamic_kernel())
    assert plan.taps == ()
    assert [notice.code for notice in plan.notices] == ["nothing_quantized"]
    assert "its weight mean isn't constant" in why(plan, "node_y").reason


def test_batch_normalization_that_couldnt_be_folded_is_explained() -> None:
    plan = plan_of(models.tapped_conv_bn())
    assert float_weighted(plan) == ["BatchNormalization"]
    assert plan.taps == ("x",)


def test_a_shared_weight_is_quantized_once_per_axis() -> None:
    plan = plan_of(models.shared_weights())
    assert [(w.tensor, w.axis, len(w.slots)) for w in plan.weights] == [
        ("kernel", 0, 2),
        ("tied", 0, 1),
        ("tied", 1, 1),
    ]


def test_ops_of_other_domains_stay_float() -> None:
    s = Sketch()
    s.op("FusedConv", ["x", s.weight("w", 3, 3, 1, 1)], "y", domain="com.microsoft")
    proto = s.model({"x": ["b", 3, 5, 5]}, {"y": ["b", 3, 5, 5]})
    proto.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    plan = plan_of(proto)
    assert plan.taps == ()
    assert "com.microsoft" in why(plan, "node_y").reason


def with_weight(proto: onnx.ModelProto, name: str, index: object, value: float) -> onnx.ModelProto:
    for tensor in proto.graph.initializer:
        if tensor.name == name:
            values = numpy_helper.to_array(tensor).copy()
            values[index] = value
            tensor.CopyFrom(numpy_helper.from_array(values, name))
    return proto


def test_weight_channels_of_zeros_are_noticed() -> None:
    plan = plan_of(with_weight(models.gemms(), "g1.w", [3, 7], 0))
    (notice,) = plan.notices
    assert notice.code == "zero_weight_channel"
    assert "2 of 20 channels" in notice.message
    assert "(3, 7)" in notice.message
    assert (plan.weights[0].scales > 0).all()


def test_weights_with_nan_are_refused_by_name() -> None:
    with pytest.raises(ModelError, match=r"weight g1\.w holds NaN or infinity"):
        plan_of(with_weight(models.gemms(), "g1.w", (0, 0), np.nan))


def test_explaining_lists_pairs_then_weights_then_weighted_ops_in_float() -> None:
    rows = explain(plan_of(models.attention()))
    kinds = [row.kind for row in rows]
    assert kinds == ["activation"] * 8 + ["weight"] * 6 + ["node"] * 2
