"""How much the output suffers from each tap's rounding: weights for predicted harm.

Predicted harm says what rounding does to a tap; what that does to the model's answer is measured
with the tap alone quantized, all else in float.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calaudit.backends.base import Backend, Engine
from calaudit.calibration.harm import Floats
from calaudit.graph.model import Model
from calaudit.graph.qdq import QdqPlan, apply_qdq
from calaudit.runtime.errors import BackendError
from calaudit.runtime.pool import Pool, Rows, batches
from calaudit.runtime.progress import progress

Outputs = Mapping[str, NDArray[Any]]
ROWS = 128
"""Samples that suffice: errors are averaged over all values of the outputs."""


@dataclass(frozen=True, slots=True, eq=False)
class Sensitivities:
    """What one tap's rounding does to the outputs, tap by tap."""

    taps: tuple[str, ...]
    errors: Floats
    """(T,): squared error of the outputs over their variance, with this tap alone quantized; NaN
    where they aren't finite."""
    n: int
    """Samples."""

    def weights(self, harm: Floats) -> Floats:
        """Squared relative error of the output per unit of a tap's harm (T,), for sums of harm.

        A tap without harm of its own, or whose outputs aren't finite, has the median weight.

        Parameters
        ----------
        harm : float64 (T,)
            Predicted harm of each tap to the same samples, at the amax that was measured.
        """
        known = np.isfinite(self.errors) & (harm > 0)
        if not known.any():
            return np.ones(len(self.taps))
        found = np.divide(self.errors, harm, out=np.zeros(len(self.taps)), where=known)
        return np.where(known, found, np.median(found[known]))


def measure_sensitivities(
    model: Model,
    plan: QdqPlan,
    backend: Backend,
    *,
    pool: Pool,
    rows: Rows,
    amax: Mapping[str, float],
    outputs: Sequence[str] | None = None,
    batch_size: int = 64,
) -> Sensitivities:
    """Quantize each tap alone, weights in float, and compare the outputs with FP32's.

    Parameters
    ----------
    model : Model
        The prepared model that `plan` is for.
    plan : QdqPlan
    backend : Backend
        Runs Q/DQ graphs.
    pool : Pool
    rows : int64 (n,)
        Samples, ascending; `ROWS` suffice.
    amax : mapping
        Tap → the amax to measure it at.
    outputs : sequence of str, optional
        The outputs that count; default: all that are floats.
    batch_size : int

    Raises
    ------
    BackendError
        An engine can't be made or failed, or no output is of floats.
    """
    inputs = pool.read_inputs(rows)

    def answers(one: Model) -> Outputs:
        engine = backend.load(one)
        try:
            return run_in_batches(engine, inputs, len(rows), batch_size)
        finally:
            engine.close()

    exact = answers(model)
    counted = [name for name in outputs or exact if exact[name].dtype.kind == "f"]
    if not counted:
        raise BackendError(
            "has no output of floats, so that what rounding does to it can't be measured",
            where=model.label,
            next_step="Judge an output of floats, such as logits.",
        )
    taps = plan.taps
    errors = np.full(len(taps), np.nan)
    for place, tap in enumerate(progress(taps, total=len(taps), what="sensitivities", unit="tap")):
        own = tuple(a for a in plan.activations if (a.scale_of or a.tensor) == tap)
        alone = replace(plan, activations=own, weights=())
        scales = {tap: float(np.float32(amax[tap]) / np.float32(127))}
        rounded = answers(apply_qdq(model, alone, scales))
        errors[place] = relative_error(rounded, exact, counted)
    return Sensitivities(taps, errors, len(rows))


def run_in_batches(
    engine: Engine, inputs: Mapping[str, NDArray[Any]], n: int, batch_size: int
) -> dict[str, NDArray[Any]]:
    """All outputs of an engine over samples in memory."""
    pieces = []
    for piece in batches(np.arange(n), batch_size):
        feeds = {name: values[piece[0] : piece[-1] + 1] for name, values in inputs.items()}
        pieces.append(engine.run(feeds))
    return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}


def relative_error(rounded: Outputs, exact: Outputs, outputs: Sequence[str]) -> float:
    """Mean over outputs of Σ(y − ŷ)² / Σ(y − ȳ)², ȳ the mean over samples, value by value.

    NaN where an output isn't finite. Of a single sample, ȳ is 0.
    """
    found = []
    for name in outputs:
        own, other = exact[name].astype(np.float64), rounded[name].astype(np.float64)
        centre = own.mean(axis=0) if len(own) > 1 else 0.0
        spread = float(np.square(own - centre).sum())
        with np.errstate(invalid="ignore", over="ignore"):
            error = float(np.square(own - other).sum())
        found.append(error / spread if spread > 0 else (0.0 if error == 0 else np.inf))
    return float(np.mean(found)) if np.isfinite(found).all() else float("nan")
