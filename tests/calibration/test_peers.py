"""What benchmarks/methods.py shows of calaudit beside the peers, held to what it claims."""

import numpy as np
import pytest

from benchmarks.methods import choose, samples

N = 200_000
VALUES = samples(N)
LIGHT_TAILS = ["Gaussian", "Laplace", "ReLU of Gaussian", "bimodal"]
OUTLIER = "one outlier of 100"


@pytest.mark.parametrize("name", VALUES)
def test_entropy_clips_at_most_one_non_zero_value_in_ten_thousand(name: str) -> None:
    values = VALUES[name]
    amax = choose("calaudit entropy", values).amax
    assert (np.abs(values[values != 0]) > amax).mean() <= 1e-4


@pytest.mark.parametrize("name", LIGHT_TAILS)
def test_entropy_is_near_the_least_error_and_no_worse_than_no_clipping(name: str) -> None:
    ours = choose("calaudit entropy", VALUES[name]).sqnr
    assert ours > choose("calaudit mse", VALUES[name]).sqnr - 1.5
    assert ours > choose("minmax", VALUES[name]).sqnr - 0.2


@pytest.mark.parametrize("name", LIGHT_TAILS)
def test_entropy_is_as_good_as_pytorch_quantizations_where_tails_are_light(name: str) -> None:
    ours, theirs = (
        choose(method, VALUES[name]) for method in ("calaudit entropy", "pytorch-quantization")
    )
    assert ours.sqnr > theirs.sqnr - 0.5


def test_the_published_scheme_keeps_the_range_open_for_one_outlier_and_ours_does_not() -> None:
    ours = choose("calaudit entropy", VALUES[OUTLIER])
    assert ours.amax < 8
    assert ours.sqnr_of_rest > 35
    for method in ("calaudit entropy-trt", "pytorch-quantization", "minmax"):
        theirs = choose(method, VALUES[OUTLIER])
        assert theirs.amax >= 100
        assert theirs.sqnr_of_rest < 15


@pytest.mark.parametrize("name", VALUES)
def test_of_one_batch_tensorrt_clips_half_a_bin_above_pytorch_quantization(name: str) -> None:
    """NVIDIA's other calibrator, told from its published code: the same search."""
    theirs = choose("pytorch-quantization", VALUES[name]).amax
    half_a_bin = float(np.abs(VALUES[name]).max()) / 2048 / 2
    ours = choose("calaudit entropy-trt", VALUES[name]).amax
    assert ours == pytest.approx(theirs + half_a_bin, rel=1e-6)


def test_under_a_heavy_tail_entropy_clips_less_than_the_published_scheme() -> None:
    ours, published = (
        choose(method, VALUES["heavy tail (t, 3)"])
        for method in ("calaudit entropy", "calaudit entropy-trt")
    )
    assert ours.clipped < published.clipped
    assert ours.sqnr > published.sqnr


def test_onnxruntime_clips_what_lies_behind_a_relu_a_hundred_times_more_often() -> None:
    """It spreads its levels over both signs, and zeros count: half of all values."""
    ours, theirs = (
        choose(method, VALUES["ReLU of Gaussian"])
        for method in ("calaudit entropy", "onnxruntime, 2048")
    )
    assert theirs.clipped > 100 * ours.clipped
    assert ours.sqnr > theirs.sqnr + 5
