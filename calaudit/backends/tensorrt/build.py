"""Build engines in a worker: what is sent, and what is made of its answer."""

import contextlib
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from calaudit.backends.tensorrt.knobs import Knobs
from calaudit.backends.tensorrt.link import Answer, RefusedError
from calaudit.backends.tensorrt.profile import ShapeRange
from calaudit.backends.tensorrt.session import Session
from calaudit.formats.writing import atomic_write
from calaudit.graph.model import Model, write_model
from calaudit.graph.narrow import narrow_types
from calaudit.runtime.errors import BackendError, Notice, OutputError, near
from calaudit.runtime.progress import stage

_WEAK: Final = (
    "{title} has no strongly typed networks: this one permits INT8 and FP16 where the graph has "
    "them, and TensorRT chooses"
)


@dataclass(frozen=True, slots=True)
class BuiltPlan:
    """A serialized engine and what its builder said about it."""

    plan: bytes
    layers: str | None
    """The builder's layer report; None where it gave none."""
    warnings: tuple[str, ...]
    """The builder's own."""
    typed: bool
    """Whether the network was strongly typed."""
    notices: tuple[Notice, ...]
    """The builder's warnings, and what became of its timing cache."""


@dataclass(frozen=True, slots=True)
class TimingCache:
    """Kernel timings of a target, kept between builds."""

    folder: Path

    def path(self, session: Session) -> Path:
        """The file of a target: timings are worth nothing for another library or GPU."""
        found = session.look()
        name = f"{session.location.library} {found.library} {found.gpu}"
        return self.folder / f"{re.sub(r'[^A-Za-z0-9.]+', '-', name)}.timing"

    def read(self, session: Session) -> dict[str, NDArray[Any]]:
        """What is sent along with a build."""
        with contextlib.suppress(OSError):
            return {"timing": np.frombuffer(self.path(session).read_bytes(), np.uint8)}
        return {}

    def keep(self, session: Session, answer: Answer) -> Iterator[Notice]:
        """Write what came back; tells when TensorRT had refused what was sent."""
        path = self.path(session)
        if "timing" in answer.arrays:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                with atomic_write(path) as aside:
                    aside.write_bytes(answer.arrays["timing"].tobytes())
            except (OSError, OutputError) as error:
                text = f"the timing cache can't be kept, so that builds stay slow: {error}"
                yield Notice("timing_cache_lost", text, str(path))
        refused = answer.values["timing_refused"]
        if refused:
            text = f"TensorRT refused the stored timing cache, which is replaced: {refused}"
            yield Notice("timing_cache_refused", text, str(path))


def build_explicit(
    session: Session,
    model: Model,
    profile: Mapping[str, ShapeRange],
    *,
    what: str,
    compute_capability: str | None = None,
    timing: TimingCache | None = None,
    knobs: Knobs | None = None,
) -> BuiltPlan:
    """Build an engine from a graph.

    Parameters
    ----------
    session : Session
        Where it is built.
    model : Model
        FP32, FP16 (`calaudit.graph.fp16.convert_to_fp16`) or with Q/DQ
        (`calaudit.graph.qdq.apply_qdq`).
    profile : mapping
        Shape ranges of the inputs with free axes.
    what : str
        Name of the build on its progress bar.
    compute_capability : str, optional
        RTX: the GPU to build for, such as ``"8.9"``, present or not; default: the one there.
    timing : TimingCache, optional
        Where kernel timings are kept.
    knobs : Knobs, optional
        What the compiler is told.

    Raises
    ------
    BackendError
        TensorRT doesn't know the compute capability, or refuses the graph: with its own words.
    KeyboardInterrupt
        The build was interrupted.
    """
    values = {
        "profile": sent_profile(profile),
        "flags": sorted(each.upper() for each in narrow_types(model)),
        "compute_capability": compute_capability,
        "knobs": dict((knobs or Knobs()).changed),
    }
    with shown(session, what), sent_model(model) as arrays:
        timed = {} if timing is None else timing.read(session)
        try:
            answer = session.perform(
                lambda worker: worker.ask(
                    "build.explicit", values, {**arrays, **timed}, what=what, where=model.label
                )
            )
        except RefusedError as error:
            if error.kind == "capability":
                raise _unknown_capability(session, error, str(compute_capability)) from None
            raise
    kept = () if timing is None else tuple(timing.keep(session, answer))
    weak = Notice("weakly_typed", _WEAK.format(title=session.title), model.label)
    typed = bool(answer.values["typed"])
    return BuiltPlan(
        plan=answer.arrays["plan"].tobytes(),
        layers=answer.values["layers"],
        warnings=tuple(answer.values["warnings"]),
        typed=typed,
        notices=(
            *kept,
            *(Notice("tensorrt_warning", text, model.label) for text in answer.values["warnings"]),
            *(() if typed else (weak,)),
        ),
    )


def sent_profile(profile: Mapping[str, ShapeRange]) -> dict[str, list[list[int]]]:
    """A profile as simple values."""
    return {
        name: [list(map(int, shape)) for shape in (each.smallest, each.opt, each.largest)]
        for name, each in profile.items()
    }


@contextlib.contextmanager
def shown(session: Session, what: str) -> Iterator[None]:
    """Show for how long a build is at work, where TensorRT doesn't tell of its phases."""
    if session.look().abilities.get("progress"):
        yield
        return
    with stage(what):
        yield


@contextlib.contextmanager
def sent_model(model: Model) -> Iterator[dict[str, NDArray[Any]]]:
    """A model as arrays of bytes, its weights apart where one message doesn't hold them."""
    if not model.oversized:
        yield {"model": np.frombuffer(model.serialize(), np.uint8)}
        return
    with tempfile.TemporaryDirectory(prefix="calaudit-") as folder:
        path = Path(folder) / "model.onnx"
        write_model(model, path, path.with_name("weights"), location="weights")
        yield {
            "model": np.fromfile(path, np.uint8),
            "weights": np.memmap(path.with_name("weights"), np.uint8, mode="r"),
        }


def describe_network(session: Session, model: Model) -> Mapping[str, Any]:
    """The network that TensorRT's parser makes of a model; see `worker.network.describe`.

    Raises
    ------
    BackendError
        TensorRT refuses the graph.
    """
    with sent_model(model) as arrays:
        return session.perform(
            lambda worker: worker.ask("network.describe", {}, arrays, where=model.label).values
        )


def _unknown_capability(session: Session, error: RefusedError, wanted: str) -> BackendError:
    (problem,) = error.problems
    return BackendError(problem.message, next_step=near(wanted, session.look().builds_for))
