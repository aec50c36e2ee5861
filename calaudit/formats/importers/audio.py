"""Recordings as model inputs, with soundfile."""

from math import gcd
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calaudit.errors import PoolError
from calaudit.formats.importers.arrays import converted
from calaudit.formats.importers.settings import AudioSettings


def read_audio(path: Path, settings: AudioSettings) -> NDArray[Any]:
    """Read and preprocess one recording; channels are averaged.

    Returns
    -------
    (1, length) or (length,) by `settings.layout`.

    Raises
    ------
    PoolError
        The file isn't audio that soundfile reads, or is empty.
    """
    import soundfile

    try:
        wave, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError) as error:
        raise PoolError(
            f"isn't a readable recording: {error}", where=path, next_step="Mend or remove the file."
        ) from None
    if len(wave) == 0:
        raise PoolError("holds no samples", where=path, next_step="Remove it from the manifest.")
    mono = _resampled(wave.mean(axis=1), rate, settings.sample_rate)
    values = (_cut(mono, settings) - np.float32(settings.mean)) / np.float32(settings.std)
    values = values[None] if settings.layout == "NCL" else values
    return converted(values, settings.dtype, where=path)


def _resampled(wave: NDArray[np.float32], rate: int, wanted: int) -> NDArray[np.float32]:
    if rate == wanted:
        return wave
    from scipy.signal import resample_poly

    common = gcd(rate, wanted)
    return np.asarray(resample_poly(wave, wanted // common, rate // common), np.float32)


def _cut(wave: NDArray[np.float32], settings: AudioSettings) -> NDArray[np.float32]:
    length = settings.length
    if length is None:
        return wave
    if len(wave) < length:
        return np.pad(wave, (0, length - len(wave)))
    start = (len(wave) - length) // 2 if settings.crop == "center" else 0
    return wave[start : start + length]
