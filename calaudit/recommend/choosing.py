"""Choose on tuning rows, from the cheapest remedy on; dearer ones where it takes them.

Predicted harm prunes; engines on tuning rows decide. Nothing is claimed from these rows, so that
the best of many may be taken.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np

from calaudit.audit.entries import SetFile
from calaudit.audit.observed import Observed
from calaudit.audit.prepare import Audit
from calaudit.calibration.methods import METHODS
from calaudit.calibration.minimax import FreeRanges
from calaudit.calibration.scales import estimate_scales
from calaudit.explain.sensitivity import ROWS, measure_sensitivities
from calaudit.formats.calibset import open_calibset
from calaudit.recommend.exempting import exempt
from calaudit.recommend.mixtures import Mixture, best_mixtures
from calaudit.recommend.options import (
    Candidate,
    FromRecipe,
    FromSearch,
    audits_float_ops,
    candidates_of_sets,
    cell_tables,
    methods_per_tap,
    plain_set,
    with_predictions,
)
from calaudit.recommend.predicting import Floats, Predictor, predictor
from calaudit.recommend.trials import Trials, trials
from calaudit.results.recommendation import Remedy
from calaudit.runtime.errors import BackendError, CalauditError, SettingsError
from calaudit.sampling.kinds import make_recipe
from calaudit.sampling.recipe import Recipe
from calaudit.slices.dimension import EVERYTHING
from calaudit.statistics.choice import Standing, ranked, rows_needed
from calaudit.steps.calibrate import calibrate
from calaudit.steps.predict import EngineOutputs
from calaudit.steps.sample import draw_calibset

MOST_OTHERS: Final = 8
"""Cells beside the plain set's that are run on the tuning rows, those predicted best."""
MOST_MIXTURES: Final = 2
MOST_RIVALS: Final = 2
FREE: Final = "minimax"
FREE_WEIGHTED: Final = "minimax-weighted"


@dataclass(frozen=True, slots=True, eq=False)
class Considered:
    """A candidate, and how it did on the tuning rows; None where it was predicted to do worse."""

    candidate: Candidate
    standing: Standing | None


@dataclass(slots=True, eq=False)
class Chosen:
    """What to judge on the evaluated rows."""

    winner: Candidate
    plain: Candidate
    """The plain set under the audit's first method."""
    rivals: tuple[Candidate, ...]
    considered: tuple[Considered, ...]
    """All candidates, the cheapest remedy first, of one remedy the best first."""
    free: FreeRanges
    predictor: Predictor
    n_rows: int
    """Tuning rows that engines were run on."""
    n_needed: int
    """Below so many, one row may decide."""
    untried: tuple[str, ...] = ()

    @property
    def few(self) -> bool:
        """Whether too few rows chose."""
        return self.n_rows < self.n_needed

    def standing(self, candidate: Candidate) -> Standing:
        """How one that was run did."""
        found = next(each.standing for each in self.considered if each.candidate is candidate)
        assert found is not None
        return found


@dataclass(slots=True, eq=False)
class _Field:
    """Candidates so far."""

    bench: Trials
    few: bool
    held: list[Candidate] = field(default_factory=list)
    standings: list[Standing] = field(default_factory=list)
    untried: list[str] = field(default_factory=list)

    def add(self, candidates: Sequence[Candidate]) -> None:
        self.standings += self.bench.standings(candidates)
        self.held += candidates

    @property
    def holds(self) -> bool:
        return any(each.holds for each in self.standings)

    @property
    def best(self) -> Candidate:
        return self.held[self.order[0]]

    @property
    def order(self) -> list[int]:
        return ranked(self.standings, few=self.few)


def choose(
    audit: Audit,
    observed: Observed,
    folder: Path,
    *,
    plain: str | None = None,
) -> Chosen:
    """Choose a winner, and two rivals to judge beside it and the plain set.

    Parameters
    ----------
    audit : Audit
    observed : Observed
        Its calibration sets' ranges, and those of the slices of its tuning rows.
    folder : Path
        For what is drawn and answered on the way; its owner deletes it.
    plain : str, optional
        Recipe of the plain set.

    Raises
    ------
    SettingsError
        No tuning rows, no candidate, or none whose ranges are known.
    BackendError
        An engine can't be made, or failed.
    """
    name = plain_set(audit, plain)
    foreseen = _predictor(audit, observed)
    tables = dict(cell_tables(audit, observed, foreseen.taps))
    drawn = candidates_of_sets(audit, tables, name, foreseen)
    first = _plain(audit, drawn, name)
    free = foreseen.free()
    bench = trials(audit, audit.tuning.observed, folder)
    bench.runs.hold_inputs(bench.predicted)
    needed = _rows_needed(audit, bench)
    found = _Field(bench, few=len(bench.rows) < needed)
    found.add(_pruned(drawn, keep=found.few or not audit.gates))
    _mixtures(audit, foreseen, found, folder, name)
    _searched(audit, foreseen, found, free, name)
    _exemptions(audit, found)
    order = found.order
    winner = found.held[order[0]]
    others = [found.held[place] for place in order[1:] if found.held[place] is not first]
    return Chosen(
        winner=winner,
        plain=first,
        rivals=tuple(others[:MOST_RIVALS]),
        considered=_considered(found, drawn),
        free=free,
        predictor=foreseen,
        n_rows=len(bench.rows),
        n_needed=needed,
        untried=tuple(found.untried),
    )


def _predictor(audit: Audit, observed: Observed) -> Predictor:
    if observed.slices is None:
        raise SettingsError(
            "there are no tuning rows, by which ranges could be chosen",
            where=f"{audit.config.path}: audit",
            next_step="Let evaluate leave samples out, or say in tune which are to choose by.",
        )
    return predictor(audit, observed.slices)


def _plain(audit: Audit, drawn: Sequence[Candidate], name: str) -> Candidate:
    found = next((each for each in drawn if each.remedy is Remedy.PLAIN_SET), None)
    if found is None:
        raise SettingsError(
            f"the ranges of {name!r} aren't known: the backend estimates its own",
            where=f"{audit.config.path}: audit",
            next_step='Add "calaudit" to its ranges.',
        )
    return found


def _rows_needed(audit: Audit, bench: Trials) -> int:
    spans = {each.name: each.span for one in bench.eval_sets for each in one.metrics}
    return rows_needed(
        (gate.max_drop, spans.get(metric))
        for (metric, _), gate in audit.gates.items()
        if gate.max_drop is not None
    )


def _pruned(drawn: Sequence[Candidate], *, keep: bool) -> list[Candidate]:
    """The plain set's, and the others that are predicted best; of one remedy the best first.

    Where little speaks for a change (`keep`), the plain set's as the audit orders its methods.
    """
    ordered = sorted(drawn, key=lambda each: each.predicted)
    mine = [each for each in (drawn if keep else ordered) if each.remedy is Remedy.PLAIN_SET]
    others = [each for each in ordered if each.remedy is not Remedy.PLAIN_SET]
    return [*mine, *others[:MOST_OTHERS]]


def _considered(found: _Field, drawn: Sequence[Candidate]) -> tuple[Considered, ...]:
    every = [Considered(one, how) for one, how in zip(found.held, found.standings, strict=True)]
    every += [Considered(one, None) for one in drawn if one not in found.held]

    def place(each: Considered) -> tuple[int, float, float]:
        used = np.inf if each.standing is None else each.standing.used
        return each.candidate.price, used, each.candidate.predicted

    return tuple(sorted(every, key=place))


def _mixtures(audit: Audit, foreseen: Predictor, found: _Field, folder: Path, plain: str) -> None:
    """Shares of slices, sought where no set that was drawn holds."""
    what = Remedy.MIXTURE.value
    if found.holds:
        found.untried.append(f"{what}: a calibration set of the audit holds")
        return
    methods = [name for name in audit.config.audit.methods if name in METHODS]
    slices = audit.pool_slices.take(audit.tuning.observed)
    mixed = best_mixtures(foreseen, slices, audit.object_slices.of_samples, methods)
    if not mixed:
        found.untried.append(f"{what}: no slices of a column that shares could be given to")
        return
    made = []
    for number, one in enumerate(mixed[:MOST_MIXTURES]):
        try:
            made.append(_drawn(audit, one, folder / f"mixture-{number}", plain))
        except CalauditError as error:
            problem = error.problems[0].message
            found.untried.append(f"{what} by {one.dimension.title}: {problem}")
    found.add(with_predictions(made, foreseen))


def mixture_recipe(audit: Audit, mixture: Mixture, plain: str) -> Recipe:
    """A recipe that draws a mixture, as large as the plain set."""
    entry = audit.config.calibsets[plain]
    size = entry.size if isinstance(entry, Recipe) else 0
    if isinstance(entry, SetFile):
        size = len(open_calibset(audit.config.resolve(entry.file)))
    keys = {
        key: value
        for key in ("name", "by", "edges", "quantiles", "tail", "count", "tail_labels", "missing")
        if (value := getattr(mixture.dimension, key)) is not None
    }
    return make_recipe(
        kind="skewed",
        name=f"mixture by {mixture.dimension.title}",
        size=size,
        seed=audit.seed,
        strata=[keys],
        shares=mixture.shares,
    )


def _drawn(audit: Audit, mixture: Mixture, folder: Path, plain: str) -> Candidate:
    """A mixture's set, drawn and observed: what its ranges really are."""
    folder.mkdir()
    recipe = mixture_recipe(audit, mixture, plain)
    drawn = draw_calibset(
        audit.pool,
        recipe,
        folder / "set.h5",
        seed=audit.seed,
        evaluate=audit.predicted,
        candidates=audit.config.audit.calibrate,
        slices=audit.pool_slices,
        run_outputs=EngineOutputs(audit.model, audit.pool, audit.backend),
    )
    observation = calibrate(
        audit.folded,
        audit.qdq,
        {recipe.name: drawn},
        audit.backend,
        folder / "ranges.h5",
        batch_size=audit.config.audit.batch_size,
    )
    table = estimate_scales(observation.of(recipe.name), 0, mixture.method, calibset=recipe.name)
    return Candidate(
        f"{recipe.name}/{mixture.method}",
        Remedy.MIXTURE,
        {tap: each.amax for tap, each in table.taps.items()},
        FromRecipe(recipe, mixture.method),
        float_ops=audits_float_ops(audit),
    )


def _searched(
    audit: Audit, foreseen: Predictor, found: _Field, free: FreeRanges, plain: str
) -> None:
    """Methods per tap and free ranges, which no set gives."""
    if not any(cell.given == "qdq" for cell in audit.plan.cells):
        found.untried.append(
            f"{Remedy.METHODS_PER_TAP}, {Remedy.FREE_RANGES}: implicit quantization needs ranges "
            "of tensors that the slices weren't observed at"
        )
        return
    made = methods_per_tap(found.held, foreseen, plain)
    made.append(
        Candidate(FREE, Remedy.FREE_RANGES, free.ranges, FromSearch(FREE), float(free.found.worst))
    )
    if not found.holds:
        try:
            ranges = foreseen.free(_weights(audit, foreseen, free)).ranges
            one = replace(made[-1], name=FREE_WEIGHTED, ranges=ranges)
            made += with_predictions([replace(one, source=FromSearch(one.name))], foreseen)
        except BackendError as error:
            found.untried.append(f"weighted free ranges: {error.problems[0].message}")
    found.add(made)


def _weights(audit: Audit, foreseen: Predictor, free: FreeRanges) -> Floats:
    """What each tap's harm does to the outputs, measured with it alone quantized."""
    rng = np.random.default_rng(audit.seed)
    tuning = audit.tuning.observed
    measured = measure_sensitivities(
        audit.folded,
        audit.qdq,
        audit.backend,
        pool=audit.pool,
        rows=np.sort(rng.choice(tuning, min(ROWS, len(tuning)), replace=False)),
        amax=free.ranges,
        batch_size=audit.config.audit.batch_size,
    )
    whole = replace(foreseen, slices=(EVERYTHING,))
    return measured.weights(whole.costs([free.ranges])[:, 0, 0])


def _exemptions(audit: Audit, found: _Field) -> None:
    """Products in float, where no ranges hold."""
    what = Remedy.FLOAT_OPS.value
    if found.holds:
        found.untried.append(f"{what}: ranges alone hold")
        return
    if not any(cell.given == "qdq" for cell in audit.plan.cells):
        found.untried.append(f"{what}: sought only where Q/DQ says what is quantized")
        return
    taken = {each.name for each in audit.config.exemptions}
    one, how = exempt(found.bench, found.best, audit.macs, audit.seed, taken=taken)
    if one.float_ops == found.best.float_ops:
        found.untried.append(f"{what}: {how.sentence}")
        return
    found.add([one])
