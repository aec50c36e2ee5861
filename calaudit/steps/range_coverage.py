"""How well ranges cover slices: predicted harm of each scale table beside the least possible.

So that a bad calibration set is seen before an engine is built of it.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calaudit.calibration.harm import least_harm, observed_harm
from calaudit.calibration.methods import DEFAULT_METHODS
from calaudit.calibration.minimax import minimax_ranges
from calaudit.calibration.observation import Observation
from calaudit.calibration.scales import ScaleTable, estimate_scales
from calaudit.graph.load import check_pool_matches, load_model
from calaudit.graph.placement import plan_qdq
from calaudit.graph.prepare import prepare
from calaudit.runtime.errors import ModelError, RangesError
from calaudit.runtime.pool import Pool, Rows
from calaudit.slices.evaluate import select_rows
from calaudit.slices.sliceset import SliceSet
from calaudit.steps.observe import load_to_observe, observe
from calaudit.steps.tuning import SOURCE, find_tuning
from calaudit.steps.union import PoolSamples

Floats = NDArray[np.float64]

MOST_ROWS = 2048
"""Rows whose slices are observed."""


@dataclass(frozen=True, slots=True, eq=False)
class RangeCoverage:
    """Predicted harm of K scale tables to G slices."""

    slices: tuple[str, ...]
    n: tuple[int, ...]
    """Samples that the slices were observed on."""
    least: Floats
    """(G,): of the best ranges for each slice alone."""
    bound: float
    """Whatever the ranges, some slice's harm is at least this."""
    calibsets: tuple[str, ...]
    """(K,) what each table's ranges are of."""
    methods: tuple[str, ...]
    """(K,)."""
    harm: Floats
    """(G, K)."""

    def best(self, calibset: str) -> int:
        """Which table of a set harms the worst slice least."""
        own = [place for place, name in enumerate(self.calibsets) if name == calibset]
        return min(own, key=lambda place: float(self.harm[:, place].max()))

    def worst_covered(self, table: int) -> tuple[str, float]:
        """The slice that a table's ranges harm most beyond the least, and how many times it."""
        beyond = self.harm[:, table] - self.least
        place = int(beyond.argmax())
        least = float(self.least[place])
        return self.slices[place], float(self.harm[place, table]) / least if least > 0 else 1.0


def cover_slices(
    observation: Observation, slices: Collection[str], tables: Sequence[ScaleTable]
) -> RangeCoverage:
    """Predict the harm of scale tables to observed slices.

    Parameters
    ----------
    observation : Observation
        Of the slices, on samples that should be covered.
    slices : collection of str
        Their names, at least one.
    tables : sequence of ScaleTable
        Of the same model.

    Raises
    ------
    RangesError
        A slice that wasn't observed, or a table of another model.
    """
    names = tuple(slices)
    for table in tables:
        if table.model_fingerprint not in {None, observation.model_fingerprint}:
            raise RangesError(
                f"the ranges of {table.calibset} are of another model than the slices to cover",
                next_step="Observe both on the same model.",
            )
    harms = [
        observed_harm(observation, {name: tap.amax for name, tap in table.taps.items()}, names)
        for table in tables
    ]
    members = observation.members[[observation.groups.index(name) for name in names]]
    free = minimax_ranges(observation.histograms, groups=names, members=members)
    return RangeCoverage(
        names,
        tuple(observation.size(name) for name in names),
        least_harm(observation.histograms, members=members, beside=harms),
        free.found.bound,
        tuple(table.calibset for table in tables),
        tuple(table.method for table in tables),
        np.array([each.sums() for each in harms]).reshape(len(tables), len(names)).T,
    )


def cover_draws(
    model_path: Path,
    pool: Pool,
    draws: Mapping[str, Rows],
    slices: SliceSet,
    *,
    evaluate: str | Rows | None = None,
    seed: int = 0,
    batch_size: int = 64,
) -> RangeCoverage:
    """Observe draws and slices in one FP32 pass over a pool, and predict harm by every method.

    Parameters
    ----------
    model_path : Path
        FP32 ONNX model.
    pool : Pool
    draws : mapping
        Calibration set → its rows, ascending.
    slices : SliceSet
        Over the whole pool. They are observed on at most `MOST_ROWS` rows that aren't evaluated,
        evenly spread over them.
    evaluate : str or int64 array, optional
        The samples that are evaluated: a SQL predicate, or rows.
    seed : int
        Of the choice of these rows.
    batch_size : int
        Samples per run at most; the result doesn't depend on it.

    Raises
    ------
    ModelError
        The model can't be read, doesn't take the pool's inputs, or nothing of it runs in INT8.
    RangesError
        Every row that isn't evaluated, or a whole draw, has activations that aren't finite.
    """
    from calaudit.backends.onnxruntime.sessions import OnnxruntimeBackend

    model = prepare(load_model(model_path))
    check_pool_matches(model.inputs, pool.inputs, where=pool.label)
    taps = plan_qdq(model).taps
    if not taps:
        raise ModelError(
            "no op of this model would run in INT8, so there are no ranges to cover anything",
            where=model.label,
            next_step="Give the FP32 model; calaudit build --explain says why each op stays float.",
        )
    rows = _uncovered(pool, evaluate, slices, seed)
    every = np.union1d(rows, np.concatenate([rows[:0], *draws.values()]))
    groups = [(name, np.isin(every, rows[mask])) for name, mask in slices.take(rows).masks()]
    own = _own_names(draws, slices.names)
    groups += [(own[name], np.isin(every, drawn)) for name, drawn in draws.items()]
    seen = observe(
        load_to_observe(model, taps, OnnxruntimeBackend()),
        PoolSamples(pool, every, groups, SOURCE),
        batch_size=batch_size,
        pool_fingerprint=pool.fingerprint(),
        skip_bad=True,
    )
    tables = [
        estimate_scales(seen.of(own[name]), 0, method, calibset=name)
        for name in draws
        for method in DEFAULT_METHODS
    ]
    return cover_slices(seen, [name for name in seen.groups if name not in own.values()], tables)


def _own_names(draws: Collection[str], taken: Collection[str]) -> dict[str, str]:
    """A name for each draw that no slice has."""
    own = {}
    for name in draws:
        own[name] = f"set {name}"
        while own[name] in taken:
            own[name] += "'"
    return own


def _uncovered(pool: Pool, evaluate: str | Rows | None, slices: SliceSet, seed: int) -> Rows:
    """Rows that slices are observed on."""
    judged = np.empty(0, np.int64) if evaluate is None else evaluate
    if isinstance(judged, str):
        judged = select_rows(judged, pool, where="evaluate")
    found = find_tuning(
        pool,
        tune=None,
        calibrate=None,
        evaluated=judged,
        slices=slices,
        most=MOST_ROWS,
        seed=seed,
        where="evaluate",
    ).observed
    if not len(found):
        raise RangesError("every sample is evaluated: there are none whose ranges to cover")
    return found
