"""A report's results, found by name and ordered by how bad they are."""

import fnmatch
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from calaudit.results.audited import (
    CellRecord,
    MetricRecord,
    Role,
    SliceRecord,
)
from calaudit.results.comparison import ALL, Result, Verdict
from calaudit.results.report import Report
from calaudit.runtime.errors import SliceError, near

OBJECT = "object"
"""What a metric scores, or a slice holds, beside samples."""
POINT = 0.01
"""One point, in a metric whose unit is a fraction."""

_RANK = {"REGRESSED": 0, "INCONCLUSIVE": 1}


@dataclass(frozen=True)
class Index:
    """A report with its results by (cell, slice, metric)."""

    report: Report

    @cached_property
    def cells(self) -> dict[str, CellRecord]:
        """Cell id → record."""
        return {cell.id: cell for cell in self.report.cells}

    @cached_property
    def metrics(self) -> dict[str, MetricRecord]:
        """Metric name → record."""
        return {metric.name: metric for metric in self.report.metrics}

    @cached_property
    def leading(self) -> tuple[MetricRecord, ...]:
        """The headline metric, and the first that scores what is in slices that it says nothing of.

        So with a detector's AP, of images, goes the first metric that scores objects.
        """
        first = self.report.metrics[:1]
        of_objects = [each for each in self.report.metrics if each.per == OBJECT][:1]
        if any(each.unit == OBJECT for each in self.report.slices):
            return tuple(dict.fromkeys([*first, *of_objects]))
        return tuple(first)

    @cached_property
    def slices(self) -> dict[str, SliceRecord]:
        """Slice name → record."""
        return {each.name: each for each in self.report.slices}

    @cached_property
    def results(self) -> dict[tuple[str, str, str], Result]:
        """(cell, slice, metric) → result."""
        return {(r.cell, r.slice, r.metric): r for r in self.report.results}

    @cached_property
    def failed(self) -> tuple[CellRecord, ...]:
        """Cells that couldn't be judged."""
        return tuple(cell for cell in self.report.cells if cell.status == "failed")

    @property
    def judged(self) -> str:
        """How many engines were judged: ``"4 engines"``, ``"3 engines of 4"``."""
        n, planned = sum(c.status == "judged" for c in self.report.cells), len(self.report.cells)
        engines = "1 engine" if n == 1 else f"{n:,} engines"
        return engines if n == planned else f"{engines} of {planned:,}"

    @property
    def all_failed(self) -> bool:
        """Whether no cell could be evaluated, of those that were to be."""
        return bool(self.failed) and not self.report.results

    @cached_property
    def gated(self) -> tuple[Result, ...]:
        """Results whose gate decides: those of candidates."""
        return tuple(r for r in self.report.results if self.decides(r))

    @cached_property
    def controls(self) -> frozenset[str]:
        """Ids of the cells that are measured, but decide nothing."""
        return frozenset(cell.id for cell in self.report.cells if cell.role == "control")

    def decides(self, result: Result) -> bool:
        """Whether `result` counts: it has a gate, and is none of a control."""
        return result.gate is not None and result.cell not in self.controls

    def verdict_of(self, cell: str) -> Verdict | None:
        """Of one engine over all its gates, a control's too; None where nothing of it is gated."""
        verdicts = {r.verdict for r in self.report.results if r.cell == cell and r.gate is not None}
        if Verdict.REGRESSED in verdicts:
            return Verdict.REGRESSED
        if not verdicts:
            return None
        return Verdict.PASS if verdicts == {Verdict.PASS} else Verdict.INCONCLUSIVE

    @cached_property
    def below_floor(self) -> tuple[Result, ...]:
        """Deciding results that can't pass, since FP32 itself misses ``min_reference`` there."""
        return tuple(r for r in self.gated if self.misses_floor(r))

    @cached_property
    def hopeless(self) -> str | None:
        """Why nothing passes by some metrics: FP32 knows nothing. None where it does."""
        codes = {"reference_chance", "reference_constant"}
        found = [each.message for each in self.report.warnings if each.code in codes]
        return found[0].split(";")[0] if found else None

    def misses_floor(self, result: Result) -> bool:
        """Whether FP32 misses the gate's ``min_reference``; it does where it wasn't measured."""
        floor = None if result.gate is None else result.gate.min_reference
        if floor is None or result.reference is None:
            return floor is not None
        higher = self.metrics[result.metric].higher_is_better
        return result.reference < floor if higher else result.reference > floor

    @cached_property
    def recipes(self) -> dict[str, str]:
        """Calibration set → what it was drawn by: draws of one recipe share it."""
        return {each.name: each.recipe or each.name for each in self.report.calibsets}

    @cached_property
    def shown(self) -> tuple[Result, ...]:
        """Results of candidates; where every engine is a control, of those."""
        found = tuple(r for r in self.report.results if r.cell not in self.controls)
        return found or self.report.results

    @cached_property
    def _tolerance(self) -> dict[str, float]:
        """Metric → its strictest gate, or one unit where it has none."""
        gates: dict[str, list[float]] = defaultdict(list)
        for result in self.gated:
            if result.gate is not None and result.gate.max_drop > 0:
                gates[result.metric].append(result.gate.max_drop)
        one = {m.name: POINT if m.unit == "fraction" else 1.0 for m in self.report.metrics}
        return {name: min(gates.get(name, [one[name]])) for name in one}

    def severity(self, result: Result) -> tuple[int, bool, float]:
        """Sort key, worst first: regressed, inconclusive, the rest.

        Then engines that gave no finite output for some unit; then by drop over the gate.
        """
        rank = _RANK.get(result.verdict or "", 2) if self.decides(result) else 2
        return rank, not result.n_broken, -self.per_gate(result, result.drop)

    def per_gate(self, result: Result, drop: float | None) -> float:
        """`drop` over the result's gate: what makes drops of different metrics comparable.

        Results without a gate are held against the metric's strictest one.
        """
        if drop is None:
            return 0.0
        gate = result.gate.max_drop if result.gate is not None else 0.0
        return drop / (gate if gate > 0 else self._tolerance[result.metric])

    def worst(self, results: Iterable[Result]) -> list[Result]:
        """`results`, worst first; equally bad ones in the report's order."""
        return sorted(results, key=self.severity)

    def worst_slices(
        self, metric: MetricRecord, slices: Iterable[SliceRecord]
    ) -> list[SliceRecord]:
        """Those of `slices` that the metric was measured on: `ALL` first, then worst first."""
        worst = self.worst(r for r in self.report.results if r.metric == metric.name)
        order = {name: i for i, name in enumerate(dict.fromkeys(r.slice for r in worst))}
        found = [each for each in slices if each.name in order]
        return sorted(found, key=lambda each: (each.name != ALL, order[each.name]))

    def n_in(self, record: SliceRecord, metric: MetricRecord) -> int:
        """How many are in a slice of what the metric scores."""
        if metric.per != OBJECT or record.unit == OBJECT:
            return record.n
        own = (self.results.get((cell, record.name, metric.name)) for cell in self.cells)
        return max((r.n + r.n_broken + r.n_left_out for r in own if r is not None), default=0)

    def matching_slices(self, pattern: str | None) -> tuple[SliceRecord, ...]:
        """Slices whose name matches a shell-style pattern, or contains it if it has no wildcard.

        Raises
        ------
        SliceError
            None does.
        """
        if pattern is None:
            return self.report.slices
        glob = pattern if any(c in pattern for c in "*?") else f"*{pattern}*"
        # names hold brackets ("[0, 5)"), which are no wildcards here
        glob = glob.replace("[", "[[]")
        found = tuple(each for each in self.report.slices if fnmatch.fnmatchcase(each.name, glob))
        if not found:
            raise SliceError(
                f"no slice matches {pattern!r}",
                where="--slices",
                next_step=near(pattern, self.slices),
            )
        return found


def variant(cell: CellRecord) -> tuple[str, str, str]:
    """What sets engines of one calibration set apart: method and exemption, precision, target."""
    return cell.way or source_of(cell), cell.precision, cell.backend


def source_of(cell: CellRecord) -> str:
    """What an engine's ranges are of: its calibration set, given ranges, or its own name.

    The last of an engine that somebody else made; empty for none.
    """
    return cell.calibset or cell.given_ranges or (cell.foreign.name if cell.foreign else "")


def way_of(cell: CellRecord) -> str:
    """How an engine came about: its method and exemption, its precision, or that others made it."""
    if cell.foreign is None:
        return cell.way or cell.precision
    return "answers given" if cell.foreign.kind == "answers" else "made elsewhere"


def predicts(cell: CellRecord) -> str:
    """What an engine stands in for, such as ``"TensorRT's implicit quantization"``; else empty."""
    return "" if cell.engine is None else str(cell.engine.options.get("predicts") or "")


def cell_parts(cell: CellRecord, report: Report) -> tuple[str, str]:
    """What people call a cell: its calibration set, and its method or precision.

    Of an engine that somebody else made its name, and that they did.

    That an engine is a prediction is added, and the target where the report has several; a control
    is marked as one.
    """
    method = way_of(cell)
    if predicts(cell):
        method += " predicted"
    ran = ran_on(report.cells)
    if len(ran) > 1 and cell.backend in ran:
        method += f" on {cell.backend}"
    return set_label(source_of(cell) or "no set", cell.role), method


def ran_on(cells: Iterable[CellRecord]) -> frozenset[str]:
    """Targets of engines; those whose answers were given have none."""
    return frozenset(
        each.backend for each in cells if each.foreign is None or each.foreign.kind != "answers"
    )


def set_label(name: str, role: Role) -> str:
    """What people call a calibration set, marked where it is a control."""
    return f"{name} (control)" if role == "control" else name
