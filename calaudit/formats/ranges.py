"""The ranges file: histograms of every tap over every group, in HDF5."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from calaudit.errors import CalauditError, FileFormatError
from calaudit.formats.aside import written_aside
from calaudit.formats.hdf5 import mark, open_hdf5, reading
from calaudit.ranges.grid import FRACTION_BITS, N_BINS, N_OCTAVES
from calaudit.ranges.histogram import Histograms
from calaudit.ranges.observation import Observation

FORMAT = "ranges"
# 1: attributes model_fingerprint, pool_fingerprint, fraction_bits, n_octaves;
#    /taps (T,), /groups (G,), /members (G, A), /n_samples (A,),
#    /counts (T, A, n_octaves · 2^fraction_bits), /n_zero (T, A), /amax (T, A)
FORMAT_VERSION = 1
MADE_BY = "`calaudit calibrate`"
_BUILD_AGAIN = f"The file is damaged or incomplete; build it again with {MADE_BY}."


def write_ranges(path: Path, observation: Observation) -> None:
    """Write an observation, whole or not at all.

    Raises
    ------
    OutputError
        The file can't be written.
    """
    histograms = observation.histograms
    with written_aside(path) as aside, h5py.File(aside, "w") as file:
        mark(file, kind=FORMAT, version=FORMAT_VERSION)
        file.attrs["model_fingerprint"] = observation.model_fingerprint
        file.attrs["pool_fingerprint"] = observation.pool_fingerprint
        file.attrs["fraction_bits"] = FRACTION_BITS
        file.attrs["n_octaves"] = N_OCTAVES
        text = h5py.string_dtype("utf-8")
        file.create_dataset("taps", data=list(histograms.taps), dtype=text)
        file.create_dataset("groups", data=list(observation.groups), dtype=text)
        file["members"] = observation.members
        file["n_samples"] = observation.n_samples
        file["n_zero"] = histograms.n_zero
        file["amax"] = histograms.amax
        file.create_dataset(
            "counts",
            data=histograms.counts,
            chunks=(1, 1, N_BINS) if histograms.counts.size else None,
            compression="gzip" if histograms.counts.size else None,
            compression_opts=1 if histograms.counts.size else None,
            shuffle=True if histograms.counts.size else None,
        )


def open_ranges(path: Path) -> Observation:
    """Read a ranges file.

    Raises
    ------
    FileFormatError
        The file is missing, foreign, truncated, damaged, of a newer version or another grid, or
        its parts contradict one another.
    """
    with open_hdf5(path, kind=FORMAT, version=FORMAT_VERSION, made_by=MADE_BY) as file:
        grid = (_attribute(file, path, "fraction_bits"), _attribute(file, path, "n_octaves"))
        if grid != (FRACTION_BITS, N_OCTAVES):
            raise FileFormatError(
                f"its histograms have 2^{grid[0]} bins in each of {grid[1]} octaves; this release "
                f"reads 2^{FRACTION_BITS} in each of {N_OCTAVES}",
                where=path,
                next_step=f"Build it again with {MADE_BY}.",
            )
        counts = _array(file, path, "counts", np.int64)
        n_zero = _array(file, path, "n_zero", np.int64)
        amax = _array(file, path, "amax", np.float32)
        taps = _texts(file, path, "taps")
        _check(counts, n_zero, amax, len(taps), path)
        try:
            return Observation(
                Histograms(taps, counts, n_zero, amax),
                _texts(file, path, "groups"),
                _array(file, path, "members", np.bool_),
                _array(file, path, "n_samples", np.int64),
                str(_attribute(file, path, "model_fingerprint")),
                str(_attribute(file, path, "pool_fingerprint")),
            )
        except FileFormatError:
            raise
        except CalauditError as error:
            raise _damaged(path, str(error)) from None


def _check(
    counts: NDArray[np.int64],
    n_zero: NDArray[np.int64],
    amax: NDArray[np.float32],
    n_taps: int,
    path: Path,
) -> None:
    if counts.ndim != 3 or len(counts) != n_taps or counts.shape[2] != N_BINS:
        raise _damaged(path, f"/counts has shape {counts.shape} for {n_taps} taps")
    if n_zero.shape != counts.shape[:2] or amax.shape != counts.shape[:2]:
        raise _damaged(
            path, f"/n_zero {n_zero.shape}, /amax {amax.shape} don't fit /counts {counts.shape}"
        )
    if (counts < 0).any() or (n_zero < 0).any() or (n_zero > counts[:, :, 0]).any():
        raise _damaged(path, "/counts and /n_zero hold numbers that can't be counts")
    if not (np.isfinite(amax) & (amax >= 0)).all():
        raise _damaged(path, "/amax holds values that aren't finite magnitudes")


def _damaged(path: Path, message: str) -> FileFormatError:
    return FileFormatError(message, where=path, next_step=_BUILD_AGAIN)


def _attribute(file: h5py.File, path: Path, name: str) -> Any:
    if name not in file.attrs:
        raise _damaged(path, f"attribute {name} is missing")
    return file.attrs[name]


def _dataset(file: h5py.File, path: Path, name: str) -> h5py.Dataset:
    found = file.get(name)
    if not isinstance(found, h5py.Dataset):
        raise _damaged(path, f"dataset /{name} is missing")
    return found


def _array(file: h5py.File, path: Path, name: str, dtype: type[np.generic]) -> NDArray[Any]:
    dataset = _dataset(file, path, name)
    if dataset.dtype != np.dtype(dtype):
        raise _damaged(path, f"/{name} is {dataset.dtype}, expected {np.dtype(dtype)}")
    with reading(path, name):
        values: NDArray[Any] = dataset[()]
    return values


def _texts(file: h5py.File, path: Path, name: str) -> tuple[str, ...]:
    dataset = _dataset(file, path, name)
    if h5py.check_string_dtype(dataset.dtype) is None:
        raise _damaged(path, f"/{name} is {dataset.dtype}, expected text")
    with reading(path, name):
        return tuple(map(str, dataset.asstr()[()]))
