"""The gates of an audit file: what every metric may lose, and must reach, on every slice."""

from collections.abc import Iterator, Sequence

from calaudit.audit.config import AuditConfig
from calaudit.metrics.catalogue import parse_metric
from calaudit.runtime.errors import Problem, SettingsError, SliceError
from calaudit.runtime.words import plural
from calaudit.slices.sliceset import match_slices
from calaudit.statistics.criteria import Tolerance
from calaudit.steps.gates import GateRule, resolve_floors, resolve_gates
from calaudit.tasks.base import EvalSet


def read_gates(
    config: AuditConfig, eval_sets: Sequence[EvalSet]
) -> tuple[dict[tuple[str, str], Tolerance], dict[tuple[str, str], float]]:
    """(metric, slice) → the drop that is tolerated, and → what FP32 must reach.

    Parameters
    ----------
    config : AuditConfig
    eval_sets : sequence of EvalSet
        Their metrics may be gated, each on the slices of its units.

    Raises
    ------
    SliceError
        A slice that is gated, or defined by itself, holds no evaluated sample.
    SettingsError
        A gate on a metric that isn't evaluated, or that can't be met.
    """
    rules = _rules(config, eval_sets)
    slices = {metric: each.slices for each in eval_sets for metric in each.metrics}
    return resolve_gates(rules, slices), resolve_floors(rules, slices)


def _rules(config: AuditConfig, eval_sets: Sequence[EvalSet]) -> list[GateRule]:
    """The audit file's gates; a slice that it names and nobody is in is an error."""
    rules = [
        GateRule(
            _one_spelling(gate.metric),
            gate.slices,
            gate.tolerance,
            f"{config.path}: gates[{number}]",
            gate.min_reference,
        )
        for number, gate in enumerate(config.gates)
    ]
    counts: dict[str, int] = {}
    for each in eval_sets:
        counts |= {name: max(n, counts.get(name, 0)) for name, n in each.slices.counts().items()}
    problems = [
        Problem(
            f'slice "{name}" holds no evaluated sample',
            f"{config.path}: slices: {dimension.title}",
            "Fix the slice or the evaluate predicate.",
        )
        for dimension in config.dimensions
        if dimension.cross is None and dimension.by is None
        for name in match_slices(dimension.title, counts)
        if not counts[name]
    ]
    problems += [
        problem
        for rule in rules
        for problem in _unheld(rule, match_slices(rule.slices, counts, where=rule.where), eval_sets)
    ]
    if problems:
        raise SliceError.of(problems)
    return rules


def _unheld(
    rule: GateRule, matched: Sequence[str], eval_sets: Sequence[EvalSet]
) -> Iterator[Problem]:
    """What keeps a gate from holding anywhere: nobody is there, or nobody that its metric scores.

    `matched` are the slices of any units that it means.
    """
    mine = [s for s in eval_sets if rule.metric in {metric.name for metric in s.metrics}]
    where = f"{rule.where}.slices"
    if mine and not any(set(matched) & set(each.slices.names) for each in mine):
        other = next(each for each in eval_sets if set(matched) & set(each.slices.names))
        yield Problem(
            f'"{rule.slices}" is of {plural(other.unit)}, and {rule.metric} scores '
            f"{plural(mine[0].unit)}",
            where,
            f"Gate {other.metrics[0]} there, or {rule.metric} on slices of {plural(mine[0].unit)}.",
        )
    elif not any(
        n for e in mine or eval_sets for name, n in e.slices.counts().items() if name in matched
    ):
        yield Problem(
            f'slice "{rule.slices}" is gated but holds no evaluated sample',
            where,
            "Fix the slice, the evaluate predicate, or the gate.",
        )


def _one_spelling(metric: str) -> str:
    """``top@1`` as tasks name it; what isn't a metric is told of where it is looked for."""
    task, slash, own = metric.rpartition("/")
    try:
        return f"{task}{slash}{parse_metric(own).name}"
    except SettingsError:
        return metric
