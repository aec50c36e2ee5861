"""A replay looked at while it runs: what the always-valid tests say so far, for Prometheus.

What is looked at are the requests up to the first that hasn't ended, as if the replay had been
ended there: what has come of later ones would favour the faster arm.
"""

import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from calaudit.ab.comparing import FAILURES, Requests, Terms, requests_in
from calaudit.ab.judging import judged_answers
from calaudit.ab.live import LiveMetrics, LiveResult
from calaudit.ab.scoring import MetricScores
from calaudit.results.comparison import ALL
from calaudit.runtime.pool import Rows
from calaudit.statistics.arms import Answers
from calaudit.statistics.sample_ratio import sample_ratio
from calaudit.statistics.sequential import Decision, Watch, decide, watch_arms, watch_pairs

if TYPE_CHECKING:
    from calaudit.ab.run import Live
    from calaudit.audit.prepare import Audit

Floats = NDArray[np.float64]
EVERY: Final = 5.0
"""Seconds between two looks, at least."""
SHARE: Final = 0.05
"""Of the time, that looks may take at most: they take it from what is measured."""
ANSWERS: Final = 4
"""Different answers to a sample that looks go by; any further one counts as the last of them."""


class Looker:
    """Is told of requests, and looks at the tests now and then, in a thread of its own.

    Parameters
    ----------
    live : Live
    metrics : LiveMetrics
    slices : sequence of str
        Those that are tested, beside everything.
    """

    def __init__(self, live: "Live", metrics: LiveMetrics, slices: Sequence[str]) -> None:
        self._live, self._metrics = live, metrics
        self._slices = (ALL, *slices)
        self._failed = np.full((2, len(live.requests.rows)), np.nan)
        self._over = threading.Event()
        self._errors: list[BaseException] = []

    def sent(self, arm: int, request: int) -> None:
        """See `calaudit.ab.replay.Watcher`."""
        self._metrics.sent(arm, request)

    def ended(self, arm: int, request: int, status: str, seconds: float | None) -> None:
        """See `calaudit.ab.replay.Watcher`."""
        self._metrics.ended(arm, request, status, seconds)
        self._failed[arm, request] = status != "ok"

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Look every few seconds while the block runs.

        Raises
        ------
        Exception
            What a look raised, once the block has ended: a bug.
        """
        thread = threading.Thread(target=self._look_on, name="looks", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()
        if self._errors:
            raise self._errors[0]

    def _look_on(self) -> None:
        pause = EVERY
        while not self._over.wait(pause):
            start = time.perf_counter()
            try:
                self.look()
            except BaseException as error:  # noqa: BLE001  # raised where the replay ends
                self._errors.append(error)
                return
            pause = max(EVERY, (time.perf_counter() - start) / SHARE)

    def look(self) -> None:
        """Show the tests' state by what has ended so far."""
        requests = self._so_far()
        n = requests.n_sent
        if not n:
            return
        numbers = [
            np.minimum(answers.number, ANSWERS - 1).astype(np.int32)
            for answers in self._live.keeper.arms
        ]
        found = _failures(self._failed, requests, self._live.terms)
        for scores in self._judged():
            names = [name for name in self._slices if name in scores.slices.names]
            found += quality(scores, requests, (numbers[0], numbers[1]), self._live.terms, names)
        ratio = None
        if requests.arm is not None:
            answered = np.flatnonzero((self._failed[:, :n] == 0).any(axis=0))
            users = requests.user[answered]
            share = self._live.terms.share
            ratio = sample_ratio(requests.arm[answered], users, share=share).p_always
        self._metrics.tested(found, n, ratio)

    def _so_far(self) -> Requests:
        requests = self._live.requests
        ended = ~np.isnan(self._failed)
        if requests.arm is None:
            done = ended.all(axis=0)
        else:
            done = np.where(requests.arm == 1, ended[1], ended[0])
        n = len(done) if done.all() else int(done.argmin())
        return replace(requests, n_sent=n)

    def _judged(self) -> tuple[MetricScores, ...]:
        """The headline metric, of the answers that are there."""
        live = self._live
        with TemporaryDirectory(dir=live.folder) as folder:
            judged, _ = judged_answers(
                live.audit,
                live.keeper,
                live.known.standing,
                live.known.reference,
                Path(folder),
                lent=live.known.lent,
                metrics=live.asked.metrics or _headline(live.audit),
                most=ANSWERS,
            )
        return judged.metrics


def _headline(audit: "Audit") -> tuple[str, ...]:
    """The first metric by which a request by itself has a score."""
    for each in audit.eval_sets:
        for metric in each.metrics:
            if each.unit_of_row is None and metric.kind != "set":
                return (metric.name,)
    return ()


@dataclass(frozen=True, eq=False, slots=True)
class _Both:
    """One metric of both arms' requests, and the slices that it is looked at on."""

    metric: str
    sign: int
    """1 where higher is better, else −1."""
    span: float | None
    scores: Sequence[tuple[Floats, Floats]]
    """Of each arm: (n,) numerators, NaN without a score, and (n,) denominators."""
    slices: Mapping[str, Rows]
    """Slice → its requests in the whole log."""
    expected: Floats | None = None
    """(n,) what FP32 scores on each request's sample; None where it has no score."""


def _failures(failed: Floats, requests: Requests, terms: Terms) -> list[LiveResult]:
    everything = {ALL: np.arange(len(requests.rows))}
    sizes = np.where(np.isnan(failed), 0.0, 1.0)
    scores = [(failed[arm], sizes[arm]) for arm in (0, 1)]
    return _tested([_Both(FAILURES, -1, 1.0, scores, everything)], requests, terms)


def quality(
    scores: MetricScores,
    requests: Requests,
    numbers: tuple[NDArray[np.int32], NDArray[np.int32]],
    terms: Terms,
    names: Sequence[str],
) -> list[LiveResult]:
    """One metric on several slices, by the first `requests.n_sent` requests.

    Parameters: as :func:`calaudit.ab.comparing.compare_metric`; `names` are slices, which are
    tested together.
    """
    return _tested(_groups(scores, requests, numbers, names), requests, terms)


def _groups(
    scores: MetricScores,
    requests: Requests,
    numbers: tuple[NDArray[np.int32], NDArray[np.int32]],
    names: Sequence[str],
) -> Iterator[_Both]:
    """Slices whose requests have the same scores: all of them, or each by itself."""
    metric = scores.metric
    sign = 1 if metric.higher_is_better else -1
    for group in [list(names)] if scores.by_row else [[name] for name in names]:
        within = None if scores.by_row else group[0]
        both = [
            scores.of_requests(arm, requests.rows, numbers[arm], within=within) for arm in (0, 1)
        ]
        rows = {name: requests_in(scores, name, requests) for name in group}
        fp32 = scores.expected(requests.rows, requests.judged, within)
        yield _Both(metric.name, sign, metric.span, both, rows, fp32)


@dataclass(frozen=True, eq=False, slots=True)
class _Seen:
    """What one slice came to so far."""

    metric: str
    control: float | None
    treatment: float | None
    watch: Watch

    @property
    def drop(self) -> float | None:
        """None where an arm has no score, or none that can be compared with the other's."""
        if self.control is None or self.treatment is None or not len(self.watch.estimate):
            return None
        return 0.0 - float(self.watch.estimate[-1])  # no −0


def _tested(groups: Iterable[_Both], requests: Requests, terms: Terms) -> list[LiveResult]:
    """All slices of all groups are one family."""
    seen: dict[str, _Seen] = {}
    for both in groups:
        for name, every in both.slices.items():
            rows = every[every < requests.n_sent]
            control, treatment = (_value(both.scores[arm], rows, requests, arm) for arm in (0, 1))
            watch = _watch(both, rows, max(len(every), 1), requests, terms)
            seen[name] = _Seen(both.metric, control, treatment, watch)
    decisions = decide({name: one.watch for name, one in seen.items()}, alpha=terms.alpha)
    return [_result(name, one, decisions[name]) for name, one in seen.items()]


def _result(name: str, one: _Seen, decision: Decision) -> LiveResult:
    return LiveResult(
        one.metric,
        name,
        one.control,
        one.treatment,
        one.drop,
        None if decision.high is None else -decision.high,
        None if decision.low is None else -decision.low,
        decision.p_value,
        decided=decision.decided is not None,
    )


def _watch(both: _Both, rows: Rows, planned: int, requests: Requests, terms: Terms) -> Watch:
    (before, size), (after, other) = both.scores
    if requests.arm is None:
        return watch_pairs(
            requests.user,
            both.sign * (after - before),
            rows,
            size=size,
            span=both.span,
            planned=planned,
            alpha=terms.alpha,
        )
    treated = requests.arm == 1
    score = both.sign * np.where(treated, after, before)
    sizes = np.where(treated, other, size)
    expected = None if both.expected is None else both.sign * both.expected
    answers = Answers(requests.arm, requests.user, score, sizes, both.span, expected)
    return watch_arms(answers, rows, planned=planned, alpha=terms.alpha)


def _value(scores: tuple[Floats, Floats], rows: Rows, requests: Requests, arm: int) -> float | None:
    """The metric over one arm's requests."""
    mine = rows if requests.arm is None else rows[requests.arm[rows] == arm]
    score, size = scores[0][mine], scores[1][mine]
    kept = ~np.isnan(score) & (size > 0)
    return float(score[kept].sum() / size[kept].sum()) if kept.any() else None
