"""Spoken digits and street noise: reading, mixing, and what the models see of them."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray
from scipy.signal import resample_poly

RATE = 8000
"""Samples per second."""
LENGTH = RATE
"""Samples of a recording: one second."""
SNRS_DB = (np.inf, 20.0, 10.0, 5.0, 0.0, -5.0)
"""Signal-to-noise ratios in dB, over the active speech; infinity adds no noise."""

N_MELS = 40
FRAME, HOP, N_FFT = 200, 80, 256
N_FRAMES = (LENGTH - FRAME) // HOP + 1
MEL_RANGE_HZ = (60.0, 3900.0)

NOISE_KINDS = (
    "dog", "rain", "sea_waves", "crying_baby", "clock_tick",
    "sneezing", "helicopter", "chainsaw", "rooster", "crackling_fire",
)  # fmt: skip
"""The classes of ESC-10, in its order, by their names in ESC-50."""

NEAR_SILENCE = 1e-4
"""Noise with a smaller root mean square can't be scaled to an SNR."""


@dataclass(frozen=True, slots=True)
class Speech:
    """Recordings of spoken digits."""

    waves: NDArray[np.float32]
    """(n, LENGTH), in [-1, 1]: centred, with zeros around."""
    labels: NDArray[np.int64]
    speakers: NDArray[np.str_]
    takes: NDArray[np.int32]
    """Number of the recording, from 0, per speaker and digit."""

    def where(self, chosen: NDArray[np.bool_]) -> "Speech":
        """The recordings that `chosen` (n,) picks."""
        return Speech(
            self.waves[chosen], self.labels[chosen], self.speakers[chosen], self.takes[chosen]
        )


def read_speech(folder: Path) -> Speech:
    """Recordings of the Free Spoken Digit Dataset: ``<digit>_<speaker>_<take>.wav``, 8 kHz."""
    paths = sorted(folder.glob("*_*_*.wav"))
    if not paths:
        raise SystemExit(f"{folder} holds no <digit>_<speaker>_<take>.wav")
    names = [path.stem.split("_") for path in paths]
    return Speech(
        np.stack([_centred(_read(path)) for path in paths]),
        np.array([int(digit) for digit, _, _ in names], np.int64),
        np.array([speaker for _, speaker, _ in names]),
        np.array([int(take) for _, _, take in names], np.int32),
    )


def read_noise(folder: Path, folds: tuple[int, ...]) -> list[NDArray[np.float32]]:
    """Clips of ESC-10 among ESC-50 (``meta/esc50.csv``, ``audio/``), resampled to 8 kHz."""
    with (folder / "meta" / "esc50.csv").open(encoding="utf-8", newline="") as file:
        clips = [clip for clip in csv.DictReader(file) if clip["esc10"] == "True"]
    chosen = [clip for clip in clips if int(clip["fold"]) in folds]
    chosen.sort(key=lambda clip: (NOISE_KINDS.index(clip["category"]), clip["filename"]))
    return [_read(folder / "audio" / clip["filename"]) for clip in chosen]


def _read(path: Path) -> NDArray[np.float32]:
    """One channel at 8 kHz in [-1, 1]."""
    wave, rate = soundfile.read(path, dtype="int16", always_2d=True)
    mono = wave[:, 0].astype(np.float32) / 32767
    return mono if rate == RATE else resample_poly(mono, RATE, rate).astype(np.float32)


def _centred(wave: NDArray[np.float32]) -> NDArray[np.float32]:
    if len(wave) >= LENGTH:
        start = (len(wave) - LENGTH) // 2
        return wave[start : start + LENGTH]
    left = (LENGTH - len(wave)) // 2
    return np.pad(wave, (left, LENGTH - len(wave) - left))


def mix(
    wave: NDArray[np.float32],
    noises: list[NDArray[np.float32]],
    snr_db: float,
    random: np.random.Generator,
) -> NDArray[np.float32]:
    """Add a random second of a random clip at `snr_db`, over the samples that aren't zero."""
    if np.isinf(snr_db):
        return wave
    noise = np.zeros(LENGTH, np.float32)
    while np.sqrt(np.mean(noise**2)) <= NEAR_SILENCE:
        clip = noises[random.integers(len(noises))]
        start = random.integers(0, len(clip) - LENGTH)
        noise = clip[start : start + LENGTH]
    ratio = np.mean(wave[wave != 0] ** 2) / np.mean(noise**2)
    return (wave + noise * np.sqrt(ratio / 10 ** (snr_db / 10))).astype(np.float32)


def mel_power(waves: NDArray[np.float32]) -> NDArray[np.float32]:
    """Power in 40 triangular mel bands (n, N_MELS, N_FRAMES), not normalised in any way."""
    starts = HOP * np.arange(N_FRAMES)[:, None]
    frames = waves[:, starts + np.arange(FRAME)] * np.hanning(FRAME).astype(np.float32)
    spectrum = np.abs(np.fft.rfft(frames, N_FFT)).astype(np.float32) ** 2
    return np.einsum("btf,mf->bmt", spectrum, _mel_filters(), optimize=True)


def _mel_filters() -> NDArray[np.float32]:
    """(N_MELS, N_FFT / 2 + 1), peaks of 1, on O'Shaughnessy's mel scale."""
    low, high = (2595 * np.log10(1 + hz / 700) for hz in MEL_RANGE_HZ)
    corners = 700 * (10 ** (np.linspace(low, high, N_MELS + 2) / 2595) - 1)
    hz = np.arange(N_FFT // 2 + 1) * RATE / N_FFT
    left, centre, right = (corners[k : k + N_MELS, None] for k in range(3))
    filters = np.minimum((hz - left) / (centre - left), (right - hz) / (right - centre))
    filters = np.maximum(filters, 0).astype(np.float32)
    # The lowest bands are narrower than a bin: they take the bin that is nearest.
    for band in np.flatnonzero(filters.sum(1) == 0):
        filters[band, np.abs(hz - corners[band + 1]).argmin()] = 1
    return filters


def power_features(waves: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cube root of the mel power (n, 1, N_MELS, N_FRAMES): its scale follows the loudness."""
    return (mel_power(waves) ** (1 / 3))[:, None]


def log_features(waves: NDArray[np.float32]) -> NDArray[np.float32]:
    """Log of the mel power (n, 1, N_MELS, N_FRAMES): loudness becomes an offset."""
    return np.log(mel_power(waves) + 1e-6)[:, None]


FEATURES = {"power": power_features, "log": log_features}
