import pytest

from calaudit.backends.tensorrt.profile import ShapeRange, plan_profile
from calaudit.graph.model import Model
from calaudit.runtime.errors import BackendError
from tests.graph import models


def test_free_batch_axes_get_a_range_and_fixed_models_none() -> None:
    free = plan_profile(Model(models.conv_bn_relu(), "m"), max_batch=32, opt_batch=8)
    assert free == {"x": ShapeRange((1, 3, 8, 8), (8, 3, 8, 8), (32, 3, 8, 8))}
    assert plan_profile(Model(models.conv_bn_relu(batch=1), "m"), max_batch=32) == {}


def test_open_sizes_are_all_named_until_they_are_given() -> None:
    s = models.Sketch()
    s.op("Add", ["a", "b"], "y")
    model = Model(s.model({"a": ["n", "t", 4], "b": ["n", "t", 4]}, {"y": ["n", "t", 4]}), "m.onnx")
    with pytest.raises(BackendError) as caught:
        plan_profile(model, max_batch=4)
    assert [p.message for p in caught.value.problems] == [
        "input a leaves sizes open (any×4 per sample)",
        "input b leaves sizes open (any×4 per sample)",
    ]
    made = plan_profile(model, max_batch=4, sizes={"a": (7, 4), "b": (7, 4)})
    assert made["b"].largest == (4, 7, 4)
