from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from calaudit.backends.onnxruntime.sessions import OnnxruntimeBackend
from calaudit.demo.digits import DEMO_MODEL, build_digits_pool
from calaudit.formats.pool import open_pool
from calaudit.graph.load import load_model
from calaudit.graph.model import Model
from calaudit.graph.placement import plan_qdq
from calaudit.graph.prepare import prepare
from calaudit.runtime.errors import Notice
from calaudit.steps.verify_cache import KINDS, RandomMatch, match_random_data
from tests.graph import models
from tests.graph.real_models import real_model
from tests.graph.running import minmax_scales


def match(model: Model, scales: Mapping[str, float]) -> RandomMatch | Notice:
    backend = OnnxruntimeBackend(threads=1)
    return match_random_data(model, plan_qdq(model), scales, ("minmax",), backend)


def scales_on(model: Model, feeds: dict[str, NDArray[Any]]) -> dict[str, float]:
    return minmax_scales(model, plan_qdq(model), feeds)


def test_integer_inputs_arent_tried() -> None:
    model = prepare(Model(models.embedding(), "sketch"))
    found = match(model, dict.fromkeys(plan_qdq(model).taps, 1.0))
    assert isinstance(found, Notice)
    assert found.code == "random_data_not_tried"
    assert "int64" in found.message


def test_a_cache_without_taps_isnt_tried() -> None:
    found = match(prepare(Model(models.conv_1d(), "sketch")), {"other": 1.0})
    assert isinstance(found, Notice)
    assert "no scale of any tap" in found.message


def test_activations_that_overflow_are_no_match() -> None:
    s = models.Sketch()
    s.op("Log", ["x"], "log")
    s.gemm("log", "y", 8, 8)
    model = Model(s.model({"x": ["b", 8]}, {"y": ["b", 8]}), "sketch")
    found = match(model, {"log": 5 / 127})
    assert isinstance(found, RandomMatch)
    assert found.kind == "uniform in [0, 1)"


def test_real_samples_of_the_demo_arent_taken_for_random_numbers(tmp_path: Path) -> None:
    model = prepare(load_model(DEMO_MODEL))
    build_digits_pool(tmp_path / "digits.h5")
    with open_pool(tmp_path / "digits.h5") as pool:
        for n in (1, 16, 256):
            rows = np.sort(np.random.default_rng(n).choice(len(pool), n, replace=False))
            found = match(model, scales_on(model, pool.read_inputs(rows)))
            assert isinstance(found, RandomMatch)
            assert not found.alike


@pytest.mark.data
@pytest.mark.parametrize("name", ["power", "log"])
def test_random_data_is_recognized_on_trained_models(name: str) -> None:
    model = prepare(load_model(real_model(name)))
    recognized = []
    for kind, draw in KINDS.items():
        x = draw(np.random.default_rng(3), (8, 1, 40, 98)).astype(np.float32)
        found = match(model, scales_on(model, {"x": x}))
        assert isinstance(found, RandomMatch)
        assert found.kind == kind
        recognized.append(found.convincing)
    assert sum(recognized) >= 2
