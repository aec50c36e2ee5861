"""The gates of an audit file: what every metric may lose, and must reach, on every slice."""

from collections.abc import Sequence

from calaudit.audit.config import AuditConfig
from calaudit.metrics.catalogue import parse_metric
from calaudit.runtime.errors import Problem, SettingsError, SliceError
from calaudit.slices.sliceset import SliceSet, match_slices
from calaudit.statistics.criteria import Tolerance
from calaudit.steps.gates import GateRule, resolve_floors, resolve_gates
from calaudit.tasks.base import EvalSet


def read_gates(
    config: AuditConfig, eval_sets: Sequence[EvalSet], slices: SliceSet
) -> tuple[dict[tuple[str, str], Tolerance], dict[tuple[str, str], float]]:
    """(metric, slice) → the drop that is tolerated, and → what FP32 must reach.

    Parameters
    ----------
    config : AuditConfig
    eval_sets : sequence of EvalSet
        Their metrics may be gated.
    slices : SliceSet
        Over the evaluated rows.

    Raises
    ------
    SliceError
        A slice that is gated, or defined by itself, holds no evaluated sample.
    SettingsError
        A gate on a metric that isn't evaluated, or that can't be met.
    """
    rules = _rules(config, slices)
    metrics = [metric for eval_set in eval_sets for metric in eval_set.metrics]
    return resolve_gates(rules, metrics, slices), resolve_floors(rules, metrics, slices)


def _rules(config: AuditConfig, slices: SliceSet) -> list[GateRule]:
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
    counts = slices.counts()
    empty = [
        Problem(
            f'slice "{name}" holds no evaluated sample',
            f"{config.path}: slices: {dimension.title}",
            "Fix the slice or the evaluate predicate.",
        )
        for dimension in config.dimensions
        if dimension.cross is None and dimension.by is None
        for name in match_slices(dimension.title, slices.names)
        if not counts[name]
    ]
    empty += [
        Problem(
            f'slice "{rule.slices}" is gated but holds no evaluated sample',
            f"{rule.where}.slices",
            "Fix the slice, the evaluate predicate, or the gate.",
        )
        for rule in rules
        if all(
            not counts[name] for name in match_slices(rule.slices, slices.names, where=rule.where)
        )
    ]
    if empty:
        raise SliceError.of(empty)
    return rules


def _one_spelling(metric: str) -> str:
    """``top@1`` as tasks name it; what isn't a metric is told of where it is looked for."""
    try:
        return parse_metric(metric).name
    except SettingsError:
        return metric
