"""Ranges that an audit is given (``[[scales]]``): read, and checked against the model."""

from collections.abc import Iterator, Mapping, Sequence

from calaudit.audit.config import AuditConfig
from calaudit.audit.plan import Plan
from calaudit.calibration.scales import ScaleTable
from calaudit.graph.network import Network
from calaudit.graph.qdq import QdqPlan
from calaudit.runtime.errors import CalauditError, Problem, RangesError, near
from calaudit.runtime.words import counted, first_of
from calaudit.steps.cache import open_table

_SHOWN = 3


def open_given(config: AuditConfig) -> dict[str, ScaleTable]:
    """The scale tables of ``[[scales]]``, by name.

    Raises
    ------
    CalauditError
        Files that are missing, broken or something else; every problem of the first such file.
    """
    found = {}
    for name, entry in config.scales.items():
        try:
            found[name] = open_table(config.resolve(entry.file), name=name)
        except CalauditError as error:
            raise type(error).of(
                Problem(p.message, f"{config.path}: scales: {p.where or name}", p.next_step)
                for p in error.problems
            ) from None
    return found


def check_given(
    config: AuditConfig,
    plan: Plan,
    given: Mapping[str, ScaleTable],
    qdq: QdqPlan,
    network: Network | None,
) -> None:
    """Refuse scale tables of another model, and those that lack ranges which an engine needs.

    Parameters
    ----------
    config : AuditConfig
    plan : Plan
    given : mapping
        From `open_given`.
    qdq : QdqPlan
        Its taps are what Q/DQ needs.
    network : Network or None
        Its tensors are what implicit quantization needs.

    Raises
    ------
    RangesError
        With every table's problems.
    """
    problems: list[Problem] = []
    for cell in plan.cells:
        if cell.given_ranges is None:
            continue
        table = given[cell.given_ranges]
        where = f"{config.path}: scales: {config.scales[cell.given_ranges].file}"
        if cell.given == "scales" and network is not None:
            model, needed = network.given.fingerprint, network.varying
        else:
            model, needed = qdq.fingerprint, qdq.taps
        problems += list(_of_another_model(table, model, where)) or _lacking(table, needed, where)
    if problems:
        raise RangesError.of(dict.fromkeys(problems))


def _of_another_model(table: ScaleTable, model: str, where: str) -> Iterator[Problem]:
    if table.model_fingerprint not in {None, model}:
        yield Problem(
            f"was made for another model (fingerprint {table.model_fingerprint}, this one has "
            f"{model})",
            where,
            "Give a table of this model: the audit's own lie in its folder scales, and calaudit "
            "calibrate --out writes one.",
        )


def _lacking(table: ScaleTable, needed: Sequence[str], where: str) -> Iterator[Problem]:
    missing = [tensor for tensor in needed if tensor not in table.taps]
    if missing:
        names = first_of([repr(each) for each in missing[:_SHOWN]], len(missing))
        yield Problem(
            f"has no range for {counted(len(missing), 'tensor')} that this model needs: {names}",
            where,
            near(missing[0], table.taps),
        )
