"""Implicit quantization in an audit: what TensorRT is given, and whose ranges came out."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from calaudit.audit.plan import NATIVE, PlannedCell, content_key
from calaudit.audit.prepare import Audit
from calaudit.backends.tensorrt.implicit import GivenRanges, NativeRanges
from calaudit.backends.tensorrt.source import Batching
from calaudit.calibration.diff import diff_scales
from calaudit.calibration.scales import ScaleTable
from calaudit.formats.calibset import open_calibset
from calaudit.formats.trt_cache import open_trt_cache
from calaudit.formats.trt_header import AlgorithmFlag
from calaudit.results.agreement import ComparedRanges, ComparedTap
from calaudit.runtime.errors import FileFormatError

SHOWN: Final = 10
"""Taps that a comparison lists."""
TOLERATED: Final = 0.01
"""Relative difference of two amax that isn't counted."""


@dataclass(frozen=True, slots=True)
class ImplicitCell:
    """One cell's ranges for TensorRT, and the key of what they depend on."""

    ranges: NativeRanges | GivenRanges
    key: str


def native_cell(audit: Audit, planned: PlannedCell) -> ImplicitCell:
    """TensorRT's own calibration on the cell's set."""
    path = next(each.path for each in audit.plan.calibsets if each.name == planned.calibset)
    calibset = open_calibset(path)
    algorithm: AlgorithmFlag = "minmax" if planned.method == "native-minmax" else "entropy"
    batching = Batching(min(audit.config.audit.batch_size, len(calibset)))
    ranges = NativeRanges(
        calibset=calibset, algorithm=algorithm, batching=batching, cache=planned.cache
    )
    return ImplicitCell(ranges, content_key([calibset.fingerprint, algorithm, str(batching)]))


def given_cell(table: ScaleTable) -> ImplicitCell:
    """The cell's own scale table, handed over as a calibration cache."""
    return ImplicitCell(GivenRanges(table), content_key(["implicit", table.scales]))


def scales_in(cell: ImplicitCell) -> dict[str, float]:
    """The scales that an engine of the cell has: tap → scale; empty where the cache is gone."""
    if isinstance(cell.ranges, GivenRanges):
        return cell.ranges.table.scales
    try:
        return {} if cell.ranges.cache is None else open_trt_cache(cell.ranges.cache).scales
    except FileFormatError:
        return {}


def compare_ranges(
    cells: Iterable[PlannedCell], scales: Mapping[str, Mapping[str, float]]
) -> Iterator[ComparedRanges]:
    """TensorRT's own ranges beside those of the nearest of our methods, set by set.

    Parameters
    ----------
    cells : iterable of PlannedCell
    scales : mapping
        Cell id → tap → scale, of the cells that were built.
    """
    planned = {(each.calibset, each.method): each for each in cells if each.implicit}
    for (calibset, method), cell in planned.items():
        nearest = [planned.get((calibset, ours)) for ours in NATIVE.get(str(method), ())]
        other = next((each for each in nearest if each and scales.get(each.id)), None)
        if other is not None and scales.get(cell.id):
            yield _compared(cell.id, other.id, scales[cell.id], scales[other.id])


def _compared(
    cell: str, other: str, native: Mapping[str, float], ours: Mapping[str, float]
) -> ComparedRanges:
    found = diff_scales(native, ours)
    differing = [
        each for each in found.shared if each.ratio is None or abs(each.ratio - 1) > TOLERATED
    ]
    return ComparedRanges(
        cell=cell,
        other=other,
        taps=len(found.shared),
        differing=len(differing),
        only_tensorrt=len(found.only_first),
        only_calaudit=len(found.only_second),
        shown=tuple(
            ComparedTap(each.tap, 127 * each.first, 127 * each.second) for each in differing[:SHOWN]
        ),
    )
