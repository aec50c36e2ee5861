import base64
import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from calaudit.calibration.accumulate import Accumulator
from calaudit.calibration.histogram import Histograms
from calaudit.calibration.methods import estimate_amax
from calaudit.calibration.observation import Observation
from calaudit.formats.pool import open_pool
from calaudit.formats.pool_writer import write_pool
from calaudit.formats.ranges import write_ranges
from calaudit.report.forms import Evidence, open_evidence, ranges_beside, write_forms
from calaudit.report.html import page
from calaudit.report.html.page import chart_library
from calaudit.report.html.pictures import Picture, draw_sample, draw_samples
from calaudit.report.html.taps import SHOWN_PER_OCTAVE, make_taps, taps_document
from calaudit.results.audited import CalibsetRecord
from calaudit.results.drops import Exemplar, Exemplars
from calaudit.results.report import Report
from calaudit.runtime.errors import PoolError
from tests.report.factory import AUDIT, report

TAPS = ("first", "<second>")


def observed(values: dict[str, np.ndarray]) -> Observation:
    return observed_as(TAPS, values)


def observed_as(taps: Sequence[str], values: dict[str, np.ndarray]) -> Observation:
    """Every tap of each group: the values, and at each next tap a hundredth of them."""
    accumulator = Accumulator(tuple(taps), len(values))
    for part, each in enumerate(values.values()):
        for tap in range(len(taps)):
            array = (0.01 ** min(tap, 1) * (1 + 0.1 * part * (tap > 1)) * each).astype(np.float32)
            accumulator.add(tap, array[:, None], np.full(len(each), part))
    histograms: Histograms = accumulator.histograms
    sizes = np.array([len(each) for each in values.values()])
    return Observation(histograms, tuple(values), np.eye(len(values)), sizes, "m", "p")


@pytest.fixture
def observation() -> Observation:
    random = np.random.default_rng(3)
    loud = random.normal(size=4000) * 8
    loud[:500] = 0
    return observed({"clean": random.normal(size=4000), "equal": loud, "noise ≥ 0.4": loud[:900]})


def test_amax_is_what_the_methods_estimate_for_each_cell(observation: Observation) -> None:
    taps = make_taps(report(), observation)
    assert taps is not None
    assert taps.cells == (
        ("clean", "minmax"), ("clean", "mse"), ("equal", "minmax"), ("equal", "mse"),
    )  # fmt: skip
    for tap, shown in enumerate(taps.taps):
        assert shown.name == TAPS[tap]
        for (calibset, method), amax in zip(taps.cells, shown.amax, strict=True):
            assert amax == estimate_amax(observation.of(calibset).one(tap, 0), method)
        assert shown.clipped[0] == shown.clipped[2] == 0
        assert 0 <= shown.clipped[1] < 0.05
        assert shown.spread > 5


def test_densities_add_up_to_the_share_of_values_that_are_not_zero(
    observation: Observation,
) -> None:
    taps = make_taps(report(), observation)
    assert taps is not None
    assert taps.slices == ("noise ≥ 0.4",)
    edges = np.log2(1 + np.arange(SHOWN_PER_OCTAVE + 1) / SHOWN_PER_OCTAVE)
    widths = np.diff(edges)
    for tap in taps.taps:
        for curve, expected in zip((*tap.sets, *tap.slices), (1, 0.875, 400 / 900), strict=True):
            places = (tap.first + np.arange(len(curve))) % SHOWN_PER_OCTAVE
            assert (np.array(curve) * widths[places]).sum() == pytest.approx(expected, abs=0.01)


def test_bins_lie_where_the_values_are() -> None:
    taps = make_taps(report(), observed({"clean": np.full(50, 3.0), "equal": np.full(50, 0.75)}))
    assert taps is not None
    first = taps.taps[0]
    numbers = [first.first + np.flatnonzero(curve) for curve in first.sets]
    lows = [2.0 ** (n // 8 - 127) * (1 + n % 8 / 8) for n in numbers]
    assert [low.tolist() for low in lows] == [[3.0], [0.75]]


def test_ranges_of_other_sets_or_by_others_are_left_out(observation: Observation) -> None:
    made = report()
    native = replace(made, cells=tuple(replace(c, ranges_by="tensorrt") for c in made.cells))
    taps = make_taps(native, observation)
    assert taps is not None
    assert taps.cells == ()
    assert taps_document(taps)["taps"][0]["amax"] == []
    other = replace(made, calibsets=(CalibsetRecord("other", "uniform", "uniform", 3),), cells=())
    assert make_taps(other, observation) is None


def test_ranges_are_found_beside_the_report_and_nowhere_else(
    tmp_path: Path, observation: Observation
) -> None:
    write_ranges(tmp_path / "a" / "ranges" / "r.h5", observation)
    write_ranges(tmp_path / "r.h5", observation)

    def found(name: str | None) -> Path | None:
        return ranges_beside(replace(report(), audit=replace(AUDIT, ranges=name)), tmp_path / "a")

    assert found("r.h5") == tmp_path / "a" / "ranges" / "r.h5"
    assert found("../../r.h5") == found("..\\..\\r.h5") == found("r.h5")
    assert found("..") is found("gone.h5") is found(None) is None
    with open_evidence(report(), ranges=found("r.h5")) as evidence:
        assert evidence.observation is not None
        (path,) = write_forms(report(), tmp_path / "out", ["html"], evidence=evidence)
    assert "The ranges file wasn" not in path.read_text(encoding="utf-8")
    (path,) = write_forms(report(), tmp_path / "out", ["html"])
    assert "The ranges file wasn" in path.read_text(encoding="utf-8")


def flipping(*ids: str) -> Report:
    shown = tuple(Exemplar(name, 3, 0, 1.0, 1.0, ()) for name in ids)
    return replace(report(), exemplars=(Exemplars("top1", "sample", 4, 0.0, 2, shown),))


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    write_pool(
        tmp_path / "pool.h5",
        inputs={"image": random.normal(size=(5, 1, 8, 8)).astype(np.float32)},
        targets={"label": np.arange(5)},
        ids=[f"id <{i}>" for i in range(5)],
    )
    return tmp_path / "pool.h5"


def audited(made: Report, pool: Path) -> Report:
    with open_pool(pool) as opened:
        artefact = replace(AUDIT.pool, fingerprint=opened.fingerprint())
    return replace(made, audit=replace(AUDIT, pool=artefact))


def test_exemplars_are_drawn_from_the_audits_pool_by_id(pool: Path) -> None:
    made = audited(flipping("id <3>", "id <1>", "gone"), pool)
    with open_evidence(made, pool=pool) as evidence:
        assert evidence.pool is not None
        pictures = draw_samples(evidence.pool, ("id <3>", "id <1>", "gone"))
        (path,) = write_forms(made, pool.parent / "out", ["html"], evidence=evidence)
    assert sorted(pictures) == ["id <1>", "id <3>"]
    assert path.read_text(encoding="utf-8").count('src="data:image/png;base64,') == 2
    with open_evidence(audited(report(), pool), pool=pool) as evidence:
        assert evidence == Evidence()


def test_another_pool_is_refused(pool: Path) -> None:
    with (
        pytest.raises(PoolError, match="isn't the pool that was audited"),
        open_evidence(flipping("id <3>"), pool=pool),
    ):
        pass
    with h5py.File(pool, "r") as file:
        assert "image" in file["inputs"]


def image(picture: Picture | None) -> Image.Image:
    assert picture is not None
    kind, _, data = picture.image.partition(",")
    assert kind == "data:image/png;base64"
    return Image.open(io.BytesIO(base64.b64decode(data)))


def test_images_keep_their_pixels_and_large_ones_are_thinned_out() -> None:
    values = np.arange(64, dtype=np.float32).reshape(1, 8, 8)
    pixels = np.asarray(image(draw_sample(values)))
    assert pixels.shape == (8, 8)
    assert (pixels[0, 0], pixels[-1, -1]) == (0, 255)
    assert np.array_equal(pixels, np.round(255 * values[0] / 63))
    assert image(draw_sample(np.zeros((3, 16, 12)))).size == (12, 16)
    assert image(draw_sample(np.zeros((16, 12, 3)))).mode == "RGB"
    assert max(image(draw_sample(np.zeros((1000, 400)))).size) <= 160


def test_a_waveform_fills_its_box() -> None:
    wave = np.sin(np.linspace(0, 60, 16_000)).astype(np.float32)
    picture = draw_sample(wave[None])
    assert picture is not None
    assert picture.image == ""
    heights = [float(pair.split()[1]) for pair in picture.path.strip("MZ").split("L")]
    assert len(heights) == 480
    assert 0 <= min(heights) < 5
    assert 59 < max(heights) <= 64


@given(
    hnp.arrays(
        st.sampled_from([np.float32, np.float64, np.int64, np.uint8, np.bool_]),
        hnp.array_shapes(min_dims=0, max_dims=4, min_side=1, max_side=20),
        elements={"allow_nan": False, "allow_infinity": False},
    )
)
@example(np.array([[-1.7e308, 1.7e308]] * 8).repeat(4, axis=1))
@example(np.array([0, 5e-324] * 100))
def test_any_sample_is_drawn_or_left_out(values: np.ndarray) -> None:
    picture = draw_sample(values)
    assert picture is None or picture.image or picture.path


@pytest.fixture
def bundles(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """How often the chart library was put together; it is kept in a folder of the test's own."""
    made: list[str] = []

    def bundle() -> str:
        made.append("x")
        return "library"

    monkeypatch.setattr(page, "_bundle", bundle)
    monkeypatch.setattr(page, "user_cache_path", lambda *_, **__: tmp_path / "cache")
    return made


def test_the_chart_library_is_put_together_once(bundles: list[str], tmp_path: Path) -> None:
    assert [chart_library(), chart_library()] == ["library", "library"]
    assert len(bundles) == 1
    (kept,) = (tmp_path / "cache").iterdir()
    kept.write_text("library;alert(1)")
    assert chart_library() == "library"
    assert len(bundles) == 2
    assert kept.read_text() == "library"
    kept.write_bytes(b"\xff\xfe")
    assert chart_library() == "library"


def test_a_cache_that_cannot_be_kept_costs_nothing_but_time(
    bundles: list[str], tmp_path: Path
) -> None:
    (tmp_path / "cache").write_text("a file, not a folder")
    assert [chart_library(), chart_library()] == ["library", "library"]
    assert len(bundles) == 2


@pytest.mark.slow
def test_the_real_library_fits_into_a_script_element() -> None:
    script = chart_library()
    assert "vegaEmbed" in script
    assert 500_000 < len(script) < 1_500_000
    assert "</script" not in script.lower()
    assert "<!--" not in script
    assert "\r" not in script
    assert "\0" not in script
