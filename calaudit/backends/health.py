"""Health: what a backend can do on this machine, tried out and not concluded from versions."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from calaudit.backends.base import Engine, Missing, Precision, PrecisionProof
from calaudit.backends.registry import BACKENDS
from calaudit.graph.model import Model
from calaudit.graph.products import PROBED, probe_model
from calaudit.runtime.errors import BackendError
from calaudit.runtime.settings import keys_of, parse_settings

Wanted = Mapping[Precision, Collection[str]]
"""Precision → op types that have to run in it; those without a probe aren't tried."""
EVERYTHING: Final[Wanted] = {"fp32": PROBED, "fp16": PROBED, "int8": PROBED}
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

    backend: str
    library: str
    """``TensorRT-RTX 1.7.1.116``; without a version where it can't be loaded."""
    device: str | None
    """What engines run on; None where they can't run."""
    trials: tuple[Trial, ...]
    builds_for: tuple[str, ...] = ()
    """Compute capabilities that engines can be built for without such a GPU."""
    ranges: tuple[str, ...] = ("calaudit",)
    """Who can estimate the ranges of INT8: ``calaudit``, and the backend's own calibration."""
    absent: tuple[Missing, ...] = ()
    """Libraries and devices that it needs and that aren't usable."""
    interpreter: str = ""
    """What runs the library, such as ``/usr/bin/python3.8 on orin``; empty: this process."""
    python: str = ""
    """The version of that Python, where it is known."""

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


def examine(name: str, wanted: Wanted = EVERYTHING, **keys: object) -> Health:
    """Find a backend's libraries and device, and try what is wanted of it.

    Parameters
    ----------
    name : str
        Which one.
    wanted : mapping
        Precision → op types.
    **keys
        Its own keys, as audit files have them; those that it hasn't are left out.

    Raises
    ------
    SettingsError
        There is no such backend, it can't be imported, or the keys' values are wrong.
    """
    kind = BACKENDS.load(name)
    mine = {key: value for key, value in keys.items() if key in keys_of(kind.settings)}
    return kind.examine(parse_settings(mine, kind.settings, where=name), wanted)


def tried(wanted: Wanted, attempt: Callable[[Model], PrecisionProof | None]) -> tuple[Trial, ...]:
    """Try the products that are wanted, each alone in a model of its own.

    Parameters
    ----------
    wanted : mapping
        Precision → op types.
    attempt : callable
        Builds a model, and runs it (`run_probe`) where there is a device; gives what the library
        says of its precision, if it says anything. Its `BackendError` is a failed trial.
    """
    return tuple(
        _trial(op_type, precision, attempt)
        for precision, op_types in wanted.items()
        for op_type in PROBED
        if op_type in op_types
    )


def run_probe(engine: Engine) -> None:
    """Run a probe's engine on two samples of ones."""
    (spec,) = engine.inputs
    shape = [size or 1 for size in spec.shape]
    engine.run({spec.name: np.ones((2, *shape), spec.dtype)})


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
