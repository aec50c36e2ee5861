"""What TensorRT 8.5.3.1's own calibrators chose for the speech model, on the sets of calibsets/.

Batches were served in the order of the sets' files. 65 of the 81 tensors in a cache are tensors of
the ONNX graph; the others are made by TensorRT's parser.
"""

import os
import subprocess
import sys
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
from calaudit.formats.trt_cache import open_trt_cache
from calaudit.formats.trt_header import TrtVersion
from calaudit.graph.load import load_model
from calaudit.sampling.kinds import read_recipe
from calaudit.steps.observe import observe
from calaudit.steps.sample import draw_calibset
from calaudit.steps.tapped import TappedEngine, load_tapped
from calaudit.steps.union import CalibsetUnion
from calaudit.steps.write_cache import write_complete_cache
from tests.calibration.trt import trt_amax

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("CALAUDIT_DATA", ROOT.parent / "shared" / "data"))
CACHES = DATA.parent / "trt"
pytestmark = [pytest.mark.slow, pytest.mark.data]

N_GRAPH = 65
ALIKE = 1e-5
ROUNDING = 1e-6
"""Relative: activations of a GPU and of a CPU differ in their last bits."""
OFTEN = 60


def cache_of(name: str) -> dict[str, float]:
    path = CACHES / f"{name}.cache"
    if not path.exists():
        pytest.skip("TensorRT's caches aren't beside the project: the trt data isn't there")
    return dict(open_trt_cache(path).scales)


@pytest.fixture(scope="module")
def engine() -> TappedEngine:
    """The model as given, showing every tensor of its graph that the caches have."""
    names = cache_of("clean-minmax-64")
    path = DATA / "speech" / "power" / "model.onnx"
    if not path.exists():
        pytest.skip("the speech data isn't there (set CALAUDIT_DATA; see examples/speech)")
    model = load_model(path)
    known = {output for node in model.proto.graph.node for output in node.output} | {"x"}
    taps = tuple(name for name in names if name in known)
    assert (len(taps), len(names)) == (N_GRAPH, 81)
    return load_tapped(model, taps, OnnxruntimeBackend())


@pytest.fixture(scope="module", params=["clean", "stratified"])
def drawn(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Calibset:
    script = DATA / "speech" / "build"
    if not script.exists():
        pytest.skip("the speech data isn't there (set CALAUDIT_DATA; see examples/speech)")
    folder = tmp_path_factory.mktemp("caches")
    subprocess.run([sys.executable, str(script), str(folder)], capture_output=True, check=True)
    recipe = read_recipe(ROOT / "calibsets" / f"speech-{request.param}.toml")
    with open_pool(folder / "power" / "pool.h5") as pool:
        return draw_calibset(
            pool, recipe, folder / f"{request.param}.h5", evaluate="split = 'evaluation'"
        )


def kind_of(drawn: Calibset) -> str:
    return drawn.path.stem


def found_scales(
    engine: TappedEngine, drawn: Calibset, method: str, batching: Batching | None
) -> dict[str, float]:
    union = CalibsetUnion({"set": drawn})
    seen = observe(engine, union, batch_size=64, pool_fingerprint="p", batching=batching)
    equal = seen.equal_for(method, "set")
    return estimate_scales(seen.of("set"), 0, method, calibset="set", equal=equal).scales


def test_min_max_scales_are_tensorrts(engine: TappedEngine, drawn: Calibset) -> None:
    cache = cache_of(f"{kind_of(drawn)}-minmax-64")
    found = found_scales(engine, drawn, "minmax", None)
    np.testing.assert_allclose(
        [found[tap] for tap in engine.taps], [cache[tap] for tap in engine.taps], rtol=ALIKE
    )


@pytest.mark.parametrize("size", [16, 64, 128])
def test_entropy_scales_are_tensorrts_up_to_rounding_of_activations(
    engine: TappedEngine, drawn: Calibset, size: int
) -> None:
    """62 of 65 at least; in the others values that differ in their last bits have TensorRT's scale.

    Of ``/f/f.4/n/n.6/Relu_output_0``, on clean recordings, one value of 1,329 lies 6e-7 of itself
    below the edge of bin 70. Were it in that bin, the clip would be TensorRT's, 4.5 % wider.
    """
    batching = Batching(size, order="stored")
    cache = cache_of(f"{kind_of(drawn)}-entropy-{size}")
    found = found_scales(engine, drawn, ENTROPY_TRT, batching)
    others = [tap for tap in engine.taps if abs(found[tap] / cache[tap] - 1) > ALIKE]
    assert len(others) <= 3, others
    for tap, values in activations(engine, drawn, others).items():
        assert rounding_gives(cache[tap], values, batching), tap


@pytest.mark.parametrize(("method", "size"), [("minmax", 64), (ENTROPY_TRT, 64)])
def test_a_cache_written_without_tensorrt_is_the_one_that_it_wrote(
    drawn: Calibset, tmp_path: Path, method: str, size: int
) -> None:
    """All 81 tensors in TensorRT's order, those that its parser adds among them."""
    kind = "minmax" if method == "minmax" else "entropy"
    cache = cache_of(f"{kind_of(drawn)}-{kind}-{size}")
    out = tmp_path / "calib.cache"
    made = write_complete_cache(
        DATA / "speech" / "power" / "model.onnx",
        [drawn.path],
        out,
        method=method,
        version=TrtVersion(8, 5, 3),
        batching=None if method == "minmax" else Batching(size, order="stored"),
    )
    assert "numbered_as_seen" not in {each.code for each in made.notices}
    found = open_trt_cache(out)
    assert str(found.header) == str(
        open_trt_cache(CACHES / f"{kind_of(drawn)}-{kind}-{size}.cache").header
    )
    assert list(found.scales) == list(cache)
    others = {tap for tap, scale in found.scales.items() if abs(scale / cache[tap] - 1) > ALIKE}
    assert len(others) <= (0 if method == "minmax" else 2), others
    assert others <= {each.name for each in made.network.tensors if each.kind == "observed"}


def activations(
    engine: TappedEngine, drawn: Calibset, taps: list[str]
) -> dict[str, NDArray[np.float32]]:
    x = drawn.read_inputs(0, len(drawn))
    seen = engine.engine.run(x)
    return {tap: x["x"] if tap == "x" else seen[tap] for tap in taps}


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
