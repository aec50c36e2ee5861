from pathlib import Path

import numpy as np
import pytest

from calaudit.backends.onnxruntime.sessions import OnnxruntimeBackend
from calaudit.calibration.accumulate import observe as histogram_of
from calaudit.calibration.batching import Batching
from calaudit.calibration.methods import ENTROPY_TRT, estimate_amax
from calaudit.calibration.scales import estimate_scales
from calaudit.formats.ranges import open_ranges
from calaudit.graph.load import load_model
from calaudit.graph.network import import_network
from calaudit.graph.taps import with_taps
from calaudit.steps.complete import observe_network
from tests.calibration.trt import trt_amax
from tests.graph import models
from tests.graph.running import run
from tests.steps.calibrating import draw, images, write_images, write_model


@pytest.mark.parametrize("batch_size", [1, 7])
def test_every_tensor_of_the_network_is_observed_over_each_set(
    tmp_path: Path, batch_size: int
) -> None:
    s = models.Sketch()
    negative = s.op("Neg", [s.weight("w", 1, 4, 1, 1)], "negative")
    s.op("HardSwish", [s.op("Add", [s.conv("x", "c", 3, 4), negative], "a")], "h")
    s.gemm(s.op("Flatten", [s.op("ReduceMean", ["h"], "r", axes=[2, 3])], "f"), "y", 4, 3)
    proto = s.model({"x": ("n", 3, 8, 8)}, {"y": ("n", 3)})
    network = import_network(load_model(write_model(tmp_path / "m.onnx", proto)))
    pool = write_images(tmp_path / "pool.h5", images(30))
    sets = {name: draw(pool, tmp_path / f"{name}.h5", name, n) for name, n in [("a", 9), ("b", 4)]}
    out = tmp_path / "all.h5"
    found = observe_network(
        network, sets, OnnxruntimeBackend(), out, batch_size=batch_size, batching=Batching(4)
    )
    assert open_ranges(out).histograms == found.histograms
    assert found.histograms.taps == network.names
    assert found.model_fingerprint == network.given.fingerprint
    assert {each.kind for each in network.tensors} == {"observed", "derived", "constant"}
    for name, drawn in sets.items():
        values = run(with_taps(network.model, network.names), drawn.read_inputs(0, len(drawn)))
        amax = {tap: float(np.abs(values[tap]).max()) for tap in network.names}
        minmax = estimate_scales(found.of(name), 0, "minmax", calibset=name)
        assert {tap: each.amax for tap, each in minmax.taps.items()} == pytest.approx(amax)
        equal = found.equal_for(ENTROPY_TRT, name)
        trt = estimate_scales(found.of(name), 0, ENTROPY_TRT, calibset=name, equal=equal)
        batches = Batching(4).cut(len(drawn))
        other = []
        for each in network.tensors:
            tensor = values[each.name]
            constant = each.kind == "constant"
            wanted = trt_amax(*([tensor] if constant else [tensor[batch] for batch in batches]))
            if trt.taps[each.name].amax != pytest.approx(wanted, rel=1e-5):
                other.append(each.name)
        assert len(other) < 3, "rounding may decide between two clips, in a tensor or two"
        entropy = estimate_scales(found.of(name), 0, "entropy", calibset=name)
        for each in network.tensors:
            if each.kind == "constant":
                alone = estimate_amax(histogram_of(values[each.name]), "entropy")
                assert entropy.taps[each.name].amax == alone
