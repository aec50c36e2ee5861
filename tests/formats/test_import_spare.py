"""Memory of written samples is used again, and only where nobody reads it any more."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image

import calaudit
from calaudit.formats.importers import samples
from calaudit.formats.importers.images import read_image
from calaudit.formats.importers.manifest import import_manifest
from calaudit.formats.importers.manifest_settings import (
    AudioSettings,
    ImageSettings,
    ManifestSettings,
)
from calaudit.formats.importers.media import read_audio
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
    for like in (np.float32, np.float64):
        spare.take((2, 3), like)
    spare.give_back(kept)
    taken = spare.take((2, 3), np.float32)
    assert taken.flags.writeable
    assert taken.flags.c_contiguous
    assert (taken.shape, taken.dtype) == ((2, 3), np.float32)


def test_arrays_that_nobody_takes_are_not_kept() -> None:
    spare = Spare()
    taken = [spare.take((2, 3), np.float32) for _ in range(3)]
    many = [np.zeros((2, 3), np.float32) for _ in range(100)]
    spare.give_back(*many, *(np.zeros(5, np.float32) for _ in range(100)))
    again = [spare.take((6,), np.float32) for _ in range(100)]
    assert sum(any(np.shares_memory(each, one) for one in many) for each in again) == 3
    assert not any(np.shares_memory(each, one) for each in again for one in taken)
    assert not any(spare.take((5,), np.float32).any() for _ in range(3))


@pytest.mark.parametrize("kind", ["resampled", "float64", "npy", "compressed"])
def test_memory_of_an_import_does_not_gather(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    rng = np.random.default_rng(0)
    made: list[Spare] = []
    monkeypatch.setattr(
        "calaudit.formats.importers.manifest.Spare", lambda: made.append(Spare()) or made[-1]
    )
    monkeypatch.setattr(samples, "n_cores", lambda: 2)
    names = [f"{number}{'.wav' if kind == 'resampled' else '.npy'}" for number in range(150)]
    for name in names:
        if kind == "resampled":
            soundfile.write(tmp_path / name, rng.normal(0, 0.1, 4_000), 16_000)
        elif kind in ("npy", "compressed"):
            np.save(tmp_path / name, rng.normal(size=2_000).astype(np.float32))
        else:
            pixels = rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / name, "PNG")
    (tmp_path / "list.csv").write_text("\n".join(["path", *names]))
    how = {
        "resampled": {"audio": {"sample_rate": 8_000, "length": 2_000}},
        "float64": {"image": {"dtype": "float64"}},
        "npy": {"npy": {"dtype": "float32"}},
        "compressed": {"npy": {"dtype": "float32"}},
    }[kind]
    settings = parse_settings({"inputs": {"x": how}}, ManifestSettings, where="test")
    out = tmp_path / "x.h5"
    import_manifest(tmp_path / "list.csv", out, settings, compress=kind == "compressed")
    assert len(made) == 1
    kept = sum(len(arrays) for arrays in made[0]._free.values())
    assert kept <= 2 * 2 * samples._AHEAD


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
            if (shape, dtype) == ((3, 40, 40), np.uint8 if as_bytes else np.float32):
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


@pytest.mark.parametrize("rate", [8_000, 16_000])
@pytest.mark.parametrize("frames", [2_000, 4_000, 8_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_recordings_share_no_memory(tmp_path: Path, rate: int, frames: int, channels: int) -> None:
    rng = np.random.default_rng(0)
    how = AudioSettings(sample_rate=8_000, length=4_000, mean=0.1, std=0.5)
    spare = Spare()
    paths = [tmp_path / f"{number}.flac" for number in range(4)]
    for path in paths:
        soundfile.write(path, rng.normal(0, 0.1, (frames, channels)), rate)
    alone = [read_audio(path, how) for path in paths]
    for _ in range(2):
        found = [read_audio(path, how, spare=spare) for path in paths]
        np.testing.assert_array_equal(found, alone)
        spare.give_back(*found)


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8"])
def test_images_share_no_memory(tmp_path: Path, dtype: str) -> None:
    rng = np.random.default_rng(0)
    divide = {"divide_by": 1.0} if dtype == "uint8" else {"mean": (0.5,), "std": (0.2,)}
    how = ImageSettings(size=(40, 40), dtype=dtype, **divide)
    spare = Spare()
    paths = [tmp_path / f"{number}.png" for number in range(4)]
    for path in paths:
        Image.fromarray(rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(path)
    alone = [read_image(path, how).values for path in paths]
    for _ in range(2):
        found = [read_image(path, how, spare=spare).values for path in paths]
        np.testing.assert_array_equal(found, alone)
        spare.give_back(*found)
