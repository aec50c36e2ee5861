"""The engines that a bench measures: cells, their baselines, variants, and copies of baselines."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

from calaudit.audit.backends import RemoteBackend, site_of
from calaudit.audit.bench_entry import Variant, built_path
from calaudit.audit.engines import order_engine
from calaudit.audit.foreign_entry import ELSEWHERE
from calaudit.audit.matching import check_cells
from calaudit.audit.observed import open_observed
from calaudit.audit.plan import PlannedCell
from calaudit.audit.prepare import Audit
from calaudit.audit.store import Store
from calaudit.backends.base import Backend, BuiltEngine, Order
from calaudit.backends.targets import Target
from calaudit.results.audited import EngineRecord
from calaudit.results.comparison import Verdict
from calaudit.results.report import Report
from calaudit.runtime.errors import CalauditError, Notice, SettingsError
from calaudit.runtime.words import first_of

OWN: Final = Variant("")
"""The audit's own knobs."""
_SHOWN: Final = 5


@dataclass(frozen=True, eq=False, slots=True)
class Contestant:
    """One engine under one variant; made anew as often as it is loaded."""

    planned: PlannedCell
    variant: Variant
    backend: Backend
    order: Order
    record: EngineRecord
    """As the report has it."""
    file: Path | None
    """What its size is told of."""
    copy: bool = False
    """Whether it is a second copy of a baseline, which shows how far equal engines differ."""
    knobs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str]:
        """Engine and variant."""
        return self.planned.id, self.variant.name

    @property
    def title(self) -> str:
        """For bars and messages."""
        return f"{self.planned.id} ({self.variant.name})" if self.variant.name else self.planned.id

    def load(self) -> BuiltEngine:
        """Make the engine; whoever asks closes it. Raises `BackendError`."""
        return self.backend.make(self.order)


@dataclass(slots=True)
class Field:
    """All that are measured, and what is to be said of those that aren't."""

    contestants: list[Contestant] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)

    def leave_out(self, engines: Collection[str]) -> None:
        """Don't measure engines under the audit's own knobs: their times are known."""
        self.contestants = [
            each for each in self.contestants if each.variant.name or each.planned.id not in engines
        ]

    def baselines(self, one: Contestant) -> list[Contestant]:
        """FP32 and FP16 of the same target and variant, but the contestant itself."""
        return [
            other
            for precision in ("fp32", "fp16")
            for other in self.contestants
            if other.planned.precision == precision
            and other.planned.foreign is None
            and not other.copy
            and other.planned.backend == one.planned.backend
            and other.variant.name == one.variant.name
            and other.key != one.key
        ]


def runnable(audit: Audit) -> list[PlannedCell]:
    """Engines of a plan that may be measured, if they turn out well: the reference's first."""
    return [audit.plan.reference, *(c for c in audit.plan.cells if c.backend != ELSEWHERE)]


def gather(audit: Audit, report: Report, patterns: Sequence[str]) -> Field:
    """The engines of an audit that are to be measured, each ready to be loaded.

    Parameters
    ----------
    audit : Audit
        Its artefacts are there.
    report : Report
        Of this audit.
    patterns : sequence of str
        Names or patterns of cells; empty: all that were judged, of several draws one.

    Raises
    ------
    SettingsError
        A pattern matches no engine.
    """
    found = Field()
    cells = list(_chosen(audit, report, patterns, found.notices))
    planned = _with_baselines(audit, report, cells)
    records = {cell.id: cell.engine for cell in report.cells}
    records[audit.plan.reference.id] = report.reference.engine
    store, observed = Store(), open_observed(audit.plan)
    makers = _Makers(audit)
    for cell in planned:
        record = records.get(cell.id)
        if record is None:
            continue
        try:
            order = order_engine(audit, cell, observed, store)
            for variant in (OWN, *audit.config.bench.variants):
                made = makers.contestant(cell, variant, order, record)
                found.contestants += [] if made is None else [made]
        except CalauditError as error:
            found.notices.append(not_benched(cell.id, error))
    found.contestants += [*_copies(found.contestants)]
    found.notices += makers.notices
    return found


def not_benched(name: str, error: CalauditError, at: str = "") -> Notice:
    """That an engine failed, and why; `at` which load, such as ``" at batch 8"``."""
    why = " ".join(" ".join(map(str, error.problems)).split())
    return Notice("bench_failed", f"it wasn't measured{at}: {why}", f"engine {name}")


def _chosen(
    audit: Audit, report: Report, patterns: Sequence[str], notices: list[Notice]
) -> Iterator[PlannedCell]:
    judged = {cell.id for cell in report.cells if cell.status == "judged"}
    known = [cell for cell in audit.plan.cells if cell.id in judged and cell.backend != ELSEWHERE]
    if patterns:
        judgeable = [audit.plan.reference, *known]
        check_cells(patterns, judgeable, what="no engine that can be run")
        asked = [
            cell
            for cell in known
            if any(fnmatchcase(cell.id, each) for each in patterns) or cell.id in patterns
        ]
        left = [cell.id for cell in known if cell not in asked and cell.precision == "int8"]
        if left:
            message = f"not measured by this bench: {first_of(left[:_SHOWN], len(left))}"
            notices.append(Notice("bench_asked", message, "bench"))
        yield from asked
        return
    chosen = _draws(report, known)
    left = [cell.id for cell in known if cell.id not in chosen]
    if left:
        message = (
            "of several draws of a recipe one is measured with each method, the first that keeps "
            "every gate, else the first, since their engines differ in scales alone; --cell "
            f"measures {first_of(left[:_SHOWN], len(left))} as well"
        )
        notices.append(Notice("bench_first_draws", message, "bench"))
    yield from (cell for cell in known if cell.id in chosen)


def _draws(report: Report, known: Iterable[PlannedCell]) -> set[str]:
    """Of each recipe and method a draw that may ship where there is one, else the first."""
    verdicts: dict[str, set[str | None]] = {}
    for result in report.results:
        if result.gate is not None:
            verdicts.setdefault(result.cell, set()).add(result.verdict)
    winner = None if report.recommendation is None else report.recommendation.winner

    def standing(cell: PlannedCell) -> tuple[bool, bool]:
        # a control shows what is lost: it isn't picked for what it keeps
        keeps = cell.role == "candidate" and verdicts.get(cell.id) == {Verdict.PASS}
        return cell.id != winner, not keeps

    groups: dict[tuple[str | None, ...], list[PlannedCell]] = {}
    for cell in known:
        alike = cell.recipe, cell.way, cell.backend, cell.precision, cell.ranges_by
        groups.setdefault(alike if cell.draw else (cell.id,), []).append(cell)
    return {min(draws, key=standing).id for draws in groups.values()}


def _with_baselines(
    audit: Audit, report: Report, cells: Iterable[PlannedCell]
) -> list[PlannedCell]:
    """The reference, and what was chosen with FP32 and FP16 of its targets, in the plan's order."""
    cells = list(cells)
    used = {cell.backend for cell in cells}
    judged = {cell.id for cell in report.cells if cell.status == "judged"}
    wanted = {cell.id for cell in cells}
    wanted |= {
        cell.id
        for cell in audit.plan.cells
        if cell.precision in {"fp32", "fp16"} and cell.foreign is None and cell.backend in used
    } & judged
    return [audit.plan.reference, *(cell for cell in audit.plan.cells if cell.id in wanted)]


def _copies(contestants: Sequence[Contestant]) -> Iterator[Contestant]:
    """A second copy of FP32 on each target, under the audit's own knobs."""
    for each in contestants:
        own = each.planned.precision == "fp32" and each.planned.foreign is None
        if own and not each.variant.name:
            yield replace(each, copy=True)


class _Makers:
    """The backends that contestants are made by, each made once."""

    def __init__(self, audit: Audit) -> None:
        self._audit = audit
        self._made: dict[tuple[str, str], Backend] = {}
        self._told: dict[str, set[str]] = {}
        self.notices: list[Notice] = []

    def contestant(
        self, cell: PlannedCell, variant: Variant, order: Order, record: EngineRecord
    ) -> Contestant | None:
        """An engine under a variant; None where its target doesn't have the variant's keys."""
        target = self._audit.config.targets[cell.backend]
        if not variant.fits(target) or (variant.name and order.plan is not None):
            return None
        if "predicts" in record.options:
            notice = Notice(
                "bench_predicted",
                f"its engines predict {record.options['predicts']}: their times say nothing of it",
                f"target {target.name}",
            )
            if notice not in self.notices:
                self.notices.append(notice)
            return None
        backend = self._backend(target, variant)
        # how a file's Q/DQ was judged isn't how it is served
        order = replace(order, path=built_path(cell.built, cell.id, variant), kernels=None)
        file = _file(self._audit, cell, order, keeps=target.kind.keeps_engines)
        knobs = {**dict(variant.knobs)}
        return Contestant(cell, variant, backend, order, record, file, knobs=knobs)

    def _backend(self, target: Target, variant: Variant) -> Backend:
        key = target.name, variant.name
        if key not in self._made:
            self._made[key] = self._new(target, variant)
        return self._made[key]

    def _new(self, target: Target, variant: Variant) -> Backend:
        config = self._audit.config
        settings = variant.applied(target.kind.served(target.settings))
        own = self._audit.backends[target.name]
        if isinstance(own, RemoteBackend):
            raise SettingsError(
                f"{target.name} is on a Dask worker, and benches run here",
                where="bench",
                next_step="Bench on the machine that has it.",
            )
        if settings == target.settings:
            return own
        site = site_of(config, target, self._audit.pool, self._audit.folder, 1)
        return target.kind.make(settings, site)


def _file(audit: Audit, cell: PlannedCell, order: Order, *, keeps: bool) -> Path | None:
    """The file whose size an engine has: the backend's own, the Q/DQ graph, or the model."""
    if keeps:
        return order.path
    if cell.foreign is not None:
        return audit.foreign[cell.foreign].path
    if cell.engine is not None:
        return cell.engine
    return Path(audit.model.label) if cell.precision == "fp32" else None
