"""What an order for an engine comes to: its ranges, and what is kept of it beside the plan."""

from calaudit.backends.base import NodePrecision, Order, PrecisionProof
from calaudit.backends.tensorrt.implicit import GivenRanges, NativeRanges
from calaudit.backends.tensorrt.kind import CALIBRATORS
from calaudit.calibration.scales import ScaleTable
from calaudit.formats.engine import EngineFacts
from calaudit.formats.trt_cache import open_trt_cache
from calaudit.runtime.errors import FileFormatError


def proof_of(facts: EngineFacts) -> PrecisionProof | None:
    """The proof that an engine's facts hold."""
    if facts.proof is None:
        return None
    nodes = tuple(
        NodePrecision(
            str(node["node"]), str(node["op_type"]), str(node["asked"]), _text(node["got"]),
            str(node["reason"]), _count(node.get("macs")),
        )
        for node in facts.nodes
    )  # fmt: skip
    return PrecisionProof(facts.proof, nodes)


def _text(value: str | int | None) -> str | None:
    return None if value is None else str(value)


def _count(value: str | int | None) -> int | None:
    return value if isinstance(value, int) else None


def ranges_of(order: Order) -> NativeRanges | GivenRanges | None:
    """What implicit quantization starts from; None where the graph says what is quantized."""
    if order.ranges is None:
        return None
    if isinstance(order.ranges, ScaleTable):
        return GivenRanges(order.ranges)
    algorithm, _ = CALIBRATORS[str(order.method)]
    return NativeRanges(
        calibset=order.ranges,
        algorithm=algorithm,
        batching=order.batching.fitted(len(order.ranges)),
        cache=order.path.with_suffix(".cache"),
    )


def calibration_options(ranges: NativeRanges | GivenRanges | None) -> dict[str, float | str]:
    """How a calibration of TensorRT's own cut its set, for the report."""
    return ranges.batching.options if isinstance(ranges, NativeRanges) else {}


def ranges_key(order: Order, ranges: NativeRanges | GivenRanges | None) -> str | None:
    """What an engine's ranges, and what it leaves in float beside its graph, depend on."""
    if ranges is None:
        return order.scales
    left = f", {' '.join(order.float_ops)} in float" if order.float_ops else ""
    if isinstance(ranges, GivenRanges):
        return f"implicit, {order.scales}{left}"
    return f"{ranges.algorithm} of {ranges.calibset.fingerprint} in {ranges.batching}{left}"


def scales_in(ranges: NativeRanges | GivenRanges | None) -> dict[str, float]:
    """Tap → scale in an engine by implicit quantization; empty where its cache is gone."""
    if ranges is None:
        return {}
    if isinstance(ranges, GivenRanges):
        return ranges.table.scales
    try:
        return {} if ranges.cache is None else open_trt_cache(ranges.cache).scales
    except FileFormatError:
        return {}
