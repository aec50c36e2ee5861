from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from calaudit.errors import PoolError
from calaudit.formats.importers.images import read_image
from calaudit.formats.importers.settings import ImageSettings

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    Image.fromarray(PIXELS).save(tmp_path / "picture.png")
    return tmp_path / "picture.png"


def read(path: Path, **values: Any) -> np.ndarray[Any, Any]:
    return read_image(path, ImageSettings(**values))


def test_pixels_become_channels_first_in_zero_to_one(picture: Path) -> None:
    values = read(picture)
    assert values.dtype == np.float32
    assert values.flags.c_contiguous
    np.testing.assert_allclose(values, PIXELS.transpose(2, 0, 1) / 255, rtol=1e-6)


def test_normalising_is_by_channel_after_division(picture: Path) -> None:
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    values = read(picture, mean=mean, std=std, layout="NHWC")
    np.testing.assert_allclose(values, (PIXELS / 255 - mean) / std, rtol=1e-5, atol=1e-6)


def test_bgr_reverses_the_channels_and_uint8_keeps_the_values(picture: Path) -> None:
    values = read(picture, channels="bgr", dtype="uint8", divide_by=1, layout="NHWC")
    np.testing.assert_array_equal(values, PIXELS[..., ::-1])


def test_gray_has_one_channel(picture: Path) -> None:
    values = read(picture, channels="gray", size=(3, 4))
    assert values.shape == (1, 3, 4)


@pytest.mark.parametrize(("fit", "corner"), [("stretch", 10), ("crop", 60)])
def test_crop_cuts_the_centre_and_stretch_takes_all(tmp_path: Path, fit: str, corner: int) -> None:
    columns = np.repeat(np.arange(10, 130, 10, dtype=np.uint8)[None], 2, axis=0)
    Image.fromarray(columns).save(tmp_path / "wide.png")
    values = read(
        tmp_path / "wide.png",
        channels="gray", size=(2, 2), fit=fit, interpolation="nearest", divide_by=1,
    )  # fmt: skip
    if fit == "crop":
        assert values[0, 0].tolist() == [60, 70]
    else:
        assert values[0, 0, 0] < corner + 35 < 90 < values[0, 0, 1]


def test_the_shorter_side_is_scaled_before_the_centre_is_cut(tmp_path: Path) -> None:
    Image.fromarray(np.full((20, 40, 3), 7, np.uint8)).save(tmp_path / "a.png")
    values = read(tmp_path / "a.png", size=(8, 8), fit="crop", shorter_side=10)
    assert values.shape == (3, 8, 8)


def test_sixteen_bit_gray_is_not_clipped(tmp_path: Path) -> None:
    deep = np.array([[0, 256], [32768, 65535]], np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    np.testing.assert_allclose(
        read(tmp_path / "deep.png", channels="gray")[0], deep / 65535, rtol=1e-5
    )
    assert read(tmp_path / "deep.png").shape == (3, 2, 2)


def test_a_camera_s_orientation_is_applied(tmp_path: Path) -> None:
    image = Image.fromarray(PIXELS)
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.png", exif=exif)
    assert read(tmp_path / "turned.png").shape == (3, 8, 6)


@pytest.mark.parametrize("cut", [0, 20, 100])
def test_damaged_images_are_named(picture: Path, cut: int) -> None:
    picture.write_bytes(picture.read_bytes()[:cut])
    with pytest.raises(PoolError, match=r"picture\.png: isn't a readable image"):
        read(picture)


def test_images_too_large_to_be_meant_are_refused(
    picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    with pytest.raises(PoolError, match="decompression bomb"):
        read(picture)
