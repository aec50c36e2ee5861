from collections import Counter

import numpy as np
import onnx
import pytest

from calaudit.graph.load import load_model
from calaudit.graph.model import Model
from calaudit.graph.placement import plan_qdq
from calaudit.graph.prepare import prepare
from calaudit.graph.qdq import QdqPlan, explain
from tests.graph import models
from tests.graph.real_models import real_model
from tests.graph.running import quantize, run

pytestmark = pytest.mark.data


def loaded(name: str) -> tuple[Model, QdqPlan]:
    model = load_model(real_model(name))
    return model, plan_qdq(prepare(model))


@pytest.mark.parametrize("name", ["power", "log"])
def test_speech_model_quantizes_27_convolutions_and_one_gemm(name: str) -> None:
    _, plan = loaded(name)
    quantized = Counter(d.op_type for d in plan.decisions if d.kind == "weight")
    assert quantized == {"Conv": 27, "Gemm": 1}
    assert len(plan.taps) == 28
    assert [d for d in explain(plan) if d.kind == "node"] == []
    skips = [d.subject for d in plan.decisions if "skip input" in d.reason and d.kind != "node"]
    assert skips == [
        "/f/f.2/HardSwish_output_0",
        "/f/f.4/n/n.7/Conv_output_0",
        "/f/f.6/n/n.7/Conv_output_0",
    ]


def test_ranker_quantizes_its_two_gemms_and_nothing_else() -> None:
    _, plan = loaded("ranking")
    assert plan.taps == ("/Div_output_0", "/f/f.0/Tanh_output_0")
    assert {weight.tensor: weight.scales.size for weight in plan.weights} == {
        "e.weight": 256,
        "f.1.weight": 1447,
    }


@pytest.mark.parametrize("name", ["power", "log", "ranking"])
def test_preparing_a_real_model_changes_nothing_it_computes(name: str) -> None:
    model, plan = loaded(name)
    feeds = models.feeds(model.proto, n=4)
    np.testing.assert_allclose(
        run(prepare(model), feeds)["y"], run(model, feeds)["y"], rtol=1e-5, atol=1e-5
    )
    placed, engine = quantize(model, feeds)
    assert placed.taps == plan.taps
    onnx.checker.check_model(engine.proto, full_check=True)
    assert np.isfinite(run(engine, feeds)["y"]).all()
