import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from calaudit.demo.digits import (
    DARK_SIGNAL,
    DEMO_MODEL,
    NOISE_LEVELS,
    build_digits_pool,
    expose,
    random_bits,
    read_digits,
)
from calaudit.formats.pool import PoolFile, open_pool

FINGERPRINT = "0dff0a52ea3dbfa8612c8d34714a5c30"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("demo") / "digits.h5"
    build_digits_pool(path)
    return path


@pytest.fixture(scope="module")
def pool(path: Path) -> PoolFile:
    return open_pool(path)


def test_the_pool_has_the_same_content_on_every_machine(pool: PoolFile) -> None:
    assert pool.fingerprint() == FINGERPRINT


def test_another_seed_makes_another_pool(tmp_path: Path) -> None:
    build_digits_pool(tmp_path / "other.h5", seed=1)
    with open_pool(tmp_path / "other.h5") as other:
        assert other.fingerprint() != FINGERPRINT


def test_the_images_are_scikit_learns_digits() -> None:
    images, labels = load_digits(return_X_y=True)
    shipped = read_digits()
    assert np.array_equal(shipped.images.reshape(len(images), -1) * 16, images)
    assert np.array_equal(shipped.labels, labels)


def test_the_pool_is_written_without_importing_scikit_learn(tmp_path: Path) -> None:
    script = f"""
import sys
from pathlib import Path
from calaudit.demo.digits import write_demo
write_demo(Path({str(tmp_path)!r}))
assert not {{"sklearn", "pandas", "scipy.stats"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_no_image_is_in_two_splits_or_was_trained_on(pool: PoolFile) -> None:
    frame = pool.columns(["image", "split"])
    assert frame.unique().height == frame["image"].n_unique()
    trained_on = set(read_digits().rows("train").tolist())
    assert trained_on.isdisjoint(frame["image"].to_list())


def test_evaluation_and_gallery_are_balanced_and_what_was_collected_has_a_long_tail(
    pool: PoolFile,
) -> None:
    frame = pool.columns(["image", "split", "label", "collected"])
    images = frame.unique("image").group_by("split", "label").len()
    count = {(split, label): n for split, label, n in images.iter_rows()}
    assert {count["evaluation", label] for label in range(10)} == {60}
    assert {count["gallery", label] for label in range(10)} == {20}
    tail = [count["calibration", label] for label in range(10)]
    assert tail == sorted(tail, reverse=True)
    assert tail[0] >= 4 * tail[-1]
    collected = frame.select("label", "collected").unique().sort("label")["collected"].to_list()
    assert collected == read_digits().collected().tolist()


def test_every_image_of_a_split_appears_at_every_noise_level(pool: PoolFile) -> None:
    frame = pool.columns(["image", "split", "noise"]).unique()
    rows = frame.group_by("split", "noise").len().sort("split", "noise")
    assert rows.filter(rows["split"] == "gallery")["noise"].to_list() == [0.0]
    for split in ("calibration", "evaluation"):
        of_split = rows.filter(rows["split"] == split)
        assert of_split["noise"].to_list() == list(NOISE_LEVELS)
        assert of_split["len"].n_unique() == 1
    assert frame.height == len(pool)


def test_ids_name_the_image_and_its_noise(pool: PoolFile) -> None:
    rows = np.arange(len(pool), dtype=np.int64)
    frame = pool.columns(["image", "noise"])
    wanted = [f"digit-{image:04d}/noise-{noise:.2f}" for image, noise in frame.iter_rows()]
    assert pool.ids(rows).tolist() == wanted


def test_rows_without_noise_are_scikit_learns_images(pool: PoolFile) -> None:
    frame = pool.columns(["image", "noise", "label"])
    rows = np.flatnonzero(frame["noise"].to_numpy() == 0)
    images = frame["image"].to_numpy()[rows]
    data, labels = load_digits(return_X_y=True)
    stored = pool.read_inputs(rows)["image"].reshape(len(rows), 64)
    np.testing.assert_array_equal(stored * 16, data[images])
    np.testing.assert_array_equal(frame["label"].to_numpy()[rows], labels[images])


@pytest.mark.parametrize("level", NOISE_LEVELS[1:])
def test_the_sensor_adds_noise_of_the_columns_deviation_on_top_of_its_dark_signal(
    level: float,
) -> None:
    images = read_digits().images
    added = (expose(images, level, seed=0) - images).astype(np.float64)
    assert added.mean() == pytest.approx(DARK_SIGNAL * level, abs=4 * level / np.sqrt(added.size))
    assert added.std() == pytest.approx(level, rel=0.01)
    again = expose(images[:5], level, seed=1) - images[:5]
    assert not np.array_equal(again, added[:5])


def test_streams_of_random_bits_are_reproducible_and_differ() -> None:
    one = random_bits(0, stream=0, size=4)
    assert one.tolist() == random_bits(0, stream=0, size=8)[:4].tolist()
    assert one.tolist() != random_bits(0, stream=1, size=4).tolist()


def test_the_models_accuracy_file_belongs_to_the_committed_model() -> None:
    about = json.loads(DEMO_MODEL.with_suffix(".json").read_text(encoding="utf-8"))
    assert about["sha256"] == hashlib.sha256(DEMO_MODEL.read_bytes()).hexdigest()
    assert about["collected"] == read_digits().collected().tolist()
    assert DEMO_MODEL.stat().st_size <= 300 * 1024


def test_the_committed_model_has_the_accuracy_written_beside_it(pool: PoolFile) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    accuracy = json.loads(DEMO_MODEL.with_suffix(".json").read_text(encoding="utf-8"))["accuracy"]
    frame = pool.columns(["split", "noise", "label"])
    session = onnxruntime.InferenceSession(str(DEMO_MODEL), providers=["CPUExecutionProvider"])
    for level in NOISE_LEVELS:
        chosen = (frame["split"] == "evaluation") & (frame["noise"] == level)
        rows = np.flatnonzero(chosen.to_numpy())
        logits, embedding = session.run(None, pool.read_inputs(rows))
        right = logits.argmax(1) == frame["label"].to_numpy()[rows]
        assert right.mean() == pytest.approx(accuracy["noise"][str(level)], abs=0.002)
        assert embedding.shape == (len(rows), 32)
        np.testing.assert_allclose((embedding**2).sum(1), 1, rtol=1e-4)
