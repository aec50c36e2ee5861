"""Implicit quantization, for TensorRT up to 10: an FP32 graph, the INT8 flag, and a calibrator.

Ranges come from TensorRT's own calibration on a set that is read here, or from a scale table of
ours that is handed over as a calibration cache.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from calaudit.backends.tensorrt.asked import asked_tensors, complete_table
from calaudit.backends.tensorrt.build import (
    TimingCache,
    describe_network,
    sent_model,
    sent_profile,
    shown,
)
from calaudit.backends.tensorrt.knobs import Knobs
from calaudit.backends.tensorrt.link import Answer, Serve, Values, Worker
from calaudit.backends.tensorrt.profile import ShapeRange
from calaudit.backends.tensorrt.session import Session
from calaudit.backends.tensorrt.source import BatchReader, read_stored
from calaudit.calibration.batching import Batching
from calaudit.calibration.scales import ScaleTable
from calaudit.formats.calibset import Calibset
from calaudit.formats.trt_cache import TrtCache, cache_of, parse_trt_cache
from calaudit.formats.trt_header import ALGORITHMS, MINMAX, AlgorithmFlag, TrtVersion
from calaudit.formats.writing import atomic_write
from calaudit.graph.model import Model
from calaudit.graph.names import name_of
from calaudit.runtime.errors import BackendError, Notice

_NO_RANGE: Final = "Missing scale and zero-point for tensor "
"""How TensorRT's warning begins about a tensor that it has no range for."""
_SHOWN: Final = 5


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
    ranges_from: Literal["data", "cache"]
    """What TensorRT took its ranges from."""
    n_batches: int
    """Batches served; 0 when the cache was hit."""
    layers: str | None
    """The builder's layer report; None where it gave none."""
    warnings: tuple[str, ...]
    """The builder's own."""
    notices: tuple[Notice, ...]
    typed: bool = False
    """Never strongly typed."""


def build_implicit(
    session: Session,
    model: Model,
    ranges: NativeRanges | GivenRanges,
    profile: Mapping[str, ShapeRange],
    *,
    what: str = "build",
    timing: TimingCache | None = None,
    float_ops: Sequence[str] = (),
    knobs: Knobs | None = None,
) -> ImplicitPlan:
    """Build an INT8 engine of an FP32 graph, or refuse it.

    Parameters
    ----------
    session : Session
        A TensorRT 10 or older.
    model : Model
        FP32 graph: tensors are called as in the scale table.
    ranges : NativeRanges or GivenRanges
        Who estimates the ranges.
    profile : mapping
        Shape ranges of the inputs with free axes (`plan_profile`).
    what : str
        Name of the build on its progress bar.
    timing : TimingCache, optional
        Where kernel timings are kept.
    float_ops : sequence of str
        Nodes of `model` whose layers are to stay in float.
    knobs : Knobs, optional
        What the compiler is told.

    Raises
    ------
    BackendError
        TensorRT has no calibrators, refuses the graph, can't build, or built on other ranges than
        it was meant to.
    CalauditError, KeyboardInterrupt
        What was raised while batches were read.
    """
    told_knobs = (knobs or Knobs()).changed
    order = _Build(session, model, profile, what, timing, _nodes(model, float_ops), told_knobs)
    if isinstance(ranges, GivenRanges):
        answer, notices = _build_given(order, ranges.table)
    else:
        answer, notices = _build_native(order, ranges)
    told, where = answer.values, model.label
    kept = () if timing is None else tuple(timing.keep(session, answer))
    cache = answer.arrays["cache"].tobytes()
    return ImplicitPlan(
        plan=answer.arrays["plan"].tobytes(),
        ranges=parse_trt_cache(cache, where=f"TensorRT's calibration cache of {where}"),
        ranges_from=told["ranges_from"],
        n_batches=told["n_batches"],
        layers=told["layers"],
        warnings=tuple(told["warnings"]),
        notices=(*notices, *kept, *_warnings(told["warnings"], where)),
    )


@dataclass(frozen=True, slots=True)
class _Build:
    session: Session
    model: Model
    profile: Mapping[str, ShapeRange]
    what: str
    timing: TimingCache | None
    float_ops: tuple[dict[str, str], ...]
    knobs: Mapping[str, str | int | bool]

    @property
    def version(self) -> TrtVersion:
        """TensorRT's version."""
        return TrtVersion.parse(str(self.session.look().library))

    def run(
        self,
        algorithm: AlgorithmFlag,
        cache: bytes | None,
        calibrated: Mapping[str, tuple[int, ...]],
        serve: Callable[[Worker], Serve] | None,
    ) -> Answer:
        """Ask for the build; `serve` makes what reads the set, anew for each attempt."""
        values = {
            "profile": sent_profile(self.profile),
            "calibrated": {name: list(shape) for name, shape in calibrated.items()},
            "algorithm": algorithm,
            "from_data": serve is not None,
            "float_ops": list(self.float_ops),
            "knobs": dict(self.knobs),
        }
        kept = {} if cache is None else {"cache": np.frombuffer(cache, np.uint8)}
        timed = {} if self.timing is None else self.timing.read(self.session)
        with shown(self.session, self.what), sent_model(self.model) as arrays:
            return self.session.perform(
                lambda worker: worker.ask(
                    "implicit.build",
                    values,
                    {**arrays, **kept, **timed},
                    what=self.what,
                    where=self.model.label,
                    serve=None if serve is None else serve(worker),
                )
            )


def _nodes(model: Model, float_ops: Sequence[str]) -> tuple[dict[str, str], ...]:
    """Nodes as a worker finds their layers: by name, and by what they make first."""
    made = {name_of(node): node.output[0] for node in model.proto.graph.node}
    unknown = [name for name in float_ops if name not in made]
    if unknown:
        raise BackendError(
            f"{unknown[0]} is no node of the model as TensorRT is given it, so its layer can't be "
            "held to float",
            where=model.label,
            next_step='Export the model without functions, or audit with int8 = "explicit".',
        )
    return tuple({"node": name, "makes": made[name]} for name in float_ops)


def _build_given(order: _Build, table: ScaleTable) -> tuple[Answer, tuple[Notice, ...]]:
    model = order.model
    if table.model_fingerprint not in {None, model.fingerprint}:
        raise BackendError(
            f"the scale table was made for another model (fingerprint {table.model_fingerprint}, "
            f"this one has {model.fingerprint})",
            where=model.label,
            next_step="Calibrate this model, or give the model that was calibrated.",
        )
    network = describe_network(order.session, model)
    asked = list(asked_tensors(network["layers"]))
    whole, notices = complete_table(table, network["inputs"], asked, where=model.label)
    algorithm: AlgorithmFlag = "minmax" if table.method in {"minmax", MINMAX} else "entropy"
    cache = cache_of(whole, order.version, algorithm=ALGORITHMS[algorithm])
    shapes = {name: each.opt for name, each in order.profile.items()}
    return order.run(algorithm, cache.to_bytes(), shapes, None), notices


def _build_native(order: _Build, ranges: NativeRanges) -> tuple[Answer, tuple[Notice, ...]]:
    n, one_by_one = len(ranges.calibset), order.model.fixed_batch
    batching = ranges.batching.fitted(n, one_by_one=one_by_one)
    offered, notices = read_stored(ranges.cache, ALGORITHMS[ranges.algorithm], order.version)
    served: list[_Served] = []

    def serve(worker: Worker) -> Serve:
        served.append(_Served(ranges.calibset, batching, worker))
        return served[-1]

    answer = order.run(ranges.algorithm, offered, {}, serve)
    if answer.values["ranges_from"] == "data":
        notices = (*notices, *served[-1].notices)
        if ranges.cache is not None:
            with atomic_write(ranges.cache) as aside:
                aside.write_bytes(answer.arrays["cache"].tobytes())
    if answer.values["cache_refused"]:
        text = "TensorRT rejected the stored calibration cache and calibrated again"
        notices = (*notices, Notice("calibration_cache_refused", text))
    return answer, notices


class _Served:
    """A calibration set that a worker asks for, batch by batch."""

    def __init__(self, calibset: Calibset, batching: Batching, worker: Worker) -> None:
        self._calibset = calibset
        self._batching = batching
        self._worker = worker
        self._batches: Iterator[Mapping[str, NDArray[Any]]] = iter(())
        self.notices: tuple[Notice, ...] = ()

    def __call__(self, what: str, values: Values) -> tuple[Values, Mapping[str, NDArray[Any]]]:
        """What it needs: first what the batches are like, then each of them."""
        if what == "calibration":
            return self._begin(values["dtypes"]), {}
        batch = {}
        for name, array in next(self._batches).items():
            batch[name] = self._worker.empty(array.shape, array.dtype)
            batch[name][...] = array
        return {}, batch

    def _begin(self, dtypes: Mapping[str, str]) -> Values:
        wanted = {name: np.dtype(kind) for name, kind in dtypes.items()}
        reader = BatchReader(self._calibset, wanted, self._batching)
        self.notices = reader.notices
        self._batches = reader.read()
        return {
            "n_batches": reader.n_batches,
            "size": reader.size,
            "shapes": {name: list(shape) for name, shape in reader.shapes.items()},
            "sizes": {
                name: int(np.prod(shape)) * wanted[name].itemsize
                for name, shape in reader.shapes.items()
            },
        }


def _warnings(texts: list[str], where: str) -> Iterator[Notice]:
    """TensorRT's warnings; those about tensors without a range together."""
    bare = [text for text in texts if text.startswith(_NO_RANGE)]
    for text in texts:
        if text not in bare:
            yield Notice("tensorrt_warning", text, where)
    if bare:
        names = [text.removeprefix(_NO_RANGE).partition(",")[0] for text in bare]
        more = f", … {len(names)} in all" if len(names) > _SHOWN else ""
        text = f"no range for {', '.join(names[:_SHOWN])}{more}: layers around may run in float"
        yield Notice("ranges_missing", text, where)
