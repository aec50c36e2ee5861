"""The demo's pool: scikit-learn's digits as a sensor sees them in falling light.

All randomness comes from the raw 64-bit stream of a counter-based generator, so splits and noise
are the same on every machine and with every NumPy release.
"""

import gzip
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calaudit.formats.pool_writer import write_pool
from calaudit.formats.writing import atomic_write

N_CLASSES = 10
SIDE = 8
"""Pixels along one side of an image."""

NOISE_LEVELS = (0.0, 0.1, 0.2, 0.3, 0.4)
"""Standard deviation of the sensor's noise, as a share of the contrast. 0 is bright light."""

DARK_SIGNAL = 1.0
"""The sensor's dark signal, in standard deviations of its noise: √N for N dark electrons.
At 0 (dark frame subtracted) a clean-only calibration set costs next to no accuracy."""

EVALUATION_PER_CLASS = 60
GALLERY_PER_CLASS = 20
TRAIN_MOST = 60
CALIBRATION_MOST = 38
IMBALANCE = 5.0
"""How many times more often class 0 occurs than class 9 among what was collected."""

CONTRAST_STEPS = 1024
"""Steps of the sensor's converter between paper and ink."""

_LEVELS = {"calibration": NOISE_LEVELS, "gallery": (0.0,), "evaluation": NOISE_LEVELS}
"""Noise levels of each split's rows, in the order in which the splits are stored."""

DIGITS = Path(__file__).with_name("digits.npy.gz")
"""Scikit-learn's digits in its order, (1797, 65) uint8: 64 pixels of 0 to 16, then the label.

They are the test set of E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI
Machine Learning Repository, 1998, doi:10.24432/C50P49 (CC BY 4.0). Scikit-learn itself takes longer
to import than the demo's audit needs for its inference.
"""
DEMO_MODEL = Path(__file__).with_name("digits.onnx")
"""Image (b, 1, 8, 8) float32 → ``logits`` (b, 10) and ``embedding`` (b, 32) of length 1."""
DEMO_AUDIT = Path(__file__).with_name("digits.toml")
"""Audit of that model on the demo's pool."""


@dataclass(frozen=True, slots=True)
class Digits:
    """The images and who uses them."""

    images: NDArray[np.float32]
    """(n, 8, 8), paper 0 to ink 1, without noise."""
    labels: NDArray[np.int64]
    """(n,), 0 to 9."""
    splits: NDArray[np.str_]
    """(n,): ``train``, ``calibration``, ``gallery``, ``evaluation`` or empty (left out)."""

    def rows(self, split: str) -> NDArray[np.int64]:
        """Images of one split, ascending."""
        return np.flatnonzero(self.splits == split)

    def collected(self) -> NDArray[np.int64]:
        """Images of each class in training and calibration together (10,): the long tail."""
        known = np.isin(self.splits, ("train", "calibration"))
        return np.bincount(self.labels[known], minlength=N_CLASSES)


def read_digits(*, seed: int = 0) -> Digits:
    """Scikit-learn's 1,797 digits, split image by image.

    Evaluation and gallery hold the same number of images of every class. What was *collected* (the
    training and calibration splits) has a long tail: class c occurs `IMBALANCE`^(−c/9) times as
    often as class 0, the usual construction of long-tailed benchmarks (Cui et al., "Class-Balanced
    Loss Based on Effective Number of Samples", CVPR 2019). Images left over are not used.

    Parameters
    ----------
    seed : int
        Another seed deals the images out differently.
    """
    with gzip.open(DIGITS) as file:
        stored = np.lib.format.read_array(file, allow_pickle=False)
    labels = stored[:, -1].astype(np.int64)
    splits = np.full(len(labels), "", dtype="<U11")
    keys = random_bits(seed, stream=0, size=len(labels))
    for label in range(N_CLASSES):
        members = np.flatnonzero(labels == label)
        members = members[np.argsort(keys[members], kind="stable")]
        start = 0
        for split, size in split_sizes(label).items():
            splits[members[start : start + size]] = split
            start += size
    images = (stored[:, :-1] / 16).astype(np.float32).reshape(-1, SIDE, SIDE)
    return Digits(images, labels, splits)


def split_sizes(label: int) -> dict[str, int]:
    """How many images of class `label` each split gets."""
    share = IMBALANCE ** (-label / (N_CLASSES - 1))
    return {
        "evaluation": EVALUATION_PER_CLASS,
        "gallery": GALLERY_PER_CLASS,
        "train": round(TRAIN_MOST * share),
        "calibration": round(CALIBRATION_MOST * share),
    }


def expose(images: NDArray[np.float32], noise: float, *, seed: int) -> NDArray[np.float32]:
    """What the sensor delivers: raw values, neither clipped nor normalised.

    The less light, the more the sensor amplifies. Paper and ink come out at 0 and 1 as before, but
    what the sensor adds by itself grows: its noise, and its dark signal, an offset that every raw
    image has until somebody subtracts a dark frame. So the scale of the input differs between
    noise levels: value = image + noise · (`DARK_SIGNAL` + z), z standard normal, rounded to
    1/`CONTRAST_STEPS` by the converter.

    Parameters
    ----------
    images : (n, 8, 8) float32
        Without noise, 0 to 1.
    noise : float
        Standard deviation of the noise, as a share of the contrast.
    seed : int
        Independent of `noise`: the stream is chosen by both.

    Returns
    -------
    (n, 8, 8) float32
    """
    from scipy.special import ndtri

    stream = 1 + round(noise * CONTRAST_STEPS)
    bits = random_bits(seed, stream=stream, size=images.size) >> np.uint64(11)
    gaussian = ndtri((bits.astype(np.float64) + 0.5) * 2.0**-53).reshape(images.shape)
    signal = images + noise * (DARK_SIGNAL + gaussian)
    steps = np.rint(signal * CONTRAST_STEPS)
    return (steps / CONTRAST_STEPS).astype(np.float32)


def random_bits(seed: int, *, stream: int, size: int) -> NDArray[np.uint64]:
    """`size` raw 64-bit words; streams of one seed are independent."""
    raw = np.random.PCG64(np.random.SeedSequence([seed, stream])).random_raw(size)
    return np.asarray(raw, dtype=np.uint64)


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
    with atomic_write(target) as aside:
        aside.write_bytes(source.read_bytes())
