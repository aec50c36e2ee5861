"""What TensorRT 8.5.3.1's own calibrators chose for the speech model, on the sets of calibsets/.

Batches were served in the order of the sets' files. A cache holds 81 tensors: 65 of the ONNX graph,
and 16 that TensorRT's parser makes.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from calaudit.backends.onnxruntime.sessions import OnnxruntimeBackend
from calaudit.calibration.batching import Batching
from calaudit.calibration.methods import ENTROPY_TRT
from calaudit.calibration.scales import estimate_scales, scale_of
from calaudit.formats.calibset import Calibset
from calaudit.formats.pool import open_pool
from calaudit.formats.trt_cache import TrtCache, open_trt_cache
from calaudit.formats.trt_cache import cache_of as cache_of_table
from calaudit.formats.trt_header import TrtVersion
from calaudit.graph.load import load_model
from calaudit.graph.network import Network, import_network
from calaudit.graph.taps import with_taps
from calaudit.sampling.kinds import read_recipe
from calaudit.steps.complete import observe_network
from calaudit.steps.sample import draw_calibset
from tests.calibration.trt import trt_amax
from tests.graph.running import run
from tests.real_pools import DATA, ROOT

CACHES = DATA.parent / "trt"
pytestmark = [pytest.mark.slow, pytest.mark.data]

ALIKE = 1e-5
ROUNDING = 1e-6
"""Relative: activations of a GPU and of a CPU differ in their last bits."""
OFTEN = 60


def cache_of(name: str) -> TrtCache:
    path = CACHES / f"{name}.cache"
    if not path.exists():
        pytest.skip("TensorRT's caches aren't beside the project: the trt data isn't there")
    return open_trt_cache(path)


@pytest.fixture(scope="module")
def network() -> Network:
    """What TensorRT makes of the model as given."""
    path = DATA / "speech" / "power" / "model.onnx"
    if not path.exists():
        pytest.skip("the speech data isn't there (set CALAUDIT_DATA; see examples/speech)")
    return import_network(load_model(path))


@pytest.fixture(scope="module", params=["clean", "stratified"])
def drawn(
    request: pytest.FixtureRequest,
    real_pools: Callable[[str], Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Calibset:
    folder = tmp_path_factory.mktemp("caches")
    recipe = read_recipe(ROOT / "calibsets" / f"speech-{request.param}.toml")
    with open_pool(real_pools("speech") / "power" / "pool.h5") as pool:
        return draw_calibset(
            pool, recipe, folder / f"{request.param}.h5", evaluate="split = 'evaluation'"
        )


def kind_of(drawn: Calibset) -> str:
    return drawn.path.stem


def written(
    network: Network, drawn: Calibset, method: str, batching: Batching | None = None
) -> TrtCache:
    """The cache that `calaudit cache write` makes of the set."""
    out = drawn.path.with_suffix(".ranges")
    seen = observe_network(
        network, {"set": drawn}, OnnxruntimeBackend(), out, batch_size=64, batching=batching
    )
    equal = seen.equal_for(method, "set")
    table = estimate_scales(seen.of("set"), 0, method, calibset="set", equal=equal)
    return cache_of_table(table, TrtVersion.parse("8.5.3"))


def test_min_max_caches_are_tensorrts(network: Network, drawn: Calibset) -> None:
    cache = cache_of(f"{kind_of(drawn)}-minmax-64")
    found = written(network, drawn, "minmax")
    assert found.header == cache.header
    assert list(found.scales) == list(cache.scales)
    np.testing.assert_allclose(list(found.scales.values()), list(cache.scales.values()), rtol=ALIKE)


@pytest.mark.parametrize("size", [16, 64, 128])
def test_entropy_caches_are_tensorrts_up_to_rounding_of_activations(
    network: Network, drawn: Calibset, size: int
) -> None:
    """78 of 81 scales at least; in the others activations that differ in their last bits decide.

    Of ``/f/f.4/n/n.6/Relu_output_0``, on clean recordings, one value of 1,329 lies 6e-7 of itself
    below the edge of bin 70. Were it in that bin, the clip would be TensorRT's, 4.5 % wider.
    """
    batching = Batching(size, order="stored")
    cache = cache_of(f"{kind_of(drawn)}-entropy-{size}")
    found = written(network, drawn, ENTROPY_TRT, batching)
    assert found.header == cache.header
    assert list(found.scales) == list(cache.scales)
    assert len(found.scales) == 81
    others = [
        tap for tap, scale in found.scales.items() if abs(scale / cache.scales[tap] - 1) > ALIKE
    ]
    assert len(others) <= 3, others
    values = run(with_taps(network.model, others), drawn.read_inputs(0, len(drawn)))
    for tap in others:
        assert rounding_gives(cache.scales[tap], values[tap], batching), tap


def rounding_gives(scale: float, values: NDArray[Any], batching: Batching) -> bool:
    """Whether values that differ in their last bits have this scale, in some of many draws."""
    random = np.random.default_rng(0)
    batches = batching.cut(len(values))
    for _ in range(OFTEN):
        near = values * (1 + ROUNDING * random.standard_normal(values.shape, np.float32))
        amax = trt_amax(*(near[batch] for batch in batches))
        if abs(scale_of(amax) / scale - 1) <= ALIKE:
            return True
    return False
