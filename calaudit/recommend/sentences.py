"""A recommendation in words: what to ship, that nothing holds, or what to collect."""

from collections.abc import Sequence

from calaudit.recommend.choosing import Chosen
from calaudit.recommend.options import Candidate
from calaudit.report.wording import amount
from calaudit.results.audited import MetricRecord
from calaudit.results.comparison import ALL, Verdict
from calaudit.results.recommendation import Gain, Outcome, Remedy, Shortage
from calaudit.results.report import Report
from calaudit.runtime.words import counted, first_of, visible

_SHOWN = 3
_WHAT = {
    Remedy.PLAIN_SET: "the plain set {0}",
    Remedy.OTHER_SET: "the calibration set {0}",
    Remedy.MIXTURE: "a set drawn as {0}",
    Remedy.METHODS_PER_TAP: "the scale table {0}",
    Remedy.FREE_RANGES: "the scale table {0} (no calibration set gives it)",
    Remedy.FLOAT_OPS: "{0} with {1} left in float",
}


def what_ships(candidate: Candidate, base: frozenset[str]) -> str:
    """A candidate within a sentence."""
    left = [op for op in candidate.float_ops if op not in base]
    name = candidate.name.replace("/", " with ")
    ops = first_of([visible(op) for op in left[:_SHOWN]], len(left))
    return _WHAT[candidate.remedy].format(f"“{visible(name)}”", ops)


def outcome_of(verdict: Verdict) -> Outcome:
    """What follows from the winner's verdict."""
    return {
        Verdict.PASS: Outcome.SHIP,
        Verdict.REGRESSED: Outcome.NOTHING_HOLDS,
        Verdict.INCONCLUSIVE: Outcome.COLLECT,
    }[verdict]


def sentence(
    chosen: Chosen,
    report: Report,
    *,
    verdict: Verdict,
    winner: str,
    gains: Sequence[Gain],
    collect: Sequence[Shortage],
    base: frozenset[str],
) -> str:
    """What to do, and why; no more than was measured."""
    what = what_ships(chosen.winner, base)
    outcome = outcome_of(verdict)
    if outcome is Outcome.SHIP:
        return f"Ship {what}: it passes every gate on the evaluated samples{_saved(report, gains)}."
    if outcome is Outcome.NOTHING_HOLDS:
        return f"{_nothing(chosen)} The best found, {what}, {_lost(report, winner)}."
    return f"{_undecided(chosen, report, what, winner)} {_lacks(collect, report)}"


def _saved(report: Report, gains: Sequence[Gain]) -> str:
    """The gain where the plain set was worst, as far as it is certain."""
    gain = next((each for each in gains if each.slice != ALL), next(iter(gains), None))
    if gain is None or gain.gain.value is None:
        return ""
    metric = _metric(report, gain.metric)
    place = "overall" if gain.slice == ALL else f"on {visible(gain.slice)}"
    if gain.gain.low is None or gain.gain.low <= 0:
        return f"; against the plain set nothing is certain to be gained {place}"
    return (
        f"; {place} it saves {amount(metric, gain.gain.value)} of the "
        f"{amount(metric, gain.plain or 0.0)} that the plain set loses"
    )


def _nothing(chosen: Chosen) -> str:
    """Why no other ranges are looked for."""
    free = chosen.free.found
    text = (
        "No ranges that were tried keep the gates. Any ranges' predicted harm to the worst slice "
        f"is at least {free.bound:.3g}, and {free.worst:.3g} is reached"
    )
    floats = [each for each in chosen.considered if each.candidate.remedy is Remedy.FLOAT_OPS]
    return f"{text}{', nor do the ops in float that were tried' if floats else ''}."


def _lost(report: Report, winner: str) -> str:
    lost = [r for r in report.results if r.cell == winner and r.verdict == Verdict.REGRESSED]
    worst = max(lost, key=lambda r: (r.low or r.drop or 0.0) / (r.max_drop or 1.0))
    metric = _metric(report, worst.metric)
    place = "overall" if worst.slice == ALL else f"on {visible(worst.slice)}"
    return (
        f"loses {amount(metric, worst.drop or 0.0)} of {visible(metric.title)} {place}, where "
        f"{amount(metric, worst.max_drop or 0.0)} are allowed"
    )


def _undecided(chosen: Chosen, report: Report, what: str, winner: str) -> str:
    gated = [r for r in report.results if r.cell == winner and r.gate is not None]
    if not gated:
        return f"Nothing is gated, so nothing can pass: {what} loses least on the tuning rows."
    passed = sum(r.verdict == Verdict.PASS for r in gated)
    how = "keeps the gates" if chosen.standing(chosen.winner).holds else "does best, but keeps "
    if how.endswith(" "):
        how += "not every gate,"
    return (
        f"Nothing ships yet: {what} {how} on the tuning rows, and passes {passed or 'none'} of "
        f"{counted(len(gated), 'gate')} on the evaluated samples; {_left(len(gated), passed)}."
    )


def _left(n: int, passed: int) -> str:
    """Of gates that weren't passed."""
    if n == passed + 1:
        return "the other is inconclusive" if passed else "it is inconclusive"
    return "the others are inconclusive" if passed else "all are inconclusive"


def _lacks(collect: Sequence[Shortage], report: Report) -> str:
    """How many samples would decide, where most are lacking."""
    named = []
    for each in collect[:_SHOWN]:
        unit = "overall" if each.slice == ALL else visible(each.slice)
        needed = "more" if each.n_needed is None else f"about {each.n_needed:,}"
        named.append(f"{unit} ({needed}; {each.n:,} are evaluated)")
    if not named:
        return "Add [[gates]] to say what may be lost."
    return f"Collect samples of {first_of(named, len(collect))}."


def _metric(report: Report, name: str) -> MetricRecord:
    return next(each for each in report.metrics if each.name == name)
