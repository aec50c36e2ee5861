from pathlib import Path

import numpy as np
import onnx

from calaudit.graph.load import load_model
from calaudit.graph.model import Model, write_model
from tests.graph import models
from tests.graph.running import run


def test_a_model_written_with_its_weights_beside_it_reads_back_the_same(tmp_path: Path) -> None:
    source = Model(models.residual(), "sketch")
    before = source.proto.SerializeToString(deterministic=True)
    path, weights = tmp_path / "aside", tmp_path / "model.onnx.weights"
    write_model(source, path, weights, location=weights.name)
    path.rename(tmp_path / "model.onnx")
    read = load_model(tmp_path / "model.onnx")
    assert read.fingerprint == source.fingerprint
    assert path.with_name("model.onnx").stat().st_size < weights.stat().st_size
    feeds = models.feeds(source.proto)
    np.testing.assert_array_equal(run(read, feeds)["y"], run(source, feeds)["y"])
    assert source.proto.SerializeToString(deterministic=True) == before
    onnx.checker.check_model(str(tmp_path / "model.onnx"))
