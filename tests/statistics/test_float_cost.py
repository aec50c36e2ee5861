"""Times of ops in float, by the layers of two engines that fuse as they like."""

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calaudit.results.bench import BenchedEngine, LayerTime
from calaudit.statistics.float_cost import float_cost

Fused = Sequence[tuple[str, float]]
"""Nodes of a layer, by spaces, and its milliseconds."""


def engine(precision: str, layers: Fused, batch: int = 8) -> BenchedEngine:
    whole = sum(ms for _, ms in layers)
    return BenchedEngine(
        engine=precision, backend="b", precision=precision, fingerprint="f", kernels="fused",
        layers=tuple(
            LayerTime(f"layer {n}", ms, ms / whole, tuple(nodes.split()))
            for n, (nodes, ms) in enumerate(layers)
        ),
        layers_batch=batch,
    )  # type: ignore[arg-type]  # fmt: skip


INT8 = engine("int8", [("conv relu", 0.2), ("", 0.05), ("conv2 add", 0.3), ("fc", 0.1)])
FP32 = engine("fp32", [("conv", 0.5), ("relu", 0.1), ("conv2", 0.6), ("add", 0.1), ("fc", 0.15)])


def test_layers_that_hold_an_op_are_compared_whole() -> None:
    cost = float_cost(["conv"], INT8, FP32)
    assert cost is not None
    assert (cost.int8_ms, cost.float_ms) == (0.2, 0.6)  # the relu is in INT8's layer
    assert cost.beside == ("relu",)
    assert cost.added_ms == pytest.approx(0.4)
    assert cost.added == pytest.approx(0.4 / 0.65)
    assert cost.batch == 8


def test_an_op_alone_in_its_layers_brings_nothing_along() -> None:
    cost = float_cost(["fc"], INT8, FP32)
    assert cost is not None
    assert cost.beside == ()
    assert cost.added_ms == pytest.approx(0.05)


def test_several_ops_count_once_where_they_share_a_layer() -> None:
    both = float_cost(["conv2", "add", "fc"], INT8, FP32)
    assert both is not None
    assert both.int8_ms == pytest.approx(0.4)
    assert both.float_ms == pytest.approx(0.85)


def test_float_may_be_the_faster() -> None:
    slow = engine("int8", [("conv relu", 0.9), ("conv2 add fc", 0.1)])
    cost = float_cost(["conv"], slow, FP32)
    assert cost is not None
    assert cost.added_ms == pytest.approx(-0.3)


def test_what_isnt_known_in_both_gives_nothing() -> None:
    assert float_cost(["other"], INT8, FP32) is None
    assert float_cost([], INT8, FP32) is None
    assert float_cost(["conv"], INT8, engine("fp32", [("conv", 1.0)], batch=1)) is None
    bare = engine("fp32", [("", 1.0)])
    assert float_cost(["conv"], INT8, bare) is None
    cost = float_cost(["conv", "other"], INT8, FP32)
    assert cost is not None
    assert cost.ops == ("conv",)


@st.composite
def partitions(draw: st.DrawFn) -> Fused:
    """Eight nodes, cut into layers anyhow; each node takes 1 ms in a layer."""
    names = [f"n{n}" for n in range(8)]
    cuts = sorted(draw(st.sets(st.integers(1, 7))))
    bounds = [0, *cuts, 8]
    return [(" ".join(names[a:b]), float(b - a)) for a, b in pairwise(bounds)]


@given(first=partitions(), second=partitions(), ops=st.sets(st.sampled_from("01234567")))
def test_what_is_compared_is_whole_layers_of_both_engines(
    first: Fused, second: Fused, ops: set[str]
) -> None:
    """So that engines in which every node takes as long differ by nothing, however they fuse."""
    cost = float_cost([f"n{op}" for op in ops], engine("int8", first), engine("fp32", second))
    if not ops:
        assert cost is None
        return
    assert cost is not None
    assert cost.added_ms == pytest.approx(0)
    assert set(cost.ops) == {f"n{op}" for op in ops}
    assert cost.int8_ms == len(cost.ops) + len(cost.beside)
