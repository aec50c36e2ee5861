import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from calaudit.formats.importers.images import read_image
from calaudit.formats.importers.manifest_settings import ImageSettings
from calaudit.runtime.errors import PoolError

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    Image.fromarray(PIXELS).save(tmp_path / "picture.png")
    return tmp_path / "picture.png"


def read(path: Path, **values: Any) -> np.ndarray[Any, Any]:
    return read_image(path, ImageSettings(**values)).values


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


RAMP = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)


def deep_tiff(path: Path, values: np.ndarray, *, photometric: int = 1) -> None:
    """A big-endian TIFF of one channel, written by hand."""
    height, width = values.shape
    kind = {"u": 1, "i": 2, "f": 3}[values.dtype.kind]
    data = values.astype(values.dtype.newbyteorder(">")).tobytes()
    short, long = 3, 4
    tags = [
        (256, short, width), (257, short, height), (258, short, 8 * values.itemsize),
        (259, short, 1), (262, short, photometric), (273, long, 8), (277, short, 1),
        (278, short, height), (279, long, len(data)), (339, short, kind),
    ]  # fmt: skip
    entries = b"".join(
        struct.pack(">HHI", tag, form, 1)
        + (struct.pack(">HH", value, 0) if form == short else struct.pack(">I", value))
        for tag, form, value in tags
    )
    head = b"MM\0*" + struct.pack(">I", 8 + len(data))
    path.write_bytes(head + data + struct.pack(">H", len(tags)) + entries + bytes(4))


DEEP = {
    "float": (RAMP, {}),
    "float of 0 to 255": (RAMP * np.float32(255), {"white": 255}),
    "16 bits": ((RAMP * 65535).astype(np.uint16), {}),
    "12 of 16 bits": ((RAMP * 4095).astype(np.uint16), {"white": 4095}),
    "32 bits": ((RAMP * 65535).astype(np.int32), {}),
    "32 bits, all used": ((RAMP * 100_000).astype(np.int32), {"white": 100_000}),
}


@pytest.mark.parametrize(("values", "how"), DEEP.values(), ids=DEEP)
@pytest.mark.parametrize("channels", ["gray", "rgb"])
@pytest.mark.parametrize("order", ["little", "big"])
def test_images_deeper_than_eight_bits_keep_their_range(
    tmp_path: Path, values: np.ndarray, how: dict[str, Any], channels: str, order: str
) -> None:
    path = tmp_path / "deep.tif"
    if order == "big":
        deep_tiff(path, values)
    else:
        Image.fromarray(values).save(path)
    found = read(path, channels=channels, **how)
    assert found.shape == (1 if channels == "gray" else 3, 3, 4)
    for channel in found:
        np.testing.assert_allclose(channel, RAMP, atol=3e-4)
    as_bytes = read(path, channels=channels, dtype="uint8", divide_by=1, **how)
    np.testing.assert_allclose(as_bytes[0], np.rint(RAMP * 255), atol=1)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_a_tiff_of_which_zero_is_white_is_turned_round(tmp_path: Path, dtype: type) -> None:
    white = 1 if dtype is np.float32 else np.iinfo(dtype).max
    deep_tiff(tmp_path / "a.tif", (RAMP * white).astype(dtype), photometric=0)
    np.testing.assert_allclose(read(tmp_path / "a.tif", channels="gray")[0], 1 - RAMP, atol=5e-3)


@pytest.mark.parametrize(
    "values",
    [RAMP * 255, RAMP - 2, np.where(RAMP > 0.5, np.nan, RAMP), (RAMP * 1e5).astype(np.int32)],
)
def test_values_beyond_white_are_refused_with_the_way_to_say_it(
    tmp_path: Path, values: np.ndarray
) -> None:
    Image.fromarray(values).save(tmp_path / "a.tif")
    with pytest.raises(PoolError, match=r"a\.tif: holds values from") as caught:
        read(tmp_path / "a.tif")
    assert "--white" in str(caught.value.problems[0].next_step)


def test_every_mode_of_an_image_is_read_as_its_colours(tmp_path: Path) -> None:
    gray = (RAMP * 255).astype(np.uint8)
    rgb = np.dstack([gray, 255 - gray, gray])
    whole = np.full_like(gray, 255)
    images = {
        "palette.png": Image.fromarray(rgb).quantize(16),
        "rgba.png": Image.fromarray(np.dstack([rgb, whole])),
        "rgb.tif": Image.fromarray(rgb),
        "ycbcr.jpg": Image.fromarray(rgb),
        "cmyk.tif": Image.fromarray(rgb).convert("CMYK"),
    }
    for name, image in images.items():
        exact = {"quality": 100, "subsampling": 0} if name.endswith("jpg") else {}
        image.save(tmp_path / name, **exact)
        found = read(tmp_path / name, layout="NHWC") * 255
        np.testing.assert_allclose(found, rgb, atol=6)
    Image.fromarray(RAMP > 0.5).save(tmp_path / "bits.png")
    assert read(tmp_path / "bits.png")[0].tolist() == (RAMP > 0.5).astype(float).tolist()
    Image.fromarray(np.dstack([gray, whole])).save(tmp_path / "la.png")
    np.testing.assert_allclose(read(tmp_path / "la.png", channels="gray")[0] * 255, gray)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
def test_orientation_is_applied_once_whatever_the_format(tmp_path: Path, suffix: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = np.zeros((16, 32, 3), np.uint8)
    pixels[:8, :8] = 255
    path = tmp_path / f"turned{suffix}"
    Image.fromarray(pixels).save(path, exif=exif, **({"lossless": True} if "w" in suffix else {}))
    found = read(path)
    assert found.shape == (3, 32, 16)
    assert found[0, :8, 8:].mean() > 0.9
    assert found[0, 8:].mean() < 0.1


def test_an_fp16_model_gets_fp16_images_and_numbers_that_do_not_fit_are_refused(
    picture: Path,
) -> None:
    half = read(picture, dtype="float16")
    assert half.dtype == np.float16
    np.testing.assert_array_equal(half, read(picture).astype(np.float16))
    with pytest.raises(PoolError, match="doesn't fit float16"):
        read(picture, dtype="float16", divide_by=1e-4)
