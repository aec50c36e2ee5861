"""What is behind one drop: experiments in order of their cost, and what they amount to."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Final

from calaudit.explain.judging import ENOUGH, Judge, is_there, value
from calaudit.explain.ops import FINALISTS, tried
from calaudit.explain.runs import Runs
from calaudit.explain.search import Search
from calaudit.explain.sentences import Told, sentence
from calaudit.explain.suspects import Ranges, shown
from calaudit.explain.transplants import (
    Patient,
    curve_of,
    most_judged,
    transplant,
)
from calaudit.explain.tuning import TuningSlice
from calaudit.report.index import Index
from calaudit.results.comparison import Result
from calaudit.results.drops import Part
from calaudit.results.explanation import Cause, Explanation, Suspect
from calaudit.runtime.pool import Rows

MOST_SINGLE: Final = 8
"""More taps than these, or than a third of all, aren't called single."""
_PART: Final = 0.5
"""Share of a drop below which what is taken back isn't told of as a part of it."""


@dataclass(frozen=True, slots=True)
class Donor:
    """Whose ranges a cell may be given."""

    name: str
    """A cell's id, or `MINIMAX`."""
    ranges: Ranges
    suspects: Sequence[Suspect]
    """Taps where it does less harm to the slice."""


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """A harmed result, and what experiments need."""

    result: Result
    place: TuningSlice
    patient: Patient
    donors: Sequence[Donor]
    """Those that are predicted to do less harm, the one to be tried first first."""
    others: Mapping[str, Ranges]
    """All ranges that it may be given, by name."""
    suspects: Callable[[Ranges, Sequence[str]], list[Suspect]]
    """Of a donor's ranges: the taps named, as suspects."""
    halves: Callable[[], tuple[Rows, TuningSlice] | None]
    """Half of the slice's rows to search on, and the rest to judge on; None where there are too
    few."""
    runs: Runs
    index: Index
    elsewhere: str
    """What the cell runs in, where experiments run in something else."""
    level: float
    seed: int


_DONE: Final = (Cause.RANGES, Cause.OPS, Cause.WHOLE)
_PARTS: Final = (Cause.RANGES_IN_PART, Cause.OPS_IN_PART)


def explain(subject: Subject) -> Explanation:
    """Run the experiments on one harmed result.

    Raises
    ------
    BackendError
        An engine can't be made, or failed.
    """
    engines, samples = subject.runs.cost.engines, subject.runs.cost.samples
    judge = _judge(subject, subject.place, subject.donors)
    base = _drop(subject, judge)
    if base.tuning is not None and is_there(base.tuning):
        found = _by_prediction(subject, judge, base)
        if found.cause is not Cause.RANGES:
            found = _better(found, _by_search(subject))
            if not found.trials:  # too little is lost on half of the rows, or ranges do more
                found = _better(found, _by_ops(subject, found.donor))
    else:
        found = replace(base, cause=_absent(subject.result, base.tuning))
    cost = subject.runs.cost
    found = replace(found, engines=cost.engines - engines, cost=float(cost.samples - samples))
    told = Told(subject.index, found, len(subject.patient.ranges), elsewhere=subject.elsewhere)
    return replace(found, sentence=sentence(told))


def unexplained(result: Result, cause: Cause = Cause.NOT_TRIED) -> Explanation:
    """An explanation without any experiment, and without its sentence."""
    return Explanation(
        cell=result.cell,
        slice=result.slice,
        metric=result.metric,
        cause=cause,
        sentence="–",
        measured=Part(result.drop, result.low, result.high),
        tuning=None,
        n_tuning=0,
        max_drop=result.max_drop,
    )


def is_done(result: Result, drop: Part, left: Part) -> bool:
    """Whether little of a drop is left, or no more than the gate allows."""
    allowed, whole = result.max_drop or 0.0, value(drop)
    return value(left) <= max(allowed if whole > allowed else 0.0, (1 - ENOUGH) * whole)


def _judge(
    subject: Subject, place: TuningSlice, donors: Sequence[Donor], n_ops: int = FINALISTS
) -> Judge:
    most = max((most_judged(len(each.suspects)) for each in donors), default=0)
    engines = most + max(0, len(donors) - 1) + 2 * max(n_ops, FINALISTS)
    return Judge(place, subject.runs, subject.patient.experiments, subject.level, at_once=engines)


def _drop(subject: Subject, judge: Judge) -> Explanation:
    """An explanation that only holds the drop on the tuning rows."""
    cell = subject.patient.engine
    after = {cell.name: judge.scores(cell)}
    return replace(
        unexplained(subject.result),
        tuning=judge.place.drops(judge.reference, after, subject.level)[cell.name],
        n_tuning=judge.n,
        level=subject.level,
        at_once=judge.at_once,
        backend=subject.patient.experiments.title,
    )


def _absent(result: Result, tuning: Part | None) -> Cause:
    low = result.low if result.joint_low is None else result.joint_low
    high = None if tuning is None else tuning.high
    kept = result.max_drop is not None and high is not None and high <= result.max_drop
    less = kept or (high is not None and low is not None and high < low)
    return Cause.NOT_ON_TUNING_ROWS if less else Cause.TOO_FEW_ROWS


def _by_prediction(subject: Subject, judge: Judge, base: Explanation) -> Explanation:
    """Ranges exchanged in the order of predicted harm, judged on all rows."""
    cell = subject.patient.engine
    due = ENOUGH * value(judge.left(cell))
    best: tuple[float, Donor] | None = None
    for donor in subject.donors:
        whole = subject.patient.given(donor.ranges, [each.tap for each in donor.suspects])
        taken = value(judge.removed(whole, cell))
        if best is None or taken > best[0]:
            best = taken, donor
        if taken >= due:
            break
    if best is None:
        return replace(base, cause=Cause.NOTHING_FOUND)
    found = _with_ranges(subject, judge, base, best[1])
    if found.cause is not Cause.RANGES:
        return found
    readers = subject.patient.experiments.readers(found.taps[0])[:FINALISTS]
    return replace(found, trials=tried(judge, subject.patient, readers))


def _with_ranges(subject: Subject, judge: Judge, base: Explanation, donor: Donor) -> Explanation:
    """What the ranges of one donor do."""
    single = _most_single(subject)
    found = transplant(judge, subject.patient, donor.ranges, donor.suspects, single)
    base = replace(
        base,
        donor=donor.name,
        suspects=shown(donor.suspects),
        curve=curve_of(found, donor.suspects),
    )
    drop = judge.left(subject.patient.engine)
    if not found.taps or found.left is None:
        return replace(base, cause=_nothing([found.removed], drop))
    base = replace(base, taps=found.taps, removed=found.taken, left=found.left, others=found.others)
    done = is_done(subject.result, drop, found.left)
    if len(found.taps) > single:
        return replace(base, cause=Cause.WHOLE if done else _nothing([found.removed], drop))
    return replace(base, cause=Cause.RANGES if done else Cause.RANGES_IN_PART)


def _most_single(subject: Subject) -> int:
    return min(MOST_SINGLE, max(1, ceil(len(subject.patient.ranges) / 3)))


def _by_search(subject: Subject) -> Explanation | None:
    """Donor, taps and ops by the error of the outputs on half of the rows, judged on the rest."""
    halves = subject.halves()
    if halves is None:
        return None
    rows, place = halves
    search = Search(subject.patient, subject.runs, place, rows, subject.seed)
    name = search.donor(subject.others)
    donors: list[Donor] = []
    if name is not None:
        ranges = subject.others[name]
        order = search.taps(ranges)
        if order:
            donors.append(Donor(name, ranges, subject.suspects(ranges, order)))
    judge = _judge(subject, place, donors)
    base = replace(_drop(subject, judge), searched=True)
    if base.tuning is None or not is_there(base.tuning):
        return None
    found = _with_ranges(subject, judge, base, donors[0]) if donors else base
    return _with_ops_tried(subject, judge, base, found if donors else None, search)


def _by_ops(subject: Subject, donor: str | None) -> Explanation | None:
    """Single ops on all rows: intervals hold for every op, however those judged were chosen."""
    place, donors = subject.place, [each for each in subject.donors if each.name == donor]
    search = Search(subject.patient, subject.runs, place, place.rows, subject.seed)
    judge = _judge(subject, place, donors, n_ops=len(search.products))
    base = _drop(subject, judge)
    found = _with_ranges(subject, judge, base, donors[0]) if donors else None
    return _with_ops_tried(subject, judge, base, found, search)


def _with_ops_tried(
    subject: Subject, judge: Judge, base: Explanation, by_ranges: Explanation | None, search: Search
) -> Explanation:
    """What single ops do, beside what ranges do on the same rows."""
    trials = tried(judge, subject.patient, search.ops())
    by_op = _with_op(subject, judge, replace(base, trials=trials))
    if by_ranges is None:
        return by_op
    by_ranges = replace(by_ranges, trials=trials)
    if by_ranges.cause is Cause.WHOLE and by_op.cause is Cause.OPS_IN_PART:
        return replace(by_ranges, ops=by_op.ops)
    beside = replace(
        by_op, donor=by_ranges.donor, suspects=by_ranges.suspects, curve=by_ranges.curve
    )
    return _better(by_ranges, beside)


def _with_op(subject: Subject, judge: Judge, base: Explanation) -> Explanation:
    """What the best of the ops that were tried does in float."""
    cell, drop = subject.patient.engine, judge.left(subject.patient.engine)
    taken = [
        (judge.removed(subject.patient.with_float(each.op), cell), each.left, each.op)
        for each in base.trials
    ]
    if not taken:
        return replace(base, cause=Cause.NOTHING_FOUND)
    removed, left, op = max(taken, key=lambda each: value(each[0]))
    if left is None or not is_there(removed) or value(removed) < _PART * value(drop):
        return replace(base, cause=_nothing([each[0] for each in taken], drop))
    done = is_done(subject.result, drop, left)
    cause = Cause.OPS if done else Cause.OPS_IN_PART
    return replace(base, cause=cause, ops=(op,), removed=removed, left=left)


def _nothing(taken: Sequence[Part], drop: Part) -> Cause:
    """Whether experiments show that they don't help, or can't show anything."""
    hopeful = [
        each
        for each in taken
        if value(each) >= _PART * value(drop)
        and (each.high is None or each.high >= ENOUGH * value(drop))
    ]
    return Cause.TOO_FEW_ROWS if hopeful else Cause.NOTHING_FOUND


def _better(first: Explanation, second: Explanation | None) -> Explanation:
    """The one that says more: what takes the drop back, or more of it; what may; else the later."""
    if second is None:
        return first

    def rank(one: Explanation) -> tuple[int, float]:
        if one.cause in _DONE:
            return 1 + len(_DONE) - _DONE.index(one.cause), 0.0
        if one.cause in _PARTS and one.removed is not None and one.tuning is not None:
            return 1, value(one.removed) / max(value(one.tuning), 1e-12)
        return 0, float(one.cause is Cause.TOO_FEW_ROWS)

    return first if rank(first) > rank(second) else second
