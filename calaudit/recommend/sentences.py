"""A recommendation in words: what to ship, that nothing holds, or what to collect."""

from collections.abc import Sequence

from calaudit.recommend.choosing import Chosen
from calaudit.recommend.options import Candidate
from calaudit.report.wording import amount, between, in_sentence, percent
from calaudit.results.audited import MetricRecord
from calaudit.results.comparison import ALL, Verdict
from calaudit.results.recommendation import Gain, Outcome, Remedy, Shortage
from calaudit.results.report import Report
from calaudit.runtime.words import counted, first_of, plural, visible

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


def _plain(chosen: Chosen) -> str:
    """What the winner is compared with: by name where the winner is of the same set."""
    same = chosen.winner.remedy is Remedy.PLAIN_SET
    return f"“{visible(chosen.plain.name.replace('/', ' with '))}”" if same else "the plain set"


def outcome_of(verdict: Verdict, plain: Verdict | None, gains: Sequence[Gain]) -> Outcome:
    """What follows from the winner's verdict, the plain set's, and what is saved against it.

    Parameters
    ----------
    verdict : Verdict
    plain : Verdict, optional
        None where the winner is the plain set.
    gains : sequence of Gain
    """
    worse = _clearest_cost(gains) is not None
    if plain == Verdict.PASS and (worse or verdict != Verdict.PASS):
        return Outcome.KEEP
    if plain == Verdict.INCONCLUSIVE and worse:
        return Outcome.KEEP
    return {
        Verdict.PASS: Outcome.SHIP,
        Verdict.REGRESSED: Outcome.NOTHING_HOLDS,
        Verdict.INCONCLUSIVE: Outcome.COLLECT,
    }[verdict]


def sentence(
    chosen: Chosen,
    report: Report,
    *,
    outcome: Outcome,
    plain: Verdict | None,
    winner: str,
    gains: Sequence[Gain],
    collect: Sequence[Shortage],
    base: frozenset[str],
) -> str:
    """What to do, and why; no more than was measured."""
    what = what_ships(chosen.winner, base)
    against = _plain(chosen)
    worse = _worse(report, gains, against)
    if outcome is Outcome.KEEP:
        text = _keep(chosen, report, base, plain, worse)
    elif outcome is Outcome.SHIP:
        saved = _saved(report, gains, against) + (f"; but it {worse}" if worse else "")
        text = f"Ship {what}: it passes every gate on the evaluated samples{saved}."
    elif outcome is Outcome.NOTHING_HOLDS:
        text = f"{_nothing(chosen)} The best found, {what}, {_lost(report, winner)}."
    else:
        text = f"{_undecided(chosen, report, what, winner)} {_lacks(collect, report)}"
        text += f" On the evaluated samples it {worse}." if worse else ""
    return text + _few(chosen)


def _keep(
    chosen: Chosen, report: Report, base: frozenset[str], plain: Verdict | None, worse: str
) -> str:
    kept, what = what_ships(chosen.plain, base), what_ships(chosen.winner, base)
    if plain == Verdict.PASS and not worse:
        return (
            f"Keep {kept}: it passes every gate on the evaluated samples, which {what}, chosen on "
            "the tuning rows, doesn't."
        )
    against = _plain(chosen)
    subject = against[0].upper() + against[1:]
    text = f"Keep {kept}: on the evaluated samples {what}, chosen on the tuning rows, {worse}."
    if plain == Verdict.PASS:
        return f"{text} {subject} passes every gate."
    if not any(each.gate is not None for each in report.results):
        return f"{text} Add [[gates]] to say what may be lost."
    return f"{text} {subject} isn't shown to keep every gate either."


def _clearest_cost(gains: Sequence[Gain]) -> Gain | None:
    """Where the winner is significantly worse than the plain set; the clearest."""
    found = [each for each in gains if each.gain.high is not None and each.gain.high < 0]
    return min(found, key=lambda each: each.gain.high or 0.0, default=None)


def _worse(report: Report, gains: Sequence[Gain], against: str) -> str:
    """What the winner costs against `against`, as far as it is certain; may be empty."""
    cost = _clearest_cost(gains)
    if cost is None or cost.gain.low is None or cost.gain.high is None:
        return ""
    metric = _metric(report, cost.metric)
    place = "overall" if cost.slice == ALL else f"on {visible(cost.slice)}"
    interval = between(metric, -cost.gain.high, -cost.gain.low)
    return (
        f"is significantly worse than {against} {place}, by "
        f"{amount(metric, cost.gain.value or 0.0)} of {in_sentence(metric)} "
        f"({percent(cost.level)} CI {interval})"
    )


def _few(chosen: Chosen) -> str:
    """That too few rows chose."""
    if not chosen.few:
        return ""
    return (
        f" Only {counted(chosen.n_rows, 'tuning row')} chose, too few to tell engines apart: it "
        f"takes {chosen.n_needed:,} before no single one decides. Raise tune_samples, or let "
        "evaluate leave out more."
    )


def _saved(report: Report, gains: Sequence[Gain], against: str) -> str:
    """The gain where the plain set was worst, as far as it is certain."""
    gain = next((each for each in gains if each.slice != ALL), next(iter(gains), None))
    if gain is None or gain.gain.value is None:
        return ""
    metric = _metric(report, gain.metric)
    place = "overall" if gain.slice == ALL else f"on {visible(gain.slice)}"
    if gain.gain.low is None or gain.gain.low <= 0:
        return f"; against {against} nothing is certain to be gained {place}"
    return (
        f"; {place} it saves {amount(metric, gain.gain.value)} of the "
        f"{amount(metric, gain.plain or 0.0)} that {against} loses"
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
        text = "Nothing is gated, so nothing can pass: on the tuning rows"
        if chosen.winner is chosen.plain:
            return f"{text} nothing that was tried is shown to do better than {what}."
        return (
            f"{text} {what} saves more on the slice where {_plain(chosen)} loses most than it "
            "costs on any."
        )
    passed = sum(r.verdict == Verdict.PASS for r in gated)
    how = "keeps the gates on the tuning rows"
    if not chosen.standing(chosen.winner).holds:
        how = "does best on the tuning rows, but doesn't keep every gate there"
        if chosen.few:
            how = "is kept, since no other engine is shown to do better on the tuning rows"
    return (
        f"Nothing ships yet: {what} {how}; on the evaluated samples it "
        f"{gates_passed(len(gated), passed)}."
    )


def gates_passed(n: int, passed: int) -> str:
    """How many of an engine's gates it passes, where none regressed.

    Examples
    --------
    >>> gates_passed(29, 28)
    'passes 28 of 29 gates; the other is inconclusive'
    >>> gates_passed(6, 0)
    'passes none of 6 gates, all inconclusive'
    """
    if passed == 0:
        return (
            "doesn't pass its gate, inconclusive"
            if n == 1
            else f"passes none of {n:,} gates, all inconclusive"
        )
    others = "the other is" if n == passed + 1 else "the others are"
    return f"passes {passed:,} of {n:,} gates; {others} inconclusive"


def _lacks(collect: Sequence[Shortage], report: Report) -> str:
    """How many samples, images or objects would decide, where most are lacking."""
    scored = {_metric(report, each.metric).per for each in collect[:_SHOWN]}
    what = plural(scored.pop()) if len(scored) == 1 else "samples"
    named = []
    for each in collect[:_SHOWN]:
        unit = "overall" if each.slice == ALL else visible(each.slice)
        needed = "more" if each.n_needed is None else f"about {each.n_needed:,}"
        named.append(f"{unit} ({needed}; {each.n:,} are evaluated)")
    if not named:
        return "Add [[gates]] to say what may be lost."
    return f"Collect {what} of {first_of(named, len(collect))}."


def _metric(report: Report, name: str) -> MetricRecord:
    return next(each for each in report.metrics if each.name == name)
