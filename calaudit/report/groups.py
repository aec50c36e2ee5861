"""Engines of one recipe, and results with those engines folded into one row.

Draws and methods of one recipe mostly lose alike: told one by one, they bury what else was found.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from calaudit.report.index import Index, predicts, ran_on, set_label, source_of, way_of
from calaudit.report.precision import caveat
from calaudit.results.audited import CellRecord
from calaudit.results.comparison import Result
from calaudit.runtime.words import visible

_RANK = {"REGRESSED": 0, "INCONCLUSIVE": 1, "PASS": 3}
_PASS_WITH_CAVEAT = 2


@dataclass(frozen=True, slots=True)
class EngineGroup:
    """Engines of one recipe, precision, exemption and target: draw and method set them apart."""

    label: str
    """What people call it: the recipe, and what else it takes to tell groups apart."""
    cells: tuple[CellRecord, ...]

    @property
    def control(self) -> bool:
        """Whether its verdicts decide nothing."""
        return self.cells[0].role == "control"

    def engines(self) -> str:
        """``"minmax"``, or how many there are: ``"6 (2 methods × 3 draws)"``."""
        methods = len({cell.method for cell in self.cells})
        draws = len({cell.calibset for cell in self.cells})
        if len(self.cells) == 1:
            return visible(self.cells[0].method or way_of(self.cells[0]))
        parts = [f"{methods} methods" if methods > 1 else "", f"{draws} draws" if draws > 1 else ""]
        return f"{len(self.cells)} ({' × '.join(filter(None, parts))})"


@dataclass(frozen=True, slots=True)
class FoldedResult:
    """What the engines of a group cost one slice in one metric."""

    slice: str
    metric: str
    group: EngineGroup
    results: tuple[Result, ...]
    """The worst first (:func:`fold_order`)."""

    @property
    def worst(self) -> Result:
        """The one that stands for all of them."""
        return self.results[0]

    @property
    def best(self) -> Result:
        """The one with the smallest drop that was measured; the worst where none was."""
        measured = [each for each in self.results if each.drop is not None]
        return min(measured, key=lambda each: each.drop or 0.0) if measured else self.worst

    @property
    def alike(self) -> int:
        """Engines with the worst one's verdict."""
        return sum(each.verdict == self.worst.verdict for each in self.results)

    def engines(self) -> str:
        """How many have it: ``"4 of 6"``, ``"6"``."""
        count = len(self.results)
        return f"{count}" if self.alike == count else f"{self.alike} of {count}"


@dataclass(frozen=True, order=True, slots=True)
class Standing:
    """How gated comparisons came out; the best sorts first."""

    regressed: int
    undecided: int
    n: int
    """All of them."""

    @classmethod
    def of(cls, results: Collection[Result]) -> "Standing":
        """Of comparisons with a gate."""
        regressed = sum(each.verdict == "REGRESSED" for each in results)
        passed = sum(each.verdict == "PASS" for each in results)
        return cls(regressed, len(results) - passed - regressed, len(results))

    @property
    def told(self) -> str:
        """``"regressed in 1 and inconclusive in 2"``; empty where all pass."""
        parts = [f"regressed in {self.regressed:,}" if self.regressed else ""]
        parts += [f"inconclusive in {self.undecided:,}" if self.undecided else ""]
        return " and ".join(filter(None, parts))


def engine_groups(index: Index) -> tuple[EngineGroup, ...]:
    """All engines of a report, grouped, in the report's order."""
    cells = index.report.cells
    found: dict[tuple[str, ...], list[CellRecord]] = {}
    for cell in cells:
        found.setdefault(_key(index, cell), []).append(cell)
    several = ran_on(cells) if len(ran_on(cells)) > 1 else frozenset()
    return tuple(
        EngineGroup(_label(index, members[0], several), tuple(members))
        for members in found.values()
    )


def _key(index: Index, cell: CellRecord) -> tuple[str, ...]:
    parts = (cell.exemption or "", cell.role, cell.precision, predicts(cell), cell.backend)
    return _source(index, cell), *parts


def _source(index: Index, cell: CellRecord) -> str:
    """What the ranges are of: a recipe, ranges that were given, or an engine's own name."""
    if cell.calibset is None:
        return source_of(cell)
    return index.recipes.get(cell.calibset, cell.calibset)


def _label(index: Index, cell: CellRecord, several: Collection[str]) -> str:
    source = _source(index, cell) or cell.method or cell.precision
    source += f" +{cell.exemption}" if cell.exemption else ""
    label = set_label(source, cell.role)
    label += " predicted" if predicts(cell) else ""
    return f"{label} on {cell.backend}" if cell.backend in several else label


def grade(verdict: str | None, told: str) -> int:
    """Place of a verdict among all, the worst 0; `told` is its engine's caveat."""
    rank = _RANK.get(verdict or "", len(_RANK) + 1)
    return _PASS_WITH_CAVEAT if verdict == "PASS" and told else rank


def fold_order(index: Index, result: Result) -> tuple[int, bool, float]:
    """Sort key of the results of one group, the worst first: by verdict, also a control's.

    Then engines that gave no finite output for some unit; then by drop. A pass of an engine that
    runs less in INT8 than requested, or may, proves less than another one.
    """
    rank = grade(result.verdict if result.gate else None, caveat(index.cells[result.cell]))
    return rank, not result.n_broken, -index.per_gate(result, result.drop)


def folded(index: Index, results: Iterable[Result], *, apart: bool = False) -> list[FoldedResult]:
    """`results` by slice, metric and group, ordered as the worst of each are.

    With `apart` every result stands alone, beside the group that its engine is of.
    """
    groups = {cell.id: group for group in engine_groups(index) for cell in group.cells}
    found: dict[tuple[str, str, str], list[Result]] = {}
    for result in results:
        # a group is known by its first engine
        first = result.cell if apart else groups[result.cell].cells[0].id
        found.setdefault((result.slice, result.metric, first), []).append(result)
    made = [
        FoldedResult(
            name, metric, groups[first], tuple(sorted(each, key=lambda r: fold_order(index, r)))
        )
        for (name, metric, first), each in found.items()
    ]
    return sorted(made, key=lambda each: index.severity(each.worst))
