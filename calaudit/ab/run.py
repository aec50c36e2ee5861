"""Replay requests against two arms, and say whether the treatment does harm."""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from calaudit.runtime.errors import Notice
from calaudit.runtime.interrupts import closed_pipes_raise, listening

if TYPE_CHECKING:
    from calaudit.ab.answers import AnswerKeeper
    from calaudit.ab.arms import Arm
    from calaudit.ab.asked import Asked
    from calaudit.ab.comparing import Compared, Requests, Terms
    from calaudit.ab.opened import Known
    from calaudit.ab.replay import Replay, Schedule, Watcher
    from calaudit.ab.scoring import Judged
    from calaudit.audit.prepare import Audit, Overrides
    from calaudit.formats.requests import RequestLog
    from calaudit.results.ab import AbRecord, AbSettings, SameAnswers

FOLDER: Final = "ab"
"""Within the audit's results folder, where nothing else is said."""
_HELD: Final = "Wait for it to end, as --wait does."

Tell = Callable[[Notice], None]


@dataclass(frozen=True, eq=False, slots=True)
class Live:
    """What somebody who watches a replay is told before it starts."""

    audit: "Audit"
    asked: "Asked"
    requests: "Requests"
    keeper: "AnswerKeeper"
    """Has the arms' answers, as they come."""
    known: "Known"
    terms: "Terms"
    folder: Path
    """For files that nobody needs afterwards."""


Watching = Callable[[Live], AbstractContextManager["Watcher"]]


@listening()
@closed_pipes_raise()
def ab_audit(
    path: Path | str,
    asked: "Asked",
    overrides: "Overrides | None" = None,
    *,
    out: Path | str | None = None,
    tell: Tell | None = None,
    watching: Watching | None = None,
) -> "tuple[AbRecord, Path]":
    """Replay requests against two arms in an open loop, and write what came of it.

    Ctrl-C ends the replay early: what was answered by then is judged by the always-valid test and
    written, marked as incomplete. A second one, or another signal, leaves nothing.

    Parameters
    ----------
    path : Path
        The audit file of a finished audit: it gives samples, tasks, slices and gates.
    asked : Asked
        Arms, requests, and how they are sent.
    overrides : Overrides, optional
        Model, pool, results folder or seed in place of the file's.
    out : Path, optional
        Folder for ab.json and ab.html; default: ``ab`` in the audit's results folder.
    tell : callable, optional
        Is given notices before the replay starts, such as what it will be able to find.
    watching : callable, optional
        Makes what is told of every request while the replay runs.

    Returns
    -------
    AbRecord, Path
        What was found, and where ab.json was written.

    Raises
    ------
    CalauditError
        The audit isn't finished, an arm can't be used, or the log can't be read; nothing is
        written.
    """
    from calaudit.ab.endpoints import is_endpoint
    from calaudit.audit.prepare import Overrides, prepared_audit
    from calaudit.audit.store import share_lock
    from calaudit.report.ab.files import write_ab

    engines = sum(not is_endpoint(arm) for arm in asked.arms) * asked.engines
    given = replace(overrides or Overrides(), jobs=max(engines, 1))
    with ExitStack() as opened:
        audit = opened.enter_context(prepared_audit(Path(path), given))
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="calaudit-ab-")))
        trial = _Trial(audit, asked, folder, tell or (lambda notice: None))
        dealt = trial.read()  # before the lock: what is wrong with the log isn't for others to hide
        opened.enter_context(share_lock(audit.folder, wait=given.wait, next_step=_HELD))
        record = trial.run(dealt, watching)
        written = Path(out) if out is not None else audit.folder / FOLDER
        return record, write_ab(record, written)


@dataclass(frozen=True, eq=False, slots=True)
class _Dealt:
    """The requests that were read, who gets them and when."""

    log: "RequestLog"
    schedule: "Schedule"
    requests: "Requests"


@dataclass(frozen=True, eq=False, slots=True)
class _Done:
    """What was sent, to whom, and what became of it."""

    arms: "list[Arm]"
    schedule: "Schedule"
    requests: "Requests"
    log: "RequestLog"
    replay: "Replay"


@dataclass(eq=False, slots=True)
class _Trial:
    """One replay, from its arms to its record."""

    audit: "Audit"
    asked: "Asked"
    folder: Path
    """For files that nobody needs afterwards."""
    tell: Tell
    timings: dict[str, float] = field(default_factory=dict)
    notices: list[Notice] = field(default_factory=list)

    def read(self) -> "_Dealt":
        """Check what was asked for, and deal the requests: without any of the audit's results."""
        from calaudit.ab.opened import check_arms, check_length, check_metrics, read_log, scheduled

        check_metrics(self.audit, self.asked)
        check_arms(self.audit, self.asked)
        log = read_log(self.audit, self.asked, self._note)
        schedule, requests = scheduled(self.audit, self.asked, log)
        check_length(schedule, self.asked)
        return _Dealt(log, schedule, requests)

    def run(self, dealt: "_Dealt", watching: Watching | None) -> "AbRecord":
        """Open, foresee, replay, judge."""
        from calaudit.ab.answers import AnswerKeeper, Wanted
        from calaudit.ab.opened import (
            check_space,
            length_notice,
            open_arms,
            open_known,
            wanted_outputs,
        )

        audit, asked = self.audit, self.asked
        known = open_known(audit, asked)
        check_space(known, self.folder)
        arms = open_arms(audit, asked)
        schedule, requests = dealt.schedule, dealt.requests
        with self._stage("expected"):
            foreseen = self._foreseen(known, requests)
        self.tell(length_notice(schedule, asked))
        kept = audit.kept(audit.plan.cells[0] if audit.plan.cells else audit.plan.reference)
        wanted = Wanted(wanted_outputs(audit), kept, known.reference)
        keeper = AnswerKeeper(wanted, requests.rows, requests.judged)
        watcher: AbstractContextManager[Watcher | None] = nullcontext()
        if watching is not None:
            live = Live(audit, asked, requests, keeper, known, self.terms, self.folder)
            watcher = watching(live)
        replay = self._replayed(arms, schedule, requests, keeper, watcher)
        done = _Done(arms, schedule, replace(requests, n_sent=replay.n_sent), dealt.log, replay)
        with self._stage("statistics"):
            judged, same = self._judged(keeper, known)
            compared = self._compared(judged, keeper, done, foreseen)
        return self._record(done, judged, same, compared)

    def _note(self, notice: Notice) -> None:
        self.notices.append(notice)
        self.tell(notice)

    @contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        from calaudit.runtime.progress import stage

        start = time.perf_counter()
        with stage(name):
            yield
        self.timings[name] = round(time.perf_counter() - start, 3)

    @property
    def terms(self) -> "Terms":
        """How arms are compared."""
        from calaudit.ab.comparing import Terms

        return Terms(self.asked.share, self.audit.config.audit.level, self.asked.seed)

    def _foreseen(self, known: "Known", requests: "Requests") -> dict[tuple[str, str], float]:
        """Minimum detectable effects, of what the audit's engines answered."""
        from calaudit.ab.comparing import foresee
        from calaudit.ab.scoring import cell_of, judged_by_request
        from calaudit.audit.records import metric_records
        from calaudit.report.ab.sentences import foreseen_notice

        if self.asked.mode == "shadow" and not all(known.own):
            return {}  # nobody knows by how much they will differ
        cells = {cell_of(arm): given for arm, given in enumerate(known.arms)}
        judged = judged_by_request(
            self.audit,
            cells,
            known.reference,
            lent=known.lent,
            metrics=self.asked.metrics,
        )
        found: dict[tuple[str, str], float] = {}
        for scores in judged.metrics:
            found |= foresee(scores, requests, self.terms)
        names = {each.name: each for each in metric_records(judged.scored)}
        notice = foreseen_notice(found, names)
        if notice is not None:
            self.tell(notice)
        return found

    def _replayed(
        self,
        arms: "list[Arm]",
        schedule: "Schedule",
        requests: "Requests",
        keeper: "AnswerKeeper",
        watching: "AbstractContextManager[Watcher | None]",
    ) -> "Replay":
        from calaudit.ab.feeds import PoolFeeds
        from calaudit.ab.opened import start_arms
        from calaudit.ab.replay import replay

        dtypes = {each.name: each.dtype for each in self.audit.model.inputs}
        feeds = PoolFeeds(self.audit.pool, schedule.row, dtypes)
        with ExitStack() as held:
            for arm in arms:
                held.callback(arm.close)
            with self._stage("arms"):
                start_arms(self.audit, arms, schedule.row)
            for arm in arms:
                for notice in getattr(arm, "notices", ()):
                    self._note(notice)
            watcher = held.enter_context(watching)
            with self._stage("replay"):
                return replay(
                    schedule,
                    arms,
                    feeds,
                    keeper,
                    timeout=self.asked.timeout_s,
                    watcher=watcher,
                )

    def _judged(self, keeper: "AnswerKeeper", known: "Known") -> "tuple[Judged, list[SameAnswers]]":
        from calaudit.ab.judging import score_arms

        return score_arms(
            self.audit,
            keeper,
            known.standing,
            known.reference,
            self.folder,
            lent=known.lent,
            metrics=self.asked.metrics,
        )

    def _compared(
        self,
        judged: "Judged",
        keeper: "AnswerKeeper",
        done: _Done,
        foreseen: dict[tuple[str, str], float],
    ) -> "list[Compared]":
        from calaudit.ab.comparing import compare_failures, compare_metric, compare_outcomes
        from calaudit.ab.records import MOST_LOOKS
        from calaudit.ab.verdicts import settled

        control, treatment = (arm.number for arm in keeper.arms)
        requests, terms = done.requests, self.terms
        gates = self.audit.gates
        found = list(compare_failures(done.replay.courses, requests, terms))
        for scores in judged.metrics:
            own = compare_metric(scores, requests, (control, treatment), terms, foreseen)
            found += (settled(one, gates, terms, MOST_LOOKS) for one in own)
        outcomes, notices = compare_outcomes(done.log.outcomes, requests, terms)
        self.notices += [*judged.notices, *notices]
        return found + [settled(one, gates, terms, MOST_LOOKS) for one in outcomes]

    @property
    def _settings(self) -> "AbSettings":
        from calaudit.results.ab import AbSettings

        asked = self.asked
        share = asked.share if asked.mode == "split" else 1.0
        return AbSettings(asked.mode, share, asked.salt, asked.source, asked.timeout_s, asked.seed)

    def _record(
        self,
        done: _Done,
        judged: "Judged",
        same: "list[SameAnswers]",
        compared: "list[Compared]",
    ) -> "AbRecord":
        from calaudit.ab import records
        from calaudit.ab.verdicts import overall, results_of, with_identical
        from calaudit.audit.backends import accelerators
        from calaudit.audit.records import describe_environment, metric_records
        from calaudit.results.ab import AbRecord
        from calaudit.version import __version__

        audit, asked, replay = self.audit, self.asked, done.replay
        requests, schedule = done.requests, done.schedule
        complete = replay.n_sent == len(schedule)
        times = records.timed(
            replay, schedule.due, requests, level=self.terms.level, seed=asked.seed
        )
        pairs = list(zip(asked.named, done.arms, strict=True))
        made = records.arm_records(pairs, replay, schedule.due, requests, times)
        medians = [arm.latency.p50_ms.value for arm in made]
        told = records.replayed_record(
            replay,
            schedule.due,
            requests,
            speed=asked.speed,
            skipped=done.log.n_unknown,
            fastest_ms=min((each for each in medians if each is not None), default=None),
        )
        results = results_of(compared, audit.gates, self.terms, complete=complete)
        ratio = records.ratio_record(requests, replay, asked.share, complete=complete)
        named = [metric for metric, _ in audit.gates if metric in (asked.metrics or (metric,))]
        judged_by = {one.metric for one in results}
        unjudged = [each for each in dict.fromkeys(named) if each not in judged_by]
        whole = overall(results, made, ratio, unjudged=unjudged, complete=complete)
        if asked.mode == "shadow":
            whole = with_identical(whole, same, results, judged.metrics, complete=complete)
        known = metric_records((*judged.scored, *judged.likeness))
        notices = [*self.notices, *records.replay_notices(told, made, complete=complete)]
        return AbRecord(
            calaudit_version=__version__,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            verdict=whole.verdict,
            why=whole.why,
            complete=complete,
            audit=records.audit_part(audit),
            environment=describe_environment(accelerators(audit.backends)),
            settings=self._settings,
            replayed=told,
            arms=made,
            slower=records.slower_records(times),
            metrics=tuple({each.name: each for each in known}.values()),
            results=tuple(results),
            watched=records.watched_records(compared, results),
            same_answers=tuple(same),
            sample_ratio=ratio,
            warnings=tuple(dict.fromkeys(notices)),
            timings=dict(self.timings),
        )
