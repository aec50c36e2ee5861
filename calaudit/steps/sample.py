"""Sample: recipe and pool → calibration set."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from calaudit.formats.calibset import Calibset, DrawnSet, write_calibset
from calaudit.formats.writing import keep_apart
from calaudit.runtime.errors import CalauditError, DrawError, SettingsError, near
from calaudit.runtime.pool import Pool, Rows, batches
from calaudit.runtime.progress import counter
from calaudit.runtime.settings import whole_number
from calaudit.sampling.draw import Draw, check_draw, check_size, compose, draw, leaves_no_choice
from calaudit.sampling.features import read_embedding, read_numbers
from calaudit.sampling.recipe import FP32_LOSS, Candidates, Loss, Recipe
from calaudit.slices.sliceset import SliceSet
from calaudit.steps.candidates import find_candidates, find_slices

if TYPE_CHECKING:
    from calaudit.steps.predict import ModelOutputs

_READ = 1024
_BATCH = 256


def draw_calibset(
    pool: Pool,
    recipe: Recipe,
    out: Path | str,
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
    out : Path or str
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
    out = Path(out)
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
        The FP32 model, for a recipe that needs it (``recipe.needs.model``).

    Raises
    ------
    SettingsError
        `seed` isn't a whole number from 0 to 2^63 - 1.
    LeakError
        Samples are asked for that are evaluated.
    DrawError
        The recipe can't be carried out.
    SliceError
        A predicate or slice that doesn't fit the pool.
    """
    seed = whole_number(seed, "seed")
    rows = find_candidates(pool, recipe, evaluate=evaluate, candidates=candidates)
    check_size(recipe, len(rows))
    known = find_slices(pool, recipe, slices).take(rows)
    asked = Candidates(
        rows,
        known,
        _deviation(pool, recipe, rows, run_outputs),
        _embedding(pool, recipe, rows, run_outputs),
        pool.ids(rows) if recipe.needs.ids else None,
    )
    made = draw(recipe, asked, seed=seed)
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
    needs = recipe.needs
    deviation = None if needs.model else _deviation(pool, recipe, rows, None)
    ids = pool.ids(rows) if needs.ids else None
    check_draw(recipe, Candidates(rows, known, deviation, ids=ids))


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


def _deviation(
    pool: Pool, recipe: Recipe, rows: Rows, run_outputs: "ModelOutputs | None"
) -> NDArray[np.float64] | None:
    """The variable whose spread the recipe asks for (n,), or None where it asks for none."""
    name = recipe.needs.deviation
    if name is None:
        return None
    if name != FP32_LOSS:
        return read_numbers(pool, [name], rows)[:, 0]
    return _fp32_loss(pool, recipe, rows, _needed(run_outputs, recipe))


def _embedding(
    pool: Pool, recipe: Recipe, rows: Rows, run_outputs: "ModelOutputs | None"
) -> NDArray[np.floating] | None:
    """Where the recipe measures coverage, (n, d), or None where it doesn't."""
    embedding = recipe.needs.embedding
    if embedding is None:
        return None
    if embedding.tap is not None:
        _needed(run_outputs, recipe)
    return read_embedding(
        pool,
        embedding,
        rows,
        lambda piece, tap: _needed(run_outputs, recipe).by_sample(piece, tap),
    )


def _fp32_loss(
    pool: Pool, recipe: Recipe, rows: Rows, run_outputs: "ModelOutputs"
) -> NDArray[np.float64]:
    from calaudit.metrics.case import Case
    from calaudit.metrics.classification import holds_probabilities, nll
    from calaudit.tasks.labels import read_labels

    loss = recipe.needs.loss or Loss()
    targets = [
        name
        for name, spec in pool.targets.items()
        if spec.shape == () and (spec.dtype.kind in "iu" or pool.class_names(name))
    ]
    output = _choice("output", loss.output, run_outputs.outputs, recipe)
    target = _choice("target", loss.target, targets, recipe)
    losses = []
    with counter(len(rows), what=FP32_LOSS) as done:
        for piece in batches(rows, _BATCH):
            label = read_labels(pool, target, piece, where=recipe.name)
            given = run_outputs(piece, [output])[output]
            case = Case(given, label, None, probabilities=holds_probabilities(given))
            losses.append(nll(case))
            done.advance(len(piece))
    return np.concatenate(losses)


def _choice(key: str, asked: str | None, known: Sequence[str], recipe: Recipe) -> str:
    if asked in known:
        return str(asked)
    if asked is None and len(known) == 1:
        return known[0]
    listed = ", ".join(known) or "none"
    message = (
        f"the FP32 loss needs one {key}, and there are {len(known)} ({listed})"
        if asked is None
        else f"there is no {key} {asked!r} for the FP32 loss"
    )
    step = (
        f'Write loss = {{{key} = "…"}}, or --loss on the command line.'
        if asked is None
        else near(asked, known)
    )
    raise SettingsError(message, where=f"{recipe.name}: loss.{key}", next_step=step)


def _needed(run_outputs: "ModelOutputs | None", recipe: Recipe) -> "ModelOutputs":
    if run_outputs is None:
        raise DrawError(
            "this recipe needs the FP32 model",
            where=recipe.name,
            next_step="Give the model (on the command line: --model model.onnx).",
        )
    return run_outputs
