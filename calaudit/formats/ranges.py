"""The ranges file: histograms of every tap over every group, in HDF5."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from calaudit.calibration.batching import Batching
from calaudit.calibration.entropy_trt import N_EQUAL
from calaudit.calibration.equal_bins import EqualBins
from calaudit.calibration.histogram import FRACTION_BITS, N_BINS, N_OCTAVES, Histograms
from calaudit.calibration.observation import LeftOut, Observation, ObservedSamples, OneByOne
from calaudit.formats.hdf5 import DAMAGE, mark, open_hdf5, reading
from calaudit.formats.writing import written_hdf5
from calaudit.runtime.errors import CalauditError, FileFormatError

FORMAT = "ranges"
# 1: attributes model_fingerprint, pool_fingerprint, fraction_bits, n_octaves, disjoint;
#    /taps (T,), /groups (G,), /members (G, P), /n_samples (P,), /n_zero (T, P), /amax (T, P),
#    /counts/{ends (T·P,), bins (k,), values (k,)}: the filled bins of each histogram,
#    /samples/{ids (n,), maxima (T, n), membership (G, n)}, /left_out/{ids, taps} (m,),
#    /one_by_one/{taps, reasons, mixed} (k,), which older files of version 1 don't have,
#    /equal_bins/{sets, n_samples, batch (S,), widths, start (T, S), counts (T, S, 2048)} with the
#    attributes order and last, where they were asked for; older files of version 1 have none
FORMAT_VERSION = 1
MADE_BY = "`calaudit calibrate`"
_CHUNK = 1 << 16
_AT_A_TIME = 64
"""Histograms that are written together."""
_BUILD_AGAIN = f"The file is damaged or incomplete; build it again with {MADE_BY}."

_DAMAGE = (*DAMAGE, ValueError, TypeError, IndexError)
"""What h5py and numpy say of parts that aren't what they should be."""


def write_ranges(path: Path | str, observation: Observation) -> None:
    """Write an observation, whole or not at all.

    Raises
    ------
    OutputError
        The file can't be written.
    """
    path = Path(path)
    histograms = observation.histograms
    with written_hdf5(path, check=_check_readable) as writing:
        file = writing.file
        mark(file, kind=FORMAT, version=FORMAT_VERSION)
        file.attrs["model_fingerprint"] = observation.model_fingerprint
        file.attrs["pool_fingerprint"] = observation.pool_fingerprint
        file.attrs["fraction_bits"] = FRACTION_BITS
        file.attrs["n_octaves"] = N_OCTAVES
        file.attrs["disjoint"] = observation.disjoint
        _write_texts(file, "taps", histograms.taps)
        _write_texts(file, "groups", observation.groups)
        file["members"] = observation.members.astype(np.float64)
        file["n_samples"] = observation.n_samples
        file["n_zero"] = histograms.n_zero
        file["amax"] = histograms.amax
        _write_counts(file, histograms.counts)
        if observation.samples is not None:
            _write_texts(file, "samples/ids", observation.samples.ids.tolist())
            file["samples/maxima"] = observation.samples.maxima
            file["samples/membership"] = observation.samples.membership
        _write_texts(file, "left_out/ids", [each.id for each in observation.left_out])
        _write_texts(file, "left_out/taps", [each.tap for each in observation.left_out])
        _write_texts(file, "one_by_one/taps", [each.tap for each in observation.one_by_one])
        _write_texts(file, "one_by_one/reasons", [each.reason for each in observation.one_by_one])
        file["one_by_one/mixed"] = np.array([e.mixed for e in observation.one_by_one], np.bool_)
        if observation.equal_bins:
            _write_equal_bins(file.create_group("equal_bins"), observation.equal_bins)


def open_ranges(path: Path | str) -> Observation:
    """Read a ranges file.

    Raises
    ------
    FileFormatError
        The file is missing, foreign, truncated, damaged, of a newer version or another grid, or
        its parts contradict one another.
    """
    return _opened(Path(path))


def _check_readable(path: Path) -> None:
    """As `open_ranges`, but histograms stay as they are kept, without their empty bins."""
    _opened(path, _unfilled)


def _opened(path: Path, make: "_Make | None" = None) -> Observation:
    with open_hdf5(path, kind=FORMAT, version=FORMAT_VERSION, made_by=MADE_BY) as file:
        try:
            return _read(file, path, make or _filled)
        except FileFormatError:
            raise
        except (CalauditError, *_DAMAGE) as error:
            raise _damaged(path, f"isn't whole: {error}") from None


def _read(file: h5py.File, path: Path, make: "_Make") -> Observation:
    grid = (_attribute(file, path, "fraction_bits"), _attribute(file, path, "n_octaves"))
    if grid != (FRACTION_BITS, N_OCTAVES):
        raise FileFormatError(
            f"its histograms have 2^{grid[0]} bins in each of {grid[1]} octaves; this release "
            f"reads 2^{FRACTION_BITS} in each of {N_OCTAVES}",
            where=path,
            next_step=f"Build it again with {MADE_BY}.",
        )
    taps = _texts(file, path, "taps")
    n_zero = _array(file, path, "n_zero", np.int64)
    amax = _array(file, path, "amax", np.float32)
    if n_zero.shape != amax.shape or n_zero.ndim != 2 or len(n_zero) != len(taps):
        raise _damaged(
            path, f"/n_zero {n_zero.shape}, /amax {amax.shape} don't fit {len(taps)} taps"
        )
    bins = _read_bins(file, path, n_zero.shape)
    _check(bins, n_zero, amax, path)
    return Observation(
        Histograms(taps, make(bins, n_zero.shape), n_zero, amax),
        _texts(file, path, "groups"),
        _array(file, path, "members", np.float64),
        _array(file, path, "n_samples", np.int64),
        str(_attribute(file, path, "model_fingerprint")),
        str(_attribute(file, path, "pool_fingerprint")),
        bool(_attribute(file, path, "disjoint")),
        _read_samples(file, path) if "samples" in file else None,
        tuple(
            map(
                LeftOut,
                _texts(file, path, "left_out/ids"),
                _texts(file, path, "left_out/taps"),
            )
        ),
        _read_one_by_one(file, path) if "one_by_one" in file else (),
        _read_equal_bins(file, path, taps) if "equal_bins" in file else {},
    )


def _read_one_by_one(file: h5py.File, path: Path) -> tuple[OneByOne, ...]:
    taps, reasons = (_texts(file, path, f"one_by_one/{part}") for part in ("taps", "reasons"))
    mixed = _array(file, path, "one_by_one/mixed", np.bool_).tolist()
    return tuple(OneByOne(*each) for each in zip(taps, reasons, mixed, strict=True))


def _write_counts(file: h5py.File, counts: NDArray[Any]) -> None:
    """Filled bins alone, a few thousand of each histogram's 8192, some histograms at a time."""
    rows = counts.reshape(-1, N_BINS)
    sizes = [np.count_nonzero(row) for row in rows]
    ends = np.cumsum(sizes, dtype=np.int64)
    n = sum(sizes)
    small = counts.max(initial=0) <= np.iinfo(np.uint32).max
    file["counts/ends"] = ends
    # Not compressed: that would take longer than the whole rest. Damage must be seen, though.
    checked = {"fletcher32": True, "chunks": (min(n, _CHUNK),)} if n else {}
    bins = file.create_dataset("counts/bins", (n,), np.uint16, **checked)
    values = file.create_dataset("counts/values", (n,), np.uint32 if small else np.int64, **checked)
    start = 0
    for first in range(0, len(rows), _AT_A_TIME):
        piece = rows[first : first + _AT_A_TIME].reshape(-1)
        filled = np.flatnonzero(piece != 0)  # of truths: four times as fast
        end = start + len(filled)
        bins[start:end] = (filled % N_BINS).astype(np.uint16)
        values[start:end] = piece[filled].astype(values.dtype)
        start = end


class _Bins(NamedTuple):
    """Filled bins of all histograms, one histogram after another."""

    ends: NDArray[np.int64]
    """(T·P,) where each one's end."""
    bins: NDArray[np.uint16]
    values: NDArray[Any]
    """Their counts: uint32 or int64."""

    @property
    def first(self) -> NDArray[np.int64]:
        """(T·P,) count of the first bin of each."""
        found = np.zeros(len(self.ends), np.int64)
        places = np.flatnonzero(self.bins == 0)
        found[np.searchsorted(self.ends, places, side="right")] = self.values[places]
        return found


_Make = Callable[[_Bins, tuple[int, ...]], NDArray[Any]]
"""Makes (T, P, `N_BINS`) counts."""


def _read_bins(file: h5py.File, path: Path, shape: tuple[int, ...]) -> _Bins:
    ends = _array(file, path, "counts/ends", np.int64)
    bins = _array(file, path, "counts/bins", np.uint16)
    values = _array(file, path, "counts/values", np.uint32, np.int64)
    whole = len(ends) == shape[0] * shape[1] and (np.diff(ends, prepend=0) >= 0).all()
    n = int(ends[-1]) if len(ends) else 0
    if not whole or not n == len(bins) == len(values) or bins.max(initial=0) >= N_BINS:
        raise _damaged(path, f"/counts doesn't hold {shape[0]} taps × {shape[1]} parts")
    return _Bins(ends, bins, values)


def _filled(bins: _Bins, shape: tuple[int, ...]) -> NDArray[Any]:
    """As wide as they were written."""
    counts = np.zeros((*shape, N_BINS), bins.values.dtype)
    start = 0
    for row, end in zip(counts.reshape(-1, N_BINS), bins.ends.tolist(), strict=True):
        row[bins.bins[start:end]] = bins.values[start:end]
        start = end
    return counts


def _unfilled(bins: _Bins, shape: tuple[int, ...]) -> NDArray[Any]:
    """Zeros that take no memory, for whoever looks at the rest."""
    return np.broadcast_to(np.zeros((), bins.values.dtype), (*shape, N_BINS))


def _read_samples(file: h5py.File, path: Path) -> ObservedSamples:
    return ObservedSamples(
        np.array(_texts(file, path, "samples/ids"), np.str_),
        _array(file, path, "samples/maxima", np.float32),
        _array(file, path, "samples/membership", np.bool_),
    )


def _write_equal_bins(group: h5py.Group, equal_bins: Mapping[str, EqualBins]) -> None:
    every = list(equal_bins.values())
    group.attrs["order"] = every[0].batching.order
    group.attrs["last"] = every[0].batching.last
    _write_texts(group, "sets", list(equal_bins))
    group["n_samples"] = np.array([each.n_samples for each in every], np.int64)
    group["batch"] = np.array([each.batching.size for each in every], np.int64)
    group["widths"] = np.stack([each.widths for each in every], axis=1)
    group["start"] = np.stack([each.start for each in every], axis=1)
    largest = max(each.counts.max(initial=0) for each in every)
    small = largest <= np.iinfo(np.uint32).max
    shape = (len(every[0].taps), len(every), N_EQUAL)
    checked = {"fletcher32": True, "chunks": (1, 1, N_EQUAL)} if shape[0] else {}
    counts = group.create_dataset("counts", shape, np.uint32 if small else np.int64, **checked)
    for number, each in enumerate(every):
        counts[:, number] = each.counts.astype(counts.dtype)


def _read_equal_bins(file: h5py.File, path: Path, taps: tuple[str, ...]) -> dict[str, EqualBins]:
    def array(name: str, *dtypes: type[np.generic]) -> NDArray[Any]:
        return _array(file, path, f"equal_bins/{name}", *dtypes)

    sets = _texts(file, path, "equal_bins/sets")
    counts = array("counts", np.uint32, np.int64)
    widths, start = array("widths", np.float64), array("start", np.int64)
    sizes, n_samples = array("batch", np.int64), array("n_samples", np.int64)
    shape = (len(taps), len(sets))
    whole = counts.shape == (*shape, N_EQUAL) and widths.shape == start.shape == shape
    if not whole or not sizes.shape == n_samples.shape == shape[1:]:
        raise _damaged(path, f"/equal_bins doesn't hold {shape[0]} taps × {shape[1]} sets")
    if (counts < 0).any() or not (np.isfinite(widths) & (widths >= 0)).all():
        raise _damaged(path, "/equal_bins holds counts or widths that can't be such")
    attributes = file["equal_bins"].attrs
    # Words that aren't one of its own `Batching` refuses.
    how: dict[str, Any] = {key: str(attributes.get(key)) for key in ("order", "last")}
    return {
        name: EqualBins(
            taps,
            counts[:, number].astype(np.int64),
            widths[:, number],
            start[:, number],
            int(n_samples[number]),
            Batching(int(sizes[number]), **how),
        )
        for number, name in enumerate(sets)
    }


def _check(bins: _Bins, n_zero: NDArray[np.int64], amax: NDArray[np.float32], path: Path) -> None:
    if (bins.values < 0).any() or (n_zero < 0).any() or (n_zero.reshape(-1) > bins.first).any():
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


def _array(file: h5py.File, path: Path, name: str, *dtypes: type[np.generic]) -> NDArray[Any]:
    dataset = _dataset(file, path, name)
    if dataset.dtype not in dtypes:
        expected = " or ".join(str(np.dtype(dtype)) for dtype in dtypes)
        raise _damaged(path, f"/{name} is {dataset.dtype}, expected {expected}")
    with reading(path, name):
        values: NDArray[Any] = dataset[()]
    return values


def _write_texts(file: h5py.Group, name: str, texts: Sequence[str]) -> None:
    file.create_dataset(name, data=list(texts), dtype=h5py.string_dtype("utf-8"))


def _texts(file: h5py.File, path: Path, name: str) -> tuple[str, ...]:
    dataset = _dataset(file, path, name)
    if h5py.check_string_dtype(dataset.dtype) is None:
        raise _damaged(path, f"/{name} is {dataset.dtype}, expected text")
    with reading(path, name):
        return tuple(map(str, dataset.asstr()[()]))
