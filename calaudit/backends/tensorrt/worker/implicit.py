"""Implicit quantization, for TensorRT up to 10: an FP32 graph, the INT8 flag, and a calibrator.

Ranges come from TensorRT's own calibration on a set that the host reads, or from a calibration
cache.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from .build import (
    make_config,
    make_profile,
    parsed,
    serialized,
    timing_cache,
    told,
)
from .calibrators import Calibration, make_calibrator
from .errors import RefusedError
from .feed import BatchFeed, DeviceBuffers, HostBatches
from .floats import hold_in_float
from .line import as_array
from .runner import DTYPES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .build import Profile
    from .state import State
    from .watching import Heard

_SERVED_FIRST = 'Build it on a TensorRT up to 10, or with int8 = "explicit".'


def build(
    state: State,
    arrays: dict[str, Any],
    *,
    profile: Profile,
    calibrated: Mapping[str, Sequence[int]],
    algorithm: str,
    from_data: bool,
    float_ops: Sequence[Mapping[str, str]],
    knobs: Mapping[str, Any],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Calibrate and build, or refuse the engine.

    Parameters
    ----------
    arrays
        ``model``, and ``weights`` where they are apart; ``timing`` where there is a timing cache;
        ``cache`` where there is a calibration cache to offer.
    profile
        Of the inputs with free axes.
    calibrated
        Shape of a calibration batch of the same inputs; None in it: as the host says then.
    algorithm
        ``"entropy"`` or ``"minmax"``.
    from_data
        Whether there is a set to calibrate on, where the cache isn't there or is refused.
    float_ops
        Nodes whose layers are to stay in float; see `floats.hold_in_float`.
    knobs
        See `build.make_config`.
    """
    found = state.library
    if not found.abilities.implicit:
        raise RefusedError(
            f"{found.title} has no calibrators: it quantizes by Q/DQ in the graph only",
            _SERVED_FIRST,
        )
    with state.ear.listening() as heard, ExitStack() as stack:
        network = parsed(state, arrays, typed=False, heard=heard)
        _refuse_qdq(state, network)
        config = make_config(state, knobs)
        config.set_flag(found.module.BuilderFlag.INT8)
        hold_in_float(state, network, config, float_ops)
        feed = None
        if from_data:
            about, _ = state.line.need("calibration", dtypes=buffer_dtypes(state, network))
            calibrated = about["shapes"]
            buffers = make_buffers(state, about["sizes"])
            stack.callback(buffers.close)
            feed = BatchFeed(HostBatches(state.line, about), buffers)
            stack.callback(feed.close)
        _set_profiles(state, config, profile, calibrated, heard)
        cache = arrays["cache"].tobytes() if "cache" in arrays else None
        calibration = Calibration(algorithm, feed, cache)
        config.int8_calibrator = make_calibrator(found.module, calibration)
        with timing_cache(state, config, arrays) as timed:
            plan = _built(state, network, config, heard, calibration)
        settled = calibration.settle()
    values = {
        "ranges_from": settled.ranges_from,
        "n_batches": settled.n_batches,
        "cache_refused": settled.cache_refused,
        **told(heard, typed=False, timed=timed),
    }
    made = {"plan": as_array(plan), "cache": as_array(settled.cache), **timed.arrays}
    return values, made


def make_buffers(state: State, sizes: Mapping[str, int]) -> Any:
    """Device memory for calibration batches; tests put host memory in its place."""
    return DeviceBuffers(state.cuda, sizes)


def buffer_dtypes(state: State, network: Any) -> dict[str, str]:
    """Element types that TensorRT reads from calibration buffers, by input."""
    if TYPE_CHECKING:
        import tensorrt as trt
    else:
        trt = state.library.module
    floats = {trt.DataType.FLOAT, trt.DataType.HALF}
    tensors = [network.get_input(at) for at in range(network.num_inputs)]
    # Not trt.nptype: that of TensorRT 8 asks NumPy for names which it no longer has.
    return {
        tensor.name: "float32" if tensor.dtype in floats else DTYPES[tensor.dtype.name]
        for tensor in tensors
    }


def _built(
    state: State, network: Any, config: Any, heard: Heard, calibration: Calibration
) -> bytes:
    try:
        return serialized(state, network, config, heard, wanted=lambda: not calibration.failed)
    except RefusedError:
        calibration.raise_kept()
        raise
    finally:
        config.int8_calibrator = None


def _set_profiles(
    state: State,
    config: Any,
    ranges: Profile,
    calibrated: Mapping[str, Sequence[int]],
    heard: Heard,
) -> None:
    """Say which shapes the engine takes, and which one is calibrated."""
    if not ranges:
        return
    config.add_optimization_profile(make_profile(state, ranges))
    same = {name: (calibrated[name],) * 3 for name in ranges}
    if not config.set_calibration_profile(make_profile(state, same)):
        shown = {name: tuple(calibrated[name]) for name in ranges}
        raise RefusedError(
            f"{state.library.title} refuses the calibration profile {shown}: {heard.explain()}",
            "Calibrate in batches of a size that the model takes.",
        )


def _refuse_qdq(state: State, network: Any) -> None:
    if TYPE_CHECKING:
        import tensorrt as trt
    else:
        trt = state.library.module
    kinds = {trt.LayerType.QUANTIZE, trt.LayerType.DEQUANTIZE}
    layers = (network.get_layer(at) for at in range(network.num_layers))
    named = [layer.name for layer in layers if layer.type in kinds]
    if named:
        raise RefusedError(
            f"holds Q/DQ ({', '.join(named[:3])}): TensorRT would ignore the calibrator",
            'Give the FP32 model, or leave int8 = "implicit" out.',
        )
