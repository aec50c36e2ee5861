"""Health: what each backend can do on this machine, tried out and not concluded from versions."""

import ctypes
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from calaudit.backends.base import BackendName, Engine, Precision, RangesBy
from calaudit.backends.onnxruntime.sessions import OnnxruntimeBackend
from calaudit.backends.tensorrt.backend import TensorrtBackend, inspect_precision
from calaudit.backends.tensorrt.build import compute_capabilities
from calaudit.backends.tensorrt.cuda import ELSEWHERE, find_cuda
from calaudit.backends.tensorrt.detect import (
    INSTALL_IMPLICIT,
    TITLES,
    Missing,
    TensorrtModule,
    find_tensorrt,
)
from calaudit.backends.tensorrt.precision import PrecisionProof
from calaudit.graph.model import Model
from calaudit.graph.products import PROBED, probe_model, products
from calaudit.runtime.errors import BackendError

Wanted = Mapping[Precision, Collection[str]]
"""Precision → op types that have to run in it."""
EVERYTHING: Final[Wanted] = {"fp32": PROBED, "fp16": PROBED, "int8": PROBED}
_DRIVER: Final = "nvcuda.dll" if os.name == "nt" else "libcuda.so.1"
_OTHERWISE: Final = "Audit such models in other precisions, or on another backend or release."


@dataclass(frozen=True, slots=True)
class Trial:
    """One product, built in one precision, and run where there is a device."""

    op_type: str
    precision: Precision
    got: str | None
    """What the library says the product runs in; None where it says nothing."""
    failure: str = ""
    """Why it couldn't be built or run, or what it became instead; empty where it did as asked."""
    next_step: str = ""


@dataclass(frozen=True, slots=True)
class Health:
    """What one backend can do here."""

    backend: BackendName
    library: str
    """``TensorRT-RTX 1.7.1.116``; without a version where it can't be loaded."""
    device: str | None
    """What engines run on; None where they can't run."""
    trials: tuple[Trial, ...]
    builds_for: tuple[str, ...]
    """Compute capabilities that engines can be built for without such a GPU."""
    ranges: tuple[RangesBy, ...]
    """Who can estimate the ranges of INT8."""
    absent: tuple[Missing, ...]
    """Libraries and devices that it needs and that aren't usable."""

    @property
    def missing(self) -> tuple[Missing, ...]:
        """What keeps it from doing more."""
        return (*self.absent, *_failures(self.library, self.trials, len(self.trials)))

    @property
    def obstacles(self) -> tuple[Missing, ...]:
        """What keeps engines from being built and run, in whatever precision they then have."""
        failed = [trial for trial in self.trials if trial.got is None]
        return (*self.absent, *_failures(self.library, failed, len(self.trials)))

    @property
    def usable(self) -> bool:
        """Whether audits can run on it."""
        return self.device is not None and bool(self.ops("fp32"))

    def ops(self, precision: Precision) -> tuple[str, ...]:
        """Op types that were built, and run where there is a device, in `precision`."""
        return tuple(t.op_type for t in self.trials if t.precision == precision and not t.failure)


def examine(
    backend: BackendName, wanted: Wanted = EVERYTHING, *, compute_capability: str | None = None
) -> Health:
    """Find a backend's libraries and device, and try what is wanted of it.

    Parameters
    ----------
    backend : str
        Which one.
    wanted : mapping
        Precision → op types; those without a probe aren't tried.
    compute_capability : str, optional
        RTX: the GPU to build for; default: the one in this machine, or any.
    """
    if backend == "onnxruntime":
        cpu = OnnxruntimeBackend()

        def compute(model: Model) -> None:
            _run(cpu.load(model))

        title = cpu.load(probe_model("Gemm", "fp32")).record["library"]
        trials = _tried(wanted, compute)
        return Health(backend, title, "CPU", trials, (), ("calaudit",), ())
    found = find_tensorrt(backend)
    if isinstance(found, Missing):
        return Health(backend, TITLES[backend], None, (), (), (), (found, *_no_driver()))
    return _examined(found, wanted, compute_capability)


def _examined(found: TensorrtModule, wanted: Wanted, capability: str | None) -> Health:
    cuda, targets = find_cuda(), tuple(compute_capabilities(found))
    device = None if isinstance(cuda, Missing) else str(cuda.gpu)
    absent = [cuda, *_no_driver(cuda)] if isinstance(cuda, Missing) else []
    trials: tuple[Trial, ...] = ()
    if device is not None or targets:
        made = TensorrtBackend(found.library, max_batch=2, compute_capability=capability)

        def attempt(model: Model) -> PrecisionProof | None:
            if device is None:
                return made.build(model).proof
            engine = made.load(model)
            _run(engine)
            proof = inspect_precision(found, engine, products(model))
            engine.close()
            return proof

        trials = _tried(wanted, attempt)
    return Health(
        found.library,
        found.title,
        device,
        trials,
        targets,
        ("calaudit", "tensorrt") if found.abilities.implicit else ("calaudit",),
        tuple(absent),
    )


def _tried(wanted: Wanted, attempt: Callable[[Model], PrecisionProof | None]) -> tuple[Trial, ...]:
    return tuple(
        _trial(op_type, precision, attempt)
        for precision, op_types in wanted.items()
        for op_type in PROBED
        if op_type in op_types
    )


def _trial(
    op_type: str, precision: Precision, attempt: Callable[[Model], PrecisionProof | None]
) -> Trial:
    try:
        proof = attempt(probe_model(op_type, precision))
    except BackendError as error:
        (problem, *_) = error.problems
        return Trial(op_type, precision, None, problem.message, problem.next_step or "")
    got = None if proof is None else proof.nodes[0].got
    if precision == "fp32" or got in {None, precision}:
        return Trial(op_type, precision, got)
    reason = f"becomes {got}: {proof.nodes[0].reason}" if proof is not None else ""
    return Trial(op_type, precision, got, reason, _OTHERWISE)


def _run(engine: Engine) -> None:
    (spec,) = engine.inputs
    shape = [size or 1 for size in spec.shape]
    engine.run({spec.name: np.ones((2, *shape), spec.dtype)})


def _failures(title: str, trials: Collection[Trial], n: int) -> Iterator[Missing]:
    """What went wrong in some of `n` trials, once per reason."""
    grouped: dict[tuple[str, str], list[str]] = {}
    for trial in trials:
        if trial.failure:
            name = f"{trial.op_type} in {trial.precision.upper()}"
            failure = trial.failure.removeprefix(f"{title} ")
            grouped.setdefault((failure, trial.next_step), []).append(name)
    for (failure, step), names in grouped.items():
        what = ", ".join(names) if len(names) < n else "anything"
        yield Missing(title, f"doesn't run {what} here: {failure}", step)


def no_calibrators(health: Health) -> Iterator[Missing]:
    """What keeps a backend that is here from implicit quantization."""
    if health.ranges and "tensorrt" not in health.ranges:
        reason = "has no calibrators: it quantizes by Q/DQ in the graph only"
        yield Missing(
            health.library, reason, f'Leave int8 = "implicit" out, or run: {INSTALL_IMPLICIT}'
        )


def _no_driver(cuda: Missing | None = None) -> Iterator[Missing]:
    """The GPU's driver, unless it is here or `cuda` says already that there is no GPU."""
    if cuda is not None and cuda.what == "a GPU":
        return
    try:
        ctypes.CDLL(_DRIVER)
    except OSError:
        yield Missing("NVIDIA's GPU driver", f"isn't here: {_DRIVER} can't be loaded", ELSEWHERE)
