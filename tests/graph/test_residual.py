"""Which sums a convolution fuses with, whatever is known of the shapes."""

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from calaudit.graph.model import Model
from calaudit.graph.placement import plan_qdq
from calaudit.graph.prepare import prepare
from calaudit.graph.qdq import QdqPlan
from tests.graph import models
from tests.graph.models import Sketch
from tests.graph.running import quantize, run

SIZES: dict[str, list[int | str]] = {
    "static": ["b", 4, 6, 6],
    "one name": ["b", 4, "s", "s"],
    "names": ["b", 4, "height", "width"],
    "one free": ["b", 4, 6, "width"],
    "batch of 1": [1, 4, "height", "width"],
    "unnamed": ["b", 4, "", ""],
}
Other = Callable[[Sketch], str]


def pooled(s: Sketch) -> str:
    return s.op("GlobalAveragePool", ["x"], "other")


def pooled_and_viewed(s: Sketch) -> str:
    """As torch exports ``mean(dim=(2, 3)).view(batch, 4, 1, 1)``."""
    s.op("ReduceMean", ["x"], "mean", axes=[2, 3], keepdims=0)
    s.op("Shape", ["mean"], "shape")
    s.op("Gather", ["shape", s.array("i0", np.array([0]))], "batch", axis=0)
    s.op("Concat", ["batch", s.array("rest", np.array([4, 1, 1]))], "view", axis=0)
    return s.op("Reshape", ["mean", "view"], "other")


def unsqueezed(s: Sketch) -> str:
    s.op("ReduceMean", ["x"], "mean", axes=[2, 3], keepdims=0)
    return s.op("Unsqueeze", ["mean", s.array("axes", np.array([2, 3]))], "other")


def one_column(s: Sketch) -> str:
    return s.op("ReduceMax", ["x"], "other", axes=[3], keepdims=1)


def first_sample(s: Sketch) -> str:
    ends = [s.array(name, np.array([value])) for name, value in (("from", 0), ("to", 1))]
    return s.op("Slice", ["x", *ends, s.array("axis", np.array([0]))], "other")


def constant(s: Sketch) -> str:
    return s.weight("other", 1, 4, 1, 1)


def lower_rank(s: Sketch) -> str:
    s.op("ReduceMean", ["x"], "mean", axes=[0, 2, 3], keepdims=0)
    return s.op("Unsqueeze", ["mean", s.array("axes", np.array([1, 2]))], "other")


def shortcut(s: Sketch) -> str:
    return "x"


def projected(s: Sketch) -> str:
    return s.op("Relu", [s.conv("x", "down", 4, 4, (1, 1))], "other")


def cropped(s: Sketch) -> str:
    """Of sizes that only running the model tells."""
    s.op("Shape", ["x"], "shape")
    ends = [s.array("from", np.zeros(4, np.int64)), "shape"]
    return s.op("Slice", ["x", *ends], "other")


def planned(s: Sketch, sizes: list[int | str]) -> tuple[QdqPlan, Model]:
    proto = s.model({"x": sizes}, {"y": sizes})
    for value in (*proto.graph.input, *proto.graph.output):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param == "":
                dim.ClearField("dim_param") if not dim.HasField("dim_value") else None
    source = Model(proto, "sketch")
    return plan_qdq(prepare(source)), source


def skips(plan: QdqPlan) -> list[str]:
    return [d.subject for d in plan.decisions if "skip input of" in d.reason]


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize(
    "other", [pooled, pooled_and_viewed, unsqueezed, one_column, constant, lower_rank]
)
def test_what_is_broadcast_onto_a_convolution_is_no_residual(
    other: Other, sizes: list[int | str]
) -> None:
    s = Sketch()
    s.op("Add", [s.conv("x", "c", 4, 4), other(s)], "y")
    plan, _ = planned(s, sizes)
    assert skips(plan) == []
    assert plan.taps == ("x",)


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("other", [shortcut, projected, cropped])
@pytest.mark.parametrize("op_type", ["Add", "Sum"])
def test_a_residual_is_one_whatever_its_sizes_are_called(
    op_type: str, other: Other, sizes: list[int | str]
) -> None:
    s = Sketch()
    s.op(op_type, [s.conv("x", "c", 4, 4), other(s)], "y")
    plan, source = planned(s, sizes)
    assert len(skips(plan)) == 1
    if sizes == SIZES["static"]:
        feeds = models.feeds(source.proto)
        _, engine = quantize(source, feeds)
        exact, rounded = run(source, feeds)["y"], run(engine, feeds)["y"]
        assert 0 < np.abs(exact - rounded).max() < 0.05 * np.abs(exact).max()


def test_one_sample_added_to_all_is_broadcast_unless_batches_are_of_one() -> None:
    for sizes, residual in ((SIZES["names"], False), (SIZES["batch of 1"], True)):
        s = Sketch()
        s.op("Add", [s.conv("x", "c", 4, 4), first_sample(s)], "y")
        plan, _ = planned(s, sizes)
        assert bool(skips(plan)) is residual


@pytest.mark.parametrize("op_type", ["Mul", "Sub", "Div", "Max"])
def test_other_arithmetic_doesnt_fuse(op_type: str) -> None:
    s = Sketch()
    s.op(op_type, [s.conv("x", "c", 4, 4), "x"], "y")
    assert skips(planned(s, SIZES["names"])[0]) == []


def test_a_sum_of_three_and_a_concatenation_dont_fuse() -> None:
    for op_type, more in (("Sum", {}), ("Concat", {"axis": 1})):
        s = Sketch()
        s.op("Relu", ["x"], "r")
        s.op(op_type, [s.conv("x", "c", 4, 4), "x", "r"], "y", **more)
        proto = s.model({"x": ["b", 4, "h", "w"]}, {"y": ["b", "c", "h", "w"]})
        assert skips(plan_qdq(prepare(Model(proto, "sketch")))) == []


def test_behind_ops_of_unknown_shapes_a_residual_is_still_one_and_a_pooled_sum_isnt() -> None:
    for pool in (False, True):
        s = Sketch()
        s.op("Anything", ["x"], "u", domain="some.domain")
        s.conv("u", "c", 4, 4)
        other = s.op("GlobalAveragePool", ["x"], "p") if pool else "u"
        s.op("Add", ["c", other], "y")
        proto = s.model({"x": ["b", 4, "h", "w"]}, {"y": ["b", 4, "h", "w"]})
        proto.opset_import.append(helper.make_opsetid("some.domain", 1))
        assert bool(skips(plan_qdq(prepare(Model(proto, "sketch"))))) is not pool


def test_a_convolution_that_a_subgraph_reads_too_doesnt_fuse() -> None:
    s = Sketch()
    s.conv("x", "c", 4, 4)
    s.op("Add", ["c", "x"], "y")
    branches = {
        name: helper.make_graph(
            [helper.make_node(op_type, ["c"], [f"{name}.out"])],
            name,
            [],
            [helper.make_tensor_value_info(f"{name}.out", TensorProto.FLOAT, None)],
        )
        for name, op_type in (("then_branch", "Relu"), ("else_branch", "Neg"))
    }
    s.op("If", ["which"], "z", **branches)
    proto = s.model(
        {"x": ["b", 4, "h", "w"], "which": []},
        {"y": ["b", 4, "h", "w"], "z": ["b", 4, "h", "w"]},
        types={"which": TensorProto.BOOL},
    )
    onnx.checker.check_model(proto)
    assert skips(plan_qdq(prepare(Model(proto, "sketch")))) == []
