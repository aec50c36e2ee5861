"""Whose ranges came out: a backend's own estimates beside calaudit's of the same set."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from calaudit.audit.plan import PlannedCell
from calaudit.calibration.diff import diff_scales
from calaudit.results.agreement import ComparedRanges, ComparedTap

SHOWN: Final = 10
"""Taps that a comparison lists."""
TOLERATED: Final = 0.01
"""Relative difference of two amax that isn't counted."""


def compare_ranges(
    cells: Iterable[PlannedCell], scales: Mapping[str, Mapping[str, float]]
) -> Iterator[ComparedRanges]:
    """A backend's own ranges beside those of the nearest of our methods, set by set.

    Parameters
    ----------
    cells : iterable of PlannedCell
    scales : mapping
        Cell id → tap → scale, of the cells that were built.
    """
    planned = {
        (each.backend, each.calibset, each.method): each
        for each in cells
        if each.given in {"scales", "calibset"}
    }
    for (backend, calibset, _), cell in planned.items():
        nearest = [planned.get((backend, calibset, ours)) for ours in cell.nearest]
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
