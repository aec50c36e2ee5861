"""Build: an INT8 engine's graph from an FP32 model and one scale table, with every decision."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from calaudit.calibration.scales import ScaleTable
from calaudit.formats.writing import atomic_write, keep_apart
from calaudit.graph.exempt import match_products
from calaudit.graph.load import load_model
from calaudit.graph.macs import MacSum, count_macs, sum_macs
from calaudit.graph.model import Model, write_model
from calaudit.graph.placement import plan_qdq
from calaudit.graph.prepare import prepare
from calaudit.graph.qdq import Decision, QdqPlan, apply_qdq
from calaudit.runtime.errors import ModelError, Notice


@dataclass(frozen=True, slots=True)
class EngineBuild:
    """What was decided for one model, and the engine when one was written."""

    path: Path | None
    """The engine's ONNX file; None when no scale table was given."""
    decisions: tuple[Decision, ...]
    """Activations, weights, then nodes, each in graph order."""
    notices: tuple[Notice, ...]
    """Fallbacks: weight channels of zeros, and the scale table's own."""
    macs: Mapping[str, int | None] = field(default_factory=dict)
    """Product → multiply-accumulates per sample, None where the model leaves sizes open."""

    @property
    def multiplied(self) -> MacSum:
        """All multiply-accumulates, and those that the Q/DQ graph puts into INT8."""
        quantized = {
            each.subject
            for each in self.decisions
            if each.kind == "node" and each.action == "quantized"
        }
        return sum_macs((macs, name in quantized) for name, macs in self.macs.items())


def build_engine(
    model_path: Path | str,
    table: ScaleTable | None = None,
    out: Path | str | None = None,
    *,
    float_ops: Sequence[str] = (),
) -> EngineBuild:
    """Plan the Q/DQ of a model and, given a scale table, write the engine.

    Parameters
    ----------
    model_path : Path or str
        FP32 ONNX model.
    table : ScaleTable, optional
        Scales of its activations; without it the placement is only explained.
    out : Path, optional
        ONNX file to write; needed with `table`.
    float_ops : sequence of str
        Products to leave in float: names of nodes, or patterns of them such as ``"/head/*"``.

    Raises
    ------
    SettingsError
        `float_ops` has a pattern that matches no product.
    ModelError
        The model can't be audited, or the table was made for another one.
    RangesError
        The table lacks scales of this model's activations.
    OutputError
        `out` can't be written.
    """
    model_path = Path(model_path)
    out = None if out is None else Path(out)
    if out is not None:
        keep_apart(out, model_path)
    given = load_model(model_path)
    model = prepare(given)
    left = match_products(float_ops, given, model, where="float_ops")
    plan = plan_qdq(model, float_ops=left)
    if table is None or out is None:
        return EngineBuild(None, plan.decisions, plan.notices, count_macs(model))
    return replace(write_engine(model, plan, table, out), macs=count_macs(model))


def write_engine(model: Model, plan: QdqPlan, table: ScaleTable, out: Path) -> EngineBuild:
    """Carry out `plan` with `table` and write the engine, whole or not at all.

    Parameters
    ----------
    model : Model
        The prepared model that `plan` is for.
    plan : QdqPlan
        From `plan_qdq`.
    table : ScaleTable
        Scales of the plan's taps.
    out : Path
        ONNX file to write. Weights beyond 2 GiB go into ``<out>.weights`` beside it.

    Raises
    ------
    ModelError
        The table was made for another model.
    RangesError
        The table lacks scales of this model's activations.
    OutputError
        `out` can't be written.
    """
    if table.model_fingerprint not in {None, model.fingerprint}:
        raise ModelError(
            f"the scale table was made for another model (fingerprint {table.model_fingerprint}, "
            f"this one has {model.fingerprint})",
            where=model.label,
            next_step="Calibrate this model, or give the model that was calibrated.",
        )
    engine = apply_qdq(model, plan, table.scales)
    write_graph(engine, out)
    return EngineBuild(out, plan.decisions, (*plan.notices, *table.notices))


def write_graph(engine: Model, out: Path) -> None:
    """Write a model, whole or not at all, with weights beyond 2 GiB in ``<out>.weights`` beside it.

    Raises
    ------
    OutputError
        `out` can't be written.
    """
    with atomic_write(out) as aside:
        if not engine.oversized:
            aside.write_bytes(engine.serialize())
            return
        beside = out.with_name(f"{out.name}.weights")
        with atomic_write(beside) as weights:
            write_model(engine, aside, weights, location=beside.name)
