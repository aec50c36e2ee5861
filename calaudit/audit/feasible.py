"""What can be refused of an audit before any work: nothing is written and no model is run."""

from collections.abc import Iterator
from contextlib import contextmanager

from calaudit.audit.config import SetFile
from calaudit.audit.prepare import Audit
from calaudit.audit.sizes import check_room
from calaudit.formats.calibset import open_calibset
from calaudit.runtime.errors import CalauditError, DrawError, Problem, SliceError
from calaudit.sampling.recipe import Recipe
from calaudit.steps.leak import check_leak, content_digests
from calaudit.steps.sample import check_recipe


def check_before_run(audit: Audit) -> None:
    """Refuse an audit that can't be carried out, as far as that shows without running a model.

    Raises
    ------
    CalauditError
        Recipes that ask for what isn't there, given sets that can't be used, too little room.
    """
    problems: list[Problem] = []
    kinds: list[type[CalauditError]] = []
    for entry in audit.config.calibsets.values():
        if isinstance(entry, SetFile):
            continue
        try:
            with placed_in(audit, entry):
                check_recipe(
                    audit.pool,
                    entry,
                    evaluate=audit.predicted,
                    candidates=audit.config.audit.calibrate,
                    slices=audit.pool_slices,
                )
        except (DrawError, SliceError) as error:
            problems += error.problems
            kinds.append(type(error))
    if problems:
        raise kinds[0].of(problems)
    _check_given(audit)
    check_room(audit)


@contextmanager
def placed_in(audit: Audit, recipe: Recipe) -> Iterator[None]:
    """Say where in the audit file a recipe is that can't be carried out."""
    try:
        yield
    except (DrawError, SliceError) as error:
        raise type(error).of(
            Problem(
                p.message, f"{audit.config.path}: calibsets: {p.where or recipe.name}", p.next_step
            )
            for p in error.problems
        ) from None


def _check_given(audit: Audit) -> None:
    paths = [
        audit.config.resolve(entry.file)
        for entry in audit.config.calibsets.values()
        if isinstance(entry, SetFile)
    ]
    given = [open_calibset(path) for path in paths]
    digests = content_digests(audit.pool, audit.predicted) if given else None
    for each in given:
        check_leak(each, audit.pool, audit.predicted, digests=digests)
