import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from calaudit.graph.model import Model
from calaudit.graph.prepare import prepare
from tests.graph import models
from tests.graph.running import run

ROOT = Path(__file__).parents[2]


def ops(model: Model) -> Counter[str]:
    return Counter(node.op_type for node in model.proto.graph.node)


@pytest.mark.parametrize("make", models.ALL.values(), ids=models.ALL)
def test_preparing_keeps_what_the_model_computes(make: Callable[[], onnx.ModelProto]) -> None:
    source = Model(make(), "sketch")
    before = source.fingerprint
    prepared = prepare(source)
    onnx.checker.check_model(prepared.proto, full_check=True)
    feeds = models.feeds(source.proto)
    wanted, found = run(source, feeds), run(prepared, feeds)
    assert list(found) == list(wanted)
    for name, values in wanted.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-5, atol=1e-5)
    assert source.fingerprint == before, "the source is left alone"


@pytest.mark.parametrize("make", [models.conv_bn_relu, models.grouped_bn, models.gemm_bn])
def test_batch_normalization_is_folded(make: Callable[[], onnx.ModelProto]) -> None:
    assert "BatchNormalization" not in ops(prepare(Model(make(), "sketch")))


def test_batch_normalization_folds_into_a_grouped_transposed_convolution() -> None:
    assert ops(prepare(Model(models.conv_transpose(), "sketch"))) == {
        "Conv": 1,
        "ConvTranspose": 1,
    }


def test_an_output_is_never_folded_away() -> None:
    prepared = prepare(Model(models.tapped_conv_bn(), "sketch"))
    assert ops(prepared) == {"Conv": 1, "BatchNormalization": 1}
    assert [output.name for output in prepared.outputs] == ["y", "raw"]


def test_transposed_constants_become_weights() -> None:
    prepared = prepare(Model(models.transposed_weight(), "sketch"))
    assert ops(prepared) == {"MatMul": 1, "Add": 1}
    assert {t.name for t in prepared.proto.graph.initializer} == {"wt", "b"}


def test_folded_nodes_keep_the_names_of_their_convolutions() -> None:
    prepared = prepare(Model(models.conv_bn_relu(), "sketch"))
    names = [node.name for node in prepared.proto.graph.node]
    assert names == ["node_c1", "node_r1", "node_p1", "node_c2", "node_r2", "node_flat", "node_y"]


def test_every_node_of_an_unnamed_graph_gets_a_name() -> None:
    proto = models.residual()
    for node in proto.graph.node:
        node.name = ""
    names = [node.name for node in prepare(Model(proto, "sketch")).proto.graph.node]
    assert all(names)
    assert len(set(names)) == len(names)


def test_weights_that_nothing_reads_are_dropped() -> None:
    prepared = prepare(Model(models.conv_bn_relu(), "sketch"))
    read = {name for node in prepared.proto.graph.node for name in node.input}
    assert {tensor.name for tensor in prepared.proto.graph.initializer} <= read


@pytest.mark.slow
def test_preparing_and_planning_are_the_same_in_every_process() -> None:
    script = (
        "from calaudit.graph.model import Model; from calaudit.graph.placement import plan_qdq;"
        "from calaudit.graph.prepare import prepare; from tests.graph import models;"
        "plan = plan_qdq(prepare(Model(models.residual(), 's')));"
        "print(plan.fingerprint, plan.taps)"
    )
    seen = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(seen) == 1
