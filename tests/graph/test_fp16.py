import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from calaudit.graph.fp16 import convert_to_fp16
from calaudit.graph.model import Model
from calaudit.graph.prepare import prepare
from calaudit.graph.products import products
from tests.graph import models
from tests.graph.running import run


@pytest.mark.parametrize("name", ["residual", "depthwise_se", "attention", "embedding", "gemms"])
def test_fp16_copy_is_valid_keeps_its_io_and_stays_near(name: str) -> None:
    source = prepare(Model(models.ALL[name](), name))
    before = source.fingerprint
    halved, notices = convert_to_fp16(source)
    onnx.checker.check_model(halved.proto, full_check=True)
    assert (halved.inputs, halved.outputs) == (source.inputs, source.outputs)
    assert {product.asked for product in products(halved)} == {"fp16"}
    assert source.fingerprint == before
    assert notices == ()
    feeds = models.feeds(source.proto, n=16)
    wanted, found = run(source, feeds)["y"], run(halved, feeds)["y"]
    assert 0 < np.abs(wanted - found).max() < 0.01 * np.abs(wanted).max()


def test_converting_twice_gives_the_same_model_and_leaves_the_path_alone() -> None:
    source = prepare(Model(models.residual(), "m"))
    path = list(sys.path)
    assert convert_to_fp16(source)[0].fingerprint == convert_to_fp16(source)[0].fingerprint
    assert sys.path == path


def test_weights_that_fp16_cannot_hold_are_told() -> None:
    proto = models.gemms()
    values = onnx.numpy_helper.to_array(proto.graph.initializer[0]).copy()
    values.flat[0], values.flat[1] = 1e6, 1e-9
    proto.graph.initializer[0].CopyFrom(
        onnx.numpy_helper.from_array(values, proto.graph.initializer[0].name)
    )
    halved, (notice,) = convert_to_fp16(prepare(Model(proto, "m")))
    assert notice.code == "fp16_misfit"
    assert "1 value beyond" in notice.message
    kinds = {t.name: t.data_type for t in halved.proto.graph.initializer}
    assert kinds[proto.graph.initializer[0].name] == TensorProto.FLOAT16
