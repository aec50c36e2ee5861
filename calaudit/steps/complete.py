"""Complete ranges: every tensor of the network that TensorRT's parser makes of a model, observed.

Implicit quantization asks for all of them, by TensorRT's own names.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calaudit.backends.base import Backend
from calaudit.calibration.accumulate import observe as observe_values
from calaudit.calibration.batching import Batching
from calaudit.calibration.entropy_trt import N_EQUAL
from calaudit.calibration.equal_bins import EqualBins, GrowingBins
from calaudit.calibration.histogram import N_BINS, Histograms
from calaudit.calibration.observation import Observation
from calaudit.calibration.scales import ScaleTable
from calaudit.formats.calibset import Calibset
from calaudit.formats.ranges import write_ranges
from calaudit.graph.network import Network
from calaudit.graph.taps import tapped
from calaudit.steps.observe import load_to_observe, observe
from calaudit.steps.union import CalibsetUnion


def observe_network(
    network: Network,
    sets: Mapping[str, Calibset],
    backend: Backend,
    out: Path,
    *,
    batch_size: int,
    batching: Batching | None = None,
    skip_bad: bool = False,
) -> Observation:
    """Observe every tensor of a network on every set, and write the ranges file.

    Parameters
    ----------
    network : Network
        From `import_network`.
    sets : mapping
        Calibration sets by name, at least one.
    backend : Backend
        Runs the FP32 model.
    out : Path
        Ranges file to write. Its taps are called as TensorRT calls them.
    batch_size : int
        Samples per run at most; the result doesn't depend on it.
    batching : Batching, optional
        As `observe` has it, for ``entropy-trt``.
    skip_bad : bool
        Leave out samples with an activation that is NaN or infinite, and record them.

    Raises
    ------
    RangesError
        An activation is NaN or infinite: names the tap and the samples.
    BackendError
        The backend can't run the model.
    """
    first = next(iter(sets.values()))
    fixed = _fixed_values(network, backend, first.read_inputs(0, 1))
    observation = observe(
        load_to_observe(network.model, network.varying, backend),
        CalibsetUnion(sets),
        batch_size=batch_size,
        pool_fingerprint=", ".join(sorted({drawn.pool_fingerprint for drawn in sets.values()})),
        batching=batching,
        skip_bad=skip_bad,
    )
    whole = _with_fixed(observation, network, fixed)
    write_ranges(out, whole)
    return whole


def without_constants(table: ScaleTable, network: Network) -> ScaleTable:
    """A scale table without remarks on tensors that are the same for every sample.

    A constant has one value, or none but zero, whatever a calibration set holds.
    """
    constants = {f"tap {name!r}" for name in network.fixed}
    kept = tuple(each for each in table.notices if each.where not in constants)
    return replace(table, notices=kept)


def _fixed_values(
    network: Network, backend: Backend, sample: Mapping[str, NDArray[Any]]
) -> dict[str, NDArray[Any]]:
    """What tensors hold that are the same for every sample; weights without a copy."""
    held = {name: network.held(name) for name in network.fixed}
    found = {name: values for name, values in held.items() if values is not None}
    computed = [name for name in held if name not in found]
    if computed:
        with tapped(network.model, computed) as shown:
            engine = backend.load(shown)
        try:
            outputs = engine.run(sample)
        finally:
            engine.close()
        found.update((name, outputs[name]) for name in computed)
    return found


def _with_fixed(
    observation: Observation, network: Network, fixed: Mapping[str, NDArray[Any]]
) -> Observation:
    """The observation with constant tensors in their places, each counted once in every part.

    How often a constant counts decides nothing: no method depends on more than shares.
    """
    seen = observation.histograms
    place = {tap: at for at, tap in enumerate(seen.taps)}
    n_parts, taps = seen.n_groups, network.names
    counts: NDArray[Any] = np.zeros((len(taps), n_parts, N_BINS), seen.counts.dtype)
    n_zero: NDArray[Any] = np.zeros((len(taps), n_parts), seen.n_zero.dtype)
    amax = np.zeros((len(taps), n_parts), np.float32)
    samples = observation.samples
    assert samples is not None
    maxima = np.zeros((len(taps), samples.maxima.shape[1]), np.float32)
    for at, tap in enumerate(taps):
        if tap in fixed:
            own = observe_values(fixed[tap])
            counts[at], n_zero[at], amax[at] = own.counts, own.n_zero, own.amax
            maxima[at] = own.amax
        else:
            then = place[tap]
            counts[at], n_zero[at], amax[at] = (
                seen.counts[then], seen.n_zero[then], seen.amax[then]
            )  # fmt: skip
            maxima[at] = samples.maxima[then]
    return replace(
        observation,
        histograms=Histograms(taps, counts, n_zero, amax),
        samples=replace(samples, maxima=maxima),
        model_fingerprint=network.given.fingerprint,
        equal_bins={
            name: _equal_with_fixed(each, taps, fixed)
            for name, each in observation.equal_bins.items()
        },
    )


def _equal_with_fixed(
    bins: EqualBins, taps: tuple[str, ...], fixed: Mapping[str, NDArray[Any]]
) -> EqualBins:
    """The same for equal bins: a constant never widens them after the first batch."""
    place = {tap: at for at, tap in enumerate(bins.taps)}
    counts = np.zeros((len(taps), N_EQUAL), np.int64)
    widths, start = np.zeros(len(taps)), np.full(len(taps), -1, np.int64)
    for at, tap in enumerate(taps):
        if tap in fixed:
            own = GrowingBins()
            own.add(fixed[tap])
            counts[at], widths[at], start[at] = own.counts, own.width, own.start
        else:
            then = place[tap]
            counts[at], widths[at], start[at] = (
                bins.counts[then], bins.widths[then], bins.start[then]
            )  # fmt: skip
    return replace(bins, taps=taps, counts=counts, widths=widths, start=start)
