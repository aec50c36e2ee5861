"""Implicit quantization, for TensorRT up to 10: an FP32 graph, the INT8 flag, and a calibrator.

Ranges come from TensorRT's own calibration on a set, or from a scale table of ours that is handed
over as a calibration cache.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from calaudit.backends.base import PrecisionProof
from calaudit.backends.tensorrt.build import Shape, ShapeRange, parse_onnx
from calaudit.backends.tensorrt.calibration import Calibration, Settled, make_calibrator
from calaudit.backends.tensorrt.detect import INSTALL_IMPLICIT, TensorrtModule
from calaudit.backends.tensorrt.feed import BatchFeed, MakeBuffers, pycuda_buffers
from calaudit.backends.tensorrt.precision import (
    asked_implicitly,
    precision_notices,
    prove,
    read_layer_report,
)
from calaudit.backends.tensorrt.source import BatchReader, read_stored
from calaudit.backends.tensorrt.watching import Heard, listening, watched
from calaudit.calibration.batching import Batching
from calaudit.calibration.scales import ScaleTable
from calaudit.formats.calibset import Calibset
from calaudit.formats.trt_cache import TrtCache, cache_of, parse_trt_cache
from calaudit.formats.trt_header import ALGORITHMS, MINMAX, AlgorithmFlag, TrtVersion
from calaudit.formats.writing import atomic_write
from calaudit.graph.model import Model
from calaudit.graph.products import products
from calaudit.runtime.errors import BackendError, Notice
from calaudit.runtime.interrupts import unbroken

_NO_RANGE: Final = "Missing scale and zero-point for tensor "
"""How TensorRT's warning begins about a tensor that it has no range for."""
_SHOWN: Final = 5


class ImplicitNetwork:
    """A weakly typed FP32 network that TensorRT may run in INT8.

    Parameters
    ----------
    found : TensorrtModule
        TensorRT 10 or older.
    model : Model
        FP32 graph.
    logger, heard
        From `messages.listening`; both have to outlast the network.

    Raises
    ------
    BackendError
        TensorRT refuses the graph, or it holds Q/DQ.
    """

    def __init__(self, found: TensorrtModule, model: Model, logger: Any, heard: Heard) -> None:
        if TYPE_CHECKING:
            import tensorrt as trt
        else:
            trt = found.module
        self.found, self.model, self._heard = found, model, heard
        self._trt = trt
        self._builder = trt.Builder(logger)
        # Up to 9 a network has an implicit batch axis unless it is told otherwise; ONNX has none.
        explicit = getattr(trt.NetworkDefinitionCreationFlag, "EXPLICIT_BATCH", None)
        self._network = self._builder.create_network(0 if explicit is None else 1 << int(explicit))
        parse_onnx(found, self._network, model, logger, heard)
        self._refuse_qdq()
        self._config = self._builder.create_builder_config()
        self._config.set_flag(trt.BuilderFlag.INT8)
        self._config.clear_flag(trt.BuilderFlag.TF32)
        self._config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED

    @property
    def version(self) -> TrtVersion:
        """TensorRT's version."""
        return TrtVersion.parse(self.found.version)

    @property
    def buffer_dtypes(self) -> dict[str, np.dtype[Any]]:
        """Element types that TensorRT reads from calibration buffers, by input."""
        trt = self._trt
        found: dict[str, np.dtype[Any]] = {}
        for at in range(self._network.num_inputs):
            tensor = self._network.get_input(at)
            floats = tensor.dtype in {trt.DataType.FLOAT, trt.DataType.HALF}
            found[tensor.name] = np.dtype(np.float32 if floats else trt.nptype(tensor.dtype))
        return found

    def set_profile(
        self, ranges: Mapping[str, ShapeRange], calibrated: Mapping[str, Shape]
    ) -> None:
        """Say which shapes the engine takes, and which one is calibrated.

        Parameters
        ----------
        ranges : mapping
            Shape ranges of the inputs with free axes.
        calibrated : mapping
            Shape of a calibration batch of the same inputs.
        """
        if not ranges:
            return
        self._config.add_optimization_profile(self._profile(ranges))
        same = {name: ShapeRange(shape, shape, shape) for name, shape in calibrated.items()}
        if not self._config.set_calibration_profile(self._profile(same)):
            raise BackendError(
                f"{self.found.title} refuses the calibration profile {dict(calibrated)}: "
                f"{self._heard.explain()}",
                where=self.model.label,
                next_step="Calibrate in batches of a size that the model takes.",
            )

    @unbroken
    def build(self, calibration: Calibration, what: str) -> bytes:
        """Calibrate and build.

        Raises
        ------
        BaseException
            What was raised while TensorRT called the calibrator.
        BackendError
            TensorRT can't build.
        """
        calibrator = make_calibrator(self.found.module, calibration)
        self._config.int8_calibrator = calibrator
        with watched(self.found, self._config, what, pointless=lambda: calibration.failed):
            serialized = self._builder.build_serialized_network(self._network, self._config)
        calibration.raise_kept()
        if serialized is None:
            raise BackendError(
                f"{self.found.title} can't build an engine: {self._heard.explain()}",
                where=self.model.label,
                next_step="See docs/tensorrt.md for what each release can't build.",
            )
        return bytes(memoryview(serialized))

    def _profile(self, shapes: Mapping[str, ShapeRange]) -> Any:
        profile = self._builder.create_optimization_profile()
        for name, each in shapes.items():
            sizes = (each.smallest, each.opt, each.largest)
            profile.set_shape(name, *(self._trt.Dims(list(size)) for size in sizes))
        return profile

    def _refuse_qdq(self) -> None:
        kinds = {self._trt.LayerType.QUANTIZE, self._trt.LayerType.DEQUANTIZE}
        layers = (self._network.get_layer(at) for at in range(self._network.num_layers))
        named = [layer.name for layer in layers if layer.type in kinds]
        if named:
            raise BackendError(
                f"holds Q/DQ ({', '.join(named[:3])}): TensorRT would ignore the calibrator",
                where=self.model.label,
                next_step="Give the FP32 model, or use the backend tensorrt.",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class NativeRanges:
    """TensorRT estimates the ranges itself, from a calibration set."""

    calibset: Calibset
    algorithm: AlgorithmFlag
    """Which of TensorRT's calibrators."""
    batching: Batching
    """Its size becomes smaller for a set with fewer samples, and 1 for a model fixed to one."""
    cache: Path | None = None
    """TensorRT's calibration cache (named by all it depends on): taken in place of data when it is
    there, else written."""


@dataclass(frozen=True, slots=True)
class GivenRanges:
    """A scale table, handed over as a calibration cache; no data is needed."""

    table: ScaleTable


@dataclass(frozen=True, slots=True)
class ImplicitPlan:
    """A serialized engine, the ranges in it, and what its builder said about it."""

    plan: bytes
    ranges: TrtCache
    """The calibration cache that TensorRT read, or wrote."""
    settled: Settled
    """How it came to these ranges."""
    proof: PrecisionProof | None
    """None where the builder gave no layer report."""
    notices: tuple[Notice, ...]


def build_implicit(
    found: TensorrtModule,
    model: Model,
    ranges: NativeRanges | GivenRanges,
    profile: Mapping[str, ShapeRange],
    *,
    what: str = "build",
    buffers: MakeBuffers = pycuda_buffers,
) -> ImplicitPlan:
    """Build an INT8 engine of an FP32 graph, or refuse it.

    Parameters
    ----------
    found : TensorrtModule
        TensorRT 10 or older.
    model : Model
        Prepared FP32 graph: tensors are called as in the scale table.
    ranges : NativeRanges or GivenRanges
        Who estimates the ranges.
    profile : mapping
        Shape ranges of the inputs with free axes (`plan_profile`).
    what : str
        Name of the build on its progress bar.
    buffers : MakeBuffers
        What calibration batches pass through.

    Raises
    ------
    BackendError
        TensorRT has no calibrators, refuses the graph, can't build, or built on other ranges than
        it was meant to.
    CalauditError, KeyboardInterrupt
        What was raised while TensorRT asked for batches.
    """
    if not found.abilities.implicit:
        raise BackendError(
            f"{found.title} has no calibrators: it quantizes by Q/DQ in the graph only",
            where=model.label,
            next_step=f"Use the backend tensorrt, or run: {INSTALL_IMPLICIT}",
        )
    with listening(found) as (logger, heard):
        network = ImplicitNetwork(found, model, logger, heard)
        if isinstance(ranges, GivenRanges):
            plan, settled = _build_given(network, ranges.table, profile, what)
        else:
            plan, settled = _build_native(network, ranges, profile, what, buffers)
    proof = _proof(model, heard)
    where = model.label
    return ImplicitPlan(
        plan,
        parse_trt_cache(settled.cache, where=f"TensorRT's calibration cache of {where}"),
        settled,
        proof,
        (*settled.notices, *_warnings(heard, where), *precision_notices(proof, where)),
    )


def _build_given(
    network: ImplicitNetwork, table: ScaleTable, profile: Mapping[str, ShapeRange], what: str
) -> tuple[bytes, Settled]:
    model = network.model
    if table.model_fingerprint not in {None, model.fingerprint}:
        raise BackendError(
            f"the scale table was made for another model (fingerprint {table.model_fingerprint}, "
            f"this one has {model.fingerprint})",
            where=model.label,
            next_step="Calibrate this model, or give the model that was calibrated.",
        )
    algorithm: AlgorithmFlag = "minmax" if table.method in {"minmax", MINMAX} else "entropy"
    cache = cache_of(table, network.version, algorithm=ALGORITHMS[algorithm])
    network.set_profile(profile, {name: each.opt for name, each in profile.items()})
    calibration = Calibration(algorithm, None, cache.to_bytes())
    plan = network.build(calibration, what)
    settled = calibration.settle()
    return plan, replace(settled, notices=(*table.notices, *settled.notices))


def _build_native(
    network: ImplicitNetwork,
    ranges: NativeRanges,
    profile: Mapping[str, ShapeRange],
    what: str,
    buffers: MakeBuffers,
) -> tuple[bytes, Settled]:
    n, one_by_one = len(ranges.calibset), network.model.fixed_batch
    batching = ranges.batching.fitted(n, one_by_one=one_by_one)
    reader = BatchReader(ranges.calibset, network.buffer_dtypes, batching)
    offered, notices = read_stored(ranges.cache, ALGORITHMS[ranges.algorithm], network.version)
    network.set_profile(profile, {name: reader.shapes[name] for name in profile})
    with ExitStack() as stack:
        made = stack.enter_context(buffers(reader.shapes, reader.dtypes))
        feed = BatchFeed(reader, made)
        stack.callback(feed.close)
        calibration = Calibration(ranges.algorithm, feed, offered)
        plan = network.build(calibration, what)
        settled = calibration.settle()
    if ranges.cache is not None and settled.ranges_from == "data":
        with atomic_write(ranges.cache) as aside:
            aside.write_bytes(settled.cache)
    return plan, replace(settled, notices=(*notices, *settled.notices))


def _proof(model: Model, heard: Heard) -> PrecisionProof | None:
    if heard.layer_report is None:
        return None
    layers = read_layer_report(heard.layer_report)
    return prove(asked_implicitly(products(model)), layers, "builder's layer report")


def _warnings(heard: Heard, where: str) -> Iterator[Notice]:
    """TensorRT's warnings; those about tensors without a range together."""
    distinct = dict.fromkeys(heard.warnings)
    bare = [text for text in distinct if text.startswith(_NO_RANGE)]
    for text in distinct:
        if text not in bare:
            yield Notice("tensorrt_warning", text, where)
    if bare:
        names = [text.removeprefix(_NO_RANGE).partition(",")[0] for text in bare]
        more = f", … {len(names)} in all" if len(names) > _SHOWN else ""
        text = f"no range for {', '.join(names[:_SHOWN])}{more}: layers around may run in float"
        yield Notice("ranges_missing", text, where)
