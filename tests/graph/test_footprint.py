"""Memory of tensors that are alive at a time."""

from calaudit.graph.footprint import live_bytes
from calaudit.graph.model import Model
from tests.graph import models
from tests.graph.models import Sketch
from tests.graph.test_subgraphs import pooled_over_height


def test_a_chain_holds_what_a_node_reads_and_makes() -> None:
    # Conv's output and BatchNormalization's: 8 channels of 8 × 8 each
    assert live_bytes(Model(models.conv_bn_relu(), "sketch"), {}) == 4 * 2 * 8 * 8 * 8


def test_what_a_later_node_reads_stays_alive() -> None:
    s = Sketch()
    s.op("Relu", ["x"], "a")
    s.op("Relu", ["a"], "b")
    s.op("Relu", ["b"], "c")
    s.op("Add", ["a", "c"], "y")
    model = Model(s.model({"x": ["n", 10]}, {"y": ["n", 10]}), "sketch")
    # a, b and c; and a, c and y
    assert live_bytes(model, {}) == 4 * 30


def test_outputs_stay_alive_and_weights_dont_count() -> None:
    s = Sketch()
    s.op("Relu", ["x"], "early")
    s.op("MatMul", ["early", s.weight("w", 10, 1000)], "wide")
    s.op("MatMul", ["wide", s.weight("v", 1000, 2)], "y")
    model = Model(s.model({"x": ["n", 10]}, {"early": ["n", 10], "y": ["n", 2]}), "sketch")
    assert live_bytes(model, {}) == 4 * (10 + 1000 + 2)


def test_sizes_that_the_model_leaves_open_are_the_samples() -> None:
    s = Sketch()
    s.op("Relu", ["x"], "y")
    model = Model(s.model({"x": ["n", "length"]}, {"y": ["n", "length"]}), "sketch")
    assert live_bytes(model, {}) is None
    assert live_bytes(model, {"x": (50,)}) == 4 * 100


def test_graphs_in_nodes_tell_nothing() -> None:
    assert live_bytes(Model(pooled_over_height(), "sketch"), {"x": (3, 4, 12)}) is None
