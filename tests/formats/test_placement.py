"""Where images come to lie in the model's input, and their boxes with them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from calaudit.formats.importers.images import read_image
from calaudit.formats.importers.manifest_settings import ImageSettings
from calaudit.formats.importers.placement import place

FITS = st.sampled_from([
    {"fit": "stretch"},
    {"fit": "crop"},
    {"fit": "letterbox"},
    {"fit": "letterbox", "align": "top-left"},
])  # fmt: skip
SIDES = st.integers(40, 300)


def drawn(width: int, height: int, box: list[int]) -> Image.Image:
    """A black image with a white box."""
    image = Image.new("L", (width, height), 0)
    image.paste(255, tuple(box))
    return image


@given(SIDES, SIDES, st.integers(40, 200), st.integers(40, 200), FITS)
def test_a_box_moves_to_where_its_pixels_move(
    width: int, height: int, across: int, down: int, fit: dict[str, Any]
) -> None:
    # In the middle half, which no cut reaches unless sides differ 2-fold.
    box = [width // 2 - width // 8, height // 2 - height // 8, width // 2 + 6, height // 2 + 8]
    settings = ImageSettings(size=(down, across), border=0, interpolation="bilinear", **fit)
    placement = place(width, height, settings)
    laid = np.asarray(placement.apply(drawn(width, height, box), Image.Resampling.BILINEAR, fill=0))
    assert laid.shape == (down, across)
    rows, columns = np.nonzero(laid >= 128)
    seen = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    told = placement.move(np.array([box], np.float64))[0].clip(0, [across, down, across, down])
    np.testing.assert_allclose(seen, told, atol=1.0)


@given(SIDES, SIDES, st.integers(20, 200), st.integers(20, 200))
def test_the_centre_is_cut_as_pillow_cuts_it(
    width: int, height: int, across: int, down: int
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (height, width), dtype=np.uint8)
    image = Image.fromarray(noise)
    placement = place(width, height, ImageSettings(size=(down, across), fit="crop"))
    laid = placement.apply(image, Image.Resampling.BILINEAR, fill=0)
    wanted = ImageOps.fit(image, (across, down), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(np.asarray(laid), np.asarray(wanted))


@pytest.mark.parametrize(
    ("width", "height", "scaled", "at"),
    [
        (640, 480, (320, 240), (0, 40)),
        (480, 640, (240, 320), (40, 0)),
        (500, 333, (320, 213), (0, 53)),  # 107 free rows: 53 above, 54 below
        (100, 100, (320, 320), (0, 0)),
    ],
)
def test_a_letterbox_scales_the_longer_side_and_centres(
    width: int, height: int, scaled: tuple[int, int], at: tuple[int, int]
) -> None:
    placement = place(width, height, ImageSettings(size=(320, 320), fit="letterbox"))
    assert (placement.scaled, placement.at, placement.cuts) == (scaled, at, False)
    assert placement.unit_area == pytest.approx(width * height / (scaled[0] * scaled[1]))


@pytest.mark.parametrize(("channels", "mode"), [("rgb", "RGB"), ("gray", "RGB"), ("rgb", "F")])
def test_the_border_has_the_value_that_is_asked_for(
    tmp_path: Path, channels: str, mode: str
) -> None:
    path = tmp_path / ("a.tiff" if mode == "F" else "a.png")
    (Image.new("F", (8, 4), 1.0) if mode == "F" else Image.new(mode, (8, 4), "white")).save(path)
    how = ImageSettings(size=(8, 8), fit="letterbox", channels=channels, border=51)
    values = read_image(path, how).values
    np.testing.assert_allclose(values[:, 0], 0.2, rtol=1e-6)
    np.testing.assert_allclose(values[:, 3], 1.0, rtol=1e-6)


def test_what_is_cut_away_is_known() -> None:
    def cuts(**values: Any) -> bool:
        return place(640, 480, ImageSettings(**values)).cuts

    assert not cuts()
    assert not cuts(size=(64, 64))
    assert not cuts(size=(64, 64), fit="letterbox")
    assert cuts(size=(64, 64), fit="crop")
    assert cuts(size=(64, 64), fit="crop", shorter_side=80)
    assert not cuts(size=(48, 64), fit="crop")
