"""Memory of written samples is used again, and only where nobody reads it any more."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import calaudit
from calaudit.formats.importers import samples
from calaudit.formats.importers.manifest import import_manifest
from calaudit.formats.importers.manifest_settings import ManifestSettings
from calaudit.formats.importers.samples import Sample, write_samples
from calaudit.formats.importers.spare import Spare
from calaudit.runtime.settings import parse_settings


def test_what_is_given_back_is_taken_again_in_any_shape_of_its_size() -> None:
    spare = Spare()
    first = spare.take((2, 3, 4), np.float32)
    spare.give_back(first)
    again = spare.take((6, 4), "float32")
    assert again.shape == (6, 4)
    assert np.shares_memory(first, again)
    assert not np.shares_memory(first, spare.take((2, 3, 4), np.float32))


@pytest.mark.parametrize(
    "kept",
    [
        np.broadcast_to(np.float32(1), (2, 3)),  # read only
        np.zeros((3, 2), np.float32).T,
        np.zeros((2, 3), np.float64),
        np.zeros((2, 4), np.float32),
        [[0.0] * 3] * 2,
        None,
    ],
)
def test_nothing_unlike_what_is_wanted_is_given(kept: Any) -> None:
    spare = Spare()
    spare.give_back(kept)
    taken = spare.take((2, 3), np.float32)
    assert taken.flags.writeable
    assert taken.flags.c_contiguous
    assert (taken.shape, taken.dtype) == ((2, 3), np.float32)


def test_arrays_that_a_function_yields_stay_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samples, "_FIRST_BYTES", 4_000)
    monkeypatch.setattr(samples, "_BATCH_BYTES", 4_000)
    given = [np.full((1, 500), number, np.float32) for number in range(40)]
    n = write_samples(tmp_path / "x.h5", (Sample({"x": each}) for each in given), total=None)
    assert n == 40
    assert [set(each.ravel().tolist()) for each in given] == [{float(i)} for i in range(40)]


@pytest.mark.parametrize("as_bytes", [False, True])
def test_an_import_of_many_images_takes_the_memory_of_few(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, as_bytes: bool
) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (200, 20, 30, 3), dtype=np.uint8)
    for number, each in enumerate(pixels):
        Image.fromarray(each).save(tmp_path / f"{number}.png")
    (tmp_path / "list.csv").write_text("path\n" + "".join(f"{i}.png\n" for i in range(200)))
    image = {"size": [40, 40], "fit": "letterbox", "as_bytes": as_bytes, "border": 7}
    how = {"inputs": {"x": {"image": image, "column": "path"}}}
    made: list[int] = []

    class Watched(Spare):
        def take(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
            taken = super().take(shape, dtype)
            if shape == (3, 40, 40):
                made.append(taken.__array_interface__["data"][0])
            return taken

    monkeypatch.setattr("calaudit.formats.importers.manifest.Spare", Watched)
    monkeypatch.setattr(samples, "_BATCH_BYTES", 40_000)
    monkeypatch.setattr(samples, "n_cores", lambda: 2)
    import_manifest(
        tmp_path / "list.csv",
        tmp_path / "x.h5",
        parse_settings(how, ManifestSettings, where="test"),
    )
    size = 3 * 40 * 40 * (1 if as_bytes else 4)
    assert len(made) == 200
    assert len(set(made)) <= 2 * samples._AHEAD + 40_000 // size + 3
    with calaudit.open_pool(tmp_path / "x.h5") as pool:
        values = pool.read_inputs(np.arange(200))["x"]
    for found, each in zip(values, pixels, strict=True):
        scaled = Image.fromarray(each).resize((40, 27), Image.Resampling.BILINEAR)
        canvas = Image.new("RGB", (40, 40), (7, 7, 7))
        canvas.paste(scaled, (0, 6))
        wanted = np.moveaxis(np.asarray(canvas), -1, 0) / np.float32(255)
        np.testing.assert_array_equal(found, wanted)
