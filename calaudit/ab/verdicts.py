"""Verdicts of an A/B replay: gates against intervals, one family for all that decides."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from calaudit.ab.comparing import FAILURES, Compared, Terms
from calaudit.ab.scoring import MetricScores
from calaudit.results.ab import AbGate, AbResult, ArmRecord, SameAnswers, SampleRatio
from calaudit.results.comparison import ALL, Verdict
from calaudit.statistics.arms import FEWEST_USERS
from calaudit.statistics.criteria import Tolerance
from calaudit.statistics.sequential import Decision, decide
from calaudit.statistics.verdict import holm

FEW: Final = "too few users"
WIDE: Final = "interval too wide"
MANY: Final = "many comparisons"


@dataclass(frozen=True, slots=True)
class Whole:
    """The verdict of a replay, and what it rests on."""

    verdict: Verdict
    why: tuple[str, ...]


def results_of(
    compared: Sequence[Compared],
    gates: Mapping[tuple[str, str], Tolerance],
    terms: Terms,
    *,
    complete: bool,
) -> list[AbResult]:
    """Each comparison with its verdict.

    All gated comparisons, and failures, are one family for Holm's method. A replay that was ended
    early is judged by what holds at any moment: by the confidence sequence and its p-values.

    Parameters
    ----------
    compared : sequence of Compared
        Those that don't decide are `settled`.
    gates : mapping
        (metric, slice) → the loss that is allowed.
    terms : Terms
    complete : bool
        Whether the log was replayed to its end.
    """
    deciding = [one for one in compared if _decides(one, gates)]
    together = {_key(one): one.watch for one in deciding}
    decisions = decide(together, alpha=terms.alpha)
    decisions |= {_key(one): one.decision for one in compared if one.decision is not None}
    tested = [one for one in deciding if one.fixed.p_value is not None]
    adjusted = dict(
        zip(
            map(_key, tested),
            holm([one.fixed.p_value or 0.0 for one in tested]).tolist(),
            strict=True,
        )
    )
    found = []
    for one in compared:
        key = _key(one)
        corrected = None
        if key in together:
            corrected = adjusted.get(key) if complete else decisions[key].p_adjusted
        plain = _result(one, decisions[key], corrected, terms)
        if key in together:
            tolerance = gates.get((one.metric, one.slice))
            plain = _judged(plain, tolerance, terms, complete=complete)
        found.append(plain)
    return found


def settled(
    one: Compared, gates: Mapping[tuple[str, str], Tolerance], terms: Terms, looks: int
) -> Compared:
    """A comparison that decides nothing, judged by itself and with a few of its looks.

    One that decides is left as it is. All looks of all of them would fill the memory.
    """
    if _decides(one, gates):
        return one
    key = _key(one)
    decision = decide({key: one.watch}, alpha=terms.alpha)[key]
    return replace(one, watch=one.watch.thinned(looks), decision=decision)


def _key(one: Compared) -> str:
    return f"{one.kind}\0{one.metric}\0{one.slice}"


def _decides(one: Compared, gates: Mapping[tuple[str, str], Tolerance]) -> bool:
    if one.kind == "failures":
        return one.slice == ALL
    return one.kind == "quality" and (one.metric, one.slice) in gates


def _result(one: Compared, decision: Decision, adjusted: float | None, terms: Terms) -> AbResult:
    """Numbers alone. A drop is how much less the treatment scores, counting upwards."""
    fixed, sign = one.fixed, one.sign
    return AbResult(
        metric=one.metric,
        kind=one.kind,
        slice=one.slice,
        n_control=fixed.n_control,
        n_treatment=fixed.n_treatment,
        users_control=fixed.users_control,
        users_treatment=fixed.users_treatment,
        control=_turned(fixed.control, sign),
        treatment=_turned(fixed.treatment, sign),
        drop=_turned(fixed.estimate, -1),
        low=_turned(fixed.high, -1),
        high=_turned(fixed.low, -1),
        level=terms.level,
        p_value=fixed.p_value,
        p_adjusted=adjusted,
        always_low=_turned(decision.high, -1),
        always_high=_turned(decision.low, -1),
        always_p=decision.p_value,
        decided_at=decision.decided,
        detectable=one.detectable,
    )


def _turned(value: float | None, sign: int) -> float | None:
    return None if value is None else sign * value + 0.0


def _judged(
    plain: AbResult,
    tolerance: Tolerance | None,
    terms: Terms,
    *,
    complete: bool,
) -> AbResult:
    low, high = (plain.low, plain.high) if complete else (plain.always_low, plain.always_high)
    drop, p_value = plain.drop or 0.0, plain.p_adjusted
    lost = p_value is not None and p_value <= terms.alpha and drop > 0
    if tolerance is None:  # failures: none are allowed to be the treatment's own
        return replace(plain, verdict=Verdict.REGRESSED) if lost else plain
    allowed = tolerance.of(np.nan if plain.control is None else plain.control)
    judged = replace(plain, gate=AbGate(allowed))
    if high is not None and high < allowed:
        return replace(judged, verdict=Verdict.PASS)
    if lost:
        return replace(judged, verdict=Verdict.REGRESSED)
    reason = FEW if high is None else MANY if low is not None and low > 0 else WIDE
    return replace(judged, verdict=Verdict.INCONCLUSIVE, reason=reason)


def overall(
    results: Sequence[AbResult],
    arms: Sequence[ArmRecord],
    ratio: SampleRatio | None,
    *,
    unjudged: Sequence[str],
    complete: bool,
) -> Whole:
    """The verdict of the whole.

    A split that is off makes every difference of quality doubtful, and an arm that ended leaves the
    log unanswered: neither passes. Requests that the treatment leaves unanswered are harm however
    the split came out: who got no answer is missing in it.

    Parameters
    ----------
    results : sequence of AbResult
    arms : sequence of ArmRecord
    ratio : SampleRatio or None
    unjudged : sequence of str
        Metrics with gates by which no request has a score: what isn't judged can't pass.
    complete : bool
        Whether the log was replayed to its end.
    """
    ended = tuple(_ended(arms))
    failed = any(one.verdict == Verdict.REGRESSED for one in results if one.metric == FAILURES)
    if ratio is not None and ratio.mismatch and not failed:
        why = "users didn't come to the arms in the shares asked for: no difference means anything"
        return Whole(Verdict.INCONCLUSIVE, (*ended, why))
    if any(one.verdict == Verdict.REGRESSED for one in results):
        return Whole(Verdict.REGRESSED, (*ended, *_lost(results)))
    if unjudged:
        names = ", ".join(unjudged)
        why = f"gates on {names} can't be judged request by request: choose others by --metric"
        ended = (*ended, why)
    gated = [one for one in results if one.gate is not None]
    open_ = [one for one in gated if one.verdict != Verdict.PASS]
    if not gated:
        why = "nothing is gated, so nothing could pass: add [[gates]] to the audit file"
        return Whole(Verdict.INCONCLUSIVE, (*ended, why))
    if open_ or ended:
        told = f"{len(gated) - len(open_)} of {len(gated)} gated results pass"
        return Whole(Verdict.INCONCLUSIVE, (*ended, told))
    watched = "" if complete else ", by what may be watched"
    return Whole(Verdict.PASS, (f"all {len(gated)} gated results pass{watched}",))


def with_identical(
    whole: Whole,
    same: Sequence[SameAnswers],
    results: Sequence[AbResult],
    metrics: Sequence[MetricScores],
    *,
    complete: bool,
) -> Whole:
    """`whole`, saying first where both arms gave the same outputs to all that both answered.

    Then what keeps it from passing is that users are few, and how many a PASS takes is known.

    Parameters
    ----------
    whole : Whole
    same : sequence of SameAnswers
        The first tells of outputs to the bit.
    results : sequence of AbResult
    metrics : sequence of MetricScores
    complete : bool
        Whether the log was replayed to its end.
    """
    bits = same[0]
    if bits.value != 1.0 or bits.unsteady_control or bits.unsteady_treatment:
        return whole
    told = f"the same outputs, to the bit, for all {bits.samples:,} samples that both answered"
    spans = {each.metric.name: each.metric.span for each in metrics}
    needed = [
        users_to_pass(one.gate.max_drop, spans[one.metric], one.level)
        for one in results
        if one.gate is not None and one.verdict != Verdict.PASS
    ]
    known = [each for each in needed if each is not None]
    if whole.verdict != Verdict.INCONCLUSIVE or not complete or not known:
        return replace(whole, why=(told, *whole.why))
    last = (
        f"with no difference seen, a PASS takes at least {max(known):,} users on each gated slice"
    )
    return replace(whole, why=(told, *whole.why, last))


def users_to_pass(allowed: float, span: float | None, level: float) -> int | None:
    """Users on a slice whose answers don't differ, so that the interval keeps to the gate.

    So many that users of a kind of which none came can't lose what is allowed, by the bound of
    `calaudit.statistics.arms.unseen`. None where nothing can be said.

    Parameters
    ----------
    allowed : float
        The gate.
    span : float or None
        The most by which two scores differ; None where nothing bounds it.
    level : float
        Two-sided, of the interval.
    """
    if span is None or not 0 < allowed < span:
        return None
    users = math.log((1 - level) / 2) / math.log1p(-allowed / span)
    return max(math.floor(users) + 1, FEWEST_USERS)


def _lost(results: Sequence[AbResult]) -> Iterator[str]:
    lost = [one for one in results if one.verdict == Verdict.REGRESSED]
    for one in lost:
        if one.metric == FAILURES:
            yield "the treatment leaves more requests without a usable answer"
    quality = [one for one in lost if one.metric != FAILURES]
    if quality:
        yield f"the treatment loses on {len(quality)} of the gated results"


def _ended(arms: Sequence[ArmRecord]) -> Iterator[str]:
    for arm in arms:
        if arm.ended_at is not None:
            after = f" after request {arm.ended_at:,}" if arm.ended_at else ""
            yield f"the {arm.role} answered nothing{after}"
