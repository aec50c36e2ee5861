"""The arms compared, metric by metric and slice by slice: once at the end, and watched throughout.

Scores are turned so that more is better, whichever way a metric points.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from calaudit.ab.replay import OK, UNSENT, Course
from calaudit.ab.scoring import MetricScores
from calaudit.results.comparison import ALL
from calaudit.runtime.errors import Notice
from calaudit.runtime.pool import Rows
from calaudit.statistics.arms import (
    Answers,
    ArmDifference,
    compare_arms,
)
from calaudit.statistics.detectable import detectable
from calaudit.statistics.pairs import compare_pairs
from calaudit.statistics.sequential import Decision, Watch, watch_arms, watch_pairs

Floats = NDArray[np.float64]
Kind = Literal["quality", "outcome", "failures"]
FAILURES: Final = "failures"


@dataclass(frozen=True, eq=False, slots=True)
class Requests:
    """The requests of a log as they are compared; arrays are (n,)."""

    rows: Rows
    """The pool's row behind each."""
    user: NDArray[np.int64]
    """Users' numbers."""
    arm: NDArray[np.int8] | None
    """0 control, 1 treatment; None: both answered."""
    judged: NDArray[np.bool_]
    """Whether its sample is evaluated."""
    n_sent: int
    """Those that left; the first ones."""

    @property
    def sent(self) -> NDArray[np.bool_]:
        """(n,) requests that left."""
        return np.arange(len(self.rows)) < self.n_sent


@dataclass(frozen=True, slots=True)
class Terms:
    """How arms are compared."""

    share: float
    """Of the users that get the treatment."""
    level: float
    """Two-sided, of intervals and confidence sequences."""
    seed: int

    @property
    def alpha(self) -> float:
        """Two-sided error."""
        return 1.0 - self.level


@dataclass(frozen=True, eq=False, slots=True)
class Compared:
    """One metric on one slice. Differences are treatment − control of scores that count upwards."""

    metric: str
    kind: Kind
    slice: str
    sign: int
    """1 where higher is better, −1 where scores were turned."""
    fixed: ArmDifference
    watch: Watch
    detectable: float | None = None
    decision: Decision | None = None
    """What the watched test came to, where it was judged by itself; the watch is thinned then."""


@dataclass(frozen=True, eq=False, slots=True)
class _Scores:
    """What requests scored under each arm, counting upwards; NaN where an arm gave nothing."""

    metric: str
    kind: Kind
    sign: int
    span: float | None
    scores: tuple[Floats, Floats]
    sizes: tuple[Floats, Floats]
    slices: Mapping[str, Rows]
    """Requests of each slice among all of the log, whether they were sent or not."""
    expected: Floats | None = None
    """What FP32 scores on the requests' samples, counting upwards."""


def compare_metric(
    scores: MetricScores,
    requests: Requests,
    numbers: tuple[NDArray[np.int32], NDArray[np.int32]],
    terms: Terms,
    foreseen: Mapping[tuple[str, str], float],
) -> Iterator[Compared]:
    """Compare the arms by one metric of the audit, on every slice.

    Parameters
    ----------
    scores : MetricScores
    requests : Requests
    numbers : int32 (n,), int32 (n,)
        Which of its different answers each arm gave a request; -1: none.
    terms : Terms
    foreseen : mapping
        (metric, slice) → minimum detectable effect.
    """
    metric = scores.metric
    sign = 1 if metric.higher_is_better else -1
    for names in _together(scores):
        within = None if len(names) > 1 or scores.by_row else names[0]
        found = [
            scores.of_requests(arm, requests.rows, numbers[arm], within=within) for arm in (0, 1)
        ]
        whole = _Scores(
            metric.name,
            "quality",
            sign,
            metric.span,
            (sign * found[0][0], sign * found[1][0]),
            (found[0][1], found[1][1]),
            {name: requests_in(scores, name, requests) for name in names},
            _expected(scores, requests, within, sign),
        )
        yield from _compared(whole, requests, terms, foreseen)


def _expected(
    scores: MetricScores, requests: Requests, within: str | None, sign: int
) -> Floats | None:
    expected = scores.expected(requests.rows, requests.judged, within)
    return None if expected is None else sign * expected


def compare_failures(
    courses: Sequence[Course], requests: Requests, terms: Terms
) -> Iterator[Compared]:
    """Compare how many requests got no usable answer.

    Parameters
    ----------
    courses : sequence of Course
        Of both arms.
    requests : Requests
    terms : Terms
    """
    values = [
        np.where(course.status == UNSENT, np.nan, (course.status != OK).astype(np.float64))
        for course in courses
    ]
    yield from _plain(FAILURES, "failures", (values[0], values[1]), requests, terms)


def compare_outcomes(
    outcomes: Mapping[str, Floats], requests: Requests, terms: Terms
) -> tuple[list[Compared], list[Notice]]:
    """Compare the arms by what the log says came of requests: more is taken for better.

    Parameters
    ----------
    outcomes : mapping
        Column of the log → (n,) numbers; NaN where it has none.
    requests : Requests
    terms : Terms

    Returns
    -------
    list of Compared
    list of Notice
        In shadow mode a request has one outcome and two answers, so that it tells nothing.
    """
    if not outcomes:
        return [], []
    arm = requests.arm
    if arm is None:
        names = ", ".join(outcomes)
        message = "a request that both arms answer has one outcome: the arms aren't compared by it"
        return [], [Notice("outcome_of_both", message, names)]
    found: list[Compared] = []
    for name, values in outcomes.items():
        sent = np.where(requests.sent, values, np.nan)
        sides = (np.where(arm == 0, sent, np.nan), np.where(arm == 1, sent, np.nan))
        found += _plain(name, "outcome", sides, requests, terms)
    message = (
        "outcomes are the log's: they tell of these arms only if these arms served these users, "
        "dealt by the same salt and share; they decide nothing here"
    )
    return found, [Notice("outcomes_of_log", message, ", ".join(outcomes))]


def _plain(
    name: str, kind: Kind, values: tuple[Floats, Floats], requests: Requests, terms: Terms
) -> Iterator[Compared]:
    """One number per request, under each arm; NaN where there is none. Failures count down."""
    sign = -1 if kind == "failures" else 1
    sizes = [np.where(np.isnan(each), 0.0, 1.0) for each in values]
    whole = _Scores(
        name,
        kind,
        sign,
        1.0 if kind == "failures" else None,
        (sign * values[0], sign * values[1]),
        (sizes[0], sizes[1]),
        {ALL: np.arange(len(requests.rows))},
    )
    yield from _compared(whole, requests, terms, {})


def foresee(scores: MetricScores, requests: Requests, terms: Terms) -> dict[tuple[str, str], float]:
    """Minimum detectable effects of a metric by slice, of scores that are known beforehand.

    Infinite where more would have to be lost than can be: users are too few to show any loss.

    Parameters
    ----------
    scores : MetricScores
        Of the arms' answers as they are known: one each.
    requests : Requests
        All of the log.
    terms : Terms
    """
    metric, known = scores.metric, np.where(requests.judged, 0, -1).astype(np.int32)
    found: dict[tuple[str, str], float] = {}
    for names in _together(scores):
        within = None if len(names) > 1 or scores.by_row else names[0]
        (control, size), (treatment, _) = (
            scores.of_requests(arm, requests.rows, known, within=within) for arm in (0, 1)
        )
        paired = requests.arm is None
        effects = detectable(
            requests.user,
            treatment - control if paired else np.where(requests.arm == 1, treatment, control),
            {name: requests_in(scores, name, requests) for name in names},
            size=size,
            span=metric.span,
            expected=None if paired else scores.expected(requests.rows, requests.judged, within),
            share=None if paired else terms.share,
            arm=requests.arm,
            alpha=terms.alpha * len(names) / len(scores.slices.names),  # an equal part each
        )
        for name, effect in effects.items():
            if effect.fixed is not None:
                shown = metric.span is None or effect.fixed <= metric.span
                found[metric.name, name] = effect.fixed if shown else math.inf
    return found


def _together(scores: MetricScores) -> Iterator[list[str]]:
    """Slices whose requests have the same scores: all of them, or each by itself."""
    names = list(scores.slices.names)
    if scores.by_row:
        yield names
        return
    yield from ([name] for name in names)


def requests_in(scores: MetricScores, name: str, requests: Requests) -> Rows:
    """Requests whose sample is in a slice, or has units in it; ascending."""
    units = scores.slices.rows(name)
    of = scores.eval_set.row_of_unit
    inside = np.zeros(len(scores.evaluated), bool)
    inside[units if of is None else of[units]] = True
    places = np.searchsorted(scores.evaluated, requests.rows)
    places = np.minimum(places, len(scores.evaluated) - 1)
    return np.flatnonzero(requests.judged & inside[places])


def _compared(
    whole: _Scores,
    requests: Requests,
    terms: Terms,
    foreseen: Mapping[tuple[str, str], float],
) -> Iterator[Compared]:
    sent = {name: rows[rows < requests.n_sent] for name, rows in whole.slices.items()}
    if requests.arm is None:
        fixed, watches = _paired(whole, requests, terms, sent)
    else:
        answers = _dealt(whole, requests)
        fixed = compare_arms(answers, sent, share=terms.share, level=terms.level, seed=terms.seed)
        watches = {
            name: watch_arms(answers, rows, planned=_planned(whole, name), alpha=terms.alpha)
            for name, rows in sent.items()
        }
    for name in sent:
        effect = foreseen.get((whole.metric, name))
        yield Compared(
            whole.metric, whole.kind, name, whole.sign, fixed[name], watches[name], effect
        )


def _planned(whole: _Scores, name: str) -> int:
    """Requests of a slice in the whole log, whenever it was ended."""
    return max(len(whole.slices[name]), 1)


def _dealt(whole: _Scores, requests: Requests) -> Answers:
    assert requests.arm is not None
    treated = requests.arm == 1
    return Answers(
        requests.arm,
        requests.user,
        np.where(treated, whole.scores[1], whole.scores[0]),
        np.where(treated, whole.sizes[1], whole.sizes[0]),
        whole.span,
        whole.expected,
    )


def _paired(
    whole: _Scores, requests: Requests, terms: Terms, sent: Mapping[str, Rows]
) -> tuple[dict[str, ArmDifference], dict[str, Watch]]:
    """Both arms' scores of each request, side by side."""
    (before, after), (size, _) = whole.scores, whole.sizes
    gap = after - before
    fixed = compare_pairs(
        requests.user, before, after, sent, size=size, span=whole.span, level=terms.level
    )
    watches = {
        name: watch_pairs(
            requests.user,
            gap,
            rows,
            size=size,
            span=whole.span,
            planned=_planned(whole, name),
            alpha=terms.alpha,
        )
        for name, rows in sent.items()
    }
    return fixed, watches
