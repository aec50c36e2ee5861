"""What a replay needs of a finished audit: arms, requests, FP32's answers, what to look at."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from calaudit.ab.arms import Arm, EngineArm, engine_arms, planned_arm
from calaudit.ab.asked import MADE, Asked
from calaudit.ab.assignment import arms as dealt_to
from calaudit.ab.comparing import Requests
from calaudit.ab.endpoints import Endpoint, is_endpoint
from calaudit.ab.kserve import KServeArm
from calaudit.ab.replay import Schedule
from calaudit.ab.traffic import make_requests
from calaudit.audit.observed import open_observed
from calaudit.audit.prepare import Audit
from calaudit.audit.store import Store
from calaudit.formats.predictions import Predictions
from calaudit.formats.requests import RequestLog, read_requests, write_requests
from calaudit.formats.writing import check_room
from calaudit.graph.model import ModelTensor
from calaudit.graph.survey import sized_outputs
from calaudit.runtime.errors import BackendError, Notice, SettingsError, near
from calaudit.runtime.pool import Rows
from calaudit.runtime.words import command_line, duration

LONGEST: Final = 86_400.0
"""Seconds that a replay may take: one that takes longer than a day is a log with a broken clock."""


@dataclass(frozen=True, eq=False, slots=True)
class Known:
    """Answers of an audit's engines to all samples that it evaluates."""

    reference: Predictions
    """FP32's."""
    arms: tuple[Predictions, ...]
    """What each arm is expected to answer: its own cell's; of an endpoint another's."""
    own: tuple[bool, ...]
    """Whether these are the arm's own."""
    shared: Predictions
    """Of one engine, for arms whose own answers to all samples aren't known."""
    shared_name: str
    """``"fp32"``, or a cell's id."""

    @property
    def standing(self) -> tuple[Predictions, ...]:
        """What stands in for samples that nobody asks an arm for.

        Each arm's own, or the same for both: arms that answer alike then score alike.
        """
        return self.arms if all(self.own) else (self.shared,) * len(self.arms)

    @property
    def lent(self) -> str | None:
        """Whose answers stand in for both arms; None: each arm has its own."""
        return None if all(self.own) else self.shared_name


def open_known(audit: Audit, asked: Asked) -> Known:
    """The answers that a finished audit keeps.

    Raises
    ------
    SettingsError
        The audit isn't finished, or has no such engine.
    """
    store, plan = Store(), audit.plan
    if not store.holds(plan.reference.predictions):
        raise SettingsError(
            "the audit isn't finished: FP32's answers aren't there",
            where=audit.config.path,
            next_step=f"Run {command_line('calaudit', 'compare', audit.config.path)} first.",
        )
    reference = Predictions(plan.reference.predictions)
    plain = audit.kept(plan.reference).key == _kept_key(audit)
    finished = next((each for each in plan.cells if store.holds(each.predictions)), None)
    spare = None if finished is None else finished.predictions
    found, own = [], []
    for name in asked.arms:
        planned = None if is_endpoint(name) else planned_arm(audit, name)
        mine = planned is not None and store.holds(planned.predictions)
        mine = mine and (plain or planned != plan.reference)
        path = planned.predictions if planned is not None and mine else spare
        if path is None and not plain:
            raise SettingsError(
                "no engine of the audit is finished",
                where=audit.config.path,
                next_step=f"Run {command_line('calaudit', 'compare', audit.config.path)} first.",
            )
        found.append(reference if path is None else Predictions(path))
        own.append(mine)
    if plain or finished is None:
        return Known(reference, tuple(found), tuple(own), reference, "fp32")
    shared = Predictions(finished.predictions)
    return Known(reference, tuple(found), tuple(own), shared, finished.id)


def _kept_key(audit: Audit) -> object:
    """What predictions of engines keep."""
    return audit.kept(audit.plan.cells[0]).key if audit.plan.cells else None


def check_metrics(audit: Audit, asked: Asked) -> None:
    """Refuse metrics that no task computes. Raises `SettingsError`."""
    known = [metric.name for each in audit.eval_sets for metric in each.metrics]
    for name in asked.metrics:
        if name not in known:
            raise SettingsError(
                f"no task of the audit computes {name!r}",
                where="--metric",
                next_step=near(name, known),
            )


def check_arms(audit: Audit, asked: Asked) -> None:
    """Refuse engines that the audit doesn't have, and addresses that are none.

    Raises
    ------
    SettingsError
    """
    for arm in asked.arms:
        if is_endpoint(arm):
            Endpoint.parse(arm)
        else:
            planned_arm(audit, arm)


def check_length(schedule: Schedule, asked: Asked) -> None:
    """Refuse a replay of more than a day. Raises `SettingsError`."""
    seconds = float(schedule.due[-1])
    if seconds <= LONGEST:
        return
    fast = f"--speed {np.ceil(asked.speed * seconds / LONGEST):.0f}"
    before = int(np.argmax(np.diff(schedule.due))) + 1
    cut = "fewer requests with --n"
    if isinstance(asked.requests, Path):
        cut = f"cut the log with --n ({before} is what comes before the longest gap)"
    raise SettingsError(
        f"the replay would take {duration(seconds)} at --speed {asked.speed:g}, and a day is the "
        "most",
        where=asked.source if isinstance(asked.requests, Path) else "--speed",
        next_step=f"Give a higher --speed ({fast} ends within a day), or {cut}.",
    )


def length_notice(schedule: Schedule, asked: Asked) -> Notice:
    """How long a replay takes, at least."""
    takes = duration(float(schedule.due[-1]))
    message = f"the replay takes {takes} at --speed {asked.speed:g}"
    return Notice("replay_length", message, "before the start")


def check_space(known: Known, folder: Path) -> None:
    """Refuse a folder that can't hold both arms' answers, before anything is asked.

    Their first answers, and one further at a time where an arm doesn't answer alike.

    Raises
    ------
    OutputError
    """
    check_room(folder, 2 * [each.path.stat().st_size for each in known.arms])


def wanted_outputs(audit: Audit) -> list[ModelTensor]:
    """The model's outputs that tasks read, with the sizes that the pool's samples give them."""
    read = {name for each in audit.eval_sets for name in each.outputs}
    sizes = {name: spec.shape for name, spec in audit.pool.inputs.items()}
    return [each for each in sized_outputs(audit.model, sizes) if each.name in read]


def open_arms(audit: Audit, asked: Asked) -> list[Arm]:
    """The arms, not started.

    Raises
    ------
    SettingsError
        The audit has no such engine, or an address isn't one.
    BackendError
        An engine can't run here.
    """
    observed = open_observed(audit.plan)
    inputs, outputs = audit.model.inputs, wanted_outputs(audit)
    found: list[Arm] = []
    cells = [
        (name, arm)
        for name, arm in zip(asked.named, asked.arms, strict=True)
        if not is_endpoint(arm)
    ]
    engines = iter(engine_arms(audit, cells, observed, engines=asked.engines))
    for arm in asked.arms:
        if is_endpoint(arm):
            found.append(
                KServeArm(
                    Endpoint.parse(arm),
                    inputs,
                    outputs,
                    timeout_s=asked.timeout_s,
                    concurrency=asked.connections,
                )
            )
        else:
            found.append(next(engines))
    return found


def start_arms(audit: Audit, arms: Sequence[Arm], rows: Rows) -> None:
    """Start each, and have engines answer once, so that the first request isn't their first run.

    Raises
    ------
    CalauditError
        An arm can't be used, or its model isn't the audit's.
    """
    for arm in arms:
        arm.start()
        if isinstance(arm, EngineArm):
            arm.warm(audit.pool.read_inputs(rows[:1]))


def read_log(audit: Audit, asked: Asked, tell: Callable[[Notice], None]) -> RequestLog:
    """The requests, whose rows are the pool's.

    Raises
    ------
    CalauditError
        The log can't be read or written, or asks for samples that the pool doesn't have.
    """
    if isinstance(asked.requests, Path):
        every = audit.pool.ids(np.arange(len(audit.pool), dtype=np.int64))
        log = read_requests(asked.requests, every, skip_unknown=asked.skip_unknown)
        for notice in log.notices:
            tell(notice)
        return log if asked.n is None else log.first(asked.n)
    made = make_requests(asked.requests, asked.n or MADE, len(audit.evaluated))
    if asked.write_log is not None:
        write_requests(asked.write_log, made, audit.pool.ids(audit.evaluated))
    return RequestLog(made.time, made.user, made.users, audit.evaluated[made.row])


def scheduled(audit: Audit, asked: Asked, log: RequestLog) -> tuple[Schedule, Requests]:
    """Who is asked when, by the log's users.

    Raises
    ------
    BackendError
        Every user is dealt to one arm.
    """
    arm = None
    if asked.mode == "split":
        arm = dealt_to(log.users, salt=asked.salt, share=asked.share)[log.user]
        if len(np.unique(arm)) < 2:
            raise BackendError(
                f"all {len(log.users)} users are dealt to one arm",
                where="--split",
                next_step="Give a log with more users, or another --salt.",
            )
    judged = np.isin(log.row, audit.evaluated)
    schedule = Schedule(log.time / asked.speed, log.row, arm)
    return schedule, Requests(log.row, log.user, arm, judged, len(log))
