"""Images stored as bytes are read as the numbers that an import without bytes writes."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image

from calaudit.formats.calibset import open_calibset
from calaudit.formats.npz import write_npz
from calaudit.formats.pool import open_pool
from calaudit.formats.pool_writer import write_pool
from calaudit.runtime.errors import PoolError
from tests.cli.running import calaudit

MEAN, STD = ("0.485,0.456,0.406", "0.229,0.224,0.225")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest of 60 images with masks, half of them larger."""
    folder, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    rows = ["path,mask,digit,light"]
    for i in range(60):
        size = (20, 24) if i % 2 else (40, 48)
        Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)).save(folder / f"{i}.png")
        Image.fromarray(rng.integers(0, 3, size, np.uint8)).save(folder / f"{i}-mask.png")
        rows.append(f"{i}.png,{i}-mask.png,{i % 10},{'day' if i % 3 else 'night'}")
    (folder / "photos.csv").write_text("\n".join(rows))
    return folder / "photos.csv"


def imported(photos: Path, out: Path, *flags: str) -> Path:
    ended = calaudit(
        "pool", "import", photos, out, "--input", "image=path", "--target", "digit",
        "--mask", "mask", "--size", "20x24", *flags,
    )  # fmt: skip
    assert ended.status == 0, ended.err
    return out


@pytest.mark.parametrize(
    "flags",
    [
        (),
        ("--mean", MEAN, "--std", STD),
        ("--mean", MEAN, "--std", STD, "--layout", "NHWC", "--channels", "bgr"),
        ("--channels", "gray", "--fit", "letterbox", "--mean", "0.5"),
        ("--dtype", "float16"),
    ],
    ids=["plain", "normalised", "channels last, bgr", "gray", "float16"],
)
def test_a_pool_of_bytes_holds_the_same_numbers_under_the_same_fingerprint(
    photos: Path, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    whole = imported(photos, tmp_path / "whole.h5", *flags)
    small = imported(photos, tmp_path / "small.h5", *flags, "--as-bytes")
    with open_pool(whole) as one, open_pool(small) as other:
        for rows in (np.arange(60), np.array([3, 4, 31, 59])):
            ours, theirs = (each.read_inputs(rows)["image"] for each in (one, other))
            assert ours.dtype == theirs.dtype == other.inputs["image"].dtype
            assert ours.tobytes() == theirs.tobytes()
        assert one.fingerprint() == other.fingerprint()
        assert other.inputs["image"].stored == np.uint8
    with h5py.File(small) as file:
        assert file.attrs["format_version"] == 4
        assert file["inputs/image"].dtype == np.uint8
    with h5py.File(whole) as file:
        assert file.attrs["format_version"] == 1
        floats = file["inputs/image"].nbytes
    assert small.stat().st_size - whole.stat().st_size < 0.6 * (20_000 - floats * 0.5)


def test_calibration_sets_and_npz_files_hold_the_numbers(photos: Path, tmp_path: Path) -> None:
    flags = ("--mean", MEAN, "--std", STD)
    made = []
    for name, more in (("whole", ()), ("small", ("--as-bytes",))):
        pool = imported(photos, tmp_path / f"{name}.h5", *flags, *more)
        out, exported = tmp_path / f"{name}-set.h5", tmp_path / f"{name}-set.npz"
        ended = calaudit("sample", pool, "--size", "8", "--out", out)
        assert ended.status == 0, ended.err
        write_npz(exported, open_calibset(out))
        with np.load(exported) as archive:
            made.append((open_calibset(out), archive["image"]))
    (one, ours), (other, theirs) = made
    assert theirs.dtype == np.float32
    assert ours.tobytes() == theirs.tobytes()
    assert one.pool_fingerprint == other.pool_fingerprint
    assert other.read_inputs(0, 8)["image"].dtype == np.float32


def test_pool_show_says_both_types(photos: Path, tmp_path: Path) -> None:
    pool = imported(photos, tmp_path / "small.h5", "--as-bytes")
    ended = calaudit("pool", "show", pool)
    assert "float32, stored as uint8" in ended.out
    assert "image, channel 0" in ended.out


def test_deeper_images_and_bytes_asked_for_twice_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8)).save(tmp_path / "deep.png")
    (tmp_path / "deep.csv").write_text("path\ndeep.png\n")
    source = ("pool", "import", tmp_path / "deep.csv", tmp_path / "deep.h5", "--input", "x=path")
    ended = calaudit(*source, "--as-bytes")
    assert ended.status == 2
    assert "has more than 8 bits, which bytes would round" in ended.err
    ended = calaudit(*source, "--as-bytes", "--dtype", "uint8")
    assert ended.status == 2
    assert "dtype uint8 is stored in bytes anyway" in ended.err


def test_a_table_may_be_of_all_values_and_is_given_in_python_too(tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (5, 2, 3), np.uint8)
    table = (np.arange(256) * 0.5 - 3).astype(np.float32)
    write_pool(tmp_path / "p.h5", inputs={"x": pixels}, levels={"x": table})
    with open_pool(tmp_path / "p.h5") as pool:
        np.testing.assert_array_equal(pool.read_inputs(np.arange(5))["x"], table[pixels])


@pytest.mark.parametrize(
    ("name", "table", "said"),
    [
        ("x", np.zeros(255, np.float32), "is float32 of shape (255,) for samples of (2, 3)"),
        ("x", np.zeros((256, 2, 3), np.float32), "is float32 of shape (256, 2, 3)"),
        ("x", np.zeros((256, 4, 1), np.float32), "is float32 of shape (256, 4, 1)"),
        ("x", np.zeros(256, np.int64), "is int64 of shape (256,)"),
        ("x", np.full(256, np.nan, np.float32), "holds NaN or infinity"),
        ("y", np.zeros(256, np.float32), "says what bytes of /inputs/y stand for"),
        ("z", np.zeros(256, np.float32), "says what bytes of /inputs/z stand for"),
    ],
)
def test_tables_that_make_no_sense_are_refused(
    tmp_path: Path, name: str, table: np.ndarray[Any, Any], said: str
) -> None:
    inputs = {"x": np.zeros((5, 2, 3), np.uint8), "y": np.zeros((5, 2), np.float32)}
    with pytest.raises(PoolError) as refused:
        write_pool(tmp_path / "p.h5", inputs=inputs, levels={name: table})
    assert said in str(refused.value)
    assert f"/levels/{name}" in str(refused.value)
