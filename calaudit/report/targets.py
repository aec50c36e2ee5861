"""An audit's targets side by side: what each ran on, and how its engines fared."""

from collections.abc import Iterator
from dataclasses import dataclass

from calaudit.report.index import Index
from calaudit.report.wording import MISSING
from calaudit.results.audited import Agreement, TargetRecord
from calaudit.runtime.words import visible

TEXTS = ("target", "runs on", "settings")
HEADINGS = (*TEXTS, "engines", "regressed", "same verdicts", "FP32 differs by")
"""Of the rows' entries, in their order: texts, then numbers."""


@dataclass(frozen=True, slots=True)
class TargetRow:
    """One target; its texts are to be shown as they are."""

    name: str
    runs_on: str
    """Its backend, with the device and the library's version where they are known."""
    settings: str
    """What it was given of its backend's keys: ``"int8 = implicit, kernels = fused"``."""
    engines: str
    """How many were judged, of how many; its FP32 isn't counted."""
    regressed: str
    """Gated comparisons of its candidates that regressed, of how many."""
    same_verdicts: str
    """Gated comparisons with the verdict that they have on the audit's own target."""
    fp32: str
    """The largest difference between its FP32's outputs and the reference's."""

    @property
    def entries(self) -> tuple[str, ...]:
        """As `HEADINGS` has them."""
        numbers = (self.engines, self.regressed, self.same_verdicts, self.fp32)
        return (self.name, self.runs_on, self.settings, *numbers)


def target_rows(index: Index) -> Iterator[TargetRow]:
    """The audit's own target first; none where it has no other."""
    targets = index.report.audit.targets
    if len(targets) > 1:
        yield from (_row(index, target) for target in targets)


def _row(index: Index, target: TargetRecord) -> TargetRow:
    cells = [c for c in index.report.cells if c.backend == target.name and c.precision != "fp32"]
    ids = {cell.id for cell in cells}
    judged = sum(cell.status == "judged" for cell in cells)
    gated = [result for result in index.gated if result.cell in ids]
    regressed = sum(result.verdict == "REGRESSED" for result in gated)
    # each output of an engine repeats how many of its verdicts are equal
    same = {one.cell: one for one in index.report.agreement if one.cell in ids and one.verdicts}
    verdicts = sum(one.verdicts for one in same.values())
    equal = sum(one.verdicts_equal for one in same.values())
    return TargetRow(
        name=visible(target.name),
        runs_on=_place(target),
        settings=visible(", ".join(f"{k} = {v}" for k, v in target.settings.items())) or MISSING,
        engines=f"{judged:,}" if judged == len(cells) else f"{judged:,} of {len(cells):,}",
        regressed=f"{regressed:,} of {len(gated):,}" if gated else MISSING,
        same_verdicts=f"{equal:,} of {verdicts:,}" if verdicts else MISSING,
        fp32=_fp32(index, target),
    )


def _place(target: TargetRecord) -> str:
    told = dict(target.environment)
    device = told.pop("gpu", None)
    found = [] if target.backend in told else [target.backend]
    found += [f"{name} {version}" for name, version in sorted(told.items())]
    return visible(", ".join([*found, *([device] if device else [])]))


def _fp32(index: Index, target: TargetRecord) -> str:
    references = {
        cell.id: cell
        for cell in index.report.cells
        if cell.backend == target.name and cell.precision == "fp32"
    }
    if any(cell.status == "failed" for cell in references.values()):
        return "failed"
    found = [
        one.max_abs_diff
        for one in index.report.agreement
        if one.cell in references and one.max_abs_diff is not None
    ]
    return f"{max(found):.3g}" if found else MISSING


def likeness(one: Agreement) -> str:
    """The share of answers that are the same on both, or a metric of likeness; empty: neither."""
    if one.value is not None:
        return f"{one.value:.5f} {one.metric}"
    return "" if one.same_top is None else f"{one.same_top:.5f} of {one.k}"
