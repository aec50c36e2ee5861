"""What an engine's products run in, as its record tells; INT8 engines that are none are refused."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Final

from calaudit.audit.plan import PlannedCell
from calaudit.audit.prepare import Audit
from calaudit.backends.base import BuiltEngine, NodePrecision, PrecisionProof
from calaudit.graph.macs import sum_macs
from calaudit.graph.model import Model
from calaudit.graph.rules import AS_ASKED
from calaudit.results.audited import EngineRecord, NodeRecord
from calaudit.results.values import filled
from calaudit.runtime.errors import BackendError

_GIVE_RANGES: Final = (
    "Give every tensor that it asks for a range, or audit on another release or GPU."
)
_GO_ELSEWHERE: Final = (
    "Audit on another release, GPU or backend; calaudit doctor says what runs in INT8 where."
)


def refuse_float(planned: PlannedCell, built: BuiltEngine) -> None:
    """Raise `BackendError` where INT8 was asked for and nothing is known to run in it.

    Such an engine answers as FP32 does, and would keep every gate. Where most products' precision
    is unknown, none of them being known to run in INT8 says nothing.
    """
    proof = None if built.account is None else built.account.proof
    if planned.precision != "int8" or proof is None:
        return
    asked = [each for each in proof.nodes if each.asked == "int8"]
    floats = [each for each in asked if each.got not in {None, "int8"}]
    if any(each.got == "int8" for each in asked) or 2 * len(floats) <= len(asked):
        return
    counts = ", ".join(f"{got} of {n} {op}" for op, (n, got) in proof.counts("int8").items())
    kinds = " and ".join(sorted({str(each.got).upper() for each in floats}))
    unknown = len(asked) - len(floats)
    doubt = f", {unknown} of unknown precision" if unknown else ""
    first = floats[0]
    raise BackendError(
        f"no product runs in INT8 ({counts}{doubt}): this engine is {kinds}, by the "
        f"{proof.source}; {first.op_type} {first.node}: {first.reason}",
        where=planned.backend,
        next_step=_GIVE_RANGES if planned.given == "scales" else _GO_ELSEWHERE,
    )


def refuse_ignored(planned: PlannedCell, built: BuiltEngine, left: Collection[str]) -> None:
    """Raise `BackendError` where a backend asks INT8 of nodes that it was told to leave in float.

    An engine without its exemption would be judged under the exemption's name.
    """
    proof = None if built.account is None else built.account.proof
    nodes = () if proof is None else proof.nodes
    ignored = [each for each in nodes if each.asked == "int8" and each.node in left]
    if ignored:
        raise BackendError(
            f"INT8 is requested of {ignored[0].op_type} {ignored[0].node}, which float_ops leave "
            "in float",
            where=planned.backend,
            next_step='Drop it from float_ops, or audit there with int8 = "explicit".',
        )


def engine_record(
    audit: Audit, planned: PlannedCell, model: Model, built: BuiltEngine
) -> EngineRecord:
    """What an engine is: by its library's account, or else by the graph, which it follows.

    Parameters
    ----------
    audit : Audit
    planned : PlannedCell
    model : Model
        What the backend was given.
    built : BuiltEngine
    """
    account, int8 = built.account, planned.precision == "int8"
    proof = None if account is None else account.proof
    followed = account is None
    told = tuple(_as_placed(audit, planned)) if followed else () if proof is None else proof.nodes
    nodes = tuple(_as_asked(planned, _counted_by(audit.macs, each)) for each in told)
    in_int8 = _counted(each.op_type for each in nodes if each.got == "int8")
    in_float = _counted(each.op_type for each in nodes if each.got != "int8")
    products = [each for each in nodes if not followed or each.node in audit.macs]
    unproven = not followed and proof is None
    macs = sum_macs(
        ((each, False) for each in audit.macs.values())
        if unproven
        else ((each.macs, each.got == "int8") for each in products)
    )
    return EngineRecord(
        model.fingerprint,
        built.kernels,
        in_int8,
        in_float,
        options=built.options,
        asked_ops=in_int8 if account is None else account.asked,
        proof=None if proof is None else proof.source,
        not_as_asked=tuple(
            filled(NodeRecord, each) for each in PrecisionProof("", nodes).short_of()
        ),
        left_float=tuple(
            filled(NodeRecord, each)
            for each in products
            if int8 and each.asked != "int8" and each.got != "int8"
        ),
        macs=macs.all,
        int8_macs=None if unproven and int8 else macs.int8,
        uncounted=macs.uncounted,
        exempt=planned.float_ops,
        exempt_macs=sum_macs((audit.macs.get(each), False) for each in planned.float_ops).all,
    )


def _counted_by(macs: Mapping[str, int | None], node: NodePrecision) -> NodePrecision:
    """The node with the audit's count of its multiply-accumulates, where the backend has none."""
    return node if node.macs is not None else replace(node, macs=macs.get(node.node))


def _as_asked(planned: PlannedCell, node: NodePrecision) -> NodePrecision:
    """The node with the audit's reason where the graph was asked to leave it in float."""
    left = node.node in planned.float_ops and node.asked != "int8" and node.got is not None
    return replace(node, reason=AS_ASKED) if left else node


def _as_placed(audit: Audit, planned: PlannedCell) -> Iterator[NodePrecision]:
    """The weighted nodes of an engine that follows its graph."""
    for each in audit.qdq_of(planned).decisions:
        if each.kind == "node" and each.weighted:
            quantized = planned.precision == "int8" and each.action == "quantized"
            kind, reason = ("int8", "") if quantized else ("fp32", each.reason)
            yield NodePrecision(each.subject, each.op_type, kind, kind, reason)


def _counted(names: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(names).items()))
