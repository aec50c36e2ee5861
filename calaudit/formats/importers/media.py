"""One sample's file as a model input: arrays (.npy), and audio with soundfile.

Pickled objects are refused, never loaded.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from math import gcd
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calaudit.formats.importers.manifest_settings import ArraySettings, AudioSettings
from calaudit.formats.importers.npy import PickledError, read_array
from calaudit.formats.importers.spare import Spare
from calaudit.runtime.errors import PoolError, Problem, SettingsError, near, unreadable

EVERY = "*"
"""Name that stands for every input that isn't named itself."""


def check_named(dtypes: Mapping[str, str], inputs: Iterable[str], *, where: object) -> None:
    """Refuse an element type for an input that isn't there. Raises `SettingsError`."""
    known = list(inputs)
    unknown = [name for name in dtypes if name not in {EVERY, *known}]
    if unknown:
        raise SettingsError.of(
            Problem(f"--dtype: there is no input {name!r}", str(where), near(name, known))
            for name in unknown
        )


def read_npy(path: Path, settings: ArraySettings) -> NDArray[Any]:
    """Read one array.

    Raises
    ------
    PoolError
        The file isn't an .npy of numbers, is damaged, or holds pickled objects.
    """
    step = "Save it as an array of numbers with numpy.save."
    try:
        with in_memory(path, "its array"):
            values = read_array(path)
    except PickledError:
        raise PoolError(
            "holds pickled Python objects, which are never loaded", where=path, next_step=step
        ) from None
    except (ValueError, OSError) as error:
        what = "isn't a readable .npy file"
        raise PoolError.of([unreadable(error, path, what, step)]) from None
    if values.dtype.kind not in "biuf":
        raise PoolError("isn't an array of numbers", where=path, next_step="Save it as numbers.")
    return values if settings.dtype is None else converted(values, settings.dtype, where=path)


def as_asked(
    name: str, values: NDArray[Any], dtypes: Mapping[str, str], *, where: object
) -> NDArray[Any]:
    """An input in the element type that was asked for it, or as it is; see `converted`."""
    dtype = dtypes.get(name, dtypes.get(EVERY))
    return values if dtype is None else converted(values, dtype, where=where)


def converted(values: NDArray[Any], dtype: str, *, where: object) -> NDArray[Any]:
    """Values of another element type: integers unchanged, floats rounded.

    Raises
    ------
    PoolError
        A value doesn't fit: a fraction or a large number in integers, a number too large for the
        floats.
    """
    wanted = np.dtype(dtype)
    if values.dtype == wanted:
        return values
    with np.errstate(over="ignore", invalid="ignore"):
        made = values.astype(wanted)
        if wanted.kind == "f":
            lost = np.isinf(made) & np.isfinite(values)
        else:
            # Both are compared as the wider of the two kinds, where a wrap shows.
            lost = (
                made != values if values.dtype.kind != "f" else made.astype(values.dtype) != values
            )
            lost |= (values < 0) != (made < 0)
    if lost.any():
        raise PoolError(
            f"{values[lost].flat[0]} doesn't fit {wanted}",
            where=where,
            next_step="Choose another --dtype, or scale the values as the model expects them.",
        )
    return made


@contextmanager
def in_memory(path: Path, what: str) -> Iterator[None]:
    """Say of which file it is that there isn't enough memory for."""
    try:
        yield
    except MemoryError:
        raise PoolError(
            f"there isn't enough memory for {what}",
            where=path,
            next_step="Ask for a smaller size (--size, or --length of recordings), or check that "
            "the file is the right one.",
        ) from None


def read_audio(path: Path, settings: AudioSettings, *, spare: Spare | None = None) -> NDArray[Any]:
    """Read and preprocess one recording; channels are averaged.

    Arrays are taken from `spare`, where they are of its.

    Returns
    -------
    (1, length) or (length,) by `settings.layout`.

    Raises
    ------
    PoolError
        The file isn't audio that soundfile reads, or is empty.
    """
    with in_memory(path, "the recording"):
        return _read_audio(path, settings, spare or Spare())


def _read_audio(path: Path, settings: AudioSettings, spare: Spare) -> NDArray[Any]:
    import soundfile

    try:
        # Opened here, since soundfile says of every file that it can't open "System error".
        with path.open("rb"):
            pass
        with soundfile.SoundFile(path) as opened:
            room = spare.take((opened.frames, opened.channels), np.float32)
            wave, rate = opened.read(out=room), opened.samplerate
    except (soundfile.LibsndfileError, OSError) as error:
        what, step = "isn't a readable recording", "Fix or remove the file."
        raise PoolError.of([unreadable(error, path, what, step)]) from None
    if len(wave) == 0:
        raise PoolError("holds no samples", where=path, next_step="Remove it from the manifest.")
    mono = wave[:, 0] if wave.shape[1] == 1 else wave.mean(axis=1)
    values = _cut(_resampled(mono, rate, settings.sample_rate), settings, spare)
    if not np.may_share_memory(values, room):
        spare.give_back(room)
    if (settings.mean, settings.std) != (0.0, 1.0):
        values -= np.float32(settings.mean)
        values /= np.float32(settings.std)
    values = values[None] if settings.layout == "NCL" else values
    return converted(values, settings.dtype, where=path)


def _resampled(wave: NDArray[np.float32], rate: int, wanted: int) -> NDArray[np.float32]:
    if rate == wanted:
        return wave
    from scipy.signal import resample_poly

    common = gcd(rate, wanted)
    up, down = wanted // common, rate // common
    window: Any = _low_pass(max(up, down))
    return np.asarray(resample_poly(wave, up, down, window=window), np.float32)


@cache
def _low_pass(factor: int) -> NDArray[np.float32]:
    """The filter that scipy's `resample_poly` designs for each wave anew; Kaiser, beta 5."""
    from scipy.signal import firwin

    taps: NDArray[np.float64] = firwin(20 * factor + 1, 1 / factor, window=("kaiser", 5.0))
    return taps.astype(np.float32)


def _cut(wave: NDArray[np.float32], settings: AudioSettings, spare: Spare) -> NDArray[np.float32]:
    """The wave itself where it has the length, and else an array of its own."""
    length = settings.length
    if length is None or len(wave) == length:
        return wave
    start = max(0, len(wave) - length) // 2 if settings.crop == "center" else 0
    part = wave[start : start + length]
    cut: NDArray[np.float32] = spare.take((length,), np.float32)
    cut[: len(part)] = part
    cut[len(part) :] = 0
    return cut
