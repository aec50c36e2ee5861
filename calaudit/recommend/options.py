"""What there is to choose from: engines that differ in their ranges, and where those come from."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from calaudit.audit.entries import SetFile
from calaudit.audit.observed import Observed
from calaudit.audit.plan import PlannedCell
from calaudit.audit.planned_sets import PlannedSet
from calaudit.audit.prepare import Audit
from calaudit.calibration.scales import ScaleTable, estimate_scales
from calaudit.recommend.predicting import Predictor, Ranges
from calaudit.results.recommendation import Remedy
from calaudit.runtime.errors import SettingsError, near
from calaudit.sampling.recipe import Recipe

PRICES: Mapping[Remedy, int] = {remedy: price for price, remedy in enumerate(Remedy)}
"""What a remedy costs: its place in the order."""


@dataclass(frozen=True, slots=True)
class FromSet:
    """Ranges of a calibration set of the audit, by a method."""

    planned: PlannedSet
    method: str


@dataclass(frozen=True, slots=True)
class FromRecipe:
    """Ranges of a set that isn't the audit's, by a method."""

    recipe: Recipe
    method: str


@dataclass(frozen=True, slots=True)
class FromFile:
    """Ranges that the audit is given."""

    name: str


@dataclass(frozen=True, slots=True)
class FromSearch:
    """Ranges that are nobody's: a scale table is written."""

    name: str


Source = FromSet | FromRecipe | FromFile | FromSearch


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """One engine that may be shipped."""

    name: str
    """As options are called in a report."""
    remedy: Remedy
    ranges: Ranges
    source: Source
    predicted: float = np.inf
    """Harm to the slice that is harmed most."""
    float_ops: tuple[str, ...] = ()
    """Products that it leaves in float, the audit's own among them."""
    exemption: str | None = None
    """What these are called: one of the audit's ``[[exemptions]]``, or by its ops."""

    @property
    def price(self) -> int:
        """Of its remedy."""
        return PRICES[self.remedy]


def plain_set(audit: Audit, asked: str | None) -> str:
    """The recipe that would be drawn without knowing the slices.

    Parameters
    ----------
    audit : Audit
    asked : str, optional
        Its name; by default the first candidate that is drawn uniformly from all that may be drawn,
        else the first candidate.

    Raises
    ------
    SettingsError
        There is no candidate, or none of that name.
    """
    config = audit.config
    names = [name for name in config.calibsets if config.role_of(name) == "candidate"]
    if not names:
        raise SettingsError(
            "no calibration set is a candidate, so there is nothing to compare with",
            where=f"{config.path}: calibsets",
            next_step='Add a set without role = "control", such as kind = "uniform".',
        )
    if asked is not None:
        if asked not in names:
            raise SettingsError(
                f"no candidate is called {asked!r}", where="--plain", next_step=near(asked, names)
            )
        return asked

    def knows_nothing(name: str) -> bool:
        entry = config.calibsets[name]
        return not isinstance(entry, SetFile) and entry.kind == "uniform" and not entry.candidates

    return next(filter(knows_nothing, names), names[0])


def candidates_of_sets(
    audit: Audit, tables: Mapping[str, ScaleTable], plain: str, predictor: Predictor
) -> list[Candidate]:
    """Every cell that may ship: the plain set's first, in the audit's order of methods.

    Parameters
    ----------
    audit : Audit
    tables : mapping
        Cell → its ranges.
    plain : str
        Recipe of the plain set.
    predictor : Predictor
    """
    sets = {each.name: each for each in audit.plan.calibsets}
    found = []
    for cell in audit.plan.cells:
        if cell.role != "candidate" or cell.id not in tables:
            continue
        found.append(_of_cell(cell, sets, tables[cell.id], plain, predictor))
    found.sort(key=lambda each: each.price)
    return with_predictions(found, predictor)


def _of_cell(
    cell: PlannedCell,
    sets: Mapping[str, PlannedSet],
    table: ScaleTable,
    plain: str,
    predictor: Predictor,
) -> Candidate:
    remedy = Remedy.OTHER_SET
    if cell.exemption is not None:
        remedy = Remedy.FLOAT_OPS
    elif cell.recipe == plain and cell.draw <= 1:
        remedy = Remedy.PLAIN_SET
    source: Source = (
        FromFile(str(cell.given_ranges))
        if cell.calibset is None
        else FromSet(sets[cell.calibset], str(cell.method))
    )
    return Candidate(
        cell.id,
        remedy,
        {tap: table.taps[tap].amax for tap in predictor.taps},
        source,
        float_ops=cell.float_ops,
        exemption=cell.exemption,
    )


def cell_tables(
    audit: Audit, observed: Observed, taps: Sequence[str]
) -> Iterator[tuple[str, ScaleTable]]:
    """Cells of the audit's own target that ranges of all `taps` are known of, with their tables."""
    for cell in audit.plan.cells:
        if cell.precision != "int8" or cell.backend != audit.config.audit.backend or cell.foreign:
            continue
        table: ScaleTable | None = None
        if cell.given_ranges is not None:
            table = audit.given[cell.given_ranges]
        observation = observed.network if cell.given == "scales" else observed.taps
        if table is None and cell.given != "calibset" and observation is not None:
            table = estimate_scales(
                observation.of(str(cell.calibset)),
                0,
                str(cell.method),
                calibset=str(cell.calibset),
                equal=observation.equal_for(str(cell.method), str(cell.calibset)),
                model_fingerprint=observation.model_fingerprint,
            )
        if table is not None and all(tap in table.taps for tap in taps):
            yield cell.id, table


def audits_float_ops(audit: Audit) -> tuple[str, ...]:
    """Products that all of the audit's engines leave in float."""
    found = (each for each in audit.plan.cells if each.method is not None and not each.exemption)
    return next(found).float_ops


def methods_per_tap(
    candidates: Sequence[Candidate], predictor: Predictor, plain: str
) -> list[Candidate]:
    """Of the plain set and of the best other one: at each tap the method for the worst slice."""
    by_set: dict[str, list[Candidate]] = {}
    for each in candidates:
        if isinstance(each.source, FromSet) and each.remedy is not Remedy.FLOAT_OPS:
            by_set.setdefault(each.source.planned.name, []).append(each)
    found = []
    for name, own in by_set.items():
        if len(own) > 1:
            best = predictor.best_of([each.ranges for each in own])
            ranges = {
                tap: own[place].ranges[tap]
                for tap, place in zip(predictor.taps, best.choice.tolist(), strict=True)
            }
            label = f"{name}, methods per tap"
            found.append(
                Candidate(
                    label,
                    Remedy.METHODS_PER_TAP,
                    ranges,
                    FromSearch(label),
                    best.worst,
                    own[0].float_ops,
                )
            )
    mine = [each for each in found if each.name == f"{plain}, methods per tap"]
    others = [each for each in found if each not in mine]
    return [*mine, *sorted(others, key=lambda each: each.predicted)[:1]]


def with_predictions(candidates: Sequence[Candidate], predictor: Predictor) -> list[Candidate]:
    """The same with their predicted harm."""
    if not candidates:
        return []
    worst = predictor.harms([each.ranges for each in candidates]).max(axis=1)
    return [
        replace(each, predicted=float(harm))
        for each, harm in zip(candidates, worst.tolist(), strict=True)
    ]
