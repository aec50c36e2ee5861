"""Pictures beside a report: what looks like an image, its shades, its file, and colours."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from calaudit.formats.pictures import (
    LARGEST,
    as_image,
    as_pixels,
    class_colour,
    picture_name,
    pictures_in,
    write_mask,
    write_picture,
)


@pytest.mark.parametrize(
    ("shape", "made"),
    [
        ((8, 8), (2, 8, 8)),
        ((1, 8, 8), (2, 8, 8)),
        ((8, 8, 1), (2, 8, 8)),
        ((3, 8, 9), (2, 8, 9, 3)),
        ((8, 9, 3), (2, 8, 9, 3)),
        ((3, 8, 3), None),
        ((4, 8, 9), None),
        ((64,), None),
        ((), None),
        ((3, 2, 3, 8, 8), None),
    ],
)
def test_grids_of_one_or_three_channels_look_like_images(
    shape: tuple[int, ...], made: tuple[int, ...] | None
) -> None:
    found = as_image(np.zeros((2, *shape), np.float32))
    assert (None if found is None else found.shape) == made
    assert as_image(np.zeros((2, *shape), bool)) is None


def test_dark_images_stay_dark_beside_bright_ones() -> None:
    bright, dark = np.full((8, 8), 1.0), np.full((8, 8), 0.1)
    bright[0, 0] = dark[0, 0] = 0.0
    assert as_pixels(np.stack([bright, dark]))[1, 1, 1] == round(25.5)
    shifted = as_pixels(np.stack([bright, bright, dark]) * 4 - 2)  # as normalized inputs are
    assert shifted[0, 1, 1] == 255
    assert shifted[2, 1, 1] in {25, 26}
    given_bytes = np.stack([bright, dark]).astype(np.uint8) + 7
    assert as_pixels(given_bytes) is given_bytes


def test_one_odd_pixel_does_not_flatten_the_other_pictures() -> None:
    images = np.random.default_rng(0).normal(size=(9, 8, 8))
    images[0, 0, 0] = 1e6
    pixels = as_pixels(images)
    assert pixels[1:].std() > 40
    assert pixels[0, 0, 0] == 255


def test_large_pictures_are_scaled_down_and_keep_their_proportions(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png", np.zeros((1000, 2000, 3), np.uint8))
    assert Image.open(tmp_path / "a.png").size == (LARGEST, LARGEST // 2)
    write_picture(tmp_path / "b.png", np.zeros((8, 6), np.uint8))
    assert Image.open(tmp_path / "b.png").size == (6, 8)


def test_masks_keep_class_numbers_and_have_the_colours_of_the_legend(tmp_path: Path) -> None:
    mask = np.array([[0, 1, 2], [255, 2, 0]], np.uint8)
    write_mask(tmp_path / "m.png", mask, 3)
    image = Image.open(tmp_path / "m.png")
    assert np.array_equal(np.asarray(image), mask)
    seen = np.asarray(image.convert("RGBA"))
    assert seen[1, 0, 3] == 0  # nothing is judged there
    for number in range(3):
        colour = "#" + bytes(seen[mask == number][0][:3].tolist()).hex()
        assert colour == class_colour(number)
        assert seen[mask == number][0][3] == 255
    write_mask(tmp_path / "large.png", np.repeat(np.repeat(mask, 900, 0), 900, 1), 3)
    shrunk = np.asarray(Image.open(tmp_path / "large.png"))
    assert max(shrunk.shape) == LARGEST
    assert set(np.unique(shrunk)) == {0, 1, 2, 255}


def test_classes_beside_each_other_have_colours_apart() -> None:
    def far(one: str, other: str) -> int:
        ends = (bytes.fromhex(each[1:]) for each in (one, other))
        return sum(abs(a - b) for a, b in zip(*ends, strict=True))

    colours = [class_colour(number) for number in range(80)]
    assert len(set(colours)) == 80
    assert min(far(a, b) for a, b in pairwise(colours)) > 100


@given(st.text(), st.text(), st.text())
def test_names_are_plain_and_differ_where_samples_do(one: str, other: str, part: str) -> None:
    names = {picture_name(one), picture_name(other), picture_name(one, part)}
    assert len(names) == (2 if one == other else 3)
    for name in names:
        assert name.isascii()
        assert not set(name) & set('/\\:*?"<>| \0')
        assert not name.startswith((".", "-"))


def test_only_pictures_are_found_in_the_folder(tmp_path: Path) -> None:
    assert pictures_in(tmp_path / "gone") == []
    name = picture_name("a/b c", "fp32")
    for each in (name, "holiday.png", "readme.md", "a-0123456789ab.jpg"):
        (tmp_path / each).write_bytes(b"")
    assert [path.name for path in pictures_in(tmp_path)] == [name]
