from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from calaudit.graph.model import Model
from calaudit.graph.placement import plan_qdq
from calaudit.graph.prepare import prepare
from calaudit.graph.survey import TensorNames, name_tensors
from tests.graph import models


@pytest.fixture
def names() -> TensorNames:
    s = models.Sketch()
    s.array("half", np.float32(0.5).reshape(1))
    s.array("zero", np.array([0], np.int64))
    s.op("Mul", ["x", "half"], "halved")
    s.op("Mul", ["x", "x"], "squared")
    s.conv("halved", "conv", 3, 4)
    s.op("Relu", ["conv"], "relu")
    s.op("Sigmoid", ["relu"], "gate")
    s.op("MaxPool", ["gate"], "pooled", kernel_shape=[2, 2])
    s.op("Mul", ["relu", "gate"], "gated")
    s.op("Shape", ["gated"], "shape")
    s.op("Constant", [], "fixed", value_float=1.0)
    s.op("Add", ["gated", "fixed"], "y")
    s.op("Gather", ["shape", "zero"], "n")
    shapes = {"x": ["b", 3, 8, 8]}, {"y": ["b", 4, 8, 8], "n": [1]}
    return name_tensors(Model(s.model(*shapes, types={"n": TensorProto.INT64}), "sketch"))


def test_inputs_weights_and_all_that_is_computed_are_known(names: TensorNames) -> None:
    for name in ("x", "conv.w", "half", "relu", "pooled", "y", "n"):
        assert names.has(name), name
    assert not names.has("X")
    assert not names.has("relu_output")


@pytest.mark.parametrize(
    "name", ["(Unnamed Layer* 12) [Constant]_output", "conv.w_output", "fixed_output"]
)
def test_names_that_tensorrt_makes_itself_are_known(names: TensorNames, name: str) -> None:
    assert names.has(name)


def test_tensors_without_a_float_range_are_told_apart(names: TensorNames) -> None:
    assert names.not_float == {"shape", "n", "zero"}


def test_tensors_that_naturally_end_at_one_are_told_apart(names: TensorNames) -> None:
    assert {"x", "halved", "squared", "gate", "pooled"} <= names.ends_at_one
    assert not {"conv", "relu", "gated", "y"} & names.ends_at_one


@pytest.mark.parametrize("build", models.ALL.values(), ids=models.ALL.keys())
def test_every_tap_of_a_prepared_model_has_its_name_in_the_file(
    build: Callable[[], onnx.ModelProto],
) -> None:
    model = Model(build(), "sketch")
    names = name_tensors(model)
    assert [tap for tap in plan_qdq(prepare(model)).taps if not names.has(tap)] == []
