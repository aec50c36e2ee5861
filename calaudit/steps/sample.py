"""Sample: recipe and pool → calibration set."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from calaudit.formats.calibset import Calibset, DrawnSet, write_calibset
from calaudit.formats.writing import keep_apart
from calaudit.runtime.errors import CalauditError
from calaudit.runtime.pool import Pool, Rows, batches
from calaudit.sampling.composition import compose
from calaudit.sampling.design import Candidates, leaves_no_choice
from calaudit.sampling.draw import Draw, check_draw, check_size, draw
from calaudit.sampling.recipe import Recipe
from calaudit.slices.sliceset import SliceSet
from calaudit.steps.candidates import find_candidates, find_slices
from calaudit.steps.features import read_deviation, read_embedding

if TYPE_CHECKING:
    from calaudit.steps.model_outputs import ModelOutputs

_READ = 1024


def draw_calibset(
    pool: Pool,
    recipe: Recipe,
    out: Path,
    *,
    seed: int = 0,
    evaluate: str | Rows | None = None,
    candidates: str | None = None,
    slices: SliceSet | None = None,
    run_outputs: "ModelOutputs | None" = None,
) -> Calibset:
    """Carry out a recipe and write the calibration set.

    Parameters
    ----------
    pool : Pool
    recipe : Recipe
    out : Path
        HDF5 file to write, whole or not at all.
    seed, evaluate, candidates, slices, run_outputs
        As in :func:`draw_set`.

    Raises
    ------
    PoolError
        Drawn inputs hold NaN or infinity.
    OutputError
        The file can't be written.
    DrawError, SliceError
        As :func:`draw_set` raises them.
    """
    drawn = draw_set(
        pool,
        recipe,
        seed=seed,
        evaluate=evaluate,
        candidates=candidates,
        slices=slices,
        run_outputs=run_outputs,
    )
    return write_set(pool, drawn, out)


def write_set(pool: Pool, drawn: DrawnSet, out: Path) -> Calibset:
    """Read the inputs of a draw from its pool and write the calibration set to `out`.

    Raises
    ------
    PoolError
        Drawn inputs hold NaN or infinity.
    OutputError
        The file can't be written, or is the pool itself.
    """
    keep_apart(out, Path(pool.label))
    return write_calibset(out, drawn, map(pool.read_inputs, batches(drawn.rows, _READ)))


def draw_set(
    pool: Pool,
    recipe: Recipe,
    *,
    seed: int = 0,
    evaluate: str | Rows | None = None,
    candidates: str | None = None,
    slices: SliceSet | None = None,
    run_outputs: "ModelOutputs | None" = None,
) -> DrawnSet:
    """Carry out a recipe, without writing anything.

    Parameters
    ----------
    pool : Pool
    recipe : Recipe
    seed : int
        Used unless the recipe has its own.
    evaluate : str or int64 array, optional
        The samples that engines will be judged on: a SQL predicate, or rows. They are never drawn.
    candidates : str, optional
        SQL predicate for a recipe that doesn't say what it draws from. With neither, every sample
        that isn't evaluated is a candidate.
    slices : SliceSet, optional
        Slices over all N rows: the recipe may name them, and the composition lists them.
    run_outputs : ModelOutputs, optional
        The FP32 model, for a recipe that needs it (``recipe.needs_model``).

    Raises
    ------
    LeakError
        Samples are asked for that are evaluated.
    DrawError
        The recipe can't be carried out.
    SliceError
        A predicate or slice that doesn't fit the pool.
    """
    rows = find_candidates(pool, recipe, evaluate=evaluate, candidates=candidates)
    check_size(recipe, len(rows))
    known = find_slices(pool, recipe, slices).take(rows)
    deviation = read_deviation(pool, recipe, rows, run_outputs)
    embedding = read_embedding(pool, recipe, rows, run_outputs)
    made = draw(recipe, Candidates(rows, known, deviation, embedding), seed=seed)
    return _with_provenance(pool, recipe, known, made, np.searchsorted(rows, made.rows))


def check_recipe(
    pool: Pool,
    recipe: Recipe,
    *,
    evaluate: str | Rows | None = None,
    candidates: str | None = None,
    slices: SliceSet | None = None,
) -> None:
    """Refuse a recipe that :func:`draw_set` would, as far as is known without running the model.

    Parameters
    ----------
    pool, recipe, evaluate, candidates, slices
        As in :func:`draw_set`.

    Raises
    ------
    LeakError, DrawError, SliceError
        As :func:`draw_set` raises them.
    """
    rows = find_candidates(pool, recipe, evaluate=evaluate, candidates=candidates)
    check_size(recipe, len(rows))
    known = find_slices(pool, recipe, slices).take(rows)
    deviation = None if recipe.needs_model else read_deviation(pool, recipe, rows, None)
    check_draw(recipe, Candidates(rows, known, deviation))


def draws_alike(
    pool: Pool,
    recipe: Recipe,
    *,
    evaluate: str | Rows | None = None,
    candidates: str | None = None,
    slices: SliceSet | None = None,
) -> bool:
    """Whether every seed would draw the same set, as far as is known without running the model.

    A recipe that can't be carried out isn't said to: :func:`draw_set` tells why it can't.

    Parameters
    ----------
    pool, recipe, evaluate, candidates, slices
        As in :func:`draw_set`.
    """
    try:
        rows = find_candidates(pool, recipe, evaluate=evaluate, candidates=candidates)
        known = find_slices(pool, recipe, slices).take(rows)
        return leaves_no_choice(recipe, Candidates(rows, known))
    except CalauditError:
        return False


def _with_provenance(
    pool: Pool, recipe: Recipe, known: SliceSet, made: Draw, positions: NDArray[np.int64]
) -> DrawnSet:
    """A draw as a set; `positions` are the drawn samples' places among the candidates."""
    return DrawnSet(
        recipe=recipe,
        seed=made.seed,
        pool_label=pool.label,
        pool_fingerprint=pool.fingerprint(),
        rows=made.rows,
        ids=pool.ids(made.rows),
        weights=made.weights,
        slices=known.take(positions),
        composition=compose(known, positions, made.weights),
        strata=made.strata,
        notices=(*known.notices, *made.notices),
    )
