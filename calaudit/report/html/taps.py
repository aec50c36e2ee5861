"""Per tap: what each calibration set and method chose as amax, and the distributions behind it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calaudit.calibration.histogram import BINS_PER_OCTAVE, Histogram, first_bin
from calaudit.calibration.methods import ENTROPY_TRT, METHODS
from calaudit.calibration.observation import Observation
from calaudit.calibration.scales import ScaleTable, estimate_scales
from calaudit.report.html.sets import recipes_of
from calaudit.report.index import cell_parts
from calaudit.results.audited import CellRecord
from calaudit.results.comparison import ALL
from calaudit.results.report import Report
from calaudit.runtime.words import visible

SHOWN_PER_OCTAVE = 8
"""Bins to a doubling of |x| in a chart."""
SHOWN_OCTAVES = 14
"""Octaves that a chart reaches below the largest value."""
MOST_SLICES = 24
"""Slices whose distributions are kept, in the observation's order."""

_WIDTHS = np.log2(1 + (np.arange(SHOWN_PER_OCTAVE) + 1) / SHOWN_PER_OCTAVE) - np.log2(
    1 + np.arange(SHOWN_PER_OCTAVE) / SHOWN_PER_OCTAVE
)
"""Of the bins of an octave, in octaves."""


@dataclass(frozen=True, slots=True)
class Tap:
    """One tensor."""

    name: str
    first: int
    """Number of the first shown bin, counting all of float32's from 0."""
    sets: tuple[tuple[float, ...], ...]
    """Per calibration set: share of values per octave in each shown bin, without exact zeros."""
    slices: tuple[tuple[float, ...], ...]
    """The same per slice."""
    amax: tuple[float | None, ...]
    """Per column."""
    clipped: tuple[float | None, ...]
    """Share of values above it, per column."""

    @property
    def spread(self) -> float:
        """Largest over smallest amax of all columns; 1 where all agree."""
        found = [value for value in self.amax if value]
        return max(found) / min(found) if found else 1.0

    @property
    def ratio(self) -> str:
        """`spread` as text, empty where it rounds to 1."""
        text = f"{self.spread:.2g}" if self.spread < 100 else f"{self.spread:,.0f}"
        return "" if text == "1" else text

    @property
    def amax_texts(self) -> list[str]:
        """`amax` with four significant digits."""
        return ["–" if value is None else f"{value:.4g}" for value in self.amax]


@dataclass(frozen=True, slots=True)
class Taps:
    """All tensors."""

    taps: tuple[Tap, ...]
    sets: tuple[tuple[str, str, int], ...]
    """Names, the labels of their recipes, and which of the report's recipes each is of."""
    slices: tuple[str, ...]
    methods: tuple[str, ...]
    cells: tuple[tuple[str, str], ...]
    """(set, method) of each column of amax."""
    recipes: tuple[str, ...]
    """The label of each column's recipe."""

    @property
    def columns(self) -> list[str]:
        """What the columns of a table are called."""
        return [", ".join(cell) for cell in self.cells]


def make_taps(report: Report, observation: Observation) -> Taps | None:
    """What of `observation` belongs to `report`; None if nothing does.

    amax is estimated again, which gives what the audit's scale tables hold. Cells whose ranges
    others estimated have no column.
    """
    order = [each.name for each in report.calibsets]
    recipes = recipes_of(report)
    sets = [name for name in order if name in observation.groups]
    slices = {each.name for each in report.slices} - {ALL, *sets}
    behind = [name for name in observation.groups if name in slices][:MOST_SLICES]
    cells = [cell for cell in report.cells if _estimable(cell, sets, observation)]
    if not sets or not observation.histograms.taps:
        return None
    groups = [*sets, *behind]
    tables = _tables(cells, observation)
    shown_cells = [
        (visible(calibset), visible(method))
        for calibset, method in (cell_parts(cell, report) for cell in cells)
    ]
    taps = [
        _tap(
            name,
            dict(zip(groups, observation.of_tap(position, groups), strict=True)),
            sets,
            behind,
            [(str(cell.calibset), table) for cell, table in zip(cells, tables, strict=True)],
        )
        for position, name in enumerate(observation.histograms.taps)
    ]
    return Taps(
        tuple(taps),
        tuple((visible(name), *recipes[name]) for name in sets),
        tuple(map(visible, behind)),
        tuple(dict.fromkeys(method for _, method in shown_cells)),
        tuple(shown_cells),
        tuple(recipes[str(cell.calibset)][0] for cell in cells),
    )


def _tables(cells: Sequence[CellRecord], observation: Observation) -> list[ScaleTable]:
    """Of each cell; one set's histograms are made at a time."""
    found: dict[str, ScaleTable] = {}
    for calibset in dict.fromkeys(str(cell.calibset) for cell in cells):
        histograms = observation.of(calibset)
        for cell in cells:
            if cell.calibset == calibset:
                method = str(cell.method)
                equal = observation.equal_for(method, calibset)
                found[cell.id] = estimate_scales(
                    histograms, 0, method, calibset=calibset, equal=equal
                )
    return [found[cell.id] for cell in cells]


def _estimable(cell: CellRecord, sets: Sequence[str], observation: Observation) -> bool:
    if cell.calibset not in sets or cell.ranges_by != "calaudit" or cell.exemption is not None:
        return False  # with an exemption the ranges are those of the engine without it
    # ranges of an earlier release have no bins for entropy-trt
    counted = cell.method == ENTROPY_TRT and cell.calibset in observation.equal_bins
    return cell.method in METHODS or counted


def _tap(
    name: str,
    histograms: Mapping[str, Histogram],
    sets: Sequence[str],
    slices: Sequence[str],
    tables: Sequence[tuple[str, ScaleTable]],
) -> Tap:
    largest = max(first_bin(each.amax) for each in histograms.values())
    top = (largest // BINS_PER_OCTAVE + _stored_octaves(histograms)) * SHOWN_PER_OCTAVE
    curves = {group: _density(each, top) for group, each in histograms.items()}
    filled = [np.flatnonzero(curve) for curve in curves.values()]
    start = min((int(each[0]) for each in filled if len(each)), default=0)
    first = top - SHOWN_OCTAVES * SHOWN_PER_OCTAVE + start
    amax = [table.taps[name].amax for _, table in tables]
    return Tap(
        visible(name),
        first,
        tuple(_rounded(curves[group][start:]) for group in sets),
        tuple(_rounded(curves[group][start:]) for group in slices),
        tuple(amax),
        tuple(
            _clipped(histograms[group], value)
            for (group, _), value in zip(tables, amax, strict=True)
        ),
    )


def _stored_octaves(histograms: Mapping[str, Histogram]) -> int:
    return len(next(iter(histograms.values())).counts) // BINS_PER_OCTAVE


def _density(histogram: Histogram, top: int) -> NDArray[np.float64]:
    """Share of all values per octave, in the shown bins below bin number `top`."""
    n_shown = SHOWN_OCTAVES * SHOWN_PER_OCTAVE
    counts = histogram.counts.astype(np.float64)
    # the first stored bin also holds zeros and whatever is smaller than all other bins
    counts[0] = 0.0
    coarse = counts.reshape(-1, BINS_PER_OCTAVE // SHOWN_PER_OCTAVE).sum(axis=1)
    start = first_bin(histogram.amax) // BINS_PER_OCTAVE * SHOWN_PER_OCTAVE
    shown = np.zeros(n_shown)
    numbers = np.arange(start, start + len(coarse)) - (top - n_shown)
    inside = (numbers >= 0) & (numbers < n_shown)
    shown[numbers[inside]] = coarse[inside]
    widths = np.tile(_WIDTHS, SHOWN_OCTAVES)
    density: NDArray[np.float64] = shown / widths / max(1, histogram.n)
    return density


def _rounded(values: NDArray[np.float64]) -> tuple[float, ...]:
    last = np.flatnonzero(values)
    kept = values[: int(last[-1]) + 1] if len(last) else values[:0]
    return tuple(float(f"{value:.3g}") for value in kept)


def _clipped(histogram: Histogram, amax: float) -> float | None:
    if not histogram.n:
        return None
    return float(histogram.counts[histogram.edges[:-1] >= amax].sum() / histogram.n)


def taps_document(taps: Taps) -> dict[str, Any]:
    """`taps` as JSON values for the scripts."""
    return {
        "sets": [list(each) for each in taps.sets],
        "slices": list(taps.slices),
        "methods": list(taps.methods),
        "columns": [list(cell) for cell in taps.cells],
        "recipes": list(taps.recipes),
        "taps": [
            {
                "name": tap.name,
                "first": tap.first,
                "sets": [list(curve) for curve in tap.sets],
                "slices": [list(curve) for curve in tap.slices],
                "amax": list(tap.amax),
                "clipped": [None if c is None else float(f"{c:.3g}") for c in tap.clipped],
                "spread": float(f"{tap.spread:.4g}"),
            }
            for tap in taps.taps
        ],
    }
