"""The calibration sets of an audit: drawn, or read where an earlier run left them; and leaks."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import polars as pl

from calaudit.audit.entries import SetFile
from calaudit.audit.planned_sets import PlannedSet
from calaudit.audit.preflight import placed_in
from calaudit.audit.prepare import Audit
from calaudit.audit.store import Store
from calaudit.formats.calibset import Calibset, open_calibset
from calaudit.runtime.errors import Notice
from calaudit.runtime.words import counted
from calaudit.sampling.recipe import Recipe
from calaudit.steps.leak import (
    check_leak,
    content_digests,
    note_clusters,
    note_repeats,
    note_tuning,
)
from calaudit.steps.predict import EngineOutputs
from calaudit.steps.sample import draw_calibset
from calaudit.steps.tuning import SOURCE


def draw_sets(audit: Audit, store: Store) -> tuple[dict[str, Calibset], list[Notice]]:
    """Every calibration set by name, drawn where it isn't there yet, and what is to be said.

    Raises
    ------
    LeakError
        A set that was given holds evaluated samples.
    CalauditError
        A recipe that can't be carried out, or a set that can't be read or written.
    """
    notices: list[Notice] = []
    sets = {}
    given: list[Calibset] = []
    for planned in audit.plan.calibsets:
        entry = audit.config.calibsets[planned.recipe]
        if isinstance(entry, SetFile):
            sets[planned.name] = open_calibset(planned.path)
            given.append(sets[planned.name])
        else:
            sets[planned.name] = _drawn(audit, entry, planned, store)
    digests = content_digests(audit.pool, audit.predicted)
    for each in given:
        notices += check_leak(each, audit.pool, audit.predicted, digests=digests)
    own = {name: drawn for name, drawn in sets.items() if drawn not in given}
    columns = audit.config.audit.cluster_columns
    notices += [
        *note_repeats(own, digests),
        *note_clusters(sets, audit.pool, audit.predicted, columns),
        *_tuning_notices(audit, digests),
    ]
    for name, drawn in sets.items():
        notices += [
            Notice(notice.code, notice.message, f"calibration set {name}")
            for notice in drawn.notices
        ]
    notices += _repeated_draw_notices(audit, sets)
    return sets, notices


def _drawn(audit: Audit, recipe: Recipe, planned: PlannedSet, store: Store) -> Calibset:
    if store.holds(planned.path):
        return open_calibset(planned.path)
    with placed_in(audit, recipe):
        drawn = draw_calibset(
            audit.pool,
            recipe if planned.draw == 1 else replace(recipe, seed=None),
            planned.path,
            seed=planned.seed,
            evaluate=audit.predicted,
            candidates=audit.config.audit.calibrate,
            slices=audit.pool_slices,
            run_outputs=EngineOutputs(audit.model, audit.pool, audit.backend),
        )
    store.keep(planned.path)
    return drawn


def drawn_alike(audit: Audit, sets: Mapping[str, Calibset]) -> dict[str, int]:
    """Recipes that several draws of gave the same set, and how many draws."""
    rows: dict[str, list[tuple[int, ...]]] = {}
    for planned in audit.plan.calibsets:
        if planned.draw > 0:
            rows.setdefault(planned.recipe, []).append(tuple(sets[planned.name].rows.tolist()))
    return {
        recipe: len(drawn)
        for recipe, drawn in rows.items()
        if len(drawn) > 1 and len(set(drawn)) == 1
    }


def _repeated_draw_notices(audit: Audit, sets: Mapping[str, Calibset]) -> Iterator[Notice]:
    """Recipes whose draws can't differ, or happen not to, where draws were asked for."""
    asked = audit.config.audit.replicates
    for planned in audit.plan.calibsets:
        if planned.settled and asked > 1:
            message = (
                "every draw of it would be the same "
                f"{counted(len(sets[planned.name]), 'sample')}, so it "
                f"was drawn once, not {asked} times: there is no between-draw variation"
            )
            yield Notice("drawn_once", message, f"calibration set {planned.recipe}")
    for recipe, draws in drawn_alike(audit, sets).items():
        message = f"its {draws} draws are the same set: there is no between-draw variation"
        yield Notice("drawn_alike", message, f"calibration set {recipe}")


def _tuning_notices(audit: Audit, digests: pl.Series) -> Iterator[Notice]:
    """What is to be said of the tuning rows, where some are looked at."""
    if "int8" not in audit.config.audit.precisions:
        return
    yield from audit.tuning.notices
    if audit.plan.slice_ranges is None:
        message = "every sample is evaluated, so that no harm is predicted: let tune name others"
        yield Notice("tuning_none", message, SOURCE)
        return
    yield from note_tuning(
        audit.pool,
        audit.tuning.observed,
        audit.predicted,
        digests=digests,
        columns=audit.config.audit.cluster_columns,
    )
