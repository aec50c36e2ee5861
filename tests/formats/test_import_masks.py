"""Masks from a manifest: palette and grey images, laid as their images are."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from calaudit.formats.importers.manifest import import_manifest
from calaudit.formats.importers.manifest_settings import ManifestSettings
from calaudit.formats.pool import open_pool
from calaudit.runtime.errors import CalauditError, PoolError, SettingsError
from calaudit.runtime.settings import parse_settings

HEIGHT, WIDTH, N = 6, 8, 3
NUMBERS = np.random.default_rng(0).choice(np.array([0, 1, 2, 255], np.uint8), (N, HEIGHT, WIDTH))


def save(path: Path, numbers: np.ndarray[Any, Any], mode: str) -> None:
    image = Image.fromarray(numbers)
    if mode == "P":
        image = Image.frombytes("P", image.size, numbers.tobytes())
        image.putpalette([value for n in range(256) for value in (255 - n, n, 7)])
    elif mode != image.mode:
        image = image.convert(mode)
    image.save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three grey images, with masks whose numbers the images' pixels show."""
    rows = ["path,mask,light"]
    for i, numbers in enumerate(NUMBERS):
        save(tmp_path / f"{i}.png", numbers, "L")
        save(tmp_path / f"{i}-mask.png", numbers, "P" if i else "L")
        rows.append(f"{i}.png,{i}-mask.png,day")
    (tmp_path / "frames.csv").write_text("\n".join(rows))
    return tmp_path


def imported(folder: Path, image: dict[str, Any], target: dict[str, Any]) -> Path:
    how = {
        "inputs": {"image": {"column": "path", "image": {"channels": "gray", **image}}},
        "targets": {"mask": {"column": "mask", **target}},
    }
    settings = parse_settings(how, ManifestSettings, where="test")
    import_manifest(folder / "frames.csv", folder / "p.h5", settings)
    return folder / "p.h5"


NAMED = {"classes": ["road", "sky", "tree"], "mask": {"ignore": 255}}


def test_numbers_of_palette_and_grey_masks_are_kept_with_their_names(folder: Path) -> None:
    with open_pool(imported(folder, {}, NAMED)) as pool:
        masks = pool.read_target("mask", np.arange(N))
        assert masks.dtype == np.uint8
        np.testing.assert_array_equal(masks, NUMBERS)
        assert pool.class_names("mask") == ("road", "sky", "tree")
        assert pool.ignored_class("mask") == 255
        assert pool.column_names() == ["light"]


@pytest.mark.parametrize(
    "image",
    [
        {"size": [12, 16]},
        {"size": [3, 5]},
        {"size": [4, 4], "fit": "crop"},
        {"size": [5, 5], "fit": "crop", "shorter_side": 9},
        {"size": [9, 9], "fit": "letterbox", "border": 255},
        {"size": [9, 9], "fit": "letterbox", "border": 255, "align": "top-left"},
    ],
)
def test_masks_are_laid_as_their_images_without_a_new_number(
    folder: Path, image: dict[str, Any]
) -> None:
    nearest = {"interpolation": "nearest", "divide_by": 1, "dtype": "uint8"}
    with open_pool(imported(folder, image | nearest, NAMED)) as pool:
        rows = np.arange(N)
        np.testing.assert_array_equal(
            pool.read_target("mask", rows), pool.read_inputs(rows)["image"][:, 0]
        )


def test_sixteen_bits_are_kept(folder: Path) -> None:
    for i in range(N):
        Image.fromarray(np.full((HEIGHT, WIDTH), 300 + i, np.uint16)).save(folder / f"{i}-mask.png")
    with open_pool(imported(folder, {}, {"mask": {"ignore": 301}})) as pool:
        assert pool.read_target("mask", np.arange(N))[:, 0, 0].tolist() == [300, 301, 302]


def refusal(
    folder: Path, image: dict[str, Any], target: dict[str, Any], kind: type[CalauditError]
) -> str:
    with pytest.raises(kind) as caught:
        imported(folder, image, target)
    assert not (folder / "p.h5").exists()
    return str(caught.value)


@pytest.mark.parametrize(
    ("image", "target", "said"),
    [
        ({}, {"mask": {}, "classes": ["a", "b"]}, "masks hold 2, 255, and there are 2 classes"),
        (
            {"size": [9, 9], "fit": "letterbox"},
            {"mask": {}},
            "0-mask.png: is letterboxed, and no number is known for the border",
        ),
    ],
)
def test_numbers_that_are_not_known_are_refused(
    folder: Path, image: dict[str, Any], target: dict[str, Any], said: str
) -> None:
    assert said in refusal(folder, image, target, PoolError)


def test_masks_in_colours_and_of_another_size_are_named(folder: Path) -> None:
    Image.new("RGB", (WIDTH, HEIGHT)).save(folder / "1-mask.png")
    Image.new("L", (HEIGHT, HEIGHT)).save(folder / "2-mask.png")
    said = refusal(folder, {}, NAMED, PoolError)
    assert "1-mask.png: has colours (mode RGB), expected a class number per pixel" in said
    assert "2-mask.png: is 6 × 6 pixels, its image 8 × 6" in said


def test_a_missing_mask_is_told_with_its_row(folder: Path) -> None:
    (folder / "1-mask.png").unlink()
    said = refusal(folder, {}, NAMED, PoolError)
    assert "frames.csv: row 2, column mask: there is no file '1-mask.png'" in said


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        ({"input": "wave"}, "belong to 'wave', which is no input of images (there are image)"),
        ({"ignore": -1}, "ignore must be 0 to 65535, got -1"),
    ],
)
def test_settings_of_masks_that_make_no_sense_are_refused(
    folder: Path, mask: dict[str, Any], said: str
) -> None:
    assert said in refusal(folder, {}, {"mask": mask}, SettingsError)
