"""Who may be drawn, and in which slices they are."""

import numpy as np

from calaudit.runtime.errors import Problem, SettingsError, SliceError, near
from calaudit.runtime.pool import Pool, Rows
from calaudit.runtime.words import counted
from calaudit.sampling.recipe import Recipe
from calaudit.slices.dimension import Dimension
from calaudit.slices.evaluate import evaluate_slices, select_rows
from calaudit.slices.sliceset import CodedDimension, SliceSet, match_slices
from calaudit.steps.leak import SHOWN_IDS, leak_error


def find_candidates(
    pool: Pool,
    recipe: Recipe,
    *,
    evaluate: str | Rows | None = None,
    candidates: str | None = None,
) -> Rows:
    """Rows that a recipe may draw from, ascending.

    Parameters
    ----------
    pool : Pool
    recipe : Recipe
    evaluate : str or int64 array, optional
        The samples that are evaluated: a SQL predicate, or rows.
    candidates : str, optional
        SQL predicate for a recipe that doesn't have its own. With neither, every sample that
        isn't evaluated is a candidate.

    Raises
    ------
    LeakError
        A predicate asks for samples that are evaluated.
    SliceError
        A predicate that doesn't fit the pool, or an `evaluate` that selects nothing.
    """
    if isinstance(evaluate, str):
        predicate, evaluate = evaluate, select_rows(evaluate, pool, where="evaluate")
        if not len(evaluate):
            raise SliceError(
                f"no sample is evaluated: {predicate!r} selects nothing, so none would be kept "
                "out of the draw",
                where="evaluate",
                next_step="Fix the predicate; calaudit pool show lists the columns.",
            )
    evaluated = np.zeros(len(pool), bool)
    if evaluate is not None:
        evaluated[evaluate] = True
    asked = recipe.candidates or candidates
    if asked is None:
        return np.flatnonzero(~evaluated).astype(np.int64, copy=False)
    rows = select_rows(asked, pool, where=f"{recipe.name}: candidates")
    leaked = rows[evaluated[rows]]
    if len(leaked):
        raise leak_error(
            len(leaked),
            pool.ids(leaked[:SHOWN_IDS]),
            f"of {counted(len(rows), 'candidate')}",
            where=recipe.name,
            next_step=f"Narrow the candidates ({asked}) so that they leave evaluated samples out.",
        )
    return rows


def find_slices(pool: Pool, recipe: Recipe, given: SliceSet | None) -> SliceSet:
    """The slices a draw knows, over all N rows: the recipe's own, named predicates, then others.

    A name that the recipe needs is a slice of the recipe's dimensions, else one of
    `given`, else a SQL predicate, which becomes a slice of that name.

    Parameters
    ----------
    pool : Pool
    recipe : Recipe
    given : SliceSet, optional
        Further slices over all N rows.

    Raises
    ------
    SliceError
        A dimension that doesn't fit the pool, or a name that is neither slice nor predicate.
    """
    own = evaluate_slices(recipe.needs.dimensions, pool, where=recipe.name)
    others = given or SliceSet(len(pool))
    known = [*own.names, *others.names]
    predicates = [name for name in recipe.needs.slices if not _is_slice(name, known)]
    named = _evaluate_predicates(predicates, pool, recipe, known)
    own = SliceSet(len(pool), (*own.dimensions, *named), own.notices)
    return _joined(own, others)


def _is_slice(name: str, known: list[str]) -> bool:
    try:
        match_slices(name, known)
    except SliceError:
        return False
    return True


def _evaluate_predicates(
    names: list[str], pool: Pool, recipe: Recipe, known: list[str]
) -> list[CodedDimension]:
    problems: list[Problem] = []
    made: list[CodedDimension] = []
    for name in names:
        try:
            predicate = Dimension(name=name, where=name)
            made.extend(evaluate_slices([predicate], pool, where=recipe.name).dimensions)
        except (SliceError, SettingsError) as error:
            message = f'"{name}" is neither a slice nor a predicate'
            reasons = "; ".join(problem.message for problem in error.problems)
            problems.append(Problem(f"{message} ({reasons})", recipe.name, near(name, known)))
    if problems:
        raise SliceError.of(problems)
    return made


def _joined(first: SliceSet, second: SliceSet) -> SliceSet:
    """Both sets' dimensions; one of the second that shares a label with the first is left out."""
    labels = set(first.names)
    fresh = tuple(each for each in second.dimensions if labels.isdisjoint(each.labels))
    return SliceSet(first.n_rows, (*first.dimensions, *fresh), first.notices)
