"""The demo's pool: every image that wasn't trained on, at every noise level; and its files."""

from pathlib import Path

import numpy as np

from calaudit.demo.digits import NOISE_LEVELS, Digits, expose, read_digits
from calaudit.formats.pool_writer import write_pool
from calaudit.formats.writing import written_aside

_LEVELS = {"calibration": NOISE_LEVELS, "gallery": (0.0,), "evaluation": NOISE_LEVELS}
"""Noise levels of each split's rows, in the order in which the splits are stored."""


def build_digits_pool(path: str | Path, *, seed: int = 0) -> None:
    """Write the pool of the digits demo: the same content on every machine.

    One row per image and noise level; no image is in two splits, and those the model was trained
    on are left out. The rows of ``gallery`` (noise-free) are what an image search shows.

    - input ``image`` (1, 8, 8) float32: raw sensor values (`expose`);
    - target ``label`` int64, 0 to 9;
    - ``split``: calibration, gallery or evaluation;
    - ``noise``: standard deviation of the noise, one of `NOISE_LEVELS`;
    - ``image``: the image's number in scikit-learn's digits;
    - ``brightness``: mean of the image before noise;
    - ``collected``: how many images of this digit training and calibration have together, the
      count that says which digits are the long tail.

    Parameters
    ----------
    path : str or Path
        HDF5 file to write.
    seed : int
        Another seed deals the images out differently and draws other noise. The model was trained
        with the splits of seed 0; with another seed it has seen some of the images.

    Raises
    ------
    OutputError
        `path` can't be written.
    """
    digits = read_digits(seed=seed)
    image, noise, split = _rows(digits)
    labels = digits.labels[image]
    inputs = np.empty((len(image), 1, *digits.images.shape[1:]), np.float32)
    for level in NOISE_LEVELS:
        chosen = noise == level
        inputs[chosen, 0] = expose(digits.images, level, seed=seed)[image[chosen]]
    write_pool(
        path,
        inputs={"image": inputs},
        targets={"label": labels},
        meta={
            "split": split.tolist(),
            "noise": noise,
            "image": image,
            "brightness": digits.images.mean((1, 2), dtype=np.float64)[image],
            "collected": digits.collected()[labels],
        },
        ids=[f"digit-{i:04d}/noise-{level:.2f}" for i, level in zip(image, noise, strict=True)],
        compress=True,
    )


def _rows(digits: Digits) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image (N,), noise level (N,) and split (N,) of every row."""
    images, levels, splits = [], [], []
    for split, wanted in _LEVELS.items():
        members = digits.rows(split)
        images.append(np.repeat(members, len(wanted)))
        levels.append(np.tile(wanted, len(members)))
        splits.append(np.full(len(members) * len(wanted), split))
    return np.concatenate(images), np.concatenate(levels), np.concatenate(splits)


DEMO_MODEL = Path(__file__).with_name("digits.onnx")
"""Image (b, 1, 8, 8) float32 → ``logits`` (b, 10) and ``embedding`` (b, 32) of length 1."""

DEMO_AUDIT = Path(__file__).with_name("digits.toml")
"""Audit of that model on the demo's pool."""


def write_demo(folder: Path) -> Path:
    """Write digits.onnx, digits.h5 and, unless it is there, digits.toml; return the last.

    Raises
    ------
    OutputError
        `folder` can't be written.
    """
    build_digits_pool(folder / "digits.h5")
    _copy(DEMO_MODEL, folder / "digits.onnx")
    audit = folder / "digits.toml"
    if not audit.exists():
        _copy(DEMO_AUDIT, audit)
    return audit


def _copy(source: Path, target: Path) -> None:
    with written_aside(target) as aside:
        aside.write_bytes(source.read_bytes())
