"""Where an audit's Q/DQ goes: without exemptions, and with each of those that it names."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from calaudit.audit.config import AuditConfig
from calaudit.graph.exempt import match_products
from calaudit.graph.model import Model
from calaudit.graph.names import name_of
from calaudit.graph.placement import plan_qdq
from calaudit.graph.qdq import QdqPlan
from calaudit.runtime.errors import ModelError, Problem, SettingsError


@dataclass(frozen=True, slots=True)
class Placement:
    """Q/DQ of all INT8 engines of an audit."""

    whole: QdqPlan
    """Without exemptions: its taps are observed, and serve every engine."""
    float_ops: Mapping[str | None, tuple[str, ...]]
    """Exemption → products left in float, in graph order; None: engines without one."""
    plans: Mapping[tuple[str, ...], QdqPlan]
    """Products left in float → the plan of the engine."""


def place(config: AuditConfig, given: Model, folded: Model) -> Placement:
    """Decide where Q/DQ goes; engines that would stay float as a whole can't be audited for INT8.

    Parameters
    ----------
    config : AuditConfig
    given, folded : Model
        As the model's file has it, and as `calaudit.graph.prepare.prepare` returns it.

    Raises
    ------
    ModelError
        No op of the model would run in INT8.
    SettingsError
        ``float_ops`` match no product, or leave none in INT8.
    """
    whole = plan_qdq(folded)
    if not whole.taps and "int8" in config.audit.precisions:
        raise ModelError(
            "no op of this model would run in INT8, so there is nothing to audit",
            where=given.label,
            next_step="Give the FP32 model; calaudit build --explain says why each op stays float.",
        )
    left = dict(_left_in_float(config, given, folded, whole))
    plans = {
        names: plan_qdq(folded, float_ops=names) if names else whole
        for names in dict.fromkeys(left.values())
    }
    return Placement(whole, left, plans)


def _left_in_float(
    config: AuditConfig, given: Model, folded: Model, whole: QdqPlan
) -> Iterator[tuple[str | None, tuple[str, ...]]]:
    """Each exemption's products, with those of ``[audit]``, in graph order."""
    entries = [(None, config.audit.float_ops, f"{config.path}: audit.float_ops")] + [
        (each.name, each.float_ops, f"{config.path}: exemptions[{number}].float_ops")
        for number, each in enumerate(config.exemptions)
    ]
    everywhere: set[str] = set()
    problems: list[Problem] = []
    for name, patterns, where in entries:
        try:
            wanted = everywhere | set(match_products(patterns, given, folded, where=where))
        except SettingsError as error:
            problems += error.problems
            continue
        if name is None:
            everywhere = wanted
        if wanted and wanted >= set(whole.int8_ops):
            step = "Leave fewer products in float; FP32 is what every engine is compared with."
            problems.append(Problem("leaves no product in INT8", where, step))
        order = map(name_of, folded.proto.graph.node)
        yield name, tuple(each for each in order if each in wanted)
    if problems:
        raise SettingsError.of(problems)
