"""Two audits of one model on the same samples: their engines compared unit by unit.

Both audits' predictions are scored again, by the tasks and slices of one audit file.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from calaudit.audit.backends import RemoteBackend
from calaudit.audit.config import read_audit
from calaudit.audit.finished import Finished
from calaudit.audit.keys import content_key
from calaudit.audit.prepare import Audit, Overrides, prepared_audit
from calaudit.formats.given import alike
from calaudit.formats.predictions import Predictions
from calaudit.metrics.case import PIECE_BYTES
from calaudit.runtime.errors import CalauditError
from calaudit.runtime.words import visible
from calaudit.statistics.difference import Difference, differences_by_pairs
from calaudit.steps.judge import parts_of
from calaudit.steps.score import Scored, score_eval_sets

Key = tuple[str, str, str]
"""Cell, slice, metric."""
FIRST, SECOND = "a", "b"


class NotPairedError(Exception):
    """Why two reports can't be compared unit by unit."""


@dataclass(frozen=True, slots=True)
class _Both:
    """The same cells' answers in both audits."""

    reference: Predictions
    first: Mapping[str, Predictions]
    second: Mapping[str, Predictions]


def paired_differences(
    first: Finished, second: Finished, *, audit: Path | None = None, level: float = 0.95
) -> dict[Key, Difference]:
    """What each engine of both audits gained or lost, on the same units.

    Parameters
    ----------
    first, second : Finished
    audit : Path, optional
        The audit file of either; default: the one beside its results.
    level : float
        Two-sided level of the intervals.

    Returns
    -------
    dict
        Positive where the second loses more. Comparisons that aren't of the same units in both are
        left out.

    Raises
    ------
    NotPairedError
        The two aren't of one model and the same samples, or predictions or inputs are gone.
    """
    _refuse_others(first, second)
    path, finished = _audit_file(first, second, audit)
    cells = [cell for cell in _ids(second) if cell in _ids(first)]
    both = _Both(_reference(first, second), _answers(first, cells), _answers(second, cells))
    folder = finished.path.parent
    try:
        config = read_audit(path)
        # nothing is built or run here: no target has to be reached
        unused = {each.name: RemoteBackend(each.name, "", {}) for each in config.used}
        with prepared_audit(path, Overrides(out=folder), unused) as opened:
            _refuse_other_rows(opened, both)
            return dict(_differences(opened, both, cells, level))
    except CalauditError as error:
        raise NotPairedError(_told(error)) from error


def _told(error: CalauditError) -> str:
    first = error.problems[0]
    return visible(first.message if first.where is None else f"{first.where}: {first.message}")


def _refuse_others(first: Finished, second: Finished) -> None:
    a, b = first.report.audit, second.report.audit
    for what, one, other in (
        ("models", a.model, b.model),
        ("pools", a.pool, b.pool),
    ):
        if one.fingerprint != other.fingerprint:
            raise NotPairedError(f"the two are of different {what}")
    if a.config.get("tasks") != b.config.get("tasks"):
        raise NotPairedError("their [[tasks]] differ")


def _audit_file(first: Finished, second: Finished, given: Path | None) -> tuple[Path, Finished]:
    """An audit file of either report, and which."""
    for finished in (second, first):
        folder = finished.path.absolute().parent
        path = given or folder.with_name(f"{folder.name}.toml")
        if not path.is_file():
            continue
        if content_key(read_audit(path).raw) == finished.report.audit.config_fingerprint:
            return path, finished
    if given is None:
        raise NotPairedError(
            "no audit file beside the results is that of either report; --audit names one"
        )
    why = "isn't the audit file of either report" if given.is_file() else "isn't there"
    raise NotPairedError(f"--audit {visible(given)} {why}")


def _ids(finished: Finished) -> list[str]:
    return [each.id for each in finished.report.cells if each.status == "judged"]


def _answers(finished: Finished, cells: Sequence[str]) -> dict[str, Predictions]:
    records = {each.id: each for each in finished.report.cells}
    return {cell: _opened(finished, records[cell].predictions) for cell in cells}


def _reference(first: Finished, second: Finished) -> Predictions:
    """FP32's answers, which both must have had."""
    one, other = (_opened(f, f.report.reference.predictions) for f in (first, second))
    same = one.output_names == other.output_names and np.array_equal(one.rows, other.rows)
    if not same or one.answers != other.answers:
        raise NotPairedError("they evaluated different samples, or keep different answers of them")
    step = max(1, PIECE_BYTES * len(one.rows) // max(1, one.bytes_of(one.output_names)))
    for rows in (one.rows[start : start + step] for start in range(0, len(one.rows), step)):
        for name in one.output_names:
            if not np.array_equal(one.read(name, rows), other.read(name, rows), equal_nan=True):
                raise NotPairedError("FP32 itself answered differently")
    for name, columns in one.answers.items():
        for column in columns:
            a, b = (each.read_column(name, column) for each in (one, other))
            if not alike(a, b):
                raise NotPairedError("FP32 itself answered differently")
    return other


def _opened(finished: Finished, name: str | None) -> Predictions:
    if name is None:
        raise NotPairedError("a report doesn't name its predictions: an older release wrote it")
    if not Path(finished.path.parent, name).parent.is_dir():
        raise NotPairedError(
            f"{name} is not beside this {finished.path.name}: results are read from the folder "
            "that the audit wrote"
        )
    try:
        return Predictions(finished.file(name))
    except CalauditError as error:
        message = error.problems[0].message
        raise NotPairedError(f"predictions are gone: {name} {message}") from error


def _refuse_other_rows(opened: Audit, both: _Both) -> None:
    for each in (both.reference, *both.first.values(), *both.second.values()):
        if not np.array_equal(each.rows, opened.predicted):
            raise NotPairedError("they evaluated different samples")
    for first, second in zip(both.first.values(), both.second.values(), strict=True):
        if first.answers != second.answers or first.output_names != second.output_names:
            raise NotPairedError("they keep different answers of them: metrics or tasks differ")


def _differences(
    opened: Audit, both: _Both, cells: Sequence[str], level: float
) -> Iterator[tuple[Key, Difference]]:
    """One engine at a time: its two predictions, scored beside FP32's, each against the other."""
    for cell in cells:
        answers = {FIRST: both.first[cell], SECOND: both.second[cell]}
        for scored in score_eval_sets(opened.eval_sets, both.reference, answers):
            for (name, metric), found in _of_cell(opened, scored, level):
                yield (cell, name, metric), found


def _of_cell(
    opened: Audit, scored: Scored, level: float
) -> Iterator[tuple[tuple[str, str], Difference]]:
    for metric in scored.eval_set.metrics:
        first, second = (scored.cells[which][metric] for which in (FIRST, SECOND))
        for part in parts_of(scored, opened.clusters):
            found = differences_by_pairs(
                metric,
                first,
                second,
                part.slices,
                clusters=part.clusters,
                seed=opened.seed,
                level=level,
            )
            for name, difference in found.items():
                yield (name, metric.name), difference
